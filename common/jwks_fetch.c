/* Fetching keys; see jwks_fetch.h. */
#include "common/jwks_fetch.h"

#include <string.h>

#include "base/timestamp.h"
#include "common/fetch.h"
#include "common/jwks_url.h"

struct jwks_fetch {
    struct app *app;
    struct jwks *jwks;
    struct fetch *fetch;
    uv_timer_t schedule; /* the next fetch */
    struct health_dependency *health;
    struct metric *keys_metric, *fetched_metric, *succeeded_metric, *failed_metric;
};

/* ---- what came of it ---- */

static void arm(struct jwks_fetch *f);

static void log_ignored(const struct jwks_fetch *f, const struct jwks_set *set) {
    for (size_t i = 0; i < set->n_ignored; i++)
        log_info(f->app->log, "jwks_key_ignored", "A key of the identity provider is not used.",
                 LOG_TEXT("kid", set->ignored[i].kid), LOG_TEXT("detail", set->ignored[i].why));
}

static void succeed(struct jwks_fetch *f, struct jwks_set *set) {
    int64_t n_ignored = (int64_t)set->n_ignored;
    bool has_changed = jwks_succeed(f->jwks, (int64_t)uv_now(f->app->loop), set);
    int64_t n_keys = (int64_t)jwks_n_keys(f->jwks);
    metric_add(f->succeeded_metric, 1);
    metric_set(f->keys_metric, (double)n_keys);
    metric_set(f->fetched_metric, (double)timestamp_wall_ms() / 1000);
    health_report(f->health, f->app->log, true, "");
    if (!has_changed)
        return;
    log_ignored(f, set);
    log_info(f->app->log, "jwks_changed", "The identity provider's keys are others than before.",
             LOG_NUMBER("keys", n_keys), LOG_NUMBER("ignored", n_ignored));
}

static void fail(struct jwks_fetch *f, const char *why) {
    jwks_fail(f->jwks, (int64_t)uv_now(f->app->loop));
    metric_add(f->failed_metric, 1);
    health_report(f->health, f->app->log, false, why);
}

static void take_answer(void *arg, const struct fetch_answer *answer) {
    struct jwks_fetch *f = arg;
    struct jwks_set set = {0};
    struct buf why = BUF_NULL;
    const char *refused = NULL;
    if (answer->error)
        buf_puts(&why, answer->error);
    else if (answer->status != 200)
        buf_printf(&why, "the answer has status %d%s", answer->status,
                   answer->status / 100 == 3 ? ", and redirects are not followed" : "");
    else if (jwks_parse(answer->body, answer->body_len, &set, &refused) < 0)
        buf_puts(&why, refused);
    if (why.len)
        fail(f, why.data);
    else
        succeed(f, &set);
    buf_done(&why);
    jwks_set_done(&set);
    arm(f);
}

/* ---- when ---- */

static void begin(uv_timer_t *schedule) {
    struct jwks_fetch *f = schedule->data;
    jwks_begin(f->jwks);
    if (fetch_begin(f->fetch, NULL, 0) < 0) {
        fail(f, "libcurl has no memory");
        arm(f);
    }
}

static void arm(struct jwks_fetch *f) {
    int64_t due = jwks_due_ms(f->jwks), now = (int64_t)uv_now(f->app->loop);
    if (due != INT64_MAX)
        uv_timer_start(&f->schedule, begin, due > now ? (uint64_t)(due - now) : 0, 0);
}

static int64_t on_miss(void *arg) {
    struct jwks_fetch *f = arg;
    int64_t wait_ms = jwks_miss_at(f->jwks, (int64_t)uv_now(f->app->loop));
    arm(f);
    return wait_ms;
}

void jwks_fetch_demand(struct jwks_fetch *f) {
    if (!f)
        return;
    jwks_demand(f->jwks, (int64_t)uv_now(f->app->loop));
    arm(f);
}

/* ---- the whole ---- */

static void make_metrics(struct jwks_fetch *f) {
    static const char name[] = "handoff_jwks_fetches_total";
    static const char help[] = "Fetches of the identity provider's keys.";
    struct metrics *m = f->app->metrics;
    f->keys_metric =
        metrics_gauge(m, "handoff_jwks_keys", NULL, "Keys of the identity provider in use.");
    f->fetched_metric = metrics_gauge(m, "handoff_jwks_fetched_timestamp_seconds", NULL,
                                      "Unix time of the last fetch that succeeded; 0: none did.");
    metric_set(metrics_gauge(m, "handoff_jwks_refresh_seconds", NULL,
                             "Time from one fetch of the keys to the next."),
               (double)f->app->config->jwks_refresh_s);
    f->succeeded_metric = metrics_counter(m, name, "result=\"ok\"", help);
    f->failed_metric = metrics_counter(m, name, "result=\"failed\"", help);
}

static void warn_of_anybody(const struct app *app) {
    if (!*app->config->jwt_issuer || !*app->config->jwt_audience)
        log_warn(app->log, "jwks_unbound",
                 "Tokens that the identity provider made for others are taken, too.",
                 LOG_TEXT("hint", "Set HANDOFF_JWT_ISSUER and HANDOFF_JWT_AUDIENCE."));
}

int jwks_fetch_new(struct jwks_fetch **ret, struct app *app, struct jwks *jwks) {
    const struct config *c = app->config;
    *ret = NULL;
    if (!jwks)
        return 0;
    struct jwks_fetch *f = must_alloc(sizeof(*f));
    *f = (struct jwks_fetch){.app = app, .jwks = jwks};
    const struct fetch_options options = {.loop = app->loop,
                                          .url = c->jwks_url,
                                          .ca_file = c->jwks_ca_file,
                                          .authorization = "",
                                          .is_direct = jwks_url_is_loopback(c->jwks_url),
                                          .max_answer_bytes = JWKS_BYTES_MAX,
                                          .done = take_answer,
                                          .arg = f};
    int err = fetch_new(&f->fetch, &options);
    if (err < 0) {
        free(f);
        return err;
    }
    uv_timer_init(app->loop, &f->schedule);
    f->schedule.data = f;
    f->health = health_add(app->health, "identity_provider");
    make_metrics(f);
    warn_of_anybody(app);
    jwks_on_miss(jwks, on_miss, f);
    arm(f);
    *ret = f;
    return 0;
}

static void free_when_closed(uv_handle_t *timer) {
    free(timer->data);
}

struct jwks_fetch *jwks_fetch_free(struct jwks_fetch *f) {
    if (!f)
        return NULL;
    jwks_on_miss(f->jwks, NULL, NULL);
    fetch_free(f->fetch);
    uv_close((uv_handle_t *)&f->schedule, free_when_closed);
    return NULL;
}
