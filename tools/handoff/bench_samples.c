/* Times, and the percentiles of them. */
#include <stdlib.h>

#include "base/buf.h"
#include "tools/handoff/bench_private.h"

void bench_samples_add(struct bench_samples *s, uint64_t us) {
    if (s->n == BENCH_MAX_SAMPLES) {
        s->n_lost++;
        return;
    }
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 1024;
        s->items = must_realloc(s->items, s->cap * sizeof(*s->items));
    }
    s->items[s->n++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

double bench_samples_ms(struct bench_samples *s, double share) {
    if (!s->n)
        return 0;
    qsort(s->items, s->n, sizeof(*s->items), compare);
    size_t i = (size_t)(share * (double)s->n);
    return s->items[i < s->n ? i : s->n - 1] / 1000.0;
}
