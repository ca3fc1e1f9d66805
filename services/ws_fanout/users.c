/* Users and their connections; see users.h. Buckets are chosen by a keyed multilinear hash, so that
 * nobody can make ids that meet in one. */
#include "services/ws_fanout/users.h"

#include <string.h>
#include <sys/random.h>

#include "base/buf.h"

#define N_BUCKETS_FIRST 256

struct user {
    char id[UUID_LEN + 1];
    int64_t n_connections;
    struct user *next; /* in its bucket */
};

void users_init(struct users *t) {
    *t = (struct users){.n_buckets = N_BUCKETS_FIRST};
    t->buckets = must_alloc(t->n_buckets * sizeof(*t->buckets));
    if (getrandom(t->secret, sizeof(t->secret), 0) != (ssize_t)sizeof(t->secret))
        abort(); /* so few bytes are always there at once */
}

void users_done(struct users *t) {
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct user *user = t->buckets[i], *next; user; user = next) {
            next = user->next;
            free(user);
        }
    free(t->buckets);
    *t = (struct users){0};
}

static struct user **bucket(const struct users *t, const char *id) {
    uint64_t sum = 0;
    for (size_t i = 0; i < N_ELEMENTS(t->secret); i++) {
        uint32_t word;
        memcpy(&word, id + 4 * i, sizeof(word));
        sum += (t->secret[i] | 1) * word;
    }
    return &t->buckets[(sum >> 32) & (t->n_buckets - 1)];
}

/* Where the user hangs, or where a list ends without it. */
static struct user **find(const struct users *t, const char *id) {
    struct user **at = bucket(t, id);
    while (*at && memcmp((*at)->id, id, UUID_LEN) != 0)
        at = &(*at)->next;
    return at;
}

static void grow(struct users *t) {
    struct users grown = *t;
    grown.n_buckets = t->n_buckets * 2;
    grown.buckets = must_alloc(grown.n_buckets * sizeof(*grown.buckets));
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct user *user = t->buckets[i], *next; user; user = next) {
            next = user->next;
            struct user **to = bucket(&grown, user->id);
            user->next = *to;
            *to = user;
        }
    free(t->buckets);
    *t = grown;
}

static struct user *add(struct users *t, const char *id) {
    if (t->n == t->n_buckets)
        grow(t);
    struct user **to = bucket(t, id), *user = must_alloc(sizeof(*user));
    memcpy(user->id, id, UUID_LEN);
    user->next = *to;
    *to = user;
    t->n++;
    return user;
}

bool users_enter(struct users *t, const char *user_id, int64_t most) {
    struct user *user = *find(t, user_id);
    if (user && user->n_connections >= most)
        return false;
    if (!user)
        user = add(t, user_id);
    user->n_connections++;
    return true;
}

void users_leave(struct users *t, const char *user_id) {
    struct user **at = find(t, user_id), *user = *at;
    if (!user || --user->n_connections > 0)
        return;
    *at = user->next;
    t->n--;
    free(user);
}
