/* The service's parts, put together and taken apart. */
#include "services/session_api/api.h"

#include <string.h>

#define STATEMENT_TIMEOUT_MS 2000
/* Reads of up to a MiB each that Redis is asked for at once, and for one user. */
#define READS_MAX 32
#define READS_MAX_OF_USER 8
/* A start takes some hundred milliseconds; who comes before its end is better refused the
 * connection, which every proxy takes to another instance, than answered 503. With a dependency
 * away 503 is what there is to say. */
#define OPEN_ANYWAY_MS 2000

static void on_store_up(void *arg) {
    struct api *api = arg;
    health_report(api->redis, api->app->log, true, "");
}

static void on_store_down(void *arg, const char *why) {
    struct api *api = arg;
    health_report(api->redis, api->app->log, false, why);
}

static void on_db_up(void *arg) {
    struct api *api = arg;
    health_report(api->postgresql, api->app->log, true, "");
}

static void on_db_down(void *arg, const char *why) {
    struct api *api = arg;
    health_report(api->postgresql, api->app->log, false, why);
}

static int fail(struct api *api, int err, const char *what, const char *hint) {
    log_error(api->app->log, "part_failed", "A part of the service cannot start.",
              LOG_TEXT("part", what), LOG_TEXT("err", strerror(-err)), LOG_TEXT("hint", hint));
    return err;
}

static int start_identity(struct api *api) {
    int err = identity_new(&api->identity, api->app);
    if (!err)
        api->auth = identity_auth(api->identity);
    return err;
}

static int start_store(struct api *api) {
    static const struct store_callbacks callbacks = {on_store_up, on_store_down};
    int err = store_new(&api->store, api->app->loop, api->app->config->redis_url, &callbacks, api);
    if (err < 0)
        return fail(api, err, "redis", "HANDOFF_REDIS_URL");
    store_follow_url(api->store, &api->app->config->redis_url);
    store_measure(api->store, metrics_answers(api->app->metrics, "redis"));
    return 0;
}

/* The health is that of the first connection: they come and go together. */
static int start_db(struct api *api) {
    static const struct db_callbacks callbacks = {on_db_up, on_db_down};
    const struct config *c = api->app->config;
    uv_loop_t *loop = api->app->loop;
    int err =
        db_new(&api->db, loop, c->database_url, c->instance, STATEMENT_TIMEOUT_MS, &callbacks, api);
    if (!err)
        err = db_new(&api->past_db, loop, c->database_url, c->instance, STATEMENT_TIMEOUT_MS, NULL,
                     NULL);
    if (err < 0)
        return fail(api, err, "postgresql", "HANDOFF_DATABASE_URL");
    db_require_schema(api->db);
    db_require_schema(api->past_db);
    db_follow_url(api->db, &c->database_url);
    db_measure(api->db, metrics_answers(api->app->metrics, "postgresql"));
    db_measure(api->past_db, metrics_answers(api->app->metrics, "postgresql"));
    db_follow_url(api->past_db, &c->database_url);
    api->quota = quota_new(api->db, c->max_sessions_per_user);
    return 0;
}

static int start_commander(struct api *api) {
    const struct commander_options options = {.loop = api->app->loop,
                                              .config = api->app->config,
                                              .store = api->store,
                                              .log = api->app->log,
                                              .metrics = api->app->metrics,
                                              .health = health_add(api->app->health, "rabbitmq")};
    int err = commander_new(&api->commander, &options);
    return err < 0 ? fail(api, err, "rabbitmq", "HANDOFF_AMQP_URL") : 0;
}

static int start_console(struct api *api) {
    int err = console_new(&api->console, api->app->config);
    return err < 0 ? fail(api, err, "console",
                          "HANDOFF_PUBLIC_WS_URL: ws:// or wss://, a name or an IPv4 address, "
                          "a port and a path if need be")
                   : 0;
}

