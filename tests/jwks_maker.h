/* Prints public keys as JWKs, straight with OpenSSL: independent of common/jwks_parse.c and of
 * cjose. */
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <string.h>

#include "tests/jwt_maker.h"

static inline void jwks_put_number(struct buf *out, const EVP_PKEY *key, const char *parameter,
                                   const char *member, int at_least_bytes) {
    BIGNUM *number = NULL;
    unsigned char bytes[2048];
    EVP_PKEY_get_bn_param(key, parameter, &number);
    int len = BN_num_bytes(number) > at_least_bytes ? BN_num_bytes(number) : at_least_bytes;
    BN_bn2binpad(number, bytes, len);
    BN_free(number);
    buf_printf(out, ",\"%s\":\"", member);
    jwt_put_base64url(out, bytes, (size_t)len);
    buf_putc(out, '"');
}

/* {"kid":…,<more>"kty":…}; more ends with a comma, or is "". */
static inline void jwks_put_key(struct buf *out, const EVP_PKEY *key, const char *kid,
                                const char *more) {
    buf_printf(out, "{\"kid\":\"%s\",%s", kid, more);
    if (EVP_PKEY_is_a(key, "RSA")) {
        buf_puts(out, "\"kty\":\"RSA\"");
        jwks_put_number(out, key, OSSL_PKEY_PARAM_RSA_N, "n", 1);
        jwks_put_number(out, key, OSSL_PKEY_PARAM_RSA_E, "e", 1);
    } else {
        buf_puts(out, "\"kty\":\"EC\",\"crv\":\"P-256\"");
        jwks_put_number(out, key, OSSL_PKEY_PARAM_EC_PUB_X, "x", 32);
        jwks_put_number(out, key, OSSL_PKEY_PARAM_EC_PUB_Y, "y", 32);
    }
    buf_putc(out, '}');
}
