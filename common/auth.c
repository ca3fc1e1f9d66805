/* Bearer tokens; see auth.h. The algorithm is taken from the token's header only to choose among
 * what the configuration allows, and the key is chosen with it, before libjwt sees the token:
 * libjwt 1.10 would take an RSA key's PEM as an HMAC secret, any HS* for HS256, and looks at no
 * claim. */
#include "common/auth.h"

#include <errno.h>
#include <jansson.h>
#include <jwt.h>
#include <string.h>
#include <strings.h>

#include "base/base64url.h"
#include "base/buf.h"
#include "base/hash.h"
#include "common/auth_claims.h"
#include "common/auth_lookup.h"
#include "common/auth_private.h"
#include "common/jwks.h"
#include "proto/text.h"

#define TOKEN_MAX 8192
#define SECRET_MIN 32

static const struct {
    const char *name;
    jwt_alg_t jwt;
} algorithms[AUTH_N_ALGORITHMS] = {
    [AUTH_HS256] = {"HS256", JWT_ALG_HS256},
    [AUTH_RS256] = {"RS256", JWT_ALG_RS256},
    [AUTH_ES256] = {"ES256", JWT_ALG_ES256},
};

static bool find_algorithm(const char *name, size_t len, enum auth_algorithm *ret) {
    for (size_t i = 0; i < AUTH_N_ALGORITHMS; i++)
        if (strlen(algorithms[i].name) == len && memcmp(algorithms[i].name, name, len) == 0) {
            *ret = (enum auth_algorithm)i;
            return true;
        }
    return false;
}

/* ---- configuration ---- */

static int refuse_config(char **ret_error, const char *why) {
    *ret_error = must_strdup(why);
    return -EINVAL;
}

static int take_algorithms(struct auth *a, const char *list, char **ret_error) {
    for (const char *at = list;; at++) {
        size_t len = strcspn(at, ",");
        enum auth_algorithm algorithm;
        if (!find_algorithm(at, len, &algorithm))
            return refuse_config(ret_error, "HANDOFF_JWT_ALGORITHMS: allowed: HS256, RS256, ES256");
        a->allowed[algorithm] = true;
        at += len;
        if (!*at)
            return 0;
    }
}

static int take_secrets(struct auth *a, const struct config *config, char **ret_error) {
    const char *const given[] = {config->jwt_secret, config->jwt_secret_previous};
    for (size_t i = 0; i < N_ELEMENTS(given); i++) {
        if (!*given[i])
            continue;
        if (strlen(given[i]) < SECRET_MIN)
            return refuse_config(ret_error, i ? "HANDOFF_JWT_SECRET_PREVIOUS has under 32 bytes"
                                              : "HANDOFF_JWT_SECRET has under 32 bytes");
        a->secrets[i].text = must_strdup(given[i]);
        auth_key_id(given[i], strlen(given[i]), a->secrets[i].id);
    }
    return 0;
}

static int check_each_has_a_key(const struct auth *a, char **ret_error) {
    if (a->allowed[AUTH_HS256] && !a->secrets[0].text)
        return refuse_config(ret_error, "HANDOFF_JWT_SECRET is needed: HANDOFF_JWT_ALGORITHMS "
                                        "allows HS256; allowed: at least 32 bytes");
    for (size_t i = AUTH_RS256; i < AUTH_N_ALGORITHMS; i++)
        if (a->allowed[i] && !a->jwks && !auth_keys_have(&a->keys, (enum auth_algorithm)i))
            return refuse_config(ret_error, i == AUTH_RS256
                                                ? "HANDOFF_JWT_KEYS has no RSA key, and "
                                                  "HANDOFF_JWT_ALGORITHMS allows RS256"
                                                : "HANDOFF_JWT_KEYS has no P-256 key, and "
                                                  "HANDOFF_JWT_ALGORITHMS allows ES256");
    return 0;
}

static int take_jwks(struct auth *a, const struct config *config, char **ret_error) {
    if (!*config->jwks_url)
        return 0;
    if (!a->allowed[AUTH_RS256] && !a->allowed[AUTH_ES256])
        return refuse_config(ret_error, "HANDOFF_JWKS_URL is of no use: HANDOFF_JWT_ALGORITHMS "
                                        "allows neither RS256 nor ES256");
    a->jwks = jwks_new(config->jwks_refresh_s * 1000);
    return 0;
}

/* A key that is in both places would have its session tokens bound to nothing. */
static int check_own_are_apart(const struct auth *a, char **ret_error) {
    for (size_t i = 0; a->own.n && i < a->keys.n; i++)
        if (session_keys_find(&a->own, a->keys.keys[i].kid) ||
            session_keys_have_pem(&a->own, a->keys.keys[i].pem))
            return refuse_config(ret_error, "HANDOFF_JWT_KEYS has a key of session tokens "
                                            "(HANDOFF_SESSION_TOKEN_KEY, "
                                            "HANDOFF_SESSION_TOKEN_PUBLIC_KEYS)");
    return 0;
}

