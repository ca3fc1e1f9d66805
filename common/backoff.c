/* Reconnect waits; see backoff.h. The jitter keeps instances that lost the same server from coming
 * back at the same moment. */
#include "common/backoff.h"

#include <sys/random.h>

#define FIRST_MS 100u
#define MOST_MS 2000u

uint64_t backoff_next_ms(struct backoff *b) {
    uint64_t whole = FIRST_MS;
    for (unsigned i = 0; i < b->n_failures && whole < MOST_MS; i++)
        whole *= 2;
    if (whole > MOST_MS)
        whole = MOST_MS;
    if (b->n_failures < 16)
        b->n_failures++;
    uint32_t random = 0;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = 0; /* early at boot: half the wait is as good as any */
    return whole / 2 + random % (whole / 2 + 1);
}

void backoff_reset(struct backoff *b) {
    b->n_failures = 0;
}
