/* PostgreSQL, statements and answers: see db.h. libpq in pipeline mode: statements are sent as they
 * come, answers come in the same order, so a list of what was sent is all there is to remember. One
 * error aborts everything up to the next sync, which is why a sync ends each transaction and
 * nothing else. */
#include "common/db.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/db_link.h"

#define MAX_WAITING 1000
#define MAX_ENDS (2 * MAX_WAITING)
#define WATCHDOG_GRACE_MS 2000 /* after the server's own statement_timeout */

/* ---- Sending ---- */

/* From now on nothing is sent; the timer tells of the loss, so that no callback comes from within a
 * call. */
static void mark_broken(struct db *d) {
    if (!d->broken) {
        d->broken = true;
        uv_timer_start(&d->timer, db_on_timer, 0, 0);
    }
}

static void arm_watchdog(struct db *d) {
    if (d->broken)
        return;
    if (d->n_ends)
        uv_timer_start(&d->timer, db_on_timer,
                       (uint64_t)(d->statement_timeout_ms + WATCHDOG_GRACE_MS), 0);
    else
        uv_timer_stop(&d->timer);
}

static void flush(struct db *d) {
    if (d->broken)
        return;
    int left = PQflush(d->conn);
    if (left < 0)
        mark_broken(d);
    else
        uv_poll_start(d->poll, UV_READABLE | (left ? UV_WRITABLE : 0), db_on_poll);
}

static struct db_statement *find_statement(struct db *d, const char *sql) {
    for (struct db_statement *s = d->statements; s; s = s->next)
        if (s->sql == sql)
            return s;
    for (struct db_statement *s = d->statements; s; s = s->next)
        if (strcmp(s->sql, sql) == 0)
            return s;
    struct db_statement *s = must_alloc(sizeof(*s));
    s->sql = sql;
    snprintf(s->name, sizeof(s->name), "s%u", d->n_statements++);
    s->next = d->statements;
    d->statements = s;
    return s;
}

static void append(struct db *d, struct db_entry *e) {
    *d->last = e;
    d->last = &e->next;
    if (e->is_end)
        d->n_ends++;
    else
        d->n_waiting++;
}

/* As libpq takes them. lengths, formats NULL: all are text. */
struct values {
    int n;
    const char *const *data;
    const int *lengths, *formats;
};

static bool send_statement(struct db *d, struct db_entry *e, struct db_statement *s,
                           const struct values *v) {
    e->n_results_left = 1;
    if (!s->prepared && !s->preparing) {
        if (!PQsendPrepare(d->conn, s->name, s->sql, v->n, NULL))
            return false;
        s->preparing = true;
        s->preparing_in = d->transaction;
        e->preparing = s;
        e->n_results_left = 2;
    }
    if (s->prepared || s->preparing_in == d->transaction)
        return PQsendQueryPrepared(d->conn, s->name, v->n, v->data, v->lengths, v->formats, 0);
    return PQsendQueryParams(d->conn, s->sql, v->n, NULL, v->data, v->lengths, v->formats, 0);
}

static int query(struct db *d, const char *sql, const struct values *v, db_done_fn *done,
                 void *arg) {
    if (d->state != DB_UP)
        return -ENOTCONN;
    if (d->n_waiting >= (d->in_transaction ? 2 * MAX_WAITING : MAX_WAITING))
        return -EAGAIN;
    struct db_entry *e = must_alloc(sizeof(*e));
    e->done = done;
    e->arg = arg;
    e->asked_ns = uv_hrtime();
    if (!d->broken && !send_statement(d, e, find_statement(d, sql), v))
        mark_broken(d);
    d->in_transaction = true;
    append(d, e);
    return 0;
}

int db_query(struct db *d, const char *sql, size_t n_params, const char *const *params,
             db_done_fn *done, void *arg) {
    if (d->state == DB_UP && n_params > UINT16_MAX)
        return -EINVAL;
    if (d->is_checking)
        return -ENOTCONN;
    const struct values v = {.n = (int)n_params, .data = params};
    return query(d, sql, &v, done, arg);
}

