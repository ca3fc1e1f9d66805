/* What must happen later to a session, found by any engine that lives: publishing what was saved
 * and not confirmed, telling who came and went, looking after sessions of instances that died, idle
 * and expiry, going cold. Armed before a save, looked at when due; after a look the entry stands at
 * the next moment that matters. Contract section 6. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/app.h"
#include "common/store_batch.h"
#include "services/state_engine/cooling.h"
#include "services/state_engine/presence.h"
#include "services/state_engine/publisher.h"

struct attention;

/* Whose commands the looks give. give: a COMMAND_DUE for the session, for that reason, which is not
 * begun after lease_until; false: not now. */
struct attention_owner {
    bool (*give)(void *arg, const char *session_id, enum due_what what, int64_t lease_until);
    void *arg;
};

struct attention *attention_new(struct app *app, struct store_batch *store,
                                struct publisher *publisher, struct presence *presence,
                                struct cooling *cooling, const struct attention_owner *owner);
struct attention *attention_free(struct attention *a);

/* batch_context::arm: 0 while the session is known to be armed soon enough. */
int64_t attention_arm(void *arg, const char *session_id, int64_t now, int64_t need);
/* Forgets what was armed: Redis was lost. */
void attention_forget(struct attention *a);
/* The same for one session, of which Redis refused to note something. */
void attention_distrust(struct attention *a, const char *session_id);
/* A given command found no such session, nowhere: its entry goes, unless somebody armed it. */
void attention_gone(struct attention *a, const char *session_id, int64_t lease_until);
/* Once a second: reads what is due within SCHEDULE_AHEAD_MS, and sees to what is done once a
 * second. Negative: Redis did not answer. */
MUSTCHECK int attention_tick(struct attention *a, int64_t now);
/* When attention_run has something to look at (ms, store time; perhaps past); 0: not before
 * something is armed or the next tick, or the broker takes no more. */
int64_t attention_next(const struct attention *a);
/* Looks at some of what is due, the earliest first; publishes through the publisher (the caller
 * corks). Negative: Redis did not answer. */
MUSTCHECK int attention_run(struct attention *a, int64_t now);
