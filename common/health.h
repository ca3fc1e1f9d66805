/* What /ready says: every dependency's state, and whether the service drains. Contract section 8.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "common/log.h"
#include "common/metrics.h"

struct health;
struct health_dependency; /* lives as long as its health */

struct health *health_new(void);
struct health *health_free(struct health *h);

/* name: a literal: "rabbitmq", "redis", "postgresql". Starts as not reached. */
struct health_dependency *health_add(struct health *h, const char *name);
/* One that the service is ready without: degraded, never starting. */
struct health_dependency *health_add_optional(struct health *h, const char *name);
/* detail: for a person, "" when up; copied. Returns whether the state changed (for the log record).
 */
bool health_set(struct health_dependency *d, bool up, const char *detail);
/* The same, with one log record a change: dependency_up, or dependency_lost with why and a hint. */
void health_report(struct health_dependency *d, struct log *log, bool up, const char *why);
/* fn is called once, as soon as each dependency was reached once; at once where that is so. */
void health_when_reached(struct health *h, void (*fn)(void *arg), void *arg);
bool health_is_up(const struct health_dependency *d);
void health_drain(struct health *h);

/* 200 or 503: 503 until each dependency was reached once, and while draining. */
int health_ready_status(const struct health *h);
/* Sets handoff_dependency_up and handoff_draining to what is so now. */
void health_measure(const struct health *h, struct metrics *m);
/* {"status":"ready"|"degraded"|"starting"|"draining","dependencies":{"redis":{"up":true,…}}} */
void health_print(const struct health *h, struct buf *out);