static int start_http(struct api *api) {
    const struct config *c = api->app->config;
    struct metrics *m = api->app->metrics;
    const struct http_options options = {
        .listen = c->listen,
        .max_body_bytes = (size_t)c->max_body_bytes,
        .request_timeout_ms = c->request_timeout_ms,
        .idle_timeout_ms = c->idle_timeout_ms,
        .max_buffer_bytes = (size_t)c->max_buffer_bytes,
        .keeps_body = routes_keeps_body,
        .max_connections = (unsigned)c->max_connections,
        .opens_later = true,
        .connections = metrics_gauge(m, "handoff_http_connections", NULL, "Connections open."),
        .answer_bytes = metrics_gauge(m, "handoff_http_answer_bytes", NULL,
                                      "Bytes of answers that clients have not taken yet."),
    };
    metric_set(metrics_gauge(m, "handoff_connections_max", NULL, "Connections that may be open."),
               (double)c->max_connections);
    metric_set(metrics_gauge(m, "handoff_http_answer_bytes_limit", NULL,
                             "From so many on requests are refused."),
               (double)c->max_buffer_bytes);
    int err = http_new(&api->http, api->app->loop, &options, routes_on_request, api);
    return err < 0 ? fail(api, err, "http", "HANDOFF_API_LISTEN: is the port free?") : 0;
}

/* ---- opening ---- */

static void on_timer_closed(uv_handle_t *timer) {
    free(timer);
}

static void forget_timer(struct api *api) {
    if (api->open_timer)
        uv_close((uv_handle_t *)TAKE_PTR(api->open_timer), on_timer_closed);
}

static void open_http(void *arg) {
    struct api *api = arg;
    forget_timer(api);
    int err = api->http ? http_open(api->http) : 0;
    if (err < 0) {
        (void)fail(api, err, "http", "HANDOFF_API_LISTEN: is the port free?");
        app_fail(api->app);
    }
}

static void on_open_timer(uv_timer_t *timer) {
    open_http(timer->data);
}

static void open_when_ready(struct api *api) {
    api->open_timer = must_alloc(sizeof(*api->open_timer));
    uv_timer_init(api->app->loop, api->open_timer);
    api->open_timer->data = api;
    uv_timer_start(api->open_timer, on_open_timer, OPEN_ANYWAY_MS, 0);
    health_when_reached(api->app->health, open_http, api);
}

int api_start(struct app *app, void **ret_self) {
    struct api *api = must_alloc(sizeof(*api));
    api->app = app;
    *ret_self = api; /* api_stop takes it half-built, too */
    api->redis = health_add(app->health, "redis");
    api->postgresql = health_add(app->health, "postgresql");
    table_init(&api->loaders);
    turns_init(&api->turns, READS_MAX, READS_MAX_OF_USER);
    api->metrics = call_metrics_new(app->metrics);
    handoff_init(api);
    limits_init(&api->limits, app->config, app->metrics);
    char random[UUID_LEN + 1];
    uuid_v4(random);
    memcpy(api->request_prefix, random, sizeof(api->request_prefix) - 1);
    api->docs = docs_new(app->config);
    int err;
    if ((err = start_identity(api)) || (err = start_store(api)) || (err = start_db(api)) ||
        (err = start_commander(api)) || (err = start_console(api)))
        return err;
    if ((err = start_http(api)) == 0)
        open_when_ready(api);
    return err;
}

void api_request_gone(struct api *api) {
    if (!api->http)
        return;
    call_metrics_set_in_flight(api->metrics, http_n_in_hand(api->http));
}

void api_reload(void *self, struct auth *keys) {
    struct api *api = self;
    identity_reload(api->identity, keys);
}

static void drained(void *self) {
    struct api *api = self;
    app_drained(api->app);
}

void api_drain(void *self) {
    struct api *api = self;
    http_quiesce(api->http, drained, api);
}

/* The parts that owe answers first: what they still have in hand is answered as they end. */
void api_stop(void *self) {
    struct api *api = self;
    health_when_reached(api->app->health, NULL, NULL);
    forget_timer(api);
    turns_close(&api->turns);
    commander_free(api->commander);
    store_free(api->store);
    db_free(api->db);
    db_free(api->past_db);
    http_free(TAKE_PTR(api->http));
    identity_free(api->identity);
    quota_free(api->quota);
    console_free(api->console);
    docs_free(api->docs);
    limits_done(&api->limits);
    users_done(&api->loaders);
    turns_done(&api->turns);
    call_metrics_free(api->metrics);
    call_free_spares(api);
    free(api);
}
