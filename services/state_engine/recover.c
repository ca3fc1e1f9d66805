/* Recoveries: who asks, who waits, who is told; see recover.h. What a recovery does is in
 * recover_judge.c and behind it. */
#include "services/state_engine/recover.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "services/state_engine/recover_private.h"

#define STATEMENT_TIMEOUT_MS 3000
#define REBUILD_TIMEOUT_MS 10000
#define REBUILD_PATIENCE_MS 5000 /* with a session of many changes, and those before it */

static void ask_parked(void *arg, struct table_node *node) {
    (void)arg;
    struct recovery *rec = (struct recovery *)node;
    void (*again)(struct recovery * rec) = TAKE_PTR(rec->parked);
    if (again)
        again(rec);
}

static void ask_again(struct recover *r) {
    table_each(&r->sessions, ask_parked, NULL);
    recover_ask_questions(r);
}

static void on_up(void *arg) {
    struct recover *r = arg;
    r->down_since = 0;
    health_report(r->health, r->app->log, true, "");
    ask_again(r);
}

static void on_rebuild_up(void *arg) {
    ask_again(arg);
}

static void on_down(void *arg, const char *why) {
    struct recover *r = arg;
    if (!r->down_since)
        r->down_since = timestamp_monotonic_ms();
    health_report(r->health, r->app->log, false, why);
}

static void add_metrics(struct recover *r) {
    struct metrics *m = r->app->metrics;
    static const char name[] = "handoff_recoveries_total";
    static const char help[] = "Sessions that Redis had not, or not to be believed, by outcome.";
    r->n_cold = metrics_counter(m, name, "outcome=\"loaded\"", help);
    r->n_rebuilt = metrics_counter(m, name, "outcome=\"rebuilt\"", help);
    r->n_adopted = metrics_counter(m, name, "outcome=\"adopted\"", help);
    r->n_not_found = metrics_counter(m, name, "outcome=\"not_found\"", help);
    r->n_unknown = metrics_counter(m, name, "outcome=\"unknown\"", help);
    r->n_damaged = metrics_counter(m, "handoff_damaged_sessions_total", NULL,
                                   "Sessions of which Redis held what cannot be.");
    r->n_open = metrics_gauge(m, "handoff_recoveries", NULL, "Recoveries under way.");
}

static int open_connections(struct recover *r) {
    struct app *app = r->app;
    struct db_callbacks callbacks = {.up = on_up, .down = on_down};
    struct db_callbacks rebuild_callbacks = {.up = on_rebuild_up};
    int err = db_new(&r->db, app->loop, app->config->database_url, "handoff state_engine",
                     STATEMENT_TIMEOUT_MS, &callbacks, r);
    if (err == 0)
        err = db_new(&r->db_rebuild, app->loop, app->config->database_url,
                     "handoff state_engine rebuild", REBUILD_TIMEOUT_MS, &rebuild_callbacks, r);
    if (err != 0)
        return err;
    db_follow_url(r->db, &app->config->database_url);
    db_follow_url(r->db_rebuild, &app->config->database_url);
    db_measure(r->db, metrics_answers(app->metrics, "postgresql"));
    db_require_schema(r->db);
    db_require_schema(r->db_rebuild);
    return 0;
}

int recover_new(struct recover **ret, struct app *app, struct store_batch *store,
                struct barrier *barrier, struct publisher *publisher) {
    struct recover *r = must_alloc(sizeof(*r));
    *r = (struct recover){.app = app, .store = store, .barrier = barrier, .publisher = publisher};
    r->down_since = timestamp_monotonic_ms();
    r->health = health_add(app->health, "postgresql");
    r->to_rebuild_end = &r->to_rebuild;
    table_init(&r->sessions);
    add_metrics(r);
    int err = open_connections(r);
    if (err != 0)
        r = recover_free(r);
    *ret = r;
    return err;
}

struct db *recover_db(const struct recover *r) {
    return r->db;
}

static void recovery_free(struct table_node *node) {
    struct recovery *rec = (struct recovery *)node;
    for (struct recover_asker *a = rec->askers, *next; a; a = next) {
        next = a->next;
        free(a);
    }
    db_session_done(&rec->row);
    free(rec->keys);
    free(rec);
}

static void forget_rebuild(void *arg, struct table_node *node) {
    (void)arg;
    struct recovery *rec = (struct recovery *)node;
    if (rec->rebuild)
        db_rebuild_forget(rec->rebuild);
}

struct recover *recover_free(struct recover *r) {
    if (!r)
        return NULL;
    r->is_closing = true;
    table_each(&r->sessions, forget_rebuild, NULL);
    db_free(r->db);
    db_free(r->db_rebuild);
    recover_drop_questions(r);
    table_done(&r->sessions, recovery_free);
    free(r);
    return NULL;
}

/* ---- asking ---- */

static bool is_session(const struct table_node *node, const void *session_id) {
    const struct recovery *rec = (const struct recovery *)node;
    return memcmp(rec->session_id, session_id, UUID_LEN) == 0;
}

static void add_asker(struct recovery *rec, recover_fn *done, void *arg) {
    struct recover_asker *a = must_alloc(sizeof(*a));
    *a = (struct recover_asker){rec->askers, done, arg};
    rec->askers = a;
}

