/* Who is in a session, told: device_joined and device_left of what ws_fanout and requests have left
 * in Redis (common/store_presence.h). The engine alone judges it, on a COMMAND_PRESENCE and on
 * every look of attention.c; what it tells is leased in Redis until the broker has confirmed it,
 * and told again, under the same message id, when the engine dies before. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/app.h"
#include "common/store_presence.h"
#include "services/state_engine/job.h"
#include "services/state_engine/publisher.h"

struct presence;

#define PRESENCE_MAX_TOGETHER                                                                      \
    32 /* sessions; each may have PRESENCE_MAX_DUE devices to tell about */

struct presence *presence_new(struct app *app, struct store_batch *store,
                              struct publisher *publisher);
struct presence *presence_free(struct presence *p);

/* Judges up to PRESENCE_MAX_TOGETHER sessions and publishes what has become of their devices (the
 * caller corks). deliveries[i]: what is acknowledged after session i's events are confirmed; NULL,
 * or all of it: nothing. The caller does store_presence_done. Negative: Redis was lost. */
MUSTCHECK int presence_judge(struct presence *p, struct store_presence *sessions, size_t n,
                             struct delivery *const *deliveries, int64_t now);
/* publisher_callbacks::told. */
void presence_told(struct presence *p, const char *session_id, const char *device_id,
                   int64_t lease_until);
/* A request of the device was accepted. */
void presence_touch(struct presence *p, const char *session_id, const char *device_id, int64_t now);
/* Writes what was told and touched, in one or two round trips. Negative: Redis was lost. */
MUSTCHECK int presence_flush(struct presence *p, int64_t now);
