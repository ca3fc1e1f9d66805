/* Private to doctor*.c: what is looked at, of one service. is_first: no service before it has the
 * same server, so that what is said of the server itself is said once. */
#pragma once

#include <stdbool.h>

#include "common/config.h"
#include "tools/handoff/report.h"

void doctor_rabbitmq(struct report *r, const struct config *c, bool is_first);
void doctor_redis(struct report *r, const struct config *c, bool is_first);
void doctor_postgresql(struct report *r, const struct config *c, bool is_first);
/* What the machine has: open files; keys for tokens. */
void doctor_here(struct report *r, const struct config *c);

/* "7.0.15" is at least major.minor. */
bool doctor_is_since(const char *version, int major, int minor);
/* Says how a server's clock (ms, asked just now) is off ours. */
void doctor_clock(struct report *r, const char *check, int64_t server_ms);
