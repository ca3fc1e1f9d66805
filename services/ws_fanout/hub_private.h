/* What the hub's files share: hub.c (subscribing, leaving), hub_bus.c (bindings, events),
 * hub_sync.c (reads of the store that bring watchers up to date). */
#pragma once

#include <stdint.h>

#include "common/bus.h"
#include "services/ws_fanout/connection.h"
#include "services/ws_fanout/hub.h"
#include "services/ws_fanout/room.h"

struct hub {
    const struct app *app;
    struct store *store;
    struct commander *commander;
    struct bus *bus;
    bool binds_sessions; /* mode `session`, else `all` */
    bool is_bound;       /* mode `all`: the binding is confirmed */
    bool is_draining;
    bool is_stopped;
    struct rooms rooms;

    size_t n_reads; /* under way */
    struct room *first_queued, *last_queued;
    int64_t last_tick;

    double n_subscriptions;
    struct metric *subscriptions_metric;
    struct metric *events_metric;
    struct metric *deliveries_metric;
    struct metric *gaps_metric;
    struct metric *resyncs_metrics[SYNC_N_REASONS];
};

/* ---- hub.c ---- */
int64_t hub_now(const struct hub *h);
/* Ends a subscription that the session is lost to: `unsubscribed` with the code of why, or, while
 * it is joining, `error`. */
void hub_lose(struct subscription *s, const struct fault *why);
/* Frees or starts to linger when nobody is left and nothing is under way. */
void hub_settle(struct room *room);

/* ---- hub_bus.c ---- */
MUSTCHECK int hub_bus_new(struct hub *h);
/* Whether everything that happens from now on arrives: then the state may be read. While the broker
 * is away also true: positions are compared when it is back. */
bool hub_is_joinable(const struct room *room);
void hub_bind(struct room *room);
void hub_unbind(struct room *room);

/* ---- hub_sync.c ---- */
/* Begins the read that the room's watchers need most, if any and if one may begin. */
void hub_pump(struct room *room);
