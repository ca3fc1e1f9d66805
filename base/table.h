/* A hash table of structs that begin with a table_node and are owned by their maker. Keys may be
 * chosen by strangers: the hash is keyed (SipHash-2-4, Aumasson and Bernstein 2012), so that nobody
 * can make keys that meet in one bucket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_node {
    struct table_node *next; /* in its bucket */
    uint64_t hash;
};

struct table {
    struct table_node **buckets; /* owned */
    size_t n_buckets;            /* a power of two */
    size_t n;
    uint64_t secret[2];
};

void table_init(struct table *t);
/* Calls free_node for each that is left. */
void table_done(struct table *t, void (*free_node)(struct table_node *node));
uint64_t table_hash(const struct table *t, const void *key, size_t len);
/* The first node of that hash that is the key's; NULL: there is none. */
struct table_node *table_find(const struct table *t, uint64_t hash,
                              bool (*is)(const struct table_node *node, const void *key),
                              const void *key);
void table_add(struct table *t, struct table_node *node, uint64_t hash);
/* Takes it out; it is the caller's to free. */
void table_remove(struct table *t, struct table_node *node);
/* Calls visit for each; visit may remove the one that it is given. */
void table_each(struct table *t, void (*visit)(void *arg, struct table_node *node), void *arg);
