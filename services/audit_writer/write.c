/* One transaction at a time. A row that PostgreSQL refuses for what it is (SQLSTATE classes 22 and
 * 23) would stop the audit for ever, so a refused range is halved until the one row is found, which
 * becomes a dead letter. Any other failure is retried: writing again what was written changes
 * nothing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "services/audit_writer/batch.h"
#include "services/audit_writer/writer_private.h"

#define MAX_TRANSACTION_BYTES                                                                      \
    (16u << 20) /* of bodies; keeps one transaction short of its timeout */

/* ---- Trouble ---- */

static void on_retry(uv_timer_t *timer) {
    struct writer *w = timer->data;
    if (w->state == WRITER_RESTING)
        writer_resume(w);
}

static void rest(struct writer *w, uint64_t wait_ms) {
    w->state = WRITER_RESTING;
    metric_add(w->failures, 1);
    uv_timer_start(&w->retry, on_retry, wait_ms, 0);
}

/* Whether it is another trouble than the last one, so that each is logged once. */
static bool is_news(struct writer *w, const char *trouble) {
    if (w->trouble && strcmp(w->trouble, trouble) == 0)
        return false;
    free(w->trouble);
    w->trouble = must_strdup(trouble);
    return true;
}

void writer_rest(struct writer *w, const char *what) {
    rest(w, backoff_next_ms(&w->backoff));
    if (is_news(w, what))
        log_error(w->app->log, "audit_stuck", "A batch could not be written; it is tried again.",
                  LOG_TEXT("err", what), LOG_NUMBER("rows", (int64_t)w->n_batch));
}

static const char *hint_of(const char *sqlstate) {
    static const struct {
        const char *sqlstate, *hint;
    } hints[] = {
        {"53100", "Free disk space where PostgreSQL has its data."},
        {"42501", "Give the role of HANDOFF_DATABASE_URL its rights again: it owns the tables."},
        {"25006", "HANDOFF_DATABASE_URL has to name the primary, and one that takes writes."},
    };
    for (size_t i = 0; i < N_ELEMENTS(hints); i++)
        if (strcmp(hints[i].sqlstate, sqlstate) == 0)
            return hints[i].hint;
    return "Look at PostgreSQL's log.";
}

/* A server that is there and says no: it is asked less and less often, as it may be busy with what
 * is the matter, and somebody has to look. */
static void rest_refused(struct writer *w) {
    rest(w, writer_refusal_wait_ms(w->n_refusals));
    w->n_refusals++;
    metric_set(w->refused, 1);
    if (is_news(w, w->sqlstate))
        log_error(w->app->log, "audit_refused",
                  "PostgreSQL refuses a batch; it is tried again, and the queue keeps all of it.",
                  LOG_TEXT("sqlstate", w->sqlstate), LOG_TEXT("err", w->refusal),
                  LOG_TEXT("hint", hint_of(w->sqlstate)));
}

uint64_t writer_refusal_wait_ms(unsigned n_refusals) {
    return n_refusals < 4 ? 2000u << n_refusals : 32000;
}

/* ---- A transaction ---- */

static void write_range(struct writer *w);

static void note_refusal(struct writer *w, const struct db_result *r) {
    if (w->sqlstate[0] || !r)
        return;
    snprintf(w->sqlstate, sizeof(w->sqlstate), "%s", db_sqlstate(r));
    snprintf(w->refusal, sizeof(w->refusal), "%s %s", w->sqlstate, db_error(r));
}

static void on_statement(void *arg, int err, const struct db_result *r) {
    struct writer *w = arg;
    if (err)
        note_refusal(w, r);
}

static void on_events(void *arg, int err, const struct db_result *r) {
    struct writer *w = arg;
    on_statement(w, err, r);
    CRASH_LINK("audit.events.inserted", CRASH_DATABASE);
    w->n_inserted = err ? 0 : db_n_affected(r);
}

static void on_missing(void *arg, int err, const struct db_result *r) {
    struct writer *w = arg;
    on_statement(w, err, r);
    CRASH_LINK("audit.rest.inserted", CRASH_DATABASE);
    for (size_t i = 0; !err && i < db_n_rows(r); i++)
        gaps_suspect(w->gaps, db_value(r, i, 0, NULL),
                     (struct position){.epoch = (uint64_t)db_number(r, i, 1),
                                       .version = (uint64_t)db_number(r, i, 2)});
}

static void note_written(struct writer *w) {
    for (size_t i = w->from; i < w->to; i++) {
        const struct entry *e = w->batch[i];
        if (entry_is_row(e) && entry_is_version(e))
            written_note(w->written, e->event.session_id, e->event.position);
    }
}

