/* The admin port and the process's own metrics; see app_admin.h. */
#include "common/app_admin.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/timestamp.h"
#include "common/http.h"
#include "common/version.h"
#include "proto/fault.h"
#include "proto/text.h"

#define LAG_EVERY_MS 500u
#define SPREAD_SECONDS_MAX 3600

struct admin {
    struct app *app; /* borrowed */
    struct http *http;
    uv_timer_t lag_timer;
    uint64_t lag_due_ns;
    struct metric *lag, *resident, *cpu, *dropped;
};

static void add_metrics(struct admin *a) {
    struct metrics *m = a->app->metrics;
    char labels[128];
    snprintf(labels, sizeof(labels), "service=\"%s\",version=\"%s\"", a->app->config->service_name,
             HANDOFF_VERSION);
    metric_set(metrics_gauge(m, "handoff_build_info", labels, "What runs here; always 1."), 1);
    metric_set(metrics_gauge(m, "handoff_process_start_time_seconds", NULL,
                             "Unix time at which the process started."),
               (double)timestamp_wall_ms() / 1000);
    a->resident = metrics_gauge(m, "handoff_process_resident_memory_bytes", NULL,
                                "Memory of the process that is in RAM.");
    a->cpu = metrics_counter(m, "handoff_process_cpu_seconds_total", NULL,
                             "User and system time of the process.");
    a->dropped = metrics_counter(m, "handoff_log_records_dropped_total", NULL,
                                 "Log records that could not be written at once.");
    a->lag = metrics_histogram(m, "handoff_loop_lag_seconds", NULL,
                               "How late the loop came to a timer.");
}