int db_query_binary(struct db *d, const char *sql, size_t n_params,
                    const struct db_parameter *params, db_done_fn *done, void *arg) {
    const char *data[DB_MAX_BINARY];
    int lengths[DB_MAX_BINARY], formats[DB_MAX_BINARY];
    if (n_params > DB_MAX_BINARY)
        return -EINVAL;
    if (d->is_checking)
        return -ENOTCONN;
    for (size_t i = 0; i < n_params; i++) {
        if (params[i].len > INT_MAX)
            return -EINVAL;
        data[i] = params[i].data;
        lengths[i] = (int)params[i].len;
        formats[i] = 1;
    }
    const struct values v = {(int)n_params, data, lengths, formats};
    return query(d, sql, &v, done, arg);
}

static int end(struct db *d, db_done_fn *done, void *arg) {
    if (d->state != DB_UP)
        return -ENOTCONN;
    if (d->n_ends >= MAX_ENDS && !d->in_transaction)
        return -EAGAIN;
    struct db_entry *e = must_alloc(sizeof(*e));
    e->is_end = true;
    e->done = done;
    e->arg = arg;
    if (!d->broken && !PQpipelineSync(d->conn))
        mark_broken(d);
    d->transaction++;
    d->in_transaction = false;
    append(d, e);
    if (d->n_ends == 1)
        arm_watchdog(d);
    flush(d);
    return 0;
}

int db_end(struct db *d, db_done_fn *done, void *arg) {
    return d->is_checking ? -ENOTCONN : end(d, done, arg);
}

int db_ask_first(struct db *d, const char *sql, db_done_fn *done, void *arg) {
    const struct values none = {0};
    int err = query(d, sql, &none, done, arg);
    return err ? err : end(d, NULL, NULL);
}

/* ---- Answers ---- */

static void finish_entry(struct db_entry *e) {
    struct db_result result = {e->result};
    if (e->done)
        e->done(e->arg, e->err, e->result && (!e->err || e->err == -EIO) ? &result : NULL);
    PQclear(e->result);
    free(e);
}

static void complete_first(struct db *d) {
    struct db_entry *e = d->first;
    d->first = e->next;
    if (!d->first)
        d->last = &d->first;
    if (e->is_end)
        d->n_ends--;
    else
        d->n_waiting--;
    if (d->answers && e->asked_ns)
        metric_observe(d->answers, (double)(uv_hrtime() - e->asked_ns) / 1e9);
    finish_entry(e);
}

void db_fail_all(struct db *d) {
    struct db_entry *e = d->first;
    d->first = NULL;
    d->last = &d->first;
    d->n_waiting = d->n_ends = 0;
    d->in_transaction = d->transaction_failed = false;
    while (e) {
        struct db_entry *next = e->next;
        if (!e->err)
            e->err = -ENOTCONN;
        finish_entry(e);
        e = next;
    }
}

static int error_of(const PGresult *result) {
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_PIPELINE_SYNC:
        return 0;
    case PGRES_PIPELINE_ABORTED:
        return -ECANCELED;
    default:
        return -EIO;
    }
}

/* The first failure stays: a prepare's reason is worth more than the aborted statement after it. */
static void keep_result(struct db *d, struct db_entry *e, PGresult *result) {
    if (e->err) {
        PQclear(result);
        return;
    }
    PQclear(e->result);
    e->result = result;
    e->err = error_of(result);
    if (e->err)
        d->transaction_failed = true;
}

static void take_end(struct db *d, struct db_entry *e, PGresult *result) {
    bool is_sync = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    keep_result(d, e, result);
    if (!is_sync)
        return; /* the commit failed; its sync follows */
    if (!e->err && d->transaction_failed)
        e->err = -ECANCELED;
    d->transaction_failed = false;
    complete_first(d);
}

