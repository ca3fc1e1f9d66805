/* PostgreSQL and Redis as a command asks them: one question at a time, waited for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/cleanup.h"
#include "common/config.h"
#include "common/db.h"
#include "common/store.h"

struct backends {
    uv_loop_t loop;
    uv_timer_t patience;
    struct db *db;       /* NULL: not wanted */
    struct store *store; /* NULL: not wanted */
    bool is_impatient;
    char db_why[256], store_why[256]; /* why it is not there, as far as it is known; "" */
    const char *awaited_why;          /* one of them, while that one is waited for */
};

/* Both fail for what is wrong with an address only; else they connect when they are asked. What is
 * wrong is told on stderr: -EINVAL. backends_done either way. */
MUSTCHECK int backends_open(struct backends *b, const struct config *config, bool wants_db,
                            bool wants_store);
void backends_done(struct backends *b);

/* Runs the loop until *is_over, at most so long. False: it is not. */
MUSTCHECK bool backends_wait(struct backends *b, const bool *is_over, uint64_t most_ms);

/* Asks and waits. rows are borrowed until take returns. 0, or negative errno: told on stderr. */
typedef void backends_rows_fn(void *arg, const struct db_result *rows);
MUSTCHECK int backends_query(struct backends *b, const char *sql, size_t n_params,
                             const char *const *params, backends_rows_fn *take, void *arg);
/* Until Redis can be asked. -ENOTCONN: told on stderr. */
MUSTCHECK int backends_need_store(struct backends *b);
