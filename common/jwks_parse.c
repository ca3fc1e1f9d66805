/* JWK sets; see jwks_parse.h. cjose gets of each key nothing but its public members, checks and
 * normalizes them; OpenSSL makes the key of what cjose prints, and auth_keys.c judges it as it
 * judges a key from a file. */
#include "common/jwks_parse.h"

#include <cjose/base64.h>
#include <cjose/jwk.h>
#include <cjose/util.h>
#include <errno.h>
#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#include "base/base64url.h"
#include "base/buf.h"
#include "proto/text.h"

#define COORDINATE_BYTES 32 /* of P-256 */
#define EXPONENT_BITS_MAX 64
#define MEMBER_MAX 4096

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(EVP_PKEY_CTX *, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(OSSL_PARAM *, OSSL_PARAM_free)
DEFINE_CLEANUP(OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free)
DEFINE_CLEANUP(BIGNUM *, BN_free)
DEFINE_CLEANUP(cjose_jwk_t *, cjose_jwk_release)

static const char *text_member(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

/* ---- what a key says of itself ---- */

static bool is_for_verifying(const json_t *jwk) {
    const json_t *use = json_object_get(jwk, "use"), *operations = json_object_get(jwk, "key_ops");
    if (use && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0))
        return false;
    if (!operations)
        return true;
    size_t i;
    json_t *one;
    json_array_foreach(operations, i, one) {
        if (json_is_string(one) && strcmp(json_string_value(one), "verify") == 0)
            return true;
    }
    return false;
}

/* The algorithm that fits the kind of key. NULL, or why there is none. */
static const char *choose_algorithm(const json_t *jwk, const char **ret) {
    const json_t *alg = json_object_get(jwk, "alg");
    const char *kty = text_member(jwk, "kty"), *crv = text_member(jwk, "crv");
    if (!kty || (strcmp(kty, "RSA") != 0 && strcmp(kty, "EC") != 0))
        return "kty is neither RSA nor EC";
    if (strcmp(kty, "EC") == 0 && (!crv || strcmp(crv, "P-256") != 0))
        return "crv is not P-256";
    *ret = strcmp(kty, "RSA") == 0 ? "RS256" : "ES256";
    if (alg && (!json_is_string(alg) || strcmp(json_string_value(alg), *ret) != 0))
        return "alg is neither RS256 nor ES256";
    return NULL;
}

static bool has_key(const struct auth_keys *k, const char *kid) {
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->keys[i].kid, kid) == 0)
            return true;
    return false;
}

/* ---- its public members ---- */

/* cjose 0.6.2 asserts, and so ends the process, on some texts that are no base64url: it gets none.
 * The longest is the modulus of an RSA key of 16384 bits. */
static bool is_base64url(const json_t *value) {
    const char *text = json_string_value(value);
    size_t len = text ? strlen(text) : 0;
    return len > 0 && len <= MEMBER_MAX && len % 4 != 1 && strspn(text, BASE64URL_ALPHABET) == len;
}

/* What cjose makes of the kind and two members alone, printed anew; NULL when it takes them not. */
static json_t *normalize(const json_t *jwk, const char *one, const char *other) {
    const char *const members[] = {"kty", "crv", one, other};
    if (!is_base64url(json_object_get(jwk, one)) || !is_base64url(json_object_get(jwk, other)))
        return NULL;
    json_auto_t *public = json_object();
    for (size_t i = 0; i < N_ELEMENTS(members); i++)
        if (json_object_get(jwk, members[i]))
            json_object_set(public, members[i], json_object_get(jwk, members[i]));
    struct buf text = BUF_NULL;
    text_print(public, &text);
    _cleanup_(cjose_jwk_releasep) cjose_jwk_t *key = cjose_jwk_import(text.data, text.len, NULL);
    buf_done(&text);
    char *printed = key ? cjose_jwk_to_json(key, false, NULL) : NULL;
    json_t *normal = printed ? json_loads(printed, 0, NULL) : NULL;
    cjose_get_dealloc()(printed);
    return normal;
}

/* NULL when it is not base64url. */
static BIGNUM *number_member(const json_t *jwk, const char *name) {
    const char *text = text_member(jwk, name);
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (!text || !cjose_base64url_decode(text, strlen(text), &bytes, &len, NULL))
        return NULL;
    BIGNUM *number = BN_bin2bn(bytes, (int)len, NULL);
    cjose_get_dealloc()(bytes);
    return number;
}

