/* The service's parts, as they find each other: made by fanout.c, used by connections. Loop thread
 * only. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "common/app.h"
#include "common/auth.h"
#include "common/commander.h"
#include "common/identity.h"
#include "common/store.h"
#include "common/users.h"
#include "services/ws_fanout/connection.h"
#include "services/ws_fanout/deadlines.h"
#include "services/ws_fanout/departure.h"
#include "services/ws_fanout/hub.h"
#include "services/ws_fanout/presence.h"
#include "services/ws_fanout/socket.h"

struct fanout {
    struct app *app;
    struct identity *identity;
    struct auth *auth;      /* identity's */
    uint64_t n_key_demands; /* of auth, when the connections' keys were looked at last */
    struct store *store;
    struct commander *commander;
    struct presence *presence;
    struct hub *hub;
    struct socket_server *server;
    uv_timer_t tick;

    struct connection *connections; /* list of all, the newest first */
    uint64_t n_accepted;            /* since the start */
    struct deadlines deadlines;     /* of all */
    struct connection_burst burst;
    struct outbox_total waiting; /* for connections that do not take it */
    int64_t n_connections;       /* streams too */
    int64_t n_streams;
    struct table users; /* of those that are authenticated */
    struct departure rebalance;
    int64_t n_rebalanced;     /* sent away by it */
    struct departure leaving; /* before draining; no new ones are taken */
    int64_t n_at_drain;       /* connections, when they were told to go */
    bool is_draining;
    bool is_closing; /* draining, and every connection was told to go */

    struct health_dependency *rabbitmq;
    struct health_dependency *redis;
    struct metric *websockets_metric;
    struct metric *streams_metric;
    struct metric *outbox_bytes_metric;
    struct metric *dropped_metric;
    struct metric *messages_metric;
    struct metric *refused_metric;
    struct metric *rate_limited_metric;
    struct metric *rebalanced_metric;
    struct metric *rebalance_left_metric;
};

/* For app_spec. */
int fanout_start(struct app *app, void **ret_self);
void fanout_drain(void *self);
void fanout_rebalance(void *self, int64_t spread_ms);
void fanout_reload(void *self, struct auth *keys);
void fanout_stop(void *self);
/* A connection has begun, or ended. */
void fanout_entered(struct fanout *f, bool is_stream);
void fanout_left(struct fanout *f, bool is_stream);
/* Closes a connection, which is told when to come back. */
void fanout_send_away(struct connection *c);
