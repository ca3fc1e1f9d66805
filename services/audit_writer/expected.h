/* Which versions must have a row once a range of entries is written: the one right before each
 * unbroken row of versions, and the one that an event without a version of its own tells of. Pure.
 */
#pragma once

#include "services/audit_writer/batch.h"

/* statement_find_missing, asked for them, but for those that are known to be there. */
void expected_build(struct entry *const *entries, size_t n, const struct written *known,
                    struct batch_statement *ret);
/* Adds one row of that statement's parameters. */
void expected_put(struct batch_statement *s, const char *session_id, struct position p);
