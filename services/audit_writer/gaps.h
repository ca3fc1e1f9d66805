/* Versions that are missing in the trail. Several engines and repeated deliveries bring events out
 * of order, so a missing version is only suspected, and looked for again 2 s later. What is still
 * missing then is taken from the delta window in Redis and written as if it had come; what Redis
 * has not got either is told, once. session_gaps has all of them, from the transaction that found
 * them missing, so that whoever writes next goes on with them; two that look for the same one do
 * no harm. Loop thread only. */
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
/* The schema is there: goes on with what session_gaps has, now, and with what nobody has looked
 * after for 5 s from then on. Again with each connection. */
void gaps_begin(struct gaps *g);
/* Looks for no more gaps. */
void gaps_stop(struct gaps *g);
/* After db_free: what was asked has been answered. */
struct gaps *gaps_free(struct gaps *g);
DEFINE_CLEANUP(struct gaps *, gaps_free)

/* That version of the session had no row although a later one has, and session_gaps has one for it.
 * More than 4096 at a time wait there. */
void gaps_suspect(struct gaps *g, const char *session_id, struct position p);
