/* One step is one transaction, so that it holds up neither the events, which go over the same
 * connection, nor another audit_writer that does the same. */
#include "services/audit_writer/purge.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/crash_point.h"
#include "services/audit_writer/statements.h"

#define HOUR_MS (3600ull * 1000)
#define RETRY_MS (10ull * 60 * 1000)
#define PAUSE_MS 10 /* between two steps */

struct purge {
    struct app *app;
    struct db *db; /* borrowed */
    uv_timer_t timer;
    bool stopped;
    bool asking;       /* a step is under way */
    uint64_t n_purged; /* since it began */
    struct metric *purged;
};

static void on_timer(uv_timer_t *timer);

static void wait(struct purge *p, uint64_t wait_ms) {
    if (!p->stopped)
        uv_timer_start(&p->timer, on_timer, wait_ms, 0);
}

static void all_gone(struct purge *p) {
    if (p->n_purged)
        log_info(p->app->log, "purged", "What was left of sessions deleted long ago is gone.",
                 LOG_NUMBER("sessions", (int64_t)p->n_purged));
    p->n_purged = 0;
    wait(p, HOUR_MS);
}

static void on_step(void *arg, int err, const struct db_result *r) {
    struct purge *p = arg;
    CRASH_LINK("audit.purge.step_made", CRASH_DATABASE);
    p->asking = false;
    if (err && !p->stopped && r)
        log_warn(p->app->log, "purge_failed",
                 "Sessions deleted long ago could not be taken away; another try follows.",
                 LOG_TEXT("sqlstate", db_sqlstate(r)), LOG_TEXT("err", db_error(r)));
    if (err) {
        wait(p, RETRY_MS);
        return;
    }
    if (!db_n_rows(r)) {
        all_gone(p);
        return;
    }
    bool is_last_step = db_value(r, 0, 0, NULL)[0] == 't';
    p->n_purged += is_last_step;
    metric_add(p->purged, is_last_step);
    wait(p, PAUSE_MS);
}

static void on_timer(uv_timer_t *timer) {
    struct purge *p = timer->data;
    char after_ms[24];
    const char *parameters[] = {after_ms};
    snprintf(after_ms, sizeof(after_ms), "%lld", (long long)p->app->config->purge_after_ms);
    if (p->asking)
        return;
    p->asking = db_query(p->db, statement_purge_step, 1, parameters, on_step, p) == 0;
    if (!p->asking || db_end(p->db, NULL, NULL))
        wait(p, RETRY_MS); /* the next connection begins anew before that */
}

void purge_begin(struct purge *p) {
    if (p->app->config->purge_after_ms)
        wait(p, 0);
}

void purge_stop(struct purge *p) {
    p->stopped = true;
    uv_timer_stop(&p->timer);
}

struct purge *purge_new(struct app *app, struct db *db) {
    struct purge *p = must_alloc(sizeof(*p));
    p->app = app;
    p->db = db;
    p->purged = metrics_counter(app->metrics, "handoff_audit_purged_total", NULL,
                                "Deleted sessions of which nothing is left.");
    uv_timer_init(app->loop, &p->timer);
    p->timer.data = p;
    return p;
}

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

struct purge *purge_free(struct purge *p) {
    if (!p)
        return NULL;
    purge_stop(p);
    uv_close((uv_handle_t *)&p->timer, on_closed);
    return NULL;
}
