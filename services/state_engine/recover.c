/* Asks PostgreSQL about sessions that Redis has not; see recover.h. */
#include "services/state_engine/recover.h"

#include <errno.h>

#include "base/buf.h"
#include "common/db.h"

#define STATEMENT_TIMEOUT_MS 3000

struct recover {
    struct app *app;
    struct db *db;
    struct health_dependency *health;
};

struct question {
    void (*done)(void *arg, enum recover_answer answer);
    void *arg;
};

static void on_up(void *arg) {
    struct recover *r = arg;
    health_report(r->health, r->app->log, true, "");
}

static void on_down(void *arg, const char *why) {
    struct recover *r = arg;
    health_report(r->health, r->app->log, false, why);
}

int recover_new(struct recover **ret, struct app *app) {
    struct recover *r = must_alloc(sizeof(*r));
    r->app = app;
    r->health = health_add(app->health, "postgresql");
    struct db_callbacks callbacks = {.up = on_up, .down = on_down};
    int err = db_new(&r->db, app->loop, app->config->database_url, "handoff state_engine",
                     STATEMENT_TIMEOUT_MS, &callbacks, r);
    if (err != 0)
        r = recover_free(r);
    *ret = r;
    return err;
}

struct recover *recover_free(struct recover *r) {
    if (!r)
        return NULL;
    db_free(r->db);
    free(r);
    return NULL;
}

static void answered(void *arg, int err, const struct db_result *result) {
    struct question *q = arg;
    enum recover_answer answer = RECOVER_UNKNOWN;
    if (err == 0)
        answer = db_n_rows(result) > 0 ? RECOVER_MISSING : RECOVER_NEVER;
    q->done(q->arg, answer);
    free(q);
}

void recover_ask(struct recover *r, const char *session_id,
                 void (*done)(void *arg, enum recover_answer answer), void *arg) {
    struct question *q = must_alloc(sizeof(*q));
    *q = (struct question){done, arg};
    int err = db_query(r->db, "select 1 from sessions where id = $1 and deleted_at is null", 1,
                       &session_id, answered, q);
    if (err)
        answered(q, err, NULL);
    else
        (void)!db_end(r->db, NULL, NULL); /* of its failure the question is told */
}
