/* Metrics in Prometheus' text format. Names start with handoff_, base units (seconds, bytes);
 * labels are fixed texts of the code, never a client's. Single-threaded: the loop's. */
#pragma once

#include <stdint.h>

#include "base/buf.h"

struct metrics;
struct metric; /* lives as long as its metrics */

struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *m);

/* labels: `code="ok",kind="patch"` or NULL. Asking again for the same name and labels answers the
 * same metric. help and name are borrowed for ever (literals); labels are copied. */
struct metric *metrics_counter(struct metrics *m, const char *name, const char *labels,
                               const char *help);
struct metric *metrics_gauge(struct metrics *m, const char *name, const char *labels,
                             const char *help);
/* Buckets for latencies in seconds: 0.1 ms to 10 s in steps of 1, 2.5, 5. */
struct metric *metrics_histogram(struct metrics *m, const char *name, const char *labels,
                                 const char *help);

/* How long a dependency takes to answer: the same histogram for all, by its name in /ready. */
struct metric *metrics_answers(struct metrics *m, const char *dependency);

void metric_add(struct metric *metric, double n); /* counter, gauge */
void metric_set(struct metric *metric, double value);
void metric_observe(struct metric *metric, double seconds);

void metrics_print(const struct metrics *m, struct buf *out);
