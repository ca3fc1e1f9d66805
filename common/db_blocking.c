/* See db_blocking.h. Waits by poll, so that a frozen server cannot hold up the end of the process.
 */
#include "common/db_blocking.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "common/db_link.h"

struct db_blocking {
    PGconn *conn;
    struct db_result last; /* owned */
    char sqlstate[8];
};

DEFINE_CLEANUP(PGresult *, PQclear)

static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

static PGconn *connect_to(const char *url, const char *application_name) {
    const char *const keywords[] = {
        "dbname",  "connect_timeout", "application_name",    "client_encoding",
        "options", "keepalives_idle", "keepalives_interval", "keepalives_count",
        NULL};
    const char *const values[] = {
        url, "5", application_name, "UTF8", "-c lock_timeout=5s", "5", "2", "3", NULL};
    return PQconnectdbParams(keywords, values, 1);
}

static void forget_last(struct db_blocking *b) {
    union {
        const PGresult *kept;
        PGresult *freed;
    } last = {.kept = b->last.pg};
    PQclear(last.freed);
    b->last.pg = NULL;
    b->sqlstate[0] = '\0';
}

struct db_blocking *db_blocking_close(struct db_blocking *b) {
    if (!b)
        return NULL;
    forget_last(b);
    PQfinish(b->conn);
    free(b);
    return NULL;
}

int db_blocking_open(struct db_blocking **ret, const char *url, const char *application_name,
                     char **ret_error) {
    _cleanup_(db_blocking_closep) struct db_blocking *b = must_alloc(sizeof(*b));
    b->conn = connect_to(url, application_name);
    if (!b->conn || PQstatus(b->conn) != CONNECTION_OK) {
        *ret_error = must_strdup(b->conn ? PQerrorMessage(b->conn) : "out of memory");
        return -ENOTCONN;
    }
    PQsetNoticeReceiver(b->conn, ignore_notice, NULL);
    *ret = TAKE_PTR(b);
    return 0;
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

/* All results, of which the last one is returned, or the first that failed; NULL: the connection
 * gave none. */
static PGresult *take_results(PGconn *conn, int64_t timeout_ms, bool *ret_is_late) {
    _cleanup_(PQclearp) PGresult *last = NULL;
    for (;;) {
        *ret_is_late = !await_answer(conn, timeout_ms);
        if (*ret_is_late)
            return NULL;
        PGresult *next = PQgetResult(conn);
        if (!next)
            return TAKE_PTR(last);
        bool failed_before = last && PQresultStatus(last) == PGRES_FATAL_ERROR;
        PQclear(failed_before ? next : last);
        last = failed_before ? last : next;
    }
}

int db_blocking_ask(struct db_blocking *b, const char *sql, size_t n_params,
                    const char *const *params, int64_t timeout_ms, const struct db_result **ret,
                    char **ret_error) {
    bool is_late = false;
    forget_last(b);
    int sent = n_params
                   ? PQsendQueryParams(b->conn, sql, (int)n_params, NULL, params, NULL, NULL, 0)
                   : PQsendQuery(b->conn, sql);
    PGresult *result = sent ? take_results(b->conn, timeout_ms, &is_late) : NULL;
    b->last.pg = result;
    if (result && PQresultStatus(result) != PGRES_FATAL_ERROR) {
        if (ret)
            *ret = &b->last;
        return 0;
    }
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    snprintf(b->sqlstate, sizeof(b->sqlstate), "%s", state ? state : "");
    *ret_error = must_strdup(is_late  ? "the server does not answer"
                             : result ? PQresultErrorMessage(result)
                                      : PQerrorMessage(b->conn));
    return is_late || (sent && PQstatus(b->conn) != CONNECTION_BAD) ? -EIO : -ENOTCONN;
}

const char *db_blocking_sqlstate(const struct db_blocking *b) {
    return b->sqlstate;
}
