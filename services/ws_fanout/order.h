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

/* The deltas of a window that a receiver at version `at` gets next: [*ret_from, *ret_to) of deltas,
 * an unbroken run from at + 1 on; empty when the window holds nothing newer. False when what is
 * newer does not begin with at + 1 or is broken: the gap cannot be filled. */
bool order_fill(uint64_t at, const struct store_delta *deltas, size_t n, size_t *ret_from,
                size_t *ret_to);
