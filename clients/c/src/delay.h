/* When to try again: doubled each time, with jitter over its upper half, so that those who were cut
 * off together do not come back together. */
#pragma once

#include <stdint.h>

#define DELAY_FIRST_MS 250
#define DELAY_MOST_MS 30000

struct delay {
    unsigned n; /* tries since the last success */
};

/* From half of what it has come to, to all of it. */
int64_t delay_next_ms(struct delay *d);
void delay_reset(struct delay *d);
