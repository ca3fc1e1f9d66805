/* The audit trail of a session, as PostgreSQL has it: page after page, in the order of positions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/session.h"
#include "tools/handoff/backends.h"

struct trail_event { /* owned by its page; NULL where there is none */
    struct position position;
    int64_t moment; /* ms */
    char *type, *message_id, *user_id, *device_id;
    char *body; /* as it was published; of a snapshot without its data, unless that is wanted */
    size_t body_len;
    char *command_id, *key_hash, *fingerprint;
    char *occurred_at;
    bool is_version;
};

struct trail {
    char session_id[UUID_LEN + 1];
    struct position from, to; /* both included */
    bool wants_data;
    /* the page, and where the next one begins */
    struct trail_event *events;
    size_t n;
    bool has_begun;
    struct trail_event last;
};

#define TRAIL_PAGE 50 /* a body has up to about half a megabyte */
#define TRAIL_LAST ((struct position){INT32_MAX, INT32_MAX})

/* As position.h has it, and as PostgreSQL can have it. */
MUSTCHECK bool trail_parse_position(const char *text, struct position *ret);
/* The next page, in place of the one before: n 0 at the end. Negative: told on stderr. */
MUSTCHECK int trail_next(struct trail *t, struct backends *b);
void trail_done(struct trail *t);
