/* What has to happen next to a session by itself, and when. Pure. Contract sections 2 and 6.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/session.h"

#define DUE_TOMBSTONE_MS (24LL * 3600 * 1000)
/* What lapses so soon does not go cold before: a load leaves a session a minute, in which it must
 * not leave again. */
#define DUE_SOON_MS (5LL * 60 * 1000)

enum due_what {
    DUE_NOTHING,
    DUE_CLOCK,   /* a deadline of its clock, or a warning before */
    DUE_LAPSE,   /* idle or expiry */
    DUE_COOLING, /* it leaves Redis */
    DUE_BURIAL,  /* of a deleted one the tombstone goes */
    DUE_N
};

struct due {
    enum due_what what;
    int64_t when; /* ms; 0 with DUE_NOTHING */
};

/* The first of what lies ahead; of what lies behind, a lapse before the cooling: it is a version
 * more. While the clock runs it alone counts: the session neither lapses nor leaves Redis.
 * has_devices: somebody is in the session, which keeps it in Redis. */
struct due due_next(const struct session *s, bool has_devices, int64_t now, int64_t cold_after_ms);
