/* Keeping latencies and reading percentiles off them (nearest rank); see samples.h. */
#include "tests/bench/samples.h"

#include <time.h>

#include "base/buf.h"

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void samples_add(struct samples *s, uint64_t ns) {
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4096;
        s->ns = must_realloc(s->ns, s->cap * sizeof(*s->ns));
    }
    s->ns[s->n++] = ns;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static json_t *percentile(const struct samples *s, unsigned percent) {
    if (s->n == 0)
        return json_null();
    size_t rank = (s->n * percent + 99) / 100;
    return json_real((double)s->ns[rank ? rank - 1 : 0] / 1000.0);
}

json_t *samples_summary(struct samples *s) {
    if (s->n)
        qsort(s->ns, s->n, sizeof(*s->ns), compare);
    return json_pack("{sI so so so so}", "n", (json_int_t)s->n, "p50", percentile(s, 50), "p95",
                     percentile(s, 95), "p99", percentile(s, 99), "max", percentile(s, 100));
}

void samples_done(struct samples *s) {
    free(s->ns);
    *s = (struct samples){0};
}
