/* See backends.h. The services' own clients of PostgreSQL and Redis live in a loop, which here runs
 * for as long as an answer is waited for. */
#include "tools/handoff/backends.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/handoff/advice.h"

#define PATIENCE_MS 5000 /* to be connected */
#define HURRY_MS 300
#define STATEMENT_MS 30000
#define SLACK_MS 2000 /* an answer may come late by so much */

static void on_patience(uv_timer_t *timer) {
    struct backends *b = timer->data;
    b->is_impatient = true;
}

/* It is known why: the next address, or the next try, has its chance, and no more. */
static void hurry(struct backends *b, const char *why) {
    if (b->awaited_why == why)
        uv_timer_start(&b->patience, on_patience, HURRY_MS, 0);
}

static void on_db_down(void *arg, const char *why) {
    struct backends *b = arg;
    hurry(b, b->db_why);
    snprintf(b->db_why, sizeof(b->db_why), "%s", why);
}

static void on_store_down(void *arg, const char *why) {
    struct backends *b = arg;
    hurry(b, b->store_why);
    snprintf(b->store_why, sizeof(b->store_why), "%s", why);
}

static int refuse(const char *name, int error) {
    fprintf(stderr, "handoff: %s cannot be used: %s\n", name, strerror(-error));
    return error;
}

int backends_open(struct backends *b, const struct config *config, bool wants_db,
                  bool wants_store) {
    static const struct db_callbacks db_callbacks = {.down = on_db_down};
    static const struct store_callbacks store_callbacks = {.down = on_store_down};
    int r = 0;
    *b = (struct backends){0};
    uv_loop_init(&b->loop);
    uv_timer_init(&b->loop, &b->patience);
    b->patience.data = b;
    if (wants_db)
        r = db_new(&b->db, &b->loop, config->database_url, "handoff", STATEMENT_MS, &db_callbacks,
                   b);
    if (r)
        return refuse("HANDOFF_DATABASE_URL", r);
    if (wants_store)
        r = store_new(&b->store, &b->loop, config->redis_url, &store_callbacks, b);
    return r ? refuse("HANDOFF_REDIS_URL", r) : 0;
}

void backends_done(struct backends *b) {
    b->db = db_free(b->db);
    b->store = store_free(b->store);
    uv_close((uv_handle_t *)&b->patience, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    uv_loop_close(&b->loop);
}

bool backends_wait(struct backends *b, const bool *is_over, uint64_t most_ms) {
    b->is_impatient = false;
    uv_update_time(&b->loop);
    uv_timer_start(&b->patience, on_patience, most_ms, 0);
    while (!*is_over && !b->is_impatient)
        uv_run(&b->loop, UV_RUN_ONCE);
    uv_timer_stop(&b->patience);
    return *is_over;
}

/* Runs the loop until it can be asked: there is no callback for both at once. */
static bool wait_until_up(struct backends *b, bool (*is_up)(const struct backends *b),
                          const char *why) {
    b->is_impatient = false;
    b->awaited_why = why;
    uv_update_time(&b->loop);
    uv_timer_start(&b->patience, on_patience, *why ? HURRY_MS : PATIENCE_MS, 0);
    while (!is_up(b) && !b->is_impatient)
        uv_run(&b->loop, UV_RUN_ONCE);
    uv_timer_stop(&b->patience);
    b->awaited_why = NULL;
    return is_up(b);
}

/* ---- PostgreSQL ---- */

static bool is_db_up(const struct backends *b) {
    return db_is_up(b->db);
}

struct question {
    backends_rows_fn *take;
    void *arg;
    int err;
    bool is_over;
    char why[256];
};

static void on_rows(void *arg, int err, const struct db_result *result) {
    struct question *q = arg;
    q->err = err;
    if (err == -EIO)
        snprintf(q->why, sizeof(q->why), "%s", db_error(result));
    else if (!err)
        q->take(q->arg, result);
}

static void on_end(void *arg, int err, const struct db_result *result) {
    struct question *q = arg;
    (void)result;
    q->err = q->err ? q->err : err;
    q->is_over = true;
}

static int tell_db(const struct backends *b, int err, const char *why) {
    if (!*why)
        why = b->db_why[0] ? b->db_why : "it does not answer";
    advice_postgresql("PostgreSQL", why);
    return err;
}

int backends_query(struct backends *b, const char *sql, size_t n_params, const char *const *params,
                   backends_rows_fn *take, void *arg) {
    struct question q = {.take = take, .arg = arg};
    if (!wait_until_up(b, is_db_up, b->db_why))
        return tell_db(b, -ENOTCONN, "");
    int err = db_query(b->db, sql, n_params, params, on_rows, &q);
    if (!err)
        err = db_end(b->db, on_end, &q);
    if (err)
        return tell_db(b, err, strerror(-err));
    if (!backends_wait(b, &q.is_over, STATEMENT_MS + SLACK_MS)) {
        b->db = db_free(b->db); /* it would come to what is no more */
        return tell_db(b, -ETIMEDOUT, "it does not answer");
    }
    return q.err ? tell_db(b, q.err, q.why) : 0;
}

/* ---- Redis ---- */

static bool is_store_up(const struct backends *b) {
    return store_is_up(b->store);
}

int backends_need_store(struct backends *b) {
    if (wait_until_up(b, is_store_up, b->store_why))
        return 0;
    const char *why = b->store_why[0] ? b->store_why : "it does not answer";
    advice_redis("Redis", why);
    return -ENOTCONN;
}