static void measure_process(struct admin *a) {
    long n_resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%*s %ld", &n_resident) == 1)
            metric_set(a->resident, (double)n_resident * (double)sysconf(_SC_PAGESIZE));
        fclose(file);
    }
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metric_set(a->cpu, (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    metric_set(a->dropped, (double)log_n_dropped(a->app->log));
}

static void arm_lag(struct admin *a);

static void on_lag(uv_timer_t *timer) {
    struct admin *a = timer->data;
    uint64_t now = uv_hrtime();
    metric_observe(a->lag, now > a->lag_due_ns ? (double)(now - a->lag_due_ns) / 1e9 : 0);
    arm_lag(a);
}

static void arm_lag(struct admin *a) {
    /* The loop's clock is its last wake; lateness counts from now, in finer steps than its 1 ms. */
    uv_update_time(a->app->loop);
    a->lag_due_ns = uv_hrtime() + LAG_EVERY_MS * 1000000ULL;
    uv_timer_start(&a->lag_timer, on_lag, LAG_EVERY_MS, 0);
}

static void answer(struct http_request *request, int status, const char *type, struct buf *body,
                   const char *allow) {
    const char *headers[] = {
        "Content-Type", type, "Cache-Control", "no-store", allow ? "Allow" : NULL, allow, NULL};
    size_t len = body->len;
    struct http_answer a = {
        .status = status, .headers = headers, .body = buf_take(body), .body_len = len};
    http_answer(request, &a);
}

static void refuse(struct http_request *request, enum fault_code code, const char *allow) {
    struct buf body = BUF_NULL;
    buf_puts(&body, "{\"type\":\"about:blank\",\"title\":");
    buf_puts_json(&body, fault_title(code));
    buf_printf(&body, ",\"status\":%d,\"code\":\"%s\"}", fault_http_status(code),
               fault_wire_code(code));
    answer(request, fault_http_status(code), "application/problem+json", &body, allow);
}

static void answer_health(struct admin *a, struct http_request *request) {
    (void)a;
    struct buf body = BUF_NULL;
    buf_puts(&body, "{\"status\":\"ok\"}");
    answer(request, 200, "application/json", &body, NULL);
}

static void answer_ready(struct admin *a, struct http_request *request) {
    struct buf body = BUF_NULL;
    health_print(a->app->health, &body);
    answer(request, health_ready_status(a->app->health), "application/json", &body, NULL);
}

static void answer_metrics(struct admin *a, struct http_request *request) {
    struct buf body = BUF_NULL;
    measure_process(a);
    health_measure(a->app->health, a->app->metrics);
    metrics_print(a->app->metrics, &body);
    answer(request, 200, "text/plain; version=0.0.4; charset=utf-8", &body, NULL);
}

/* ?seconds=: over how long; -1: the request was refused. Never for a page in a browser that happens
 * to reach this port: those say where they come from. */
static int64_t take_spread_ms(struct http_request *request, uint64_t least_seconds) {
    bool is_twice = false;
    uint64_t seconds = 0;
    const char *text = http_query(request, "seconds", &is_twice);
    bool is_number = !text || text_parse_number(text, strlen(text), &seconds);
    bool is_fine =
        is_number && !is_twice && seconds >= least_seconds && seconds <= SPREAD_SECONDS_MAX;
    if (is_fine && !http_header(request, "Origin"))
        return (int64_t)seconds * 1000;
    refuse(request, is_fine ? FAULT_FORBIDDEN : FAULT_INVALID_REQUEST, NULL);
    return -1;
}

static void answer_accepted(struct http_request *request, const char *status) {
    struct buf body = BUF_NULL;
    buf_printf(&body, "{\"status\":\"%s\"}", status);
    answer(request, 202, "application/json", &body, NULL);
}

static void answer_drain(struct admin *a, struct http_request *request) {
    int64_t spread_ms = take_spread_ms(request, 0);
    if (spread_ms < 0)
        return;
    answer_accepted(request, "draining");
    app_drain(a->app, spread_ms, "POST /drain");
}

static void answer_rebalance(struct admin *a, struct http_request *request) {
    int64_t spread_ms = take_spread_ms(request, 1);
    if (spread_ms < 0)
        return;
    if (app_rebalance(a->app, spread_ms))
        answer_accepted(request, "rebalancing");
    else
        refuse(request, FAULT_UNAVAILABLE, NULL);
}

static bool may_drain(const struct app *app) {
    return app->config->admin_drain;
}

static bool may_rebalance(const struct app *app) {
    return may_drain(app) && app_can_rebalance(app);
}

static enum fault_code fault_of_problem(enum http_problem problem) {
    switch (problem) {
    case HTTP_BODY_TOO_LARGE:
        return FAULT_BODY_TOO_LARGE;
    case HTTP_BUSY:
    case HTTP_BODY_DROPPED:
        return FAULT_UNAVAILABLE;
    default:
        return FAULT_INVALID_REQUEST;
    }
}

static void on_request(void *arg, struct http_request *request, enum http_problem problem) {
    static const struct {
        const char *path;
        void (*answer)(struct admin *a, struct http_request *request);
        bool (*is_there)(const struct app *app); /* of a POST */
    } routes[] = {{"/health", answer_health, NULL},
                  {"/ready", answer_ready, NULL},
                  {"/metrics", answer_metrics, NULL},
                  {"/drain", answer_drain, may_drain},
                  {"/rebalance", answer_rebalance, may_rebalance}};
    const struct admin *a = arg;
    if (problem != HTTP_FINE) {
        refuse(request, fault_of_problem(problem), NULL);
        return;
    }
    const char *method = http_method(request);
    for (size_t i = 0; i < N_ELEMENTS(routes); i++) {
        bool is_post = routes[i].is_there != NULL;
        if (strcmp(http_path(request), routes[i].path) != 0 ||
            (is_post && !routes[i].is_there(a->app)))
            continue;
        if (is_post ? strcmp(method, "POST") != 0
                    : strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
            refuse(request, FAULT_METHOD_NOT_ALLOWED, is_post ? "POST" : "GET, HEAD");
        else
            routes[i].answer(arg, request);
        return;
    }
    refuse(request, FAULT_NOT_FOUND, NULL);
}

int admin_new(struct admin **ret, struct app *app) {
    struct http_options options = {.listen = app->config->admin_listen,
                                   .max_body_bytes = 1024,
                                   .request_timeout_ms = 5000,
                                   .max_connections = 64};
    struct admin *a = must_alloc(sizeof(*a));
    a->app = app;
    int r = http_new(&a->http, app->loop, &options, on_request, a);
    if (r < 0) {
        log_error(app->log, "admin_listen_failed", "The admin port cannot be opened.",
                  LOG_TEXT("address", options.listen), LOG_TEXT("err", strerror(-r)),
                  LOG_TEXT("hint", "Give another address in HANDOFF_ADMIN_LISTEN."));
        free(a);
        return r;
    }
    add_metrics(a);
    uv_timer_init(app->loop, &a->lag_timer);
    a->lag_timer.data = a;
    arm_lag(a);
    *ret = a;
    return 0;
}

static void on_lag_closed(uv_handle_t *handle) {
    free(handle->data);
}

struct admin *admin_free(struct admin *a) {
    if (!a)
        return NULL;
    http_free(a->http);
    uv_close((uv_handle_t *)&a->lag_timer, on_lag_closed);
    return NULL;
}
