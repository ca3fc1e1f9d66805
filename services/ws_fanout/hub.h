/* Sessions and who watches them: joins without a race, events in order and without gaps to every
 * watcher, resynchronisation after losses. Owns the bus connection that events come by. Contract
 * section 4. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/cleanup.h"
#include "common/app.h"
#include "common/commander.h"
#include "common/store.h"
#include "proto/session.h"
#include "services/ws_fanout/presence.h"

struct hub;
struct connection;
struct frame;
struct subscription;

struct hub_options {
    const struct app *app;
    struct store *store;
    struct commander *commander;
    struct presence *presence;
};

/* Connects to the broker by itself. -EINVAL for a url that is none. */
MUSTCHECK int hub_new(struct hub **ret, const struct hub_options *options);
/* Bindings that nobody needs go at once from now on: dropping a queue with thousands of them would
 * keep the broker busy for seconds. */
void hub_drain(struct hub *h);
/* No bus any more, and no reads or commands are begun: before the store and the commander are
 * freed. */
void hub_stop(struct hub *h);
/* After all connections have left and the store and the commander are freed. */
struct hub *hub_free(struct hub *h);

bool hub_is_up(const struct hub *h);
/* The store came (back): what waits for it goes on. */
void hub_store_up(struct hub *h);
/* Now and then (a quarter of a second): retries, bindings nobody needs, and whether the loop stood
 * still so long that events may have been lost. */
void hub_tick(struct hub *h);

/* Watches a session; state_sync, or subscribed and what follows the position since (NULL: none), or
 * error follows. Again for one that is watched: the same again. id: the client's, "" without. */
void hub_subscribe(struct hub *h, struct connection *c, const char *session_id,
                   const struct position *since, const char *id);
/* Answers unsubscribed in any case. */
void hub_unsubscribe(struct hub *h, struct connection *c, const char *session_id, const char *id);
/* The connection ends. */
void hub_leave(struct hub *h, struct connection *c);

/* The answer to presence_enter; f: why it was refused, NULL otherwise. */
void hub_admit(struct subscription *s, enum presence_answer answer, const struct fault *f);

/* The role by which the connection has the session; none while it does not have it (yet). */
enum session_role hub_role(const struct connection *c, const char *session_id);

/* A message of this subscription's was dropped from its connection's queue. f: borrowed. */
void hub_dropped(struct subscription *s, struct frame *f);
/* The connection's queue has drained: what was dropped is made good, one session at a time. */
void hub_resume(struct hub *h, struct connection *c);
/* The connection's rights have changed: each of its sessions is looked at again. */
void hub_recheck(struct hub *h, struct connection *c);
