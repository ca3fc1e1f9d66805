/* Token buckets; see bucket.h. In thousandths, so that a millisecond brings `rate` of them and
 * nothing is lost by rounding. */
#include "base/bucket.h"

#define SCALE 1000

void bucket_init(struct bucket *b, int64_t rate, int64_t burst, int64_t now) {
    *b = (struct bucket){.rate = rate, .burst = burst, .balance = burst * SCALE, .at = now};
}

static void fill(struct bucket *b, int64_t now) {
    int64_t missing = b->burst * SCALE - b->balance;
    if (now <= b->at)
        return;
    int64_t elapsed = now - b->at;
    b->at = now;
    if (elapsed > missing / b->rate) /* so that a long pause does not overflow */
        b->balance = b->burst * SCALE;
    else
        b->balance += elapsed * b->rate;
}

int64_t bucket_take(struct bucket *b, int64_t n, int64_t now) {
    if (b->rate == 0)
        return 0;
    fill(b, now);
    int64_t needed = (n < b->burst ? n : b->burst) * SCALE;
    if (b->balance < needed)
        return (needed - b->balance + b->rate - 1) / b->rate;
    b->balance -= n * SCALE;
    return 0;
}
