/* The way to the collector; see trace_export.h. What is under way stays the same text until the
 * collector took it or was asked often enough: a retry is then the same request again. */
#include "common/trace_export.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "common/app.h"
#include "common/fetch.h"
#include "common/jwks_url.h"
#include "common/otlp.h"

#define PATH "/v1/traces"
#define WAIT_MS 1000u
#define BATCH_SPANS 512
#define WAITING_SPANS_MAX 4096
#define WAITING_BYTES_MAX (4u << 20)
#define ANSWER_BYTES_MAX (64u << 10)
#define TRIES_MAX 5 /* about half a minute */
#define RETRY_FIRST_S 1
#define RETRY_MOST_S 30
#define FLUSH_MS 2000u

struct trace_export {
    struct app *app;
    char *url; /* owned */
    struct fetch *fetch;
    uv_timer_t timer;   /* the next batch, or try; ending: until when */
    struct buf waiting; /* spans, joined by commas */
    size_t n_waiting;
    struct buf request; /* under way, or to be tried again; empty: none */
    size_t n_sending;
    unsigned n_tries; /* of it */
    bool is_lost;     /* the last try failed, and the log says so */
    bool is_ending;
    struct metric *n_exported, *n_dropped, *n_refused, *waiting_metric;
};

int trace_export_url(const char *url, char **ret) {
    return fetch_url_with_path(url, PATH, ret);
}

/* ---- the end ---- */

static void free_when_closed(uv_handle_t *timer) {
    struct trace_export *e = timer->data;
    buf_done(&e->waiting);
    buf_done(&e->request);
    free(e->url);
    free(e);
}

static void end(struct trace_export *e) {
    e->fetch = fetch_free(e->fetch);
    uv_close((uv_handle_t *)&e->timer, free_when_closed);
}

static void on_flush_over(uv_timer_t *timer) {
    end(timer->data);
}

/* ---- batches ---- */

static void on_timer(uv_timer_t *timer);

static void count_waiting(struct trace_export *e) {
    metric_set(e->waiting_metric, (double)(e->n_waiting + e->n_sending));
}

static void forget_request(struct trace_export *e, struct metric *counter, size_t n) {
    metric_add(counter, (double)n);
    buf_done(&e->request);
    e->n_sending = 0;
    count_waiting(e);
}

static void send_request(struct trace_export *e) {
    e->n_tries++;
    if (fetch_begin(e->fetch, e->request.data, e->request.len) == 0)
        return;
    forget_request(e, e->n_refused, e->n_sending);
    if (!e->is_ending && e->n_waiting > 0)
        uv_timer_start(&e->timer, on_timer, WAIT_MS, 0);
}

static void begin_request(struct trace_export *e) {
    const struct config *c = e->app->config;
    otlp_print_request(c->service_name, c->instance, &e->waiting, &e->request);
    buf_done(&e->waiting);
    e->n_sending = e->n_waiting;
    e->n_waiting = 0;
    e->n_tries = 0;
    send_request(e);
}

/* What comes next, when nothing is under way. */
static void go_on(struct trace_export *e) {
    if (e->n_waiting > 0 && (e->is_ending || e->n_waiting >= BATCH_SPANS))
        begin_request(e);
    else if (e->is_ending)
        end(e);
    else if (e->n_waiting > 0)
        uv_timer_start(&e->timer, on_timer, WAIT_MS, 0);
}

static void on_timer(uv_timer_t *timer) {
    struct trace_export *e = timer->data;
    if (e->n_sending > 0)
        send_request(e);
    else if (e->n_waiting > 0)
        begin_request(e);
}

void trace_export_add(struct trace_export *e, const struct span *s) {
    if (e->n_waiting == WAITING_SPANS_MAX || e->waiting.len > WAITING_BYTES_MAX) {
        metric_add(e->n_dropped, 1);
        return;
    }
    if (e->waiting.len > 0)
        buf_putc(&e->waiting, ',');
    otlp_print_span(s, &e->waiting);
    e->n_waiting++;
    count_waiting(e);
    if (e->n_sending == 0 && (e->n_waiting == 1 || e->n_waiting == BATCH_SPANS))
        go_on(e);
}

/* ---- answers ---- */

/* What OTLP/HTTP has a client try again. */
static bool may_try_again(const struct fetch_answer *a) {
    return a->error || a->status == 429 || a->status == 502 || a->status == 503 || a->status == 504;
}

