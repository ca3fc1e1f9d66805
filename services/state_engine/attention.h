/* What must happen later to a session, found by any engine that lives: publishing what was saved
 * and not confirmed, telling who came and went, looking after sessions of instances that died.
 * Armed before a save, looked at when due. Contract section 6. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/app.h"
#include "common/store_batch.h"
#include "services/state_engine/presence.h"
#include "services/state_engine/publisher.h"

struct attention;

struct attention *attention_new(struct app *app, struct store_batch *store,
                                struct publisher *publisher, struct presence *presence);
struct attention *attention_free(struct attention *a);

/* batch_context::arm: 0 while the session is known to be armed soon enough. */
int64_t attention_arm(void *arg, const char *session_id, int64_t now);
/* Forgets what was armed: Redis was lost. */
void attention_forget(struct attention *a);
/* The same for one session, of which Redis refused to note something. */
void attention_distrust(struct attention *a, const char *session_id);
/* Once a second: looks at what is due, for a bounded time. Publishes through the publisher (the
 * caller corks). Negative: Redis did not answer. */
MUSTCHECK int attention_tick(struct attention *a, int64_t now);
