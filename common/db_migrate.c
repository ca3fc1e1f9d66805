/* PostgreSQL, the schema: see db.h. Runs in a thread of its own and blocks, but not for ever: each
 * wait for the server has an end, so that a frozen server cannot hold up the end of the process. */
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "common/db.h"

#define ANSWER_TIMEOUT_MS 8000
#define MIGRATION_TIMEOUT_MS (10 * 60 * 1000)
#define LOCK_KEY "5208208757391843" /* any number, the same in every version of Handoff */

DEFINE_CLEANUP(PGconn *, PQfinish)
DEFINE_CLEANUP(PGresult *, PQclear)

static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

/* True when an answer is complete or the connection is bad; false when time is up. */
static bool await_answer(PGconn *conn, int64_t timeout_ms) {
    int64_t deadline = timestamp_monotonic_ms() + timeout_ms;
    while (PQisBusy(conn)) {
        int64_t left = deadline - timestamp_monotonic_ms();
        struct pollfd wait = {.fd = PQsocket(conn), .events = POLLIN};
        if (left <= 0 || poll(&wait, 1, (int)left) == 0)
            return false;
        if (!PQconsumeInput(conn))
            return true;
    }
    return true;
}

/* Runs sql (several statements only without parameters). Returns the last result, owned; NULL after
 * a failure, *ret_error says why. */
static PGresult *run(PGconn *conn, const char *sql, const char *parameter, int64_t timeout_ms,
                     char **ret_error) {
    _cleanup_(PQclearp) PGresult *last = NULL;
    int sent = parameter ? PQsendQueryParams(conn, sql, 1, NULL, &parameter, NULL, NULL, 0)
                         : PQsendQuery(conn, sql);
    if (!sent) {
        *ret_error = must_strdup(PQerrorMessage(conn));
        return NULL;
    }
    for (;;) {
        if (!await_answer(conn, timeout_ms)) {
            *ret_error = must_strdup("the server does not answer");
            return NULL;
        }
        PGresult *next = PQgetResult(conn);
        if (!next)
            break;
        bool failed_before = last && PQresultStatus(last) == PGRES_FATAL_ERROR;
        PQclear(failed_before ? next : last);
        last = failed_before ? last : next;
    }
    if (last && PQresultStatus(last) != PGRES_FATAL_ERROR)
        return TAKE_PTR(last);
    *ret_error = must_strdup(last ? PQresultErrorMessage(last) : PQerrorMessage(conn));
    return NULL;
}

static int step(PGconn *conn, const char *sql, const char *parameter, int64_t timeout_ms,
                char **ret_error) {
    _cleanup_(PQclearp) PGresult *result = run(conn, sql, parameter, timeout_ms, ret_error);
    if (result)
        return 0;
    return PQstatus(conn) == CONNECTION_BAD ? -ENOTCONN : -EIO;
}

/* Puts the migration's name before what went wrong. */
static int failed(int err, const char *name, char **ret_error) {
    struct buf text = BUF_NULL;
    buf_printf(&text, "%s: %s", name, *ret_error);
    free(*ret_error);
    *ret_error = buf_take(&text);
    return err;
}

static int apply(PGconn *conn, const struct db_migration *m, char **ret_error) {
    int err = step(conn, "BEGIN", NULL, ANSWER_TIMEOUT_MS, ret_error);
    if (!err)
        err = step(conn, m->sql, NULL, MIGRATION_TIMEOUT_MS, ret_error);
    if (!err)
        err = step(conn, "INSERT INTO schema_migrations (name) VALUES ($1)", m->name,
                   ANSWER_TIMEOUT_MS, ret_error);
    if (!err)
        err = step(conn, "COMMIT", NULL, ANSWER_TIMEOUT_MS, ret_error);
    return err ? failed(err, m->name, ret_error) : 0;
}

static bool is_applied(const PGresult *applied, const char *name) {
    for (int i = 0; i < PQntuples(applied); i++)
        if (strcmp(PQgetvalue(applied, i, 0), name) == 0)
            return true;
    return false;
}

static int refuse_unknown(const PGresult *applied, const struct db_migration *migrations, size_t n,
                          char **ret_error) {
    for (int i = 0; i < PQntuples(applied); i++) {
        const char *name = PQgetvalue(applied, i, 0);
        size_t at = 0;
        while (at < n && strcmp(migrations[at].name, name) != 0)
            at++;
        if (at < n)
            continue;
        struct buf text = BUF_NULL;
        buf_printf(
            &text,
            "the database has migration %s, which this program does not know: a newer version "
            "of it was here; run that one",
            name);
        *ret_error = buf_take(&text);
        return -EIO;
    }
    return 0;
}

static int apply_missing(PGconn *conn, const struct db_migration *migrations, size_t n,
                         char **ret_error) {
    _cleanup_(PQclearp) PGresult *applied =
        run(conn, "SELECT name FROM schema_migrations ORDER BY name", NULL, ANSWER_TIMEOUT_MS,
            ret_error);
    if (!applied)
        return PQstatus(conn) == CONNECTION_BAD ? -ENOTCONN : -EIO;
    int err = refuse_unknown(applied, migrations, n, ret_error);
    for (size_t i = 0; i < n && !err; i++)
        if (!is_applied(applied, migrations[i].name))
            err = apply(conn, &migrations[i], ret_error);
    return err;
}

static PGconn *connect_to(const char *url) {
    static const char *const keywords[] = {
        "dbname",  "connect_timeout", "application_name",    "client_encoding",
        "options", "keepalives_idle", "keepalives_interval", "keepalives_count",
        NULL};
    static const char *const values[] = {
        NULL, "5", "handoff migrate", "UTF8", "-c lock_timeout=5s", "5", "2", "3", NULL};
    const char *with_url[N_ELEMENTS(values)];
    memcpy(with_url, values, sizeof(values));
    with_url[0] = url;
    return PQconnectdbParams(keywords, with_url, 1);
}

int db_migrate(const char *url, const struct db_migration *migrations, size_t n, char **ret_error) {
    _cleanup_(PQfinishp) PGconn *conn = connect_to(url);
    if (!conn || PQstatus(conn) != CONNECTION_OK) {
        *ret_error = must_strdup(conn ? PQerrorMessage(conn) : "out of memory");
        return -ENOTCONN;
    }
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    /* The lock goes with the connection. */
    int err =
        step(conn, "SELECT pg_advisory_lock(" LOCK_KEY ")", NULL, ANSWER_TIMEOUT_MS, ret_error);
    if (!err)
        err = step(conn,
                   "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, "
                   "applied_at timestamptz NOT NULL DEFAULT now())",
                   NULL, ANSWER_TIMEOUT_MS, ret_error);
    return err ? err : apply_missing(conn, migrations, n, ret_error);
}
