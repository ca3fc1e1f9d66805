/* Private to auth*.c and jwks*.c: the text of a JWK set (RFC 7517, section 5) -> keys that tokens
 * may be signed with. cjose's only border. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "common/auth_keys.h"

#define JWKS_BYTES_MAX (256u << 10)
#define JWKS_KEYS_MAX 64
#define JWKS_KID_MAX 255 /* bytes */

struct jwks_ignored {
    char *kid;       /* owned; "" without one that can be shown */
    const char *why; /* static */
};

struct jwks_set {
    struct auth_keys keys;
    struct jwks_ignored *ignored; /* owned: what of the set is no key of ours */
    size_t n_ignored;
};

/* Keys for another use or algorithm than RS256 and ES256, without a kid, with one that came before,
 * or that cannot be are ignored; so are members of a private key. A text that is no set, or over 64
 * keys, or over 256 KiB: -EINVAL, and why (static). */
MUSTCHECK int jwks_parse(const char *text, size_t len, struct jwks_set *ret, const char **ret_why);
void jwks_set_done(struct jwks_set *s);
