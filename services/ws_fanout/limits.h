/* What one connection may send: messages and bytes a second. What is over it is refused with the
 * time after which it would be taken; who goes on all the same is sent away. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bucket.h"

#define LIMITS_MAX_REFUSED 10  /* refusals without a pause, then the connection is closed */
#define LIMITS_PAUSE_MS 1000   /* what counts as a pause */
#define LIMITS_BROADCASTS 50   /* a second, and at once */
#define LIMITS_BURST_SECONDS 2 /* of messages and bytes: how much may come at once */

struct limits {
    struct bucket messages;
    struct bucket bytes;
    struct bucket broadcasts;
    unsigned n_refused;
    int64_t refused_at; /* ms */
};

/* Rates a second, 0: no limit; now: ms, as everywhere here. */
void limits_init(struct limits *l, int64_t messages, int64_t bytes, int64_t now);
/* Counts a refusal: whether it is one too many. */
bool limits_refuse(struct limits *l, int64_t now);
