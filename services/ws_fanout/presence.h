/* Which devices are in which sessions by way of this instance: counts connections, writes the first
 * and the last of each device to Redis (common/store_presence.h), keeps the instance alive there,
 * and asks the engine to tell device_joined. Contract sections 4 and 6. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/cleanup.h"
#include "common/app.h"
#include "common/commander.h"
#include "common/store.h"
#include "proto/fault.h"

struct presence;
struct presence_device; /* a device in a session on this instance, shared by its connections */
struct connection;
struct subscription;

struct presence_options {
    const struct app *app;
    struct store *store;
    struct commander *commander;
};

enum presence_answer {
    PRESENCE_ADMITTED,
    PRESENCE_ABSENT,  /* the session is not in Redis: once it was loaded, enter again */
    PRESENCE_REFUSED, /* fault says why: not_found, device_removed, too_many_devices, unavailable */
};

struct presence *presence_new(const struct presence_options *options);
/* Nothing is begun any more; what is noted already is. */
void presence_stop(struct presence *p);
struct presence *presence_free(struct presence *p);
/* Departures not yet noted in Redis: a drain waits for them. */
size_t presence_n_departing(const struct presence *p);

/* A subscription's device asks to be in its session: hub_admit (hub.h) follows, never before this
 * returns, unless presence_leave comes first. Without a device (a reader of the event stream that
 * has none) it is admitted in the same way and counted nowhere. */
void presence_enter(struct presence *p, struct subscription *s);
/* The subscription ends, entered or not. */
void presence_leave(struct presence *p, struct subscription *s);
/* The connection's device has another name or platform: its sessions are told. */
void presence_describe(struct presence *p, const struct connection *c);
/* Now and then (a quarter of a second). */
void presence_tick(struct presence *p);
/* The store came (back). */
void presence_store_up(struct presence *p);
