/* Versions that are missing in the trail. Several engines and repeated deliveries bring events out
 * of order, so a missing version is only suspected, and looked for again 2 s later. What is still
 * missing then is taken from the delta window in Redis and written as if it had come; what Redis
 * has not got either is told, once. Loop thread only. */
#pragma once

#include "base/cleanup.h"
#include "common/app.h"
#include "common/bus.h"
#include "common/db.h"
#include "proto/session.h"

struct gaps;

struct gaps_callbacks {
    /* Whether more events may be given now. */
    bool (*has_room)(void *arg);
    /* An event of the window, to be written; borrowed, its tag is 0. */
    void (*refill)(void *arg, const struct bus_message *m);
};

/* db: borrowed. Redis is a dependency that the service is ready without. */
MUSTCHECK int gaps_new(struct gaps **ret, struct app *app, struct db *db,
                       const struct gaps_callbacks *callbacks, void *arg);
/* Looks for no more gaps. */
void gaps_stop(struct gaps *g);
/* After db_free: what was asked has been answered. */
struct gaps *gaps_free(struct gaps *g);
DEFINE_CLEANUP(struct gaps *, gaps_free)

/* That version of the session had no row although a later one has. What is known already, or more
 * than fits (4096), is no new gap. */
void gaps_suspect(struct gaps *g, const char *session_id, struct position p);
