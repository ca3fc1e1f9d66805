/* What the hub's files share: hub.c (subscribing, leaving), hub_time.c (ticks), hub_bus.c
 * (bindings), hub_event.c (events), hub_sync.c (reads of the store), hub_update.c (what they bring
 * to the watchers). */
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
    struct presence *presence;
    struct bus *bus;
    bool binds_sessions; /* mode `session`, else `all` */
    bool is_bound;       /* mode `all`: the binding is confirmed */
    bool is_draining;
    bool is_stopped;
    struct table rooms;
    struct room *restless; /* rooms that the tick looks at */

    size_t n_reads; /* under way */
    struct room *first_queued, *last_queued;
    int64_t last_tick;
    int64_t
        newest_event; /* ms, the store's time: of those that came since the last tick; 0: none */
    bool is_behind;   /* those that came last were late */
    struct room *first_arrived, *last_arrived;

    double n_subscriptions;
    struct metric *subscriptions_metric;
    struct metric *events_metric;
    struct metric *deliveries_metric;
    struct metric *age_metric;
    struct metric *windows_metric;
    struct metric *resumes_metric;
    struct metric *resyncs_metrics[SYNC_N_REASONS];
};

/* ---- hub.c ---- */
int64_t hub_now(const struct hub *h);
/* Ends a subscription that the session is lost to: `unsubscribed` with the code of why, and to one
 * that waits for an answer `error`. */
void hub_lose(struct subscription *s, const struct fault *why);
/* The same of a deleted session, in the words for one that never was: a stranger learns no more. */
void hub_lose_deleted(struct subscription *s);
/* Asks presence to admit it, again where it was absent; gives up after some tries, and then ends
 * it. */
void hub_enter(struct subscription *s);
/* Frees or starts to linger when nobody is left and nothing is under way. */
void hub_settle(struct room *room);

/* ---- hub_time.c ---- */
/* The tick is to look at it: it waits for a retry, lingers, or has a crowd to tell. */
void hub_note_restless(struct room *room);
/* The tick is not to: before it is freed. */
void hub_note_calm(struct room *room);

/* ---- hub_bus.c ---- */
MUSTCHECK int hub_bus_new(struct hub *h);
/* Whether everything that happens from now on arrives: then the state may be read. While the broker
 * is away also true: positions are compared when it is back. */
bool hub_is_joinable(const struct room *room);
void hub_bind(struct room *room);
void hub_unbind(struct room *room);

/* ---- hub_event.c ---- */
void hub_take_message(struct hub *h, const struct bus_message *m);
/* After all messages that one wake of the bus brought: deltas leave together. */
void hub_end_turn(struct hub *h);
/* Sends what has gathered of devices that came and went, at most once a second. */
void hub_tell_crowd(struct room *room);

/* ---- hub_sync.c ---- */
/* Begins the read that the room's watchers need most, if any and if one may begin. */
void hub_pump(struct room *room);

/* ---- hub_update.c ---- */
/* What a read brought: the session as it is stored, and after a read of the window its deltas.
 * is_believed: the store is right, even if more was seen before. */
void hub_take_state(struct room *room, const struct session *session, bool is_believed);
void hub_take_window(struct room *room, const struct session *session,
                     const struct store_delta *deltas, size_t n, bool is_believed);
