/* PostgreSQL for who has time: one connection, one question after another, each waited for, with an
 * end to every wait. Any one thread. */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "common/db.h"

struct db_blocking;

#define DB_ANSWER_MS 8000

/* -ENOTCONN: not reached, or not let in; *ret_error (owned by the caller) says why. Locks are
 * waited for 5 s. */
MUSTCHECK int db_blocking_open(struct db_blocking **ret, const char *url,
                               const char *application_name, char **ret_error);
struct db_blocking *db_blocking_close(struct db_blocking *b);
DEFINE_CLEANUP(struct db_blocking *, db_blocking_close)

/* Text parameters; several statements only without any. *ret (may be NULL) gets the last one's
 * result, borrowed until the next question. -ENOTCONN lost, -EIO refused: *ret_error (owned by the
 * caller) says why. */
MUSTCHECK int db_blocking_ask(struct db_blocking *b, const char *sql, size_t n_params,
                              const char *const *params, int64_t timeout_ms,
                              const struct db_result **ret, char **ret_error);
/* Why the last question failed: "42501"; "" where it was not the server who said so. */
const char *db_blocking_sqlstate(const struct db_blocking *b);
