/* A session's devices from the three places that know of them, as one list. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/session.h"

#define DEVICES_MAX_LISTED 1000

/* What one place says of a device. */
struct device {
    char id[SESSION_DEVICE_MAX + 1];
    char user_id[UUID_LEN + 1]; /* "": it does not know */
    char *name, *platform;      /* owned; NULL: it does not know */
    int64_t first_seen;         /* ms; 0: it was not */
    int64_t last_seen;
    bool is_connected;
    bool is_active;
    bool is_removed;
    size_t order; /* of what was added; the first that knows a text is believed */
};

struct devices {
    struct device *items; /* owned */
    size_t n, cap;
};

/* A row with this id and nothing else, to be filled in; borrowed until the next one is added. */
struct device *devices_add(struct devices *d, const char *id);
/* One row a device; connected ones first, then those seen last, at most DEVICES_MAX_LISTED. */
void devices_settle(struct devices *d);
/* {"items":[…]} */
void devices_print(const struct devices *d, struct buf *out);
void devices_done(struct devices *d);
