/* An earlier version's data, from a base that was kept and the versioned events after it. Contract
 * section 3 (snapshots). Pure; one rebuild may run in a thread of its own. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "proto/session.h"

#define REBUILD_MAX_EVENTS 1000
#define REBUILD_MAX_BYTES (16u << 20) /* of the events' texts */

struct rebuild {
    struct position position; /* version 0: there is no base yet */
    json_t *document;         /* owned: name (any, deltas do not read it) and data */
    json_t *waiting;          /* owned: the operations of deltas not applied yet, an array each */
    size_t data_bytes;
    char checksum[HASH_HEX_LEN + 1]; /* that data must have, by the last change of it */
};

#define REBUILD_NULL ((struct rebuild){0})

/* A kept state as the base. data: JSON text, any white space. -EBADMSG when it is no JSON. */
MUSTCHECK int rebuild_begin(struct rebuild *r, struct position position, const char *data,
                            size_t len, const char *checksum);
/* The next versioned event, as it was published. Without a base it has to be the session's
 * creation, which is one. -EBADMSG: no event, not the next version, of another epoch; or the
 * operations of a delta before it do not apply, which is told late: several are applied together.
 */
MUSTCHECK int rebuild_add(struct rebuild *r, const char *event, size_t len);
/* A version that left data and name alone: its event need not be read. -EBADMSG as above. */
MUSTCHECK int rebuild_skip(struct rebuild *r, struct position position);
/* Data in canonical form, appended to out. -EBADMSG when it has not the checksum, and as above. */
MUSTCHECK int rebuild_end(struct rebuild *r, struct buf *out);
void rebuild_done(struct rebuild *r);
