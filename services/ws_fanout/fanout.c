/* The service: its parts, made and taken apart, and draining. */
#include "services/ws_fanout/fanout.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/timestamp.h"
#include "services/ws_fanout/events.h"
#include "services/ws_fanout/protocol.h"

#define TICK_MS 250
/* Who is sent away comes back within 2 s, or, of many, so that some 400 a second do: what a
 * handshake and a session's state cost the others stays a part of what they can do. */
#define RETRY_LEAST_MS 100
#define RETRY_SPREAD_LEAST_MS 2000
#define RETRY_SPREAD_MOST_MS 30000
#define RETURNS_PER_SECOND 400

static void leave(struct fanout *f, int64_t now);
static void rebalance(struct fanout *f, int64_t now);

/* ---- the store and the clock ---- */

static void store_up(void *arg) {
    struct fanout *f = arg;
    health_report(f->redis, f->app->log, true, "");
    if (f->presence)
        presence_store_up(f->presence);
    if (f->hub)
        hub_store_up(f->hub);
}

static void store_down(void *arg, const char *why) {
    struct fanout *f = arg;
    health_report(f->redis, f->app->log, false, why);
}

/* Events and commands come by two connections; the broker counts as up when both are. */
static void watch_broker(struct fanout *f) {
    bool up = hub_is_up(f->hub) && commander_is_up(f->commander);
    health_report(f->rabbitmq, f->app->log, up,
                  hub_is_up(f->hub) ? "the connection for commands is away"
                                    : "the connection for events is away");
}

/* The connections have ended, and that their devices left is noted. */
static void drained_when_empty(struct fanout *f) {
    if (f->is_closing && !f->n_connections && !presence_n_departing(f->presence)) {
        f->is_closing = false;
        app_drained(f->app);
    }
}

/* Whose token was signed by a key that was taken away is nobody any more. */
static void look_at_keys(struct fanout *f) {
    uint64_t n = auth_n_demands(f->auth);
    if (n == f->n_key_demands)
        return;
    f->n_key_demands = n;
    int64_t n_closed = 0;
    for (struct connection *c = f->connections, *next; c; c = next) {
        next = c->next; /* a refused stream may end at once */
        if (!c->is_authenticated || connection_is_closing(c) ||
            auth_has_key_of(f->auth, &c->principal))
            continue;
        connection_disown(c);
        n_closed++;
    }
    log_info(f->app->log, "connections_disowned", "Connections whose key is gone were closed.",
             LOG_NUMBER("connections", n_closed));
}

static void tick(uv_timer_t *timer) {
    struct fanout *f = timer->data;
    int64_t now = (int64_t)uv_now(f->app->loop), wall = timestamp_wall_ms();
    deadlines_run(&f->deadlines, now, wall);
    metric_set(f->outbox_bytes_metric, (double)f->waiting.n_bytes);
    watch_broker(f);
    look_at_keys(f);
    presence_tick(f->presence);
    hub_tick(f->hub);
    rebalance(f, now);
    leave(f, now);
    drained_when_empty(f);
}

/* ---- start ---- */

static void make_metrics(struct fanout *f, struct metrics *m) {
    static const char help[] = "Connections that are open.";
    f->websockets_metric = metrics_gauge(m, "handoff_ws_connections", "kind=\"websocket\"", help);
    f->streams_metric = metrics_gauge(m, "handoff_ws_connections", "kind=\"stream\"", help);
    metric_set(metrics_gauge(m, "handoff_connections_max", NULL, "Connections that may be open."),
               (double)f->app->config->max_connections);
    f->outbox_bytes_metric = metrics_gauge(m, "handoff_ws_outbox_bytes", NULL,
                                           "Bytes held for slow connections, in all.");
    metric_set(metrics_gauge(m, "handoff_ws_outbox_bytes_limit", NULL,
                             "From so many on each connection keeps but little."),
               (double)f->app->config->max_outbox_total_bytes);
    f->dropped_metric = metrics_counter(m, "handoff_ws_dropped_total", NULL,
                                        "Messages dropped from full queues of slow connections.");
    f->messages_metric =
        metrics_counter(m, "handoff_ws_messages_total", NULL, "Messages taken from clients.");
    f->refused_metric = metrics_counter(m, "handoff_ws_refused_total", NULL,
                                        "Requests for a WebSocket or a stream refused.");
    f->rate_limited_metric =
        metrics_counter(m, "handoff_ws_rate_limited_total", NULL,
                        "Messages refused because their connection sent too many.");
    f->rebalanced_metric = metrics_counter(m, "handoff_ws_rebalanced_total", NULL,
                                           "Connections sent away by POST /rebalance.");
    f->rebalance_left_metric =
        metrics_gauge(m, "handoff_ws_rebalance_left", NULL,
                      "Connections that a rebalance has still to send away.");
}