static uint64_t wait_ms(const struct trace_export *e, const struct fetch_answer *a) {
    uint64_t s = (uint64_t)RETRY_FIRST_S << (e->n_tries - 1);
    if (a->retry_after_s > 0)
        s = (uint64_t)a->retry_after_s;
    return 1000 * (s < RETRY_MOST_S ? s : RETRY_MOST_S);
}

static void log_lost(struct trace_export *e, const struct fetch_answer *a) {
    char status[32];
    snprintf(status, sizeof(status), "it answers %d", a->status);
    if (!e->is_lost)
        log_warn(e->app->log, "collector_lost", "The collector does not take traces.",
                 LOG_TEXT("err", a->error ? a->error : status),
                 LOG_TEXT("hint", "look at HANDOFF_OTLP_URL, and at the collector"));
    e->is_lost = true;
}

static void fail(struct trace_export *e, const struct fetch_answer *a) {
    log_lost(e, a);
    if (!e->is_ending && may_try_again(a) && e->n_tries < TRIES_MAX) {
        uv_timer_start(&e->timer, on_timer, wait_ms(e, a), 0);
        return;
    }
    forget_request(e, e->n_refused, e->n_sending);
    if (e->is_ending)
        end(e);
    else
        go_on(e);
}

static void succeed(struct trace_export *e, const struct fetch_answer *a) {
    _cleanup_(freep) char *why = NULL;
    size_t n_rejected = (size_t)otlp_read_rejected(a->body, a->body_len, &why);
    if (n_rejected > e->n_sending)
        n_rejected = e->n_sending;
    if (e->is_lost)
        log_info(e->app->log, "collector_back", "The collector takes traces again.");
    e->is_lost = false;
    if (n_rejected > 0)
        log_warn(e->app->log, "spans_rejected", "The collector did not take all of a batch.",
                 LOG_NUMBER("n", (int64_t)n_rejected), LOG_TEXT("err", why ? why : ""));
    metric_add(e->n_refused, (double)n_rejected);
    forget_request(e, e->n_exported, e->n_sending - n_rejected);
    go_on(e);
}

static void on_answer(void *arg, const struct fetch_answer *a) {
    if (!a->error && a->status / 100 == 2)
        succeed(arg, a);
    else
        fail(arg, a);
}

/* ---- the whole ---- */

static void make_metrics(struct trace_export *e) {
    static const char name[] = "handoff_spans_total";
    static const char help[] = "Steps of sampled traces by what became of them.";
    struct metrics *m = e->app->metrics;
    e->n_exported = metrics_counter(m, name, "result=\"exported\"", help);
    e->n_dropped = metrics_counter(m, name, "result=\"dropped\"", help);
    e->n_refused = metrics_counter(m, name, "result=\"refused\"", help);
    e->waiting_metric =
        metrics_gauge(m, "handoff_spans_waiting", NULL, "Steps that wait for the collector.");
}

int trace_export_new(struct trace_export **ret, struct app *app) {
    const struct config *c = app->config;
    _cleanup_(freep) char *url = NULL;
    *ret = NULL;
    if (!*c->otlp_url)
        return 0;
    int err = trace_export_url(c->otlp_url, &url);
    if (err < 0)
        return err;
    struct trace_export *e = must_alloc(sizeof(*e));
    *e = (struct trace_export){.app = app, .url = url};
    const struct fetch_options options = {.loop = app->loop,
                                          .url = url,
                                          .ca_file = "",
                                          .authorization = c->otlp_authorization,
                                          .is_direct = jwks_url_is_loopback(url),
                                          .max_answer_bytes = ANSWER_BYTES_MAX,
                                          .done = on_answer,
                                          .arg = e};
    err = fetch_new(&e->fetch, &options);
    if (err < 0) {
        free(e);
        return err;
    }
    TAKE_PTR(url);
    uv_timer_init(app->loop, &e->timer);
    e->timer.data = e;
    make_metrics(e);
    *ret = e;
    return 0;
}

struct trace_export *trace_export_free(struct trace_export *e) {
    if (!e)
        return NULL;
    e->is_ending = true;
    if (!fetch_is_busy(e->fetch) && (e->is_lost || e->n_waiting == 0)) {
        end(e);
        return NULL;
    }
    uv_timer_start(&e->timer, on_flush_over, FLUSH_MS, 0);
    if (!fetch_is_busy(e->fetch))
        go_on(e);
    return NULL;
}
