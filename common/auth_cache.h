/* Private to auth*.c: what verified tokens said, by the SHA-256 of the token. */
#pragma once

#include <stdint.h>

#include "common/auth_claims.h"

struct auth_cache;

struct auth_cache *auth_cache_new(void);
struct auth_cache *auth_cache_free(struct auth_cache *c);
/* Borrowed until the next put; NULL when it is not there. */
const struct auth_claims *auth_cache_find(struct auth_cache *c, const uint8_t digest[static 32]);
void auth_cache_put(struct auth_cache *c, const uint8_t digest[static 32],
                    const struct auth_claims *claims);