/* Those who came later would not be told sooner. */
static bool is_overdue(const struct recovery *rec) {
    int64_t now = timestamp_monotonic_ms();
    return (rec->asked_at && now - rec->asked_at > RECOVER_PATIENCE_MS) ||
           (rec->rebuilding_since && now - rec->rebuilding_since > REBUILD_PATIENCE_MS);
}

static struct recovery *recovery_new(struct recover *r, const struct command *c, uint64_t hash,
                                     enum recover_cause cause) {
    struct recovery *rec = must_alloc(sizeof(*rec));
    rec->owner = r;
    rec->cause = cause;
    rec->trace = c->trace;
    memcpy(rec->session_id, c->session_id, UUID_LEN + 1);
    memcpy(rec->command_id, c->id, UUID_LEN + 1);
    snprintf(rec->run_id, sizeof(rec->run_id), "%s", store_batch_run_id(r->store, c->session_id));
    table_add(&r->sessions, &rec->node, hash);
    metric_set(r->n_open, (double)r->sessions.n);
    return rec;
}

void recover_ask(struct recover *r, const struct command *c, enum recover_cause cause,
                 recover_fn *done, void *arg) {
    uint64_t hash = table_hash(&r->sessions, c->session_id, UUID_LEN);
    struct recovery *rec =
        (struct recovery *)table_find(&r->sessions, hash, is_session, c->session_id);
    if (r->is_silent || (rec && is_overdue(rec))) {
        done(arg, RECOVER_UNKNOWN);
    } else if (rec) {
        add_asker(rec, done, arg);
    } else if (r->sessions.n >= RECOVER_MAX_SESSIONS) {
        done(arg, RECOVER_BUSY);
    } else {
        rec = recovery_new(r, c, hash, cause);
        add_asker(rec, done, arg);
        recovery_begin(rec);
    }
}

/* Of a memory that cannot be read nothing is known. */
int64_t recover_settled_at(const struct store_memory *memory) {
    int64_t age = memory->err == 0 && memory->age_ms > 0 ? memory->age_ms : 0;
    return timestamp_monotonic_ms() + (age < RECOVER_SETTLE_MS ? RECOVER_SETTLE_MS - age : 0);
}

/* ---- answering ---- */

static void answer(struct recovery *rec, enum recover_answer answer) {
    struct recover_asker *askers = TAKE_PTR(rec->askers);
    for (struct recover_asker *a = askers, *next; a; a = next) {
        next = a->next;
        a->done(a->arg, answer);
        free(a);
    }
}

void recovery_end(struct recovery *rec, enum recover_answer how) {
    struct recover *r = rec->owner;
    if (how == RECOVER_UNKNOWN)
        metric_add(r->n_unknown, 1);
    else if (how != RECOVER_HOT)
        metric_add(r->n_not_found, 1);
    table_remove(&r->sessions, &rec->node);
    metric_set(r->n_open, (double)r->sessions.n);
    answer(rec, how);
    recovery_free(&rec->node);
}

struct tick {
    bool is_silent;
    struct recovery *overdue[RECOVER_MAX_SESSIONS];
    size_t n_overdue;
};

static void look_at(void *arg, struct table_node *node) {
    struct tick *tick = arg;
    struct recovery *rec = (struct recovery *)node;
    if (!is_overdue(rec))
        return;
    tick->is_silent |= rec->asked_at != 0;
    tick->overdue[tick->n_overdue++] = rec;
}

/* The recoveries go on, but those that could not even ask. Who is told may ask again, which is
 * answered at once, so that no recovery ends meanwhile. */
void recover_tick(struct recover *r) {
    struct tick tick = {.n_overdue = 0};
    table_each(&r->sessions, look_at, &tick);
    r->is_silent = tick.is_silent;
    r->is_silent |= recover_tell_questions(r);
    for (size_t i = 0; i < tick.n_overdue; i++) {
        if (tick.overdue[i]->parked)
            recovery_end(tick.overdue[i], RECOVER_UNKNOWN);
        else
            answer(tick.overdue[i], RECOVER_UNKNOWN);
    }
    if (db_is_up(r->db))
        ask_again(r);
}

/* ---- PostgreSQL ---- */

bool recover_may_wait(const struct recover *r, int err) {
    return err == -EAGAIN || (err == -ENOTCONN && !r->is_closing &&
                              timestamp_monotonic_ms() - r->down_since < RECOVER_PATIENCE_MS);
}

void recovery_query(struct recovery *rec, const char *sql, size_t n, const char *const *params,
                    db_done_fn *done, void (*again)(struct recovery *rec)) {
    struct recover *r = rec->owner;
    int err = db_query(r->db, sql, n, params, done, rec);
    if (err != 0 && !recover_may_wait(r, err)) {
        recovery_end(rec, RECOVER_UNKNOWN);
        return;
    }
    if (!rec->asked_at)
        rec->asked_at = timestamp_monotonic_ms();
    if (err != 0)
        rec->parked = again;
    else
        (void)!db_end(r->db, NULL, NULL); /* of its failure the question is told */
}
