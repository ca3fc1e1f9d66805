/* Signing a JWT (RFC 7519) as an identity provider would: for who runs Handoff and needs a token by
 * hand. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"

struct token_signer;

/* HS256. -EINVAL under 32 bytes, and why in ret_error (owned by the caller). */
MUSTCHECK int token_signer_of_secret(struct token_signer **ret, const char *secret,
                                     char **ret_error);
/* A PEM file with a private key without a passphrase: RS256 of one of RSA, ES256 of one on P-256.
 * kid: what HANDOFF_JWT_KEYS calls it; NULL: none is said. -EINVAL, and why in ret_error. */
MUSTCHECK int token_signer_of_file(struct token_signer **ret, const char *path, const char *kid,
                                   char **ret_error);
struct token_signer *token_signer_free(struct token_signer *s);
DEFINE_CLEANUP(struct token_signer *, token_signer_free)
/* The claims are a JSON object. The token, which the caller frees; NULL when libcrypto fails. */
MUSTCHECK char *token_sign(const struct token_signer *s, const char *claims);
