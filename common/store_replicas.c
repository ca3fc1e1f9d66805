/* What has been saved is only as safe as the nodes that have it: each node that took saves is asked
 * how many replicas have them. Where they are too few, the node may be one that stood still while
 * its replica took over, and has not heard of that: what it took goes when it hears, and the same
 * version may be another's by now. So the other nodes are asked whether it still has the slot. */
#include <errno.h>
#include <string.h>

#include "common/store_private.h"

#define WAIT_MS 1000
#define WAIT_AGAIN_MS 10

struct opinion { /* a node's, on who has which slot */
    struct store_node *of;
    redisReply *reply;          /* owned */
    struct store_range *ranges; /* owned */
    size_t n_ranges;
};

struct waiting {
    struct store_batch *b;
    struct store_save *saves;
    struct store_node *const *nodes; /* of each save the one that took it, or NULL */
    size_t n;
    struct opinion *opinions;
    size_t n_opinions;
    struct store_command command; /* scratch */
};

/* ---- how many have it ---- */

/* One that had too few is not waited for as long again, until it has enough: others would wait
 * behind it. */
static void queue_wait(struct waiting *t, struct store_node *node) {
    store_command_begin(&t->command, "WAIT");
    store_put_u64(&t->command, t->b->n_wait_replicas);
    store_put_u64(&t->command, node->lacks_replicas ? WAIT_AGAIN_MS : WAIT_MS);
    store_send_to(t->b, node, &t->command);
}

static int take_wait(struct waiting *t, struct store_node *node) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = store_next(t->b, &reply);
    if (err)
        return err;
    node->lacks_replicas =
        reply->type != REDIS_REPLY_INTEGER || reply->integer < (long long)t->b->n_wait_replicas;
    for (size_t i = 0; i < t->n; i++)
        if (t->nodes[i] == node)
            t->saves[i].is_unreplicated = node->lacks_replicas;
    return 0;
}

static bool has_saved(const struct waiting *t, const struct store_node *node) {
    for (size_t i = 0; i < t->n; i++)
        if (t->nodes[i] == node)
            return true;
    return false;
}

/* On the connection of the saves: WAIT is about what that one wrote. */
static int wait_for_all(struct waiting *t) {
    struct store_batch *b = t->b;
    _cleanup_(freep) struct store_node **asked =
        must_alloc(b->n_nodes * sizeof(struct store_node *));
    size_t n = 0;
    for (size_t i = 0; i < b->n_nodes; i++)
        if (has_saved(t, b->nodes[i])) {
            queue_wait(t, b->nodes[i]);
            asked[n++] = b->nodes[i];
        }
    int err = 0;
    for (size_t i = 0; i < n && !err; i++)
        err = take_wait(t, asked[i]);
    return err;
}

/* ---- whether it was the right node ---- */

static int take_opinion(struct waiting *t, struct opinion *o) {
    int err = store_next(t->b, &o->reply);
    if (!err && store_take_slots(o->reply, &o->of->address, &o->ranges, &o->n_ranges) != 0)
        o->ranges = NULL;
    return err;
}

static int ask_opinions(struct waiting *t) {
    struct store_batch *b = t->b;
    for (size_t i = 0; i < b->n_nodes; i++) {
        if (!b->nodes[i]->is_named || b->nodes[i]->state != STORE_NODE_UP)
            continue;
        store_command_begin(&t->command, "CLUSTER");
        store_puts(&t->command, "SLOTS");
        store_send_to(b, b->nodes[i], &t->command);
        t->opinions[t->n_opinions++].of = b->nodes[i];
    }
    int err = 0;
    for (size_t i = 0; i < t->n_opinions && !err; i++)
        err = take_opinion(t, &t->opinions[i]);
    return err;
}

static unsigned slot_of(const struct store_save *save) {
    char key[STORE_KEY_CAP];
    store_key(STORE_META, save->session->id, key);
    return store_slot_of(key, strlen(key));
}

static bool says_it_has(const struct opinion *o, const struct store_node *node, unsigned slot) {
    for (size_t i = 0; i < o->n_ranges; i++)
        if (o->ranges[i].first <= slot && slot <= o->ranges[i].last)
            return store_address_is(&o->ranges[i].master, &node->address);
    return false;
}

static size_t n_named(const struct store_batch *b) {
    size_t n = 0;
    for (size_t i = 0; i < b->n_nodes; i++)
        n += b->nodes[i]->is_named;
    return n;
}

/* All others that answer, and one at least, have to say so, where there are others. */
static bool is_confirmed(const struct waiting *t, size_t i) {
    const struct store_node *node = t->nodes[i];
    unsigned slot = slot_of(&t->saves[i]);
    size_t n_others = 0;
    for (size_t k = 0; k < t->n_opinions; k++) {
        const struct opinion *o = &t->opinions[k];
        if (o->of == node || !o->ranges)
            continue;
        if (!says_it_has(o, node, slot)) {
            (void)store_cluster_note(t->b, o->of, o->reply);
            return false;
        }
        n_others++;
    }
    return n_others > 0 || n_named(t->b) == 1;
}

static int confirm_unreplicated(struct waiting *t) {
    t->opinions = must_alloc(t->b->n_nodes * sizeof(*t->opinions));
    int err = ask_opinions(t);
    for (size_t i = 0; i < t->n && !err; i++)
        if (t->nodes[i] && t->saves[i].is_unreplicated && !is_confirmed(t, i))
            t->saves[i].result = STORE_UNKNOWN;
    for (size_t k = 0; k < t->n_opinions; k++) {
        store_reply_freep(&t->opinions[k].reply);
        free(t->opinions[k].ranges);
    }
    free(t->opinions);
    return err;
}

static bool is_any_unreplicated(const struct waiting *t) {
    for (size_t i = 0; i < t->n; i++)
        if (t->nodes[i] && t->saves[i].is_unreplicated)
            return true;
    return false;
}

int store_wait_for_replicas(struct store_batch *b, struct store_save *saves,
                            struct store_node *const *nodes, size_t n) {
    struct waiting t = {.b = b, .saves = saves, .nodes = nodes, .n = n};
    int err = wait_for_all(&t);
    if (!err && b->url.is_cluster && is_any_unreplicated(&t))
        err = confirm_unreplicated(&t);
    store_command_done(&t.command);
    return err;
}