static int start_identity(struct fanout *f) {
    int r = identity_new(&f->identity, f->app);
    if (!r)
        f->auth = identity_auth(f->identity);
    return r;
}

static int start_backends(struct fanout *f) {
    const struct config *config = f->app->config;
    static const struct store_callbacks callbacks = {.up = store_up, .down = store_down};
    int r = store_new(&f->store, f->app->loop, config->redis_url, &callbacks, f);
    if (r)
        return r;
    store_follow_url(f->store, &config->redis_url);
    store_measure(f->store, metrics_answers(f->app->metrics, "redis"));
    struct commander_options commander = {.loop = f->app->loop,
                                          .config = config,
                                          .store = f->store,
                                          .log = f->app->log,
                                          .metrics = f->app->metrics};
    r = commander_new(&f->commander, &commander);
    if (r)
        return r;
    struct presence_options presence = {
        .app = f->app, .store = f->store, .commander = f->commander};
    f->presence = presence_new(&presence);
    struct hub_options hub = {
        .app = f->app, .store = f->store, .commander = f->commander, .presence = f->presence};
    return hub_new(&f->hub, &hub);
}

static int start_server(struct fanout *f) {
    const struct config *config = f->app->config;
    struct socket_options options = {
        .listen = config->listen,
        .subprotocol = PROTOCOL_SUBPROTOCOL,
        .max_connections = config->max_connections,
        .max_message_bytes = config->max_message_bytes,
        .ping_after_ms = config->ping_after_ms,
        .pong_timeout_ms = config->pong_timeout_ms,
        .callbacks = {.accept = connection_accept,
                      .request = events_request,
                      .opened = connection_opened,
                      .message = connection_message,
                      .writable = connection_writable,
                      .closed = connection_closed},
        .arg = f,
    };
    int r = socket_server_new(&f->server, f->app->loop, &options);
    if (r)
        log_error(f->app->log, "start_failed", "The WebSocket port cannot be listened on.",
                  LOG_TEXT("listen", config->listen), LOG_TEXT("err", strerror(-r)));
    return r;
}

int fanout_start(struct app *app, void **ret_self) {
    struct fanout *f = must_alloc(sizeof(*f));
    f->app = app;
    table_init(&f->users);
    f->waiting.max_bytes = (size_t)app->config->max_outbox_total_bytes;
    f->rabbitmq = health_add(app->health, "rabbitmq");
    f->redis = health_add(app->health, "redis");
    make_metrics(f, app->metrics);
    uv_timer_init(app->loop, &f->tick);
    f->tick.data = f;
    int r = start_identity(f);
    if (!r)
        r = start_backends(f);
    if (!r)
        r = start_server(f);
    if (r) {
        fanout_stop(f);
        return r;
    }
    uv_timer_start(&f->tick, tick, TICK_MS, TICK_MS);
    log_info(app->log, "listening", "WebSockets and event streams are served.",
             LOG_TEXT("listen", app->config->listen));
    *ret_self = f;
    return 0;
}

/* ---- who comes and who goes ---- */

static void count(struct fanout *f, bool is_stream, int64_t n) {
    f->n_connections += n;
    f->n_streams += is_stream ? n : 0;
    metric_set(f->websockets_metric, (double)(f->n_connections - f->n_streams));
    metric_set(f->streams_metric, (double)f->n_streams);
}

void fanout_entered(struct fanout *f, bool is_stream) {
    count(f, is_stream, 1);
}

void fanout_left(struct fanout *f, bool is_stream) {
    count(f, is_stream, -1);
    drained_when_empty(f);
}

static uint32_t retry_spread_ms(const struct fanout *f) {
    int64_t wanted = f->n_at_drain * 1000 / RETURNS_PER_SECOND;
    return (uint32_t)(wanted < RETRY_SPREAD_LEAST_MS  ? RETRY_SPREAD_LEAST_MS
                      : wanted > RETRY_SPREAD_MOST_MS ? RETRY_SPREAD_MOST_MS
                                                      : wanted);
}

