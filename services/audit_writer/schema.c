/* See schema.h. Migrations block, so they run in one of libuv's threads; the struct lives until
 * that thread is done, whoever frees it meanwhile. */
#include "services/audit_writer/schema.h"

#include <errno.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/crash_point.h"
#include "common/backoff.h"
#include "common/db_schema.h"
#include "services/audit_writer/statements.h"

#define DAY_MS (24ull * 3600 * 1000)
#define PARTITIONS_RETRY_MS (10ull * 60 * 1000) /* rows go to the default partition meanwhile */

struct schema {
    struct app *app;
    struct schema_callbacks callbacks;
    void *arg;
    struct db *db; /* borrowed; NULL while the connection is down */

    uv_work_t work;
    bool running; /* the thread: url, err and error are its own until it is done */
    bool again;   /* the connection came up anew meanwhile */
    bool closed;
    char *url;
    int err;
    char *error;

    uv_timer_t retry, partitions;
    unsigned n_open;
    struct backoff backoff;
};

static void maybe_destroy(struct schema *s) {
    if (s->n_open || s->running)
        return;
    free(s->url);
    free(s->error);
    free(s);
}

/* ---- Partitions ---- */

static void on_partitions_due(uv_timer_t *timer);

static void on_partitions_made(void *arg, int err, const struct db_result *r) {
    CRASH_LINK("audit.partitions.made", CRASH_DATABASE);
    struct schema *s = arg;
    if (s->closed)
        return;
    if (err == -EIO && r)
        log_warn(s->app->log, "partitions_failed",
                 "Next months' partitions could not be made; another try follows.",
                 LOG_TEXT("sqlstate", db_sqlstate(r)), LOG_TEXT("err", db_error(r)));
    if (err)
        uv_timer_start(&s->partitions, on_partitions_due, PARTITIONS_RETRY_MS, DAY_MS);
}

static void make_partitions(struct schema *s) {
    if (!s->db || db_query(s->db, statement_make_partitions, 0, NULL, on_partitions_made, s) ||
        db_end(s->db, NULL, NULL))
        return; /* made when the connection is up again */
}

static void on_partitions_due(uv_timer_t *timer) {
    make_partitions(timer->data);
}

/* ---- Migrations ---- */

static void work(uv_work_t *w) {
    struct schema *s = w->data;
    size_t n = 0;
    const struct embedded *migrations = db_schema_known(&n);
    CRASH_LINK("audit.migration.begun", CRASH_DATABASE);
    s->err = db_migrate(s->url, migrations, n, &s->error);
}

static void start(struct schema *s);

static void on_retry(uv_timer_t *timer) {
    start(timer->data);
}

static void on_worked(uv_work_t *w, int status) {
    struct schema *s = w->data;
    CRASH_LINK("audit.migration.done", CRASH_DATABASE);
    s->running = false;
    if (s->closed) {
        maybe_destroy(s);
        return;
    }
    if (!s->db)
        return;
    if (s->again) {
        start(s);
        return;
    }
    if (status || s->err) {
        uv_timer_start(&s->retry, on_retry, backoff_next_ms(&s->backoff), 0);
        s->callbacks.failed(s->arg, s->error ? s->error : uv_strerror(status));
        return;
    }
    backoff_reset(&s->backoff);
    uv_timer_start(&s->partitions, on_partitions_due, DAY_MS, DAY_MS);
    make_partitions(s);
    s->callbacks.ready(s->arg);
}

static void start(struct schema *s) {
    s->again = s->running;
    if (s->running || !s->db)
        return;
    free(s->error);
    s->error = NULL;
    free(s->url);
    s->url = must_strdup(s->app->config->database_url); /* its password may be new */
    s->running = uv_queue_work(s->app->loop, &s->work, work, on_worked) == 0;
}

/* ---- Interface ---- */

void schema_connected(struct schema *s, struct db *db) {
    s->db = db;
    uv_timer_stop(&s->retry);
    start(s);
}

void schema_disconnected(struct schema *s) {
    s->db = NULL;
    uv_timer_stop(&s->retry);
    uv_timer_stop(&s->partitions);
}

static void init_timer(struct schema *s, uv_timer_t *timer) {
    uv_timer_init(s->app->loop, timer);
    timer->data = s;
    s->n_open++;
}

struct schema *schema_new(struct app *app, const struct schema_callbacks *callbacks, void *arg) {
    struct schema *s = must_alloc(sizeof(*s));
    s->app = app;
    s->callbacks = *callbacks;
    s->arg = arg;
    s->work.data = s;
    init_timer(s, &s->retry);
    init_timer(s, &s->partitions);
    return s;
}

static void on_closed(uv_handle_t *handle) {
    struct schema *s = handle->data;
    s->n_open--;
    maybe_destroy(s);
}

struct schema *schema_free(struct schema *s) {
    if (!s)
        return NULL;
    s->closed = true;
    s->db = NULL;
    if (s->running)
        uv_cancel((uv_req_t *)&s->work); /* if it has not begun */
    uv_close((uv_handle_t *)&s->retry, on_closed);
    uv_close((uv_handle_t *)&s->partitions, on_closed);
    return NULL;
}
