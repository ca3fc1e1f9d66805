/* How many requests a user and a client address may send; see limits.c. */
#pragma once

#include <stdint.h>

#include "common/config.h"
#include "common/metrics.h"
#include "services/session_api/call.h"
#include "services/session_api/client.h"

enum limit_kind { LIMIT_ADDRESS, LIMIT_USER, LIMIT_N };

struct limit {
    int64_t rate; /* requests a second; 0: no limit */
    int64_t burst;
    struct metric *refused;
};

struct limits {
    struct limit limits[LIMIT_N];
    struct proxies proxies;
    struct metric *skipped;
};

void limits_init(struct limits *l, const struct config *c, struct metrics *m);
void limits_done(struct limits *l);

/* Go on with the call by next, now or later, unless its address (before its token is looked at) or
 * its user (after that) has sent too many: then it is answered. */
void limits_take_address(struct call *call, call_fn *next);
void limits_take_user(struct call *call, call_fn *next);
/* Whose request it is (client_address). */
void limits_address(struct call *call, char ret[static ADDRESS_CAP]);
/* RateLimit-Policy and RateLimit of what was counted. */
void limits_add_headers(struct call *call);
