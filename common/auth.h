/* A bearer token -> who may do what. libjwt's only border. Contract section 1. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/uuid.h"
#include "common/config.h"
#include "proto/fault.h"
#include "proto/session.h"

struct auth;
struct jwks;

#define AUTH_KEY_ID 16 /* bytes of a SHA-256 of a key: which one it was */

struct principal {
    char user_id[UUID_LEN + 1];
    char device_id[SESSION_DEVICE_MAX + 1]; /* claim device_id; "" without one */
    char session_id[UUID_LEN + 1]; /* claim session_id: the one session it is for; "" without one */
    bool is_session_token;         /* signed by Handoff itself: session_token.h */
    unsigned rights;               /* enum command_right bits, from scope */
    int64_t expires_at;            /* s, Unix */
    uint8_t key_id[AUTH_KEY_ID];   /* of what its token is signed with */
};

/* Reads secrets and key files as configured. Without any key for an allowed algorithm, with a
 * secret under 32 bytes, or with a key for session tokens that is none or an identity provider's,
 * too: -EINVAL, and why in ret_error (owned by the caller). */
MUSTCHECK int auth_new(struct auth **ret, const struct config *config, char **ret_error);
struct auth *auth_free(struct auth *a);
DEFINE_CLEANUP(struct auth *, auth_free)
/* What an operator should hear of the keys that were read; static, or NULL. */
const char *auth_warning(const struct auth *a);

/* Replaces the keys that a has by those that fresh read, all at once; fresh may be freed then. An
 * identity provider's keys stay. Returns how many keys are gone: what they signed is refused from
 * now on, verified before or not. */
size_t auth_take(struct auth *a, struct auth *fresh);
/* Secrets and keys that tokens are verified with now. */
size_t auth_n_keys(const struct auth *a);
/* How often keys were replaced on demand: whoever keeps principals looks through them each time
 * that this grows. Keys that a provider withdraws by itself do not count. */
uint64_t auth_n_demands(const struct auth *a);
/* Whether the key that p's token is signed with is still one of the keys. */
bool auth_has_key_of(const struct auth *a, const struct principal *p);

/* The keys of HANDOFF_JWKS_URL, for who fetches them; NULL without. Borrowed. */
struct jwks *auth_jwks(struct auth *a);

/* Verifies token (≤ 8 KiB) at wall-clock second now_s. FAULT_UNAUTHENTICATED or
 * FAULT_TOKEN_EXPIRED: f->detail tells the log which check failed, never the client.
 * FAULT_UNAVAILABLE with retry_after_ms: the key may be one that the identity provider is being
 * asked for. Verified tokens are cached by hash until exp (bounded), or until a key is gone. */
MUSTCHECK int auth_verify(struct auth *a, const char *token, size_t len, int64_t now_s,
                          struct principal *ret, struct fault *f);

/* Whether the principal may have anything to do with the session: unless its token is for another
 * one. */
static inline bool auth_covers(const struct principal *p, const char *session_id) {
    return !*p->session_id || strcmp(p->session_id, session_id) == 0;
}

/* The token in "Bearer <token>" (RFC 6750; the scheme in any case); NULL when it is no such header.
 */
const char *auth_bearer(const char *authorization, size_t *ret_len);
