/* Who has which slot, as the engine's batches know it: learned from whichever node tells, asked
 * again when an answer or a lost node shows that it has changed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/store_private.h"

#define CONNECT_MS 2500 /* a node's own silence ends before */
#define NEW_MS 20       /* for a node on the same network */
#define ASK_AGAIN_MS 250
#define MAX_NODES 1000 /* what Redis Cluster is made for */
#define CLOCK_SLOT 0

/* ---- nodes ---- */

struct store_node *store_node_at(struct store_batch *b, const struct store_address *address) {
    for (size_t i = 0; i < b->n_nodes; i++)
        if (store_address_is(&b->nodes[i]->address, address))
            return b->nodes[i];
    if (b->n_nodes == MAX_NODES)
        return NULL;
    if (b->n_nodes == b->cap_nodes) {
        b->cap_nodes = b->cap_nodes ? 2 * b->cap_nodes : 8;
        b->nodes = must_realloc(b->nodes, b->cap_nodes * sizeof(*b->nodes));
    }
    return b->nodes[b->n_nodes++] = store_node_new(address);
}

static struct store_node *any_up(const struct store_batch *b, size_t first) {
    for (size_t i = 0; i < b->n_nodes; i++) {
        struct store_node *node = b->nodes[(first + i) % b->n_nodes];
        if (node->is_named && node->state == STORE_NODE_UP)
            return node;
    }
    return NULL;
}

struct store_node *store_node_of(const struct store_batch *b, int slot) {
    if (!b->url.is_cluster)
        return b->nodes[0];
    if (slot < 0)
        return any_up(b, 0);
    uint16_t owner = b->map->owners[slot];
    return owner == STORE_NOBODY ? NULL : b->nodes[owner];
}

struct store_node *store_clock_node(const struct store_batch *b) {
    return store_node_of(b, CLOCK_SLOT);
}

/* ---- slots ---- */

bool store_cluster_note(struct store_batch *b, const struct store_node *asked,
                        const redisReply *slots) {
    struct store_range *ranges;
    size_t n;
    if (store_take_slots(slots, &asked->address, &ranges, &n) != 0)
        return false;
    free(b->noted);
    b->noted = ranges;
    b->n_noted = n;
    return true;
}

static void free_unnamed(struct store_batch *b) {
    size_t kept = 0;
    for (size_t i = 0; i < b->n_nodes; i++) {
        struct store_node *node = b->nodes[i];
        if (node && node->is_named)
            b->nodes[kept++] = node;
        else
            store_node_free(node);
    }
    b->n_nodes = kept;
}

static uint16_t number_of(const struct store_batch *b, const struct store_address *address) {
    for (size_t i = 0; i < b->n_nodes; i++)
        if (store_address_is(&b->nodes[i]->address, address))
            return (uint16_t)i;
    return STORE_NOBODY;
}

void store_cluster_settle(struct store_batch *b) {
    if (!b->noted)
        return;
    for (size_t i = 0; i < b->n_nodes; i++)
        b->nodes[i]->is_named = false;
    for (size_t i = 0; i < b->n_noted; i++) {
        struct store_node *node = store_node_at(b, &b->noted[i].master);
        if (node)
            node->is_named = true;
    }
    free_unnamed(b);
    store_map_clear(b->map);
    for (size_t i = 0; i < b->n_noted; i++)
        store_map_set(b->map, b->noted[i].first, b->noted[i].last,
                      number_of(b, &b->noted[i].master));
    free(b->noted);
    b->noted = NULL;
    b->is_stale = !store_map_is_whole(b->map);
}

void store_cluster_moved(struct store_batch *b, const struct store_redirect *r) {
    struct store_node *node = store_node_at(b, &r->to);
    b->is_stale = true;
    if (!node)
        return;
    node->is_named = true;
    store_map_set(b->map, r->slot, r->slot, number_of(b, &r->to));
}

struct store_node *store_cluster_adviser(struct store_batch *b) {
    int64_t now = timestamp_monotonic_ms();
    if (!b->url.is_cluster || !b->is_stale || now - b->asked_ms < ASK_AGAIN_MS)
        return NULL;
    b->asked_ms = now;
    return any_up(b, b->n_asked++);
}

/* ---- being there ---- */

static bool start_due(struct store_batch *b, int64_t now) {
    bool is_any_new = false;
    for (size_t i = 0; i < b->n_nodes; i++) {
        struct store_node *node = b->nodes[i];
        if (node->state == STORE_NODE_AWAY && node->retry_ms <= now)
            store_node_start(b, node);
        is_any_new |= node->is_new;
        node->is_new = false;
    }
    return is_any_new;
}

void store_cluster_reach(struct store_batch *b) {
    bool is_any_new = start_due(b, timestamp_monotonic_ms());
    store_nodes_wait(b, is_any_new ? NEW_MS : 0);
}

/* One whose slots a replica has taken over stays named, and stale, until an adviser says so. */
void store_cluster_tend(struct store_batch *b) {
    store_cluster_reach(b);
    store_cluster_settle(b);
    for (size_t i = 0; i < b->n_nodes; i++)
        b->is_stale |= b->nodes[i]->state == STORE_NODE_AWAY;
}

static bool is_any(const struct store_batch *b, enum store_node_state state) {
    for (size_t i = 0; i < b->n_nodes; i++)
        if (b->nodes[i]->state == state)
            return true;
    return false;
}

static void say_why(const struct store_batch *b, char ret_why[static 256]) {
    for (size_t i = 0; i < b->n_nodes; i++)
        if (b->nodes[i]->why[0]) {
            char address[STORE_ADDRESS_CAP];
            store_address_print(&b->nodes[i]->address, address);
            snprintf(ret_why, 256, "%.80s: %.160s", address, b->nodes[i]->why);
            return;
        }
    snprintf(ret_why, 256, "no answer");
}

/* The seeds are asked together, with all nodes that were known; then those that they name. */
bool store_cluster_connect(struct store_batch *b, char ret_why[static 256]) {
    int64_t now = timestamp_monotonic_ms(), until = now + CONNECT_MS;
    for (size_t i = 0; i < b->url.n_seeds; i++)
        (void)store_node_at(b, &b->url.seeds[i]);
    for (size_t i = 0; i < b->n_nodes; i++)
        b->nodes[i]->retry_ms = 0;
    start_due(b, now);
    while (now < until && is_any(b, STORE_NODE_COMING)) {
        store_nodes_wait(b, b->noted ? 0 : 50);
        if (b->noted) {
            store_cluster_settle(b);
            start_due(b, now);
            store_nodes_wait(b, 50);
        }
        now = timestamp_monotonic_ms();
    }
    if (any_up(b, 0))
        return true;
    say_why(b, ret_why);
    return false;
}

bool store_batch_is_whole(const struct store_batch *b, char ret_why[static 256]) {
    ret_why[0] = '\0';
    for (size_t i = 0; i < b->n_nodes; i++)
        if (b->nodes[i]->is_named && b->nodes[i]->state != STORE_NODE_UP) {
            say_why(b, ret_why);
            return false;
        }
    if (!b->url.is_cluster || store_map_is_whole(b->map))
        return true;
    snprintf(ret_why, 256, "some slots of the cluster have no node");
    return false;
}
