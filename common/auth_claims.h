/* Private to auth*.c: the claims of a verified payload. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/auth.h"

/* What a token says, without regard to the time of day. */
struct auth_claims {
    struct principal principal; /* expires_at: exp */
    int64_t valid_from;         /* s, Unix: the later of nbf and iat, or INT64_MIN */
};

/* What is configured of an issuer's tokens. Texts are borrowed. */
struct auth_rules {
    const char *issuer, *audience; /* "" when any will do */
    const char *session_claim;     /* names the one session that a token is for */
};

/* FAULT_UNAUTHENTICATED with the claim that is missing or wrong. */
MUSTCHECK int auth_claims_take(const json_t *payload, const struct auth_rules *rules,
                               struct auth_claims *ret, struct fault *f);
/* The same of a session token: it has Handoff's issuer, a UUID as its user, a session and a device,
 * and no scope. */
MUSTCHECK int auth_claims_take_own(const json_t *payload, struct auth_claims *ret, struct fault *f);
/* FAULT_TOKEN_EXPIRED, or FAULT_UNAUTHENTICATED when it is not valid yet; leeway 30 s. */
MUSTCHECK int auth_claims_check_time(const struct auth_claims *c, int64_t now_s, struct fault *f);
