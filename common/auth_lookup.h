/* Private to auth*.c: the key that a token's header names, wherever it is. */
#pragma once

#include "base/cleanup.h"
#include "common/auth_keys.h"
#include "proto/fault.h"

struct jwks;

/* Of HANDOFF_JWT_KEYS first, then of the identity provider (jwks: NULL without one). Without kid
 * (NULL): the only key there is. *ret is borrowed until the next turn of the loop.
 * FAULT_UNAUTHENTICATED; FAULT_UNAVAILABLE with retry_after_ms while the provider is asked, or
 * could not be, and so may know the key. */
MUSTCHECK int auth_lookup(const struct auth_keys *own, struct jwks *jwks, const char *kid,
                          const struct auth_key **ret, struct fault *f);
