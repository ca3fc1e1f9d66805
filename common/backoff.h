/* Jittered exponential backoff for reconnects: 100 ms doubling to 2 s, each drawn from [half,
 * whole]. */
#pragma once

#include <stdint.h>

struct backoff {
    unsigned n_failures;
};

/* Milliseconds to wait before the next try; counts the failure. */
uint64_t backoff_next_ms(struct backoff *b);
void backoff_reset(struct backoff *b);
