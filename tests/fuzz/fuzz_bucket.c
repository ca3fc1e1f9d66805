/* A token bucket under any use: rate and burst, then takes at moments. What is refused is given
 * after the time that was told, and nobody gets more than the bucket can have had. */
#include "base/bucket.h"
#include "fuzz_json.h"

#define HEAD_BYTES 8
#define STEP_BYTES 6

static uint64_t number(const uint8_t *bytes, size_t n) {
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | bytes[i];
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bucket b;
    int64_t now = 1, taken = 0;
    if (size < HEAD_BYTES)
        return 0;
    int64_t rate = (int64_t)number(data, 3), burst = (int64_t)number(data + 3, 5);
    bucket_init(&b, rate, burst, now);
    for (size_t i = HEAD_BYTES; i + STEP_BYTES <= size; i += STEP_BYTES) {
        int64_t n = (int64_t)number(data + i, 3);
        now += (int64_t)number(data + i + 3, 3);
        int64_t wait_ms = bucket_take(&b, n, now);
        must_hold(wait_ms >= 0 && b.balance <= burst * 1000);
        if (wait_ms > 0) {
            now += wait_ms;
            must_hold(bucket_take(&b, n, now) == 0);
        }
        taken += n;
        /* The last take may have gone into what is yet to come, as far as it was over the burst. */
        int64_t over = n > burst ? n - burst : 0;
        must_hold(rate == 0 || (taken - burst - over) * 1000 <= (now - 1) * rate);
    }
    return 0;
}
