/* How many sessions a user has that have not ended: counted in PostgreSQL, so about. Nobody waits
 * for the count: it is asked for every few seconds while a user creates, and what was counted last
 * decides. Who was not counted yet, and everybody while PostgreSQL is away, may create. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"

struct quota;

struct quota *quota_new(struct db *db, int64_t max_sessions);
/* After the db was freed: it may still owe counts. */
struct quota *quota_free(struct quota *q);

/* Whether the user may create a session; if so, it counts as one more. */
bool quota_take(struct quota *q, const char *user_id);