/* Spread, so that not everybody comes back at the same moment. */
void fanout_send_away(struct connection *c) {
    _cleanup_(buf_done) struct buf reason = BUF_NULL;
    uint32_t random = 0;
    if (getrandom(&random, sizeof(random), 0) < 0)
        random = (uint32_t)(uintptr_t)c;
    int64_t retry_after_ms = RETRY_LEAST_MS + random % retry_spread_ms(c->fanout);
    if (c->events) {
        events_send_away(c, retry_after_ms);
        return;
    }
    protocol_print_retry_after(retry_after_ms, &reason);
    connection_close(c, CLOSE_GOING_AWAY, reason.data);
}

static void close_all(void *arg) {
    struct fanout *f = arg;
    f->is_closing = true;
    f->n_at_drain = f->n_connections;
    for (struct connection *c = f->connections, *next; c; c = next) {
        next = c->next; /* a refused stream may end at once */
        fanout_send_away(c);
    }
    drained_when_empty(f);
}

/* ---- rebalancing ---- */

static void send_elsewhere(struct connection *c) {
    c->fanout->n_rebalanced++;
    metric_add(c->fanout->rebalanced_metric, 1);
    fanout_send_away(c);
}

/* It is over, or gives way to another one or to draining. */
static void end_rebalance(struct fanout *f) {
    int64_t n_left = departure_n_left(&f->rebalance, f->connections);
    f->rebalance.is_on = false;
    metric_set(f->rebalance_left_metric, 0);
    log_info(f->app->log, "rebalanced", "Connections were sent elsewhere.",
             LOG_NUMBER("connections", f->n_rebalanced), LOG_NUMBER("left", n_left));
}

static void rebalance(struct fanout *f, int64_t now) {
    if (!f->rebalance.is_on)
        return;
    int64_t n_left = departure_step(&f->rebalance, f->connections, now, send_elsewhere);
    metric_set(f->rebalance_left_metric, (double)n_left);
    if (!n_left)
        end_rebalance(f);
}

static void give_way(struct fanout *f) {
    if (f->rebalance.is_on)
        end_rebalance(f);
}

void fanout_rebalance(void *self, int64_t spread_ms) {
    struct fanout *f = self;
    int64_t now = (int64_t)uv_now(f->app->loop);
    give_way(f);
    departure_begin(&f->rebalance, f->connections, spread_ms, now);
    f->n_rebalanced = 0;
    log_info(f->app->log, "rebalancing", "Connections are sent elsewhere little by little.",
             LOG_NUMBER("connections", f->rebalance.n), LOG_NUMBER("spreadMs", spread_ms));
    rebalance(f, now);
}

/* ---- the end ---- */

static void drain(struct fanout *f) {
    f->leaving.is_on = false;
    f->is_draining = true;
    hub_drain(f->hub);
    commander_drain(f->commander, close_all, f);
}

/* Who is not sent away yet is served on; a signal ends the waiting. */
static void leave(struct fanout *f, int64_t now) {
    if (!f->leaving.is_on)
        return;
    if (!f->app->drain_spread_ms || now >= f->leaving.end_ms ||
        !departure_step(&f->leaving, f->connections, now, fanout_send_away))
        drain(f);
}

void fanout_drain(void *self) {
    struct fanout *f = self;
    socket_server_stop_accepting(f->server);
    give_way(f);
    if (!f->app->drain_spread_ms) {
        drain(f);
        return;
    }
    departure_begin(&f->leaving, f->connections, f->app->drain_spread_ms,
                    (int64_t)uv_now(f->app->loop));
}

void fanout_reload(void *self, struct auth *keys) {
    struct fanout *f = self;
    identity_reload(f->identity, keys);
    look_at_keys(f);
}

static void closed(uv_handle_t *tick_handle) {
    struct fanout *f = tick_handle->data;
    users_done(&f->users);
    deadlines_done(&f->deadlines);
    free(f);
}

void fanout_stop(void *self) {
    struct fanout *f = self;
    f->is_closing = false;
    if (f->hub)
        hub_stop(f->hub);
    if (f->presence)
        presence_stop(f->presence);
    socket_server_free(f->server);
    while (f->connections)
        connection_closed(f->connections);
    commander_free(f->commander);
    store_free(f->store);
    hub_free(f->hub);
    presence_free(f->presence);
    identity_free(f->identity);
    uv_close((uv_handle_t *)&f->tick, closed);
}
