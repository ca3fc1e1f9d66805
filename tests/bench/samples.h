/* Latencies as they were measured, none rounded into a bucket: a run's are few enough to keep. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct samples {
    uint64_t *ns;
    size_t n, cap;
};

/* CLOCK_MONOTONIC. */
uint64_t now_ns(void);

void samples_add(struct samples *s, uint64_t ns);
/* {n, p50, p95, p99, max} in microseconds; sorts. Without samples n is 0 and the rest is null. */
json_t *samples_summary(struct samples *s);
void samples_done(struct samples *s);
