/* Entries as the parameters of the statements that write them: arrays for unnest. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "common/db.h"
#include "services/audit_writer/entry.h"
#include "services/audit_writer/written.h"

#define BATCH_MAX_PARAMETERS 26

struct batch_statement {
    const char *sql; /* a literal */
    size_t n_rows;   /* 0: need not be run, and cannot be */
    size_t n_parameters;
    struct buf parameters[BATCH_MAX_PARAMETERS]; /* owned; array.h */
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

/* Entries that are no rows are left out. known (may be NULL): which rows need not be asked for. */
void batch_build(struct entry *const *entries, size_t n, const struct written *known,
                 struct batch *ret);
void batch_done(struct batch *b);

/* Asks which of the entries have a row with another payload: answered with their indices. Left out
 * is who came and went: told again, it may say other counts. */
void batch_build_comparison(struct entry *const *entries, size_t n, struct batch_statement *ret);
/* As db_query; one without rows is not sent, and done is not called. */
MUSTCHECK int batch_statement_send(struct db *db, const struct batch_statement *s, db_done_fn *done,
                                   void *arg);
void batch_statement_done(struct batch_statement *s);
