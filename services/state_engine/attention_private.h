/* What the files of the attention set share; see attention.h. */
#pragma once

#include "services/state_engine/attention.h"
#include "services/state_engine/schedule.h"

#define ATTENTION_LEASE_MS 10000   /* a look's engine is dead when its entry comes up again */
#define ATTENTION_ORPHANS_MS 250   /* a dead instance's sessions are armed so long in one go */
#define ATTENTION_MAX_TOGETHER 128 /* looks in one pipeline */
#define ATTENTION_N_CACHED 16384   /* a power of two */

struct armed {
    char session_id[UUID_LEN + 1];
    int64_t at;
};

struct attention {
    struct app *app;
    struct store_batch *store;
    struct publisher *publisher;
    struct presence *presence;
    struct cooling *cooling;
    struct attention_owner owner;
    struct schedule schedule;
    int64_t looked_at;      /* ms, store time: the last look at what was on it */
    uint64_t n_losses;      /* of the store's connections, when the cache was begun */
    struct armed *cache;    /* direct-mapped by the id's last digits, which are random */
    struct store_due *gone; /* owned: entries of sessions that are none, to be taken away */
    size_t n_gone;
    struct metric *n_looks, *n_republished, *n_dead_instances, *n_due[DUE_N];
};

/* Drops those that another engine claimed; returns how many are left. */
size_t attention_keep_claimed(struct store_due *due, size_t n);

/* attention_look.c: claims, judges and arms again up to ATTENTION_MAX_TOGETHER entries of sessions.
 * Negative: Redis was lost. */
MUSTCHECK int attention_look(struct attention *a, struct store_due *due, size_t n, int64_t now);
/* attention_instances.c: claims, judges and arms again n entries of instances of ws_fanout.
 * Negative: Redis was lost. */
MUSTCHECK int attention_look_at_instances(struct attention *a, struct store_due *due, size_t n,
                                          int64_t now);
