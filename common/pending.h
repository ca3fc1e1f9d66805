/* Commands that wait, by id and by state; private to commander.c. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/commander.h"

enum pending_state {
    PENDING_NONE,   /* added, in no list yet */
    PENDING_QUEUED, /* in the next message -> in flight, failed */
    PENDING_FLIGHT, /* published -> answered, timed out */
    PENDING_FAILED, /* certainly not applied; told at the end of the loop's turn */
    PENDING_N_STATES,
};

struct pending {
    struct pending *next, *previous; /* of its state's list */
    struct pending *chain;           /* of its bucket */
    char id[UUID_LEN + 1];
    char session_id[UUID_LEN + 1];
    enum pending_state state;
    int64_t sent_at;     /* monotonic ms */
    uint64_t sent_at_ns; /* uv_hrtime */
    commander_done_fn *done;
    void *arg;
    const char *why; /* failed: detail, a literal */
};

struct pending_table {
    struct pending_list {
        struct pending *first, *last; /* oldest first */
    } lists[PENDING_N_STATES];
    struct pending **buckets;
    size_t n_buckets; /* a power of two */
};

void pending_init(struct pending_table *t, size_t n_expected);
void pending_done(struct pending_table *t);
/* p is the caller's before and after it is in the table. */
void pending_add(struct pending_table *t, struct pending *p);
void pending_remove(struct pending_table *t, struct pending *p);
/* Moves it to the end of that state's list. */
void pending_enter(struct pending_table *t, struct pending *p, enum pending_state state);
struct pending *pending_first(const struct pending_table *t, enum pending_state state);
struct pending *pending_find(const struct pending_table *t, const char *id);
