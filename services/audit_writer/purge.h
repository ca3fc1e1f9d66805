/* Takes away what is left of sessions that were deleted long ago (HANDOFF_PURGE_AFTER), in small
 * steps: whenever the schema is ready, and then once an hour. */
#pragma once

#include "base/cleanup.h"
#include "common/app.h"
#include "common/db.h"

struct purge;

/* db: borrowed. */
struct purge *purge_new(struct app *app, struct db *db);
/* The schema is there: begins. */
void purge_begin(struct purge *p);
void purge_stop(struct purge *p);
/* After db_free: what was asked has been answered. */
struct purge *purge_free(struct purge *p);
DEFINE_CLEANUP(struct purge *, purge_free)