static void take_statement(struct db *d, struct db_entry *e, PGresult *result) {
    if (e->preparing && e->n_results_left == 2) {
        e->preparing->preparing = false;
        e->preparing->prepared = error_of(result) == 0;
    }
    keep_result(d, e, result);
    e->answered = true;
}

/* The server says 57P0x when it ends the connection: that is a loss, not a refusal. So is 25006,
 * read-only: after a failover another server takes writes. */
static bool ends_connection(struct db *d, const PGresult *result) {
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return PQstatus(d->conn) == CONNECTION_BAD ||
           (sqlstate && (strncmp(sqlstate, "57P0", 4) == 0 || strcmp(sqlstate, "25006") == 0));
}

/* Takes what has come. False: the connection is lost, *ret_why says why. */
static bool take_answers(struct db *d, char *ret_why, size_t cap) {
    unsigned n_nulls = 0;
    while (d->state == DB_UP && d->first && n_nulls < 2 && !PQisBusy(d->conn)) {
        struct db_entry *e = d->first;
        PGresult *result = PQgetResult(d->conn);
        if (!result) {
            bool was_answered = e->answered;
            e->answered = false;
            n_nulls = was_answered ? 0 : n_nulls + 1;
            if (was_answered && --e->n_results_left == 0)
                complete_first(d);
            continue;
        }
        n_nulls = 0;
        bool is_sync = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        if (error_of(result) == -EIO && ends_connection(d, result)) {
            snprintf(ret_why, cap, "%s", PQresultErrorMessage(result));
            PQclear(result);
            return false;
        }
        if (is_sync && !e->is_end) {
            snprintf(ret_why, cap, "answers out of step");
            PQclear(result);
            return false;
        }
        if (e->is_end)
            take_end(d, e, result);
        else
            take_statement(d, e, result);
    }
    return true;
}

void db_on_up_events(struct db *d, int status, int events) {
    char why[512] = "";
    bool ok = true;
    if (status || (events & UV_READABLE)) {
        bool read_ok = PQconsumeInput(d->conn);
        if (!read_ok)
            snprintf(why, sizeof(why), "%s", PQerrorMessage(d->conn));
        /* also after a failed read: what came before it counts */
        ok = take_answers(d, why, sizeof(why)) && read_ok && !status;
    }
    if (d->state != DB_UP)
        return; /* a callback freed us */
    if (!ok) {
        db_lost(d, why[0] ? why : uv_strerror(status));
        return;
    }
    flush(d);
    arm_watchdog(d);
}

/* ---- The rest of the interface ---- */

bool db_is_up(const struct db *d) {
    return d->state == DB_UP && !d->is_checking && !d->broken;
}

size_t db_n_waiting(const struct db *d) {
    return d->n_waiting;
}

size_t db_n_rows(const struct db_result *r) {
    return (size_t)PQntuples(r->pg);
}

const char *db_value(const struct db_result *r, size_t row, size_t column, size_t *ret_len) {
    if (PQgetisnull(r->pg, (int)row, (int)column))
        return NULL;
    if (ret_len)
        *ret_len = (size_t)PQgetlength(r->pg, (int)row, (int)column);
    return PQgetvalue(r->pg, (int)row, (int)column);
}

int64_t db_number(const struct db_result *r, size_t row, size_t column) {
    return strtoll(PQgetvalue(r->pg, (int)row, (int)column), NULL, 10); /* "" for null */
}

size_t db_n_affected(const struct db_result *r) {
    /* PQcmdTuples takes no const, and changes nothing */
    union {
        const PGresult *given;
        PGresult *taken;
    } pg = {.given = r->pg};
    return strtoul(PQcmdTuples(pg.taken), NULL, 10);
}

const char *db_sqlstate(const struct db_result *r) {
    const char *sqlstate = PQresultErrorField(r->pg, PG_DIAG_SQLSTATE);
    return sqlstate ? sqlstate : "";
}

const char *db_error(const struct db_result *r) {
    const char *message = PQresultErrorField(r->pg, PG_DIAG_MESSAGE_PRIMARY);
    return message ? message : "";
}
