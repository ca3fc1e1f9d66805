/* PostgreSQL: one connection in the loop, in pipeline mode, kept up by itself; libpq's only border.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/cleanup.h"
#include "common/metrics.h"

struct db;
struct db_result;

/* May be NULL. down comes when the connection is lost (after the done of all that waited) and when
 * a try to connect fails for another reason than the last one. */
struct db_callbacks {
    void (*up)(void *arg);
    void (*down)(void *arg, const char *why);
};

/* postgres://…; -EINVAL for a url that is none. Of several hosts each is tried in turn, with its
 * share of 5 s (1 s at least); a connection whose server turns out to be read-only is given up when
 * it refuses a statement for that. Statements get statement_timeout_ms. */
MUSTCHECK int db_new(struct db **ret, uv_loop_t *loop, const char *url,
                     const char *application_name, int64_t statement_timeout_ms,
                     const struct db_callbacks *callbacks, void *arg);
/* Calls the done of all that waits with -ENOTCONN, from within; no callback comes any more. May be
 * called from any callback. */
struct db *db_free(struct db *d);
/* Right after db_new: up is told, and anything taken, only on a database that this program may work
 * with; else down says why, and it is tried again (common/db_schema.h). */
void db_require_schema(struct db *d);
DEFINE_CLEANUP(struct db *, db_free)
/* From now on each connection is made with the user and password of *url, which may become another
 * text at any time, of the same hosts. Borrowed, as long as d lives. */
void db_follow_url(struct db *d, char *const *url);
/* Every answer to a statement is observed there from now on: a histogram of seconds. */
void db_measure(struct db *d, struct metric *answers);
bool db_is_up(const struct db *d);

/* err: 0; -ENOTCONN lost before the answer (a write's outcome is unknown); -ECANCELED when an
 * earlier statement of the same transaction failed; -EIO the server refused: *db_sqlstate says why.
 * result is borrowed until the callback returns, NULL unless err is 0 or -EIO. */
typedef void db_done_fn(void *arg, int err, const struct db_result *result);

/* Queues one statement with text parameters (NULL: SQL null; copied). All statements until db_end
 * are one transaction; give them in one turn of the loop, with their db_end. done (may be NULL) is
 * called later, in order, always. -ENOTCONN when down, -EAGAIN when 1000 wait (told to a
 * transaction's first statement, so that none is torn; up to 2000 then): done is not called then.
 * sql is a literal: prepared once per connection. The session runs in UTC. */
MUSTCHECK int db_query(struct db *d, const char *sql, size_t n_params, const char *const *params,
                       db_done_fn *done, void *arg);
/* The same with parameters in PostgreSQL's binary form; data NULL: SQL null. -EINVAL for more than
 * these, or over 2 GiB. */
#define DB_MAX_BINARY 64
struct db_parameter {
    const char *data;
    size_t len;
};
MUSTCHECK int db_query_binary(struct db *d, const char *sql, size_t n_params,
                              const struct db_parameter *params, db_done_fn *done, void *arg);
/* Ends the transaction (commit, or rollback when one statement failed). done gets its outcome: 0
 * committed, -ECANCELED rolled back since a statement failed, -EIO the commit was refused,
 * -ENOTCONN. */
MUSTCHECK int db_end(struct db *d, db_done_fn *done, void *arg);
size_t db_n_waiting(const struct db *d);

size_t db_n_rows(const struct db_result *r);
const char *db_value(const struct db_result *r, size_t row, size_t column,
                     size_t *ret_len); /* NULL: null */
/* A whole number's value; 0 for null. */
int64_t db_number(const struct db_result *r, size_t row, size_t column);
size_t db_n_affected(const struct db_result *r);
const char *db_sqlstate(const struct db_result *r); /* "" when fine */
const char *db_error(const struct db_result *r);    /* for the log */
