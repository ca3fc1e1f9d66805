/* What was found, a line each: as `handoff doctor` and `handoff config` tell it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum report_state { REPORT_OK, REPORT_WARNING, REPORT_FAILED, REPORT_N_STATES };

struct report {
    bool json; /* an object on each line */
    size_t n[REPORT_N_STATES];
};

/* check: what was looked at, "redis.version"; service: for whom, or "": for all; todo: what to do
 * about it, "" where it is fine. */
void report_add(struct report *r, enum report_state state, const char *check, const char *service,
                const char *todo, const char *format, ...) __attribute__((format(printf, 6, 7)));
/* The sum; then the exit code: 1 when something failed. */
int report_end(const struct report *r);