static int take_own_keys(struct auth *a, const struct config *config, char **ret_error) {
    int r = session_keys_load(&a->own, config->session_token_key, config->session_token_public_keys,
                              config->service == CONFIG_SESSION_API, ret_error);
    return r == 0 ? check_own_are_apart(a, ret_error) : r;
}

int auth_new(struct auth **ret, const struct config *config, char **ret_error) {
    _cleanup_(auth_freep) struct auth *a = must_alloc(sizeof(*a));
    a->issuer = must_strdup(config->jwt_issuer);
    a->audience = must_strdup(config->jwt_audience);
    a->session_claim = must_strdup(config->jwt_session_claim);
    a->cache = auth_cache_new();
    int r = take_algorithms(a, config->jwt_algorithms, ret_error);
    if (r == 0)
        r = take_secrets(a, config, ret_error);
    if (r == 0 && *config->jwt_keys)
        r = auth_keys_load(&a->keys, config->jwt_keys, ret_error);
    if (r == 0)
        r = take_jwks(a, config, ret_error);
    if (r == 0)
        r = check_each_has_a_key(a, ret_error);
    if (r == 0)
        r = take_own_keys(a, config, ret_error);
    if (r == 0)
        *ret = TAKE_PTR(a);
    return r;
}

static void free_secret(char *secret) {
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

struct auth *auth_free(struct auth *a) {
    if (!a)
        return NULL;
    free_secret(a->secrets[0].text);
    free_secret(a->secrets[1].text);
    auth_keys_done(&a->keys);
    jwks_free(a->jwks);
    session_keys_done(&a->own);
    free(a->issuer);
    free(a->audience);
    free(a->session_claim);
    auth_cache_free(a->cache);
    free(a);
    return NULL;
}

struct jwks *auth_jwks(struct auth *a) {
    return a->jwks;
}

const struct session_keys *auth_session_keys(const struct auth *a) {
    return &a->own;
}

const char *auth_warning(const struct auth *a) {
    return a->own.is_exposed ? "HANDOFF_SESSION_TOKEN_KEY: every user of this machine can read or "
                               "change the file; chmod o= it"
                             : NULL;
}

/* ---- a token ---- */

struct parts {
    const char *at[3]; /* header, payload, signature: base64url */
    size_t len[3];
};

static bool split(const char *token, size_t len, struct parts *ret) {
    const char *end = token + len;
    for (size_t i = 0; i < 3; i++) {
        const char *dot = memchr(token, '.', (size_t)(end - token));
        if (!dot == (i < 2))
            return false;
        ret->at[i] = token;
        ret->len[i] = (size_t)((dot ? dot : end) - token);
        if (ret->len[i] == 0)
            return false;
        token = dot ? dot + 1 : end;
    }
    return true;
}

static enum fault_code refuse(struct fault *f, const char *why) {
    return fault_set(f, FAULT_UNAUTHENTICATED, NULL, "%s", why);
}

static int parse_part(const struct parts *parts, size_t i, json_t **ret, struct fault *f) {
    char bytes[TOKEN_MAX];
    ssize_t len = base64url_decode(parts->at[i], parts->len[i], bytes);
    if (len < 0)
        return refuse(f, i ? "the payload is not base64url" : "the header is not base64url");
    if (text_parse(bytes, (size_t)len, ret, NULL) != 0)
        return refuse(f, i ? "the payload is not JSON" : "the header is not JSON");
    return 0;
}

/* own: the key of ours that the header names, or NULL. Ours are for ES256, whatever is allowed to
 * others. */
static int judge_header(const struct auth *a, const json_t *header, const struct session_key *own,
                        enum auth_algorithm *ret, struct fault *f) {
    const char *alg = json_string_value(json_object_get(header, "alg"));
    if (!alg || !find_algorithm(alg, strlen(alg), ret) ||
        !(own ? *ret == AUTH_ES256 : a->allowed[*ret]))
        return refuse(f, "the header's alg is not allowed");
    if (json_object_get(header, "crit"))
        return refuse(f, "the header has crit, and no extension is known");
    const json_t *typ = json_object_get(header, "typ");
    if (typ && (!json_is_string(typ) || strcasecmp(json_string_value(typ), "JWT") != 0))
        return refuse(f, "the header's typ is not JWT, and libjwt takes no other");
    return 0;
}

static bool is_signed(const char *token, const char *key, enum auth_algorithm algorithm) {
    jwt_t *jwt = NULL;
    const size_t len = strlen(key);
    bool fine = jwt_decode(&jwt, token, (const unsigned char *)key, (int)len) == 0 &&
                jwt_get_alg(jwt) == algorithms[algorithm].jwt;
    jwt_free(jwt);
    return fine;
}

/* *ret_id: that of the key that it was. */
static int check_signature(const struct auth *a, const char *token, const json_t *header,
                           enum auth_algorithm algorithm, const uint8_t **ret_id, struct fault *f) {
    if (algorithm == AUTH_HS256) {
        for (size_t i = 0; i < N_ELEMENTS(a->secrets); i++)
            if (a->secrets[i].text && is_signed(token, a->secrets[i].text, algorithm)) {
                *ret_id = a->secrets[i].id;
                return 0;
            }
        return refuse(f, "the signature is wrong");
    }
    const json_t *kid = json_object_get(header, "kid");
    if (kid && !json_is_string(kid))
        return refuse(f, "the header's kid is not a string");
    const struct auth_key *key = NULL;
    int r = auth_lookup(&a->keys, a->jwks, json_string_value(kid), &key, f);
    if (r != 0)
        return r;
    if (key->algorithm != algorithm)
        return refuse(f, "the key is of another kind than the header's alg");
    if (!is_signed(token, key->pem, algorithm))
        return refuse(f, "the signature is wrong");
    *ret_id = key->id;
    return 0;
}

/* signature: n bytes of any length. */
static int check_own_signature(const struct parts *parts, const struct session_key *own,
                               const char *signature, ssize_t n, struct fault *f) {
    size_t len = parts->len[0] + 1 + parts->len[1];
    if (n != SESSION_KEY_SIGNATURE ||
        !session_key_verify(own, parts->at[0], len, (const uint8_t *)signature))
        return refuse(f, "the signature is wrong");
    return 0;
}

/* Header first, then signature: the payload of a forged token is not looked at. token ends with a
 * NUL, as libjwt wants it. */
static int verify(const struct auth *a, const char *token, size_t len, struct auth_claims *ret,
                  struct fault *f) {
    json_auto_t *header = NULL, *payload = NULL;
    const struct session_key *own = NULL;
    enum auth_algorithm algorithm = AUTH_HS256;
    struct parts parts;
    char signature[TOKEN_MAX];
    static const uint8_t of_none[AUTH_KEY_ID];
    const uint8_t *key_id = of_none;
    if (!split(token, len, &parts))
        return refuse(f, "the token has not three parts");
    ssize_t n_signature = base64url_decode(parts.at[2], parts.len[2], signature);
    if (n_signature < 0)
        return refuse(f, "the signature is not base64url");
    int r = parse_part(&parts, 0, &header, f);
    if (r == 0)
        own = session_keys_find(&a->own, json_string_value(json_object_get(header, "kid")));
    if (r == 0)
        r = judge_header(a, header, own, &algorithm, f);
    if (r == 0)
        r = parse_part(&parts, 1, &payload, f);
    if (r == 0)
        r = own ? check_own_signature(&parts, own, signature, n_signature, f)
                : check_signature(a, token, header, algorithm, &key_id, f);
    if (r != 0)
        return r;
    const struct auth_rules rules = {a->issuer, a->audience, a->session_claim};
    r = own ? auth_claims_take_own(payload, ret, f) : auth_claims_take(payload, &rules, ret, f);
    memcpy(ret->principal.key_id, own ? own->id : key_id, AUTH_KEY_ID);
    return r;
}

/* What is in the cache may have been signed with a key that is withdrawn. */
static void forget_withdrawn(struct auth *a) {
    if (!a->jwks || a->n_withdrawals == jwks_n_withdrawals(a->jwks))
        return;
    a->n_withdrawals = jwks_n_withdrawals(a->jwks);
    auth_forget_verified(a);
}

int auth_verify(struct auth *a, const char *token, size_t len, int64_t now_s, struct principal *ret,
                struct fault *f) {
    if (len > TOKEN_MAX)
        return refuse(f, "the token has over 8192 bytes");
    uint8_t digest[32];
    hash_sha256(token, len, digest);
    forget_withdrawn(a);
    const struct auth_claims *known = auth_cache_find(a->cache, digest);
    struct auth_claims claims = {0};
    int r = 0;
    if (known) {
        claims = *known;
    } else {
        _cleanup_(freep) char *copy = must_memdup(token, len);
        r = verify(a, copy, len, &claims, f);
    }
    if (r == 0)
        r = auth_claims_check_time(&claims, now_s, f);
    if (r != 0)
        return r;
    if (!known)
        auth_cache_put(a->cache, digest, &claims);
    *ret = claims.principal;
    return 0;
}

const char *auth_bearer(const char *authorization, size_t *ret_len) {
    static const char scheme[] = "Bearer ";
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";
    if (!authorization || strncasecmp(authorization, scheme, strlen(scheme)) != 0)
        return NULL;
    const char *token = authorization + strlen(scheme);
    token += strspn(token, " ");
    size_t len = strspn(token, allowed);
    if (len == 0 || token[len + strspn(token + len, " ")])
        return NULL;
    *ret_len = len;
    return token;
}
