/* How many sessions a user has that have not ended: counted in PostgreSQL, so about, and not again
 * for some seconds. While PostgreSQL is away everybody may create. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "common/db.h"

struct quota;

struct quota *quota_new(struct db *db, int64_t max_sessions);
struct quota *quota_free(struct quota *q);

typedef void quota_done_fn(void *arg, bool may_create);
/* Counts one more session of the user's. done is called once, now or later. */
void quota_take(struct quota *q, const char *user_id, quota_done_fn *done, void *arg);