static void committed(struct writer *w) {
    note_written(w);
    const struct entry *newest = w->batch[w->to - 1];
    if (entry_is_row(newest) && newest->tag)
        metric_set(w->lag_seconds,
                   (double)(timestamp_wall_ms() - newest->event.timestamp) / 1000.0);
    metric_add(w->rows, (double)w->n_inserted);
    if (w->n_inserted < w->n_sent)
        writer_compare(w);
    else
        writer_range_done(w);
}

void writer_range_done(struct writer *w) {
    w->from = w->to;
    w->to = w->n_batch;
    writer_resume(w);
}

static void refused(struct writer *w) {
    size_t n = w->to - w->from;
    if (n > 1) {
        w->to = w->from + n / 2;
        writer_resume(w);
        return;
    }
    struct entry *e = w->batch[w->from];
    snprintf(e->reason, sizeof(e->reason), "%s", w->refusal);
    writer_range_done(w);
}

static bool is_for_what_it_is(const char *sqlstate) {
    return strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0;
}

/* Deadlocks and the like, or a server that goes away: soon gone. */
static bool is_passing(const char *sqlstate) {
    static const char *const classes[] = {"40", "08", "57P0"};
    for (size_t i = 0; i < N_ELEMENTS(classes); i++)
        if (strncmp(sqlstate, classes[i], strlen(classes[i])) == 0)
            return true;
    return !sqlstate[0];
}

static void on_end(void *arg, int err, const struct db_result *r) {
    struct writer *w = arg;
    if (w->closed)
        return;
    if (CRASH_POINT_CUT("audit.commit.answered", CRASH_DATABASE))
        err = -ENOTCONN;
    if (err)
        note_refusal(w, r);
    if (!err)
        committed(w);
    else if (is_for_what_it_is(w->sqlstate))
        refused(w);
    else if (is_passing(w->sqlstate))
        writer_rest(w, w->sqlstate[0] ? w->refusal : "the connection was lost");
    else
        rest_refused(w);
}

int writer_send(struct writer *w, const struct batch_statement *s, db_done_fn *done) {
    return batch_statement_send(w->db, s, done, w);
}

static int send_batch(struct writer *w, const struct batch *b) {
    int err = writer_send(w, &b->events, on_events);
    if (!err)
        err = writer_send(w, &b->snapshots, on_statement);
    if (!err)
        err = writer_send(w, &b->sessions, on_statement);
    if (!err)
        err = writer_send(w, &b->participants, on_statement);
    if (!err)
        err = writer_send(w, &b->devices, on_statement);
    if (!err)
        err = writer_send(w, &b->expected, on_missing);
    if (!err)
        err = db_end(w->db, on_end, w);
    CRASH_LINK("audit.commit.sent", CRASH_DATABASE);
    return err;
}

static void write_range(struct writer *w) {
    struct batch b;
    batch_build(w->batch + w->from, w->to - w->from, w->written, &b);
    w->n_sent = b.events.n_rows;
    w->n_inserted = 0;
    w->sqlstate[0] = '\0';
    if (!b.events.n_rows) {
        batch_done(&b); /* nothing but dead letters and barriers */
        writer_range_done(w);
        return;
    }
    w->state = WRITER_WRITING;
    int err = send_batch(w, &b);
    batch_done(&b);
    if (err)
        writer_rest(w, "the connection was lost");
}

/* ---- A batch ---- */

void writer_resume(struct writer *w) {
    uv_timer_stop(&w->retry);
    if (w->from == w->n_batch)
        writer_bury(w);
    else if (w->db_ready)
        write_range(w);
    else
        w->state = WRITER_RESTING; /* the database wakes it */
}

void writer_begin(struct writer *w) {
    size_t most = (size_t)w->app->config->max_batch, n_bytes = 0;
    w->n_batch = 0;
    while (w->first && w->n_batch < most && (!w->n_batch || n_bytes < MAX_TRANSACTION_BYTES)) {
        struct entry *e = w->first;
        w->first = e->next;
        w->batch[w->n_batch++] = e;
        w->n_waiting_barriers -= e->barrier != NULL;
        n_bytes += e->body_len;
    }
    if (!w->first)
        w->last = &w->first;
    w->n_waiting -= w->n_batch;
    w->n_waiting_bytes -= n_bytes;
    w->from = 0;
    w->to = w->n_batch;
    w->began_at = timestamp_monotonic_ms();
    CRASH_LINK("audit.batch.begun", CRASH_DATABASE);
    writer_resume(w);
}
