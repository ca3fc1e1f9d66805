/* Delays; see delay.h. */
#include "clients/c/src/delay.h"

#include <sys/random.h>

#define MOST_DOUBLINGS 16

static int64_t random_below(int64_t n) {
    uint32_t random = 0;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = UINT32_MAX / 2; /* the kernel has none yet: nothing depends on it */
    return (int64_t)(((uint64_t)random * (uint64_t)n) >> 32);
}

int64_t delay_next_ms(struct delay *d) {
    int64_t most = (int64_t)DELAY_FIRST_MS << d->n;
    if (most > DELAY_MOST_MS)
        most = DELAY_MOST_MS;
    if (d->n < MOST_DOUBLINGS)
        d->n++;
    return most / 2 + random_below(most / 2 + 1);
}

void delay_reset(struct delay *d) {
    d->n = 0;
}
