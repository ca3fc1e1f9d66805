/* Session tokens: Handoff's own tokens (ES256, RFC 7515, 7519), each for one session, one user and
 * one device. auth_verify takes them like any other: it sets is_session_token and session_id of the
 * principal. docs/decisions/0018. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "common/auth.h"

#define SESSION_TOKEN_ISSUER "handoff"
#define SESSION_TOKEN_SECONDS 86400 /* from iat to exp */

/* Whether this process can sign any. */
bool session_token_can_sign(const struct auth *a);
/* Signs one for the user, the session (both UUIDs as uuid_is has them) and the device
 * (session_device_is_valid) at wall-clock second now_s. *ret_token: the caller frees;
 * *ret_expires_at_s: Unix. -EOPNOTSUPP without a private key, -EIO when libcrypto fails. Whether
 * the user may have the session is for the caller to judge. */
MUSTCHECK int session_token_new(const struct auth *a, const char *user_id, const char *session_id,
                                const char *device_id, int64_t now_s, char **ret_token,
                                int64_t *ret_expires_at_s);
/* Appends the public keys as a JWK set (RFC 7517). False, and nothing, when there is none. */
bool session_token_print_keys(const struct auth *a, struct buf *out);
