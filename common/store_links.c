/* Which node has what, and whether all are there: one link to one Redis, or one to each master of a
 * cluster. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/store_link.h"

#define ASK_AGAIN_MS 250
#define MAX_LINKS 1000 /* what Redis Cluster is made for */
#define CLOCK_SLOT 0

static struct store_link *find(const struct store *s, const struct store_address *address) {
    for (size_t i = 0; i < s->n_links; i++)
        if (store_address_is(&s->links[i]->address, address))
            return s->links[i];
    return NULL;
}

/* The link to the address, made where there is none; NULL: there are too many. */
static struct store_link *link_at(struct store *s, const struct store_address *address) {
    struct store_link *l = find(s, address);
    if (l || s->n_links == MAX_LINKS)
        return l;
    if (s->n_links == s->cap_links) {
        s->cap_links = s->cap_links ? 2 * s->cap_links : 4;
        s->links = must_realloc(s->links, s->cap_links * sizeof(*s->links));
    }
    l = s->links[s->n_links++] = store_link_new(s, address);
    store_link_start(l);
    return l;
}

struct store_link *store_link_of(const struct store *s, int slot) {
    if (!s->url.is_cluster)
        return s->links[0];
    for (size_t i = 0; slot < 0 && i < s->n_links; i++)
        if (s->links[i]->is_named && s->links[i]->state == STORE_LINK_UP)
            return s->links[i];
    uint16_t owner = slot < 0 ? STORE_NOBODY : s->map->owners[slot];
    return owner == STORE_NOBODY ? NULL : s->links[owner];
}

bool store_link_is_clock(const struct store_link *l) {
    return store_link_of(l->store, CLOCK_SLOT) == l;
}

static void link_seeds(struct store *s) {
    for (size_t i = 0; i < s->url.n_seeds; i++)
        (void)link_at(s, &s->url.seeds[i]);
}

void store_links_start(struct store *s) {
    if (s->url.is_cluster) {
        s->map = must_alloc(sizeof(*s->map));
        store_map_clear(s->map);
    }
    link_seeds(s);
    if (!s->url.is_cluster)
        s->links[0]->is_named = true;
}

/* ---- slots ---- */

static uint16_t number_of(const struct store *s, const struct store_link *l) {
    for (size_t i = 0; i < s->n_links; i++)
        if (s->links[i] == l)
            return (uint16_t)i;
    return STORE_NOBODY;
}

/* Takes those without slots off the list, into ret_gone. One whose slots all went to another may be
 * dead, though its end was not heard of yet: what it was told last may be lost. */
static size_t take_unnamed(struct store *s, const bool *was_named, struct store_link **ret_gone) {
    size_t kept = 0, n_gone = 0;
    for (size_t i = 0; i < s->n_links; i++) {
        struct store_link *l = s->links[i];
        if (l->is_named) {
            s->links[kept++] = l;
            continue;
        }
        ret_gone[n_gone++] = l;
        s->n_renewals += was_named[i];
    }
    s->n_links = kept;
    return n_gone;
}

static void name_all(struct store *s, const struct store_range *ranges, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct store_link *l = link_at(s, &ranges[i].master);
        if (l)
            l->is_named = true;
    }
}

static void map_all(struct store *s, const struct store_range *ranges, size_t n) {
    store_map_clear(s->map);
    for (size_t i = 0; i < n; i++)
        store_map_set(s->map, ranges[i].first, ranges[i].last,
                      number_of(s, find(s, &ranges[i].master)));
}

bool store_links_take_slots(struct store_link *asked, const redisReply *reply) {
    struct store *s = asked->store;
    struct store_range *ranges;
    size_t n;
    if (store_take_slots(reply, &asked->address, &ranges, &n) != 0)
        return false;
    bool was_named[MAX_LINKS] = {0};
    for (size_t i = 0; i < s->n_links; i++) {
        was_named[i] = s->links[i]->is_named;
        s->links[i]->is_named = false;
    }
    name_all(s, ranges, n);
    struct store_link *gone[MAX_LINKS];
    size_t n_gone = take_unnamed(s, was_named, gone);
    map_all(s, ranges, n);
    free(ranges);
    s->is_stale = false;
    for (size_t i = 0; i < n_gone; i++)
        store_link_close(gone[i], -ENOTCONN);
    store_links_judge(s);
    return true;
}

void store_links_follow(struct store_ask *ask) {
    static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
    struct store *s = ask->store;
    const struct store_redirect *r = &ask->redirect;
    struct store_link *l = link_at(s, &r->to);
    if (l && !r->is_ask && !s->closing) {
        l->is_named = s->is_stale = true;
        store_map_set(s->map, r->slot, r->slot, number_of(s, l));
    }
    if (!l || s->closing || l->state == STORE_LINK_RESTING) {
        store_ask_refuse(s, ask, -ENOTCONN);
    } else if (l->state != STORE_LINK_UP) {
        store_list_add(&l->held, ask);
    } else {
        ask->is_redirected = false;
        if (r->is_ask)
            store_queue_bytes(l->context, asking, sizeof(asking) - 1);
        store_link_ask(l, ask, ask->bytes, ask->n_bytes, ask->n_commands + r->is_ask);
        store_write_soon(s);
    }
}

void store_links_tick(struct store_link *l) {
    struct store *s = l->store;
    int64_t now = timestamp_monotonic_ms();
    if (!s->url.is_cluster || !s->is_stale || now - s->asked_ms < ASK_AGAIN_MS)
        return;
    s->asked_ms = now;
    store_link_ask_slots(l);
    store_link_flush(l);
}

/* ---- whether all are there ---- */

/* "" when it is not known yet: at first. Later a node that is new takes the place of one that is
 * gone. */
static void say_why(const struct store *s, bool was_whole, char ret_why[static 256]) {
    char address[STORE_ADDRESS_CAP];
    ret_why[0] = '\0';
    for (size_t i = 0; i < s->n_links; i++) {
        const struct store_link *l = s->links[i];
        bool is_new = was_whole && l->is_named && l->state != STORE_LINK_UP;
        if (!l->why[0] && !is_new)
            continue;
        const char *why = l->why[0] ? l->why : "a new node, not connected yet";
        store_address_print(&l->address, address);
        if (s->url.is_cluster)
            snprintf(ret_why, 256, "%.80s: %.160s", address, why);
        else
            snprintf(ret_why, 256, "%s", why);
        return;
    }
    if (s->url.is_cluster && store_is_up(s) && !store_map_is_whole(s->map))
        snprintf(ret_why, 256, "some slots of the cluster have no node");
}

static bool is_whole(const struct store *s) {
    for (size_t i = 0; i < s->n_links; i++)
        if (s->links[i]->is_named && s->links[i]->state != STORE_LINK_UP)
            return false;
    return store_is_up(s) && (!s->url.is_cluster || store_map_is_whole(s->map));
}

/* The callback hears of each outage once, and again when its reason changes. */
void store_links_judge(struct store *s) {
    char why[256];
    bool was_whole = s->is_whole;
    if (s->closing)
        return;
    s->is_whole = is_whole(s);
    if (s->is_whole) {
        s->why[0] = '\0';
        if (!was_whole && s->callbacks.up)
            s->callbacks.up(s->arg);
        return;
    }
    s->is_stale = true;
    if (s->url.is_cluster && !store_is_up(s))
        link_seeds(s);
    say_why(s, was_whole, why);
    if (!why[0] || (!was_whole && strcmp(why, s->why) == 0))
        return;
    memcpy(s->why, why, sizeof(s->why));
    if (s->callbacks.down)
        s->callbacks.down(s->arg, s->why);
}
