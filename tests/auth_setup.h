/* What test_auth.c and test_auth_claims.c share: an auth of given settings, tokens, checks of the
 * outcome. Comes after cmocka.h. */
#pragma once

#include <string.h>

#include "common/auth.h"
#include "tests/jwt_maker.h"

#define NOW 1800000000LL
#define SECRET "secret-0123456789-0123456789-012"
#define PREVIOUS "before-0123456789-0123456789-012"
#define USER "0197f22e-79b0-7cc3-98c4-dc0c0c07398f"
#define GOOD "\"exp\":1800000600,\"sub\":\"" USER "\""
#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

/* The members that auth reads; texts are borrowed. */
struct setup {
    const char *algorithms, *secret, *previous, *folder, *issuer, *audience, *jwks_url;
    const char *session_claim;             /* NULL: the default */
    const char *own_key, *own_public_keys; /* paths, for session tokens */
    bool is_fanout;                        /* verifies only */
};

static inline char *text_or_empty(const char *text) {
    return must_strdup(text ? text : "");
}

static inline int auth_of(const struct setup *s, struct auth **ret, char **ret_error) {
    struct config c = {
        .service = s->is_fanout ? CONFIG_WS_FANOUT : CONFIG_SESSION_API,
        .jwt_algorithms = text_or_empty(s->algorithms),
        .jwt_secret = text_or_empty(s->secret),
        .jwt_secret_previous = text_or_empty(s->previous),
        .jwt_keys = text_or_empty(s->folder),
        .jwt_issuer = text_or_empty(s->issuer),
        .jwt_audience = text_or_empty(s->audience),
        .jwks_url = text_or_empty(s->jwks_url),
        .jwt_session_claim = must_strdup(s->session_claim ? s->session_claim : "session_id"),
        .session_token_key = text_or_empty(s->own_key),
        .session_token_public_keys = text_or_empty(s->own_public_keys),
    };
    int r = auth_new(ret, &c, ret_error);
    config_done(&c);
    return r;
}

static inline struct auth *must_auth(const struct setup *s) {
    struct auth *a = NULL;
    char *error = NULL;
    if (auth_of(s, &a, &error) != 0)
        fail_msg("%s", error);
    return a;
}

static const struct setup hmac_only = {.algorithms = "HS256", .secret = SECRET};

/* Makers of tokens: the caller frees with buf_done. */
static inline struct buf hmac_token(const char *header, const char *claims, const char *secret) {
    struct buf token = BUF_NULL, payload = BUF_NULL;
    buf_printf(&payload, "{%s}", claims);
    jwt_put_input(&token, header, payload.data, payload.len);
    jwt_sign_hmac(&token, EVP_sha256(), secret);
    buf_done(&payload);
    return token;
}

static inline void check_refused(struct auth *a, struct buf token, enum fault_code code,
                                 const char *why) {
    struct fault f = {0};
    struct principal p = {.rights = 77};
    for (int again = 0; again < 2; again++) { /* a refusal is not cached as anything else */
        int r = auth_verify(a, token.data ? token.data : "", token.len, NOW, &p, &f);
        if (r != (int)code || !strstr(f.detail, why))
            fail_msg("%d \"%s\" and not %d \"%s\": %s", r, f.detail, (int)code, why, token.data);
        assert_int_equal(f.code, code);
        assert_int_equal(p.rights, 77);
    }
    buf_done(&token);
}

static inline void check_taken(struct auth *a, struct buf token, struct principal *ret) {
    struct fault f = {0};
    struct principal first = {0};
    if (auth_verify(a, token.data, token.len, NOW, &first, &f) != 0)
        fail_msg("%s: %s", f.detail, token.data);
    struct principal cached = {0};
    assert_int_equal(auth_verify(a, token.data, token.len, NOW, &cached, &f), 0);
    assert_memory_equal(&first, &cached, sizeof(first));
    if (ret)
        *ret = first;
    buf_done(&token);
}

#define UNAUTHENTICATED FAULT_UNAUTHENTICATED

/* Claims that are refused under a good HS256 signature. */
static inline void check_claims(struct auth *a, const char *claims, enum fault_code code,
                                const char *why) {
    check_refused(a, hmac_token(HS256, claims, SECRET), code, why);
}
