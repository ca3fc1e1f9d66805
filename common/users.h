/* How many of something each user has on this instance: connections, or loads under way. table_init
 * makes an empty table. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/table.h"
#include "base/uuid.h"

/* Frees what is left. */
void users_done(struct table *t);
/* One more; false: the user has `most` of them. */
MUSTCHECK bool users_enter(struct table *t, const char *user_id, int64_t most);
/* One less, of a user that entered. */
void users_leave(struct table *t, const char *user_id);