static EVP_PKEY *make_key(const char *kind, OSSL_PARAM_BLD *builder) {
    EVP_PKEY *key = NULL;
    _cleanup_(OSSL_PARAM_freep) OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    _cleanup_(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *context =
        EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    if (!parameters || !context || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        return NULL;
    return key;
}

/* An exponent of 1 would let anybody sign; one of many digits makes each check slow. */
static bool is_exponent(const BIGNUM *e) {
    return BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= EXPONENT_BITS_MAX;
}

static EVP_PKEY *make_rsa(const json_t *jwk) {
    _cleanup_(BN_freep) BIGNUM *n = number_member(jwk, "n");
    _cleanup_(BN_freep) BIGNUM *e = number_member(jwk, "e");
    _cleanup_(OSSL_PARAM_BLD_freep) OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    if (!n || !e || !builder || !BN_is_odd(n) || !is_exponent(e) ||
        !OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) ||
        !OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e))
        return NULL;
    return make_key("RSA", builder);
}

static EVP_PKEY *make_ec(const json_t *jwk) {
    uint8_t point[1 + 2 * COORDINATE_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};
    _cleanup_(BN_freep) BIGNUM *x = number_member(jwk, "x");
    _cleanup_(BN_freep) BIGNUM *y = number_member(jwk, "y");
    _cleanup_(OSSL_PARAM_BLD_freep) OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    if (!x || !y || !builder || BN_bn2binpad(x, point + 1, COORDINATE_BYTES) < 0 ||
        BN_bn2binpad(y, point + 1 + COORDINATE_BYTES, COORDINATE_BYTES) < 0 ||
        !OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ||
        !OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)))
        return NULL;
    return make_key("EC", builder);
}

/* NULL, or why it is ignored. */
static const char *read_key(const json_t *jwk, const struct auth_keys *before,
                            struct auth_key *ret) {
    const char *kid = text_member(jwk, "kid"), *algorithm = NULL;
    if (!json_is_object(jwk))
        return "is no object";
    if (!kid || !*kid || strlen(kid) > JWKS_KID_MAX)
        return "kid has not 1 to 255 bytes";
    if (!is_for_verifying(jwk))
        return "use or key_ops is for something else than signatures";
    const char *why = choose_algorithm(jwk, &algorithm);
    if (why)
        return why;
    if (has_key(before, kid))
        return "kid is that of a key before";
    bool is_rsa = strcmp(algorithm, "RS256") == 0;
    json_auto_t *normal = is_rsa ? normalize(jwk, "n", "e") : normalize(jwk, "x", "y");
    _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = !normal  ? NULL
                                              : is_rsa ? make_rsa(normal)
                                                       : make_ec(normal);
    ERR_clear_error();
    if (!key)
        return "its public members make no key";
    why = auth_keys_judge(key, ret);
    if (!why)
        ret->kid = must_strdup(kid);
    return why;
}

/* ---- the set ---- */

static void ignore(struct jwks_set *s, const json_t *jwk, const char *why) {
    const char *kid = text_member(jwk, "kid");
    s->ignored = must_realloc(s->ignored, (s->n_ignored + 1) * sizeof(*s->ignored));
    s->ignored[s->n_ignored++] =
        (struct jwks_ignored){must_strdup(kid && strlen(kid) <= JWKS_KID_MAX ? kid : ""), why};
}

int jwks_parse(const char *text, size_t len, struct jwks_set *ret, const char **ret_why) {
    json_auto_t *value = NULL;
    const json_t *keys = NULL, *jwk;
    size_t i;
    *ret_why = len > JWKS_BYTES_MAX                       ? "the answer has over 256 KiB"
               : text_parse(text, len, &value, NULL) != 0 ? "the answer is not JSON"
               : !json_is_array(keys = json_object_get(value, "keys"))
                   ? "the answer has no array \"keys\""
               : json_array_size(keys) > JWKS_KEYS_MAX ? "the answer has over 64 keys"
                                                       : NULL;
    if (*ret_why)
        return -EINVAL;
    struct jwks_set s = {0};
    s.keys.keys = must_alloc(JWKS_KEYS_MAX * sizeof(*s.keys.keys));
    json_array_foreach(keys, i, jwk) {
        struct auth_key key = {0};
        const char *why = read_key(jwk, &s.keys, &key);
        if (why)
            ignore(&s, jwk, why);
        else
            s.keys.keys[s.keys.n++] = key;
    }
    *ret = s;
    return 0;
}

void jwks_set_done(struct jwks_set *s) {
    auth_keys_done(&s->keys);
    for (size_t i = 0; i < s->n_ignored; i++)
        free(s->ignored[i].kid);
    free(s->ignored);
    *s = (struct jwks_set){0};
}
