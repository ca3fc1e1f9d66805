/* The data of one version, put together again from PostgreSQL: the newest kept snapshot at or
 * before it, and the versioned events after that one, replayed (common/replay.h) in one of libuv's
 * threads.
 *
 * A rebuild begins an epoch without a session_created, so that nothing of the new epoch could be
 * found again but by a snapshot: whoever begins one publishes a `snapshot` event of the position
 * (epoch + 1, version) with its `session_rebuilt`, from the same entry of the window. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <uv.h>

#include "base/cleanup.h"
#include "common/db.h"
#include "proto/session.h"

struct db_rebuild;

enum db_rebuild_reach {
    DB_REBUILD_EXACT,   /* that version or -ENODATA */
    DB_REBUILD_FURTHEST /* the newest one up to it that a snapshot and an unbroken row of events
                           reach: of the newest epoch that has such a snapshot */
};

struct db_rebuilt {           /* borrowed during the callback */
    struct position position; /* of the version reached */
    const char *data;         /* canonical */
    size_t data_len;
    json_t *value; /* the same, parsed */
    const char *checksum;
};
/* err: 0; -ENODATA it cannot be rebuilt (purged, a gap, or a checksum that does not fit; EXACT:
 * also more than REBUILD_MAX_EVENTS or REBUILD_MAX_BYTES from its snapshot); -EAGAIN (EXACT)
 * PostgreSQL has not heard of that version yet; -ENOTCONN, -ETIMEDOUT PostgreSQL does not answer,
 * or not in time; -EIO it refused the question; -ECANCELED. rebuilt: NULL unless err is 0. */
typedef void db_rebuild_fn(void *arg, int err, const struct db_rebuilt *rebuilt);

/* done is called exactly once, later, unless db_rebuild_forget comes first; r is gone then. Give
 * the loop a turn before it ends: handles are closed. db has to outlive it; db_free answers it. */
struct db_rebuild *db_rebuild_start(uv_loop_t *loop, struct db *db, const char *session_id,
                                    struct position wanted, enum db_rebuild_reach reach,
                                    db_rebuild_fn *done, void *arg);
/* The asker is gone: done is not called any more. */
void db_rebuild_forget(struct db_rebuild *r);
