/* What to do with a versioned event, for a receiver that is at a position. Pure: the hub acts on
 * it. Contract section 4: each versioned event once, in order, without a gap. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/store.h"
#include "proto/session.h"

enum order_verdict {
    ORDER_FORWARD, /* the next one */
    ORDER_DROP,    /* seen already, or of an epoch that is over */
    ORDER_GAP,     /* some before it are missing: to be filled from the delta window */
    ORDER_EPOCH    /* of a later epoch: only the whole state helps */
};

enum order_verdict order_judge(struct position at, struct position event);

/* Whether a comes after b. */
bool order_is_newer(struct position a, struct position b);

enum order_reach {
    ORDER_REACHED,   /* what follows is there: an unbroken run, empty for one that misses nothing */
    ORDER_ELSEWHERE, /* this read began after the receiver's position, or was cut before it */
    ORDER_TOO_OLD    /* the window does not reach back, or is broken: the gap cannot be filled */
};

/* One read of a delta window. */
struct order_window {
    uint64_t since;  /* it began with the version after this one */
    uint64_t stored; /* the session's version at that moment */
    const struct store_delta *deltas;
    size_t n;
};

/* The deltas that a receiver at version `at` (of the same epoch, and not ahead) gets next:
 * [*ret_from, *ret_to), untouched unless reached. */
enum order_reach order_fill(uint64_t at, const struct order_window *w, size_t *ret_from,
                            size_t *ret_to);
