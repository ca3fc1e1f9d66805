/* Entries as the parameters of the statements that write them: text arrays for unnest. Pure. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "services/audit_writer/entry.h"

/* Appends one element of a PostgreSQL array literal ('{' is put before the first; text NULL: null).
 * array_end closes it, also an empty one. */
void array_put(struct buf *array, const char *text, size_t len);
void array_end(struct buf *array);

#define BATCH_MAX_PARAMETERS 26

struct batch_statement {
    const char *sql; /* a literal */
    size_t n_rows;   /* 0: need not be run */
    size_t n_parameters;
    struct buf parameters[BATCH_MAX_PARAMETERS]; /* owned */
};

/* What writes a range of entries, in this order, in one transaction. */
struct batch {
    struct batch_statement events;
    struct batch_statement snapshots;
    struct batch_statement sessions;
    struct batch_statement participants; /* look at the sessions' rows */
    struct batch_statement devices;
    struct batch_statement expected; /* is answered with the versions that are missing */
};

/* Entries that are no rows are left out. The entries' changes are merged a session, hence the
 * copies.
 */
void batch_build(struct entry *const *entries, size_t n, struct batch *ret);
void batch_done(struct batch *b);

/* Asks which of the entries have a row with another payload: answered with their indices. Left out
 * is who came and went: told again, it may say other counts. */
void batch_build_comparison(struct entry *const *entries, size_t n, struct batch_statement *ret);
void batch_statement_done(struct batch_statement *s);
