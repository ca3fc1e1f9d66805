/* How a session leaves Redis: cold, or as a tombstone that served its time. Each call is one
 * pipeline of scripts; what goes on in between is services/state_engine/cooling.c. Contract
 * section 6. */
#pragma once

#include "common/store_batch.h"

#define STORE_IDEM_KEPT_MS (24LL * 3600 * 1000)

enum store_cool_result {
    STORE_COOL_DONE,
    STORE_COOL_USED,    /* somebody is in the session */
    STORE_COOL_CHANGED, /* it is not as it was seen, or Redis refused */
};

struct store_cool {
    /* in; borrowed */
    const struct session *session; /* as it was seen: position, touched_at, kept snapshots */
    char mark[UUID_LEN + 1];       /* of this try; not of a tombstone */
    /* out */
    enum store_cool_result result;
};

/* Marks those that are unused and published whole. Negative: Redis was lost, nothing is known. */
MUSTCHECK int store_batch_cool_begin(struct store_batch *b, struct store_cool *cools, size_t n);
/* Lets go of those whose mark still stands. */
MUSTCHECK int store_batch_cool_end(struct store_batch *b, struct store_cool *cools, size_t n);
/* Lets go of tombstones. */
MUSTCHECK int store_batch_bury(struct store_batch *b, struct store_cool *cools, size_t n);
