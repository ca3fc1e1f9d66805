/* A hash table of the commands that wait, and a list for each of their states; see pending.h. */
#include "common/pending.h"

#include <string.h>

#define N_BUCKETS_MIN 16

void pending_init(struct pending_table *t, size_t n_expected) {
    *t = (struct pending_table){.n_buckets = N_BUCKETS_MIN};
    while (t->n_buckets < n_expected)
        t->n_buckets *= 2;
    t->buckets = must_alloc(t->n_buckets * sizeof(struct pending *));
}

void pending_done(struct pending_table *t) {
    free(t->buckets);
    *t = (struct pending_table){0};
}

static struct pending **bucket_of(const struct pending_table *t, const char *id) {
    /* The ids are ours, and their tail is random. */
    size_t hash = 0;
    for (size_t i = UUID_LEN - 8; i < UUID_LEN; i++)
        hash = hash << 4 | (size_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'a' + 10);
    return &t->buckets[hash & (t->n_buckets - 1)];
}

static void unlink_state(struct pending_table *t, struct pending *p) {
    struct pending_list *l = &t->lists[p->state];
    if (p->next)
        p->next->previous = p->previous;
    else
        l->last = p->previous;
    if (p->previous)
        p->previous->next = p->next;
    else
        l->first = p->next;
}

static void link_state(struct pending_table *t, struct pending *p, enum pending_state state) {
    struct pending_list *l = &t->lists[state];
    p->state = state;
    p->next = NULL;
    p->previous = l->last;
    if (l->last)
        l->last->next = p;
    else
        l->first = p;
    l->last = p;
}

void pending_add(struct pending_table *t, struct pending *p) {
    struct pending **bucket = bucket_of(t, p->id);
    p->chain = *bucket;
    *bucket = p;
    link_state(t, p, PENDING_NONE);
}

void pending_remove(struct pending_table *t, struct pending *p) {
    struct pending **at = bucket_of(t, p->id);
    while (*at != p)
        at = &(*at)->chain;
    *at = p->chain;
    unlink_state(t, p);
}

void pending_enter(struct pending_table *t, struct pending *p, enum pending_state state) {
    unlink_state(t, p);
    link_state(t, p, state);
}

struct pending *pending_first(const struct pending_table *t, enum pending_state state) {
    return t->lists[state].first;
}

struct pending *pending_find(const struct pending_table *t, const char *id) {
    struct pending *p = *bucket_of(t, id);
    while (p && strcmp(p->id, id) != 0)
        p = p->chain;
    return p;
}
