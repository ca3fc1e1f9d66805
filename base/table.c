/* See table.h. */
#include "base/table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buf.h"

#define N_BUCKETS_FIRST 256

/* ---- SipHash-2-4 ---- */

static uint64_t turn(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

static void mix(uint64_t v[static 4]) {
    v[0] += v[1], v[2] += v[3];
    v[1] = turn(v[1], 13) ^ v[0], v[3] = turn(v[3], 16) ^ v[2];
    v[0] = turn(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = turn(v[1], 17) ^ v[2], v[3] = turn(v[3], 21) ^ v[0];
    v[2] = turn(v[2], 32);
}

uint64_t table_hash(const struct table *t, const void *key, size_t len) {
    const char *data = key;
    uint64_t v[4] = {t->secret[0] ^ 0x736f6d6570736575u, t->secret[1] ^ 0x646f72616e646f6du,
                     t->secret[0] ^ 0x6c7967656e657261u, t->secret[1] ^ 0x7465646279746573u};
    for (size_t i = 0; i <= len / 8; i++) {
        size_t rest = len - 8 * i < 8 ? len - 8 * i : 8;
        uint64_t word = rest < 8 ? (uint64_t)len << 56 : 0;
        memcpy(&word, data + 8 * i, rest);
        v[3] ^= word;
        mix(v);
        mix(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- the table ---- */

static struct table_node **bucket(const struct table *t, uint64_t hash) {
    return &t->buckets[hash & (t->n_buckets - 1)];
}

static void put(struct table *t, struct table_node *node) {
    struct table_node **to = bucket(t, node->hash);
    node->next = *to;
    *to = node;
}

void table_init(struct table *t) {
    *t = (struct table){.n_buckets = N_BUCKETS_FIRST};
    t->buckets = must_alloc(t->n_buckets * sizeof(*t->buckets));
    if (getrandom(t->secret, sizeof(t->secret), 0) != (ssize_t)sizeof(t->secret))
        abort(); /* so few bytes are always there at once */
}

void table_each(struct table *t, void (*visit)(void *arg, struct table_node *node), void *arg) {
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct table_node *node = t->buckets[i], *next; node; node = next) {
            next = node->next;
            visit(arg, node);
        }
}

void table_done(struct table *t, void (*free_node)(struct table_node *node)) {
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct table_node *node = t->buckets[i], *next; node; node = next) {
            next = node->next;
            free_node(node);
        }
    free(t->buckets);
    *t = (struct table){0};
}

struct table_node *table_find(const struct table *t, uint64_t hash,
                              bool (*is)(const struct table_node *node, const void *key),
                              const void *key) {
    struct table_node *node = *bucket(t, hash);
    while (node && (node->hash != hash || !is(node, key)))
        node = node->next;
    return node;
}

static void grow(struct table *t) {
    struct table grown = *t;
    grown.n_buckets = t->n_buckets * 2;
    grown.buckets = must_alloc(grown.n_buckets * sizeof(*grown.buckets));
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct table_node *node = t->buckets[i], *next; node; node = next) {
            next = node->next;
            put(&grown, node);
        }
    free(t->buckets);
    *t = grown;
}

void table_add(struct table *t, struct table_node *node, uint64_t hash) {
    if (t->n >= t->n_buckets)
        grow(t);
    node->hash = hash;
    put(t, node);
    t->n++;
}

void table_remove(struct table *t, struct table_node *node) {
    struct table_node **at = bucket(t, node->hash);
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    t->n--;
}
