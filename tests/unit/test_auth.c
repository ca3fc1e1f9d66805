/* common/auth: every good kind of token, and every forged kind that contract section 1 lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/auth.h"
#include "proto/command.h"
#include "tests/jwt_maker.h"

#define NOW 1800000000LL
#define SECRET "secret-0123456789-0123456789-012"
#define PREVIOUS "before-0123456789-0123456789-012"
#define USER "0197f22e-79b0-7cc3-98c4-dc0c0c07398f"
#define GOOD "\"exp\":1800000600,\"sub\":\"" USER "\""
#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

/* Keys are made once: RSA keys take their time. */
static struct {
    char folder[64];
    EVP_PKEY *rsa, *ec, *stranger;
    char *rsa_pem;
} keys;

static int make_keys(void **state) {
    (void)state;
    strcpy(keys.folder, "/tmp/handoff-test-auth-XXXXXX");
    if (!mkdtemp(keys.folder))
        return -1;
    keys.rsa = EVP_RSA_gen(2048);
    keys.ec = EVP_EC_gen("P-256");
    keys.stranger = EVP_RSA_gen(2048);
    jwt_write_public_key(keys.rsa, keys.folder, "rsa-1.pem", &keys.rsa_pem);
    jwt_write_public_key(keys.ec, keys.folder, "ec-1.pem", NULL);
    return 0;
}

static void remove_file(const char *name) {
    struct buf path = BUF_NULL;
    buf_printf(&path, "%s/%s", keys.folder, name);
    unlink(path.data);
    buf_done(&path);
}

static int drop_keys(void **state) {
    (void)state;
    remove_file("rsa-1.pem");
    remove_file("ec-1.pem");
    rmdir(keys.folder);
    EVP_PKEY_free(keys.rsa);
    EVP_PKEY_free(keys.ec);
    EVP_PKEY_free(keys.stranger);
    free(keys.rsa_pem);
    return 0;
}

/* The members that auth reads; texts are borrowed. */
struct setup {
    const char *algorithms, *secret, *previous, *folder, *issuer, *audience;
};

static char *text_or_empty(const char *text) {
    return must_strdup(text ? text : "");
}

static int auth_of(const struct setup *s, struct auth **ret, char **ret_error) {
    struct config c = {
        .service = CONFIG_SESSION_API,
        .jwt_algorithms = text_or_empty(s->algorithms),
        .jwt_secret = text_or_empty(s->secret),
        .jwt_secret_previous = text_or_empty(s->previous),
        .jwt_keys = text_or_empty(s->folder),
        .jwt_issuer = text_or_empty(s->issuer),
        .jwt_audience = text_or_empty(s->audience),
    };
    int r = auth_new(ret, &c, ret_error);
    config_done(&c);
    return r;
}

static struct auth *must_auth(const struct setup *s) {
    struct auth *a = NULL;
    char *error = NULL;
    if (auth_of(s, &a, &error) != 0)
        fail_msg("%s", error);
    return a;
}

static const struct setup hmac_only = {.algorithms = "HS256", .secret = SECRET};

static struct auth *all_kinds(void) {
    return must_auth(&(struct setup){.algorithms = "HS256,RS256,ES256",
                                     .secret = SECRET,
                                     .previous = PREVIOUS,
                                     .folder = keys.folder});
}

/* Makers of tokens: the caller frees with buf_done. */
static struct buf hmac_token(const char *header, const char *claims, const char *secret) {
    struct buf token = BUF_NULL, payload = BUF_NULL;
    buf_printf(&payload, "{%s}", claims);
    jwt_put_input(&token, header, payload.data, payload.len);
    jwt_sign_hmac(&token, EVP_sha256(), secret);
    buf_done(&payload);
    return token;
}

static struct buf key_token(const char *header, const char *claims, EVP_PKEY *key) {
    struct buf token = BUF_NULL, payload = BUF_NULL;
    buf_printf(&payload, "{%s}", claims);
    jwt_put_input(&token, header, payload.data, payload.len);
    jwt_sign_key(&token, key);
    buf_done(&payload);
    return token;
}

static void check_refused(struct auth *a, struct buf token, enum fault_code code, const char *why) {
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

static void check_taken(struct auth *a, struct buf token, struct principal *ret) {
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
static void check_claims(struct auth *a, const char *claims, enum fault_code code,
                         const char *why) {
    check_refused(a, hmac_token(HS256, claims, SECRET), code, why);
}

static void test_each_good_kind_is_taken(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    struct principal p;
    check_taken(a, hmac_token(HS256, GOOD, SECRET), &p);
    assert_string_equal(p.user_id, USER);
    assert_string_equal(p.device_id, "");
    assert_int_equal(p.rights, COMMAND_READ | COMMAND_WRITE);
    assert_int_equal(p.expires_at, NOW + 600);
    check_taken(a, hmac_token(HS256, GOOD, PREVIOUS), NULL);
    check_taken(a, hmac_token("{\"alg\":\"HS256\"}", GOOD, SECRET), NULL);
    check_taken(a, hmac_token("{\"alg\":\"HS256\",\"typ\":\"jwt\"}", GOOD, SECRET), NULL);
    check_taken(a, hmac_token("{\"kid\":\"whatever\",\"alg\":\"HS256\"}", GOOD, SECRET), NULL);
    check_taken(a, key_token("{\"alg\":\"RS256\",\"kid\":\"rsa-1\"}", GOOD, keys.rsa), &p);
    assert_string_equal(p.user_id, USER);
    check_taken(a, key_token("{\"alg\":\"ES256\",\"kid\":\"ec-1\"}", GOOD, keys.ec), &p);
    assert_string_equal(p.user_id, USER);
    auth_free(a);
}

static void test_alg_none_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    static const char *const headers[] = {"{\"alg\":\"none\"}", "{\"alg\":\"None\"}",
                                          "{\"alg\":\"NONE\"}", "{}", "{\"alg\":null}"};
    for (size_t i = 0; i < N_ELEMENTS(headers); i++) {
        check_refused(a, hmac_token(headers[i], GOOD, SECRET), UNAUTHENTICATED, "alg");
        struct buf unsigned_token = BUF_NULL;
        jwt_put_input(&unsigned_token, headers[i], "{" GOOD "}", strlen("{" GOOD "}"));
        buf_putc(&unsigned_token, '.');
        check_refused(a, unsigned_token, UNAUTHENTICATED, "three parts");
    }
    auth_free(a);
}

static void test_an_algorithm_outside_the_list_is_refused(void **state) {
    (void)state;
    struct auth *hmac = must_auth(&hmac_only);
    check_refused(hmac, key_token("{\"alg\":\"RS256\",\"kid\":\"rsa-1\"}", GOOD, keys.rsa),
                  UNAUTHENTICATED, "alg");
    auth_free(hmac);
    struct auth *rsa =
        must_auth(&(struct setup){.algorithms = "RS256", .secret = SECRET, .folder = keys.folder});
    check_refused(rsa, hmac_token(HS256, GOOD, SECRET), UNAUTHENTICATED, "alg");
    check_refused(rsa, key_token("{\"alg\":\"ES256\",\"kid\":\"ec-1\"}", GOOD, keys.ec),
                  UNAUTHENTICATED, "alg");
    auth_free(rsa);
    struct auth *a = all_kinds();
    static const char *const others[] = {"HS384", "HS512",  "RS512", "PS256", "EdDSA",
                                         "hs256", "HS256 ", "HS25",  ""};
    for (size_t i = 0; i < N_ELEMENTS(others); i++) {
        struct buf header = BUF_NULL;
        buf_printf(&header, "{\"alg\":\"%s\"}", others[i]);
        check_refused(a, hmac_token(header.data, GOOD, SECRET), UNAUTHENTICATED, "alg");
        buf_done(&header);
    }
    struct buf hs512 = BUF_NULL; /* rightly signed, with the right secret */
    jwt_put_input(&hs512, "{\"alg\":\"HS512\"}", "{" GOOD "}", strlen("{" GOOD "}"));
    jwt_sign_hmac(&hs512, EVP_sha512(), SECRET);
    check_refused(a, hs512, UNAUTHENTICATED, "alg");
    auth_free(a);
}

static void test_a_public_key_is_no_secret(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    struct auth *rsa =
        must_auth(&(struct setup){.algorithms = "RS256,ES256", .folder = keys.folder});
    static const char header[] = "{\"alg\":\"HS256\",\"kid\":\"rsa-1\"}";
    check_refused(a, hmac_token(header, GOOD, keys.rsa_pem), UNAUTHENTICATED, "signature");
    check_refused(rsa, hmac_token(header, GOOD, keys.rsa_pem), UNAUTHENTICATED, "alg");
    static const char lie[] = "{\"alg\":\"RS256\",\"kid\":\"rsa-1\"}";
    check_refused(a, hmac_token(lie, GOOD, keys.rsa_pem), UNAUTHENTICATED, "signature");
    auth_free(a);
    auth_free(rsa);
}

static void test_a_key_of_another_kind_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    check_refused(a, key_token("{\"alg\":\"RS256\",\"kid\":\"ec-1\"}", GOOD, keys.rsa),
                  UNAUTHENTICATED, "kind");
    check_refused(a, key_token("{\"alg\":\"ES256\",\"kid\":\"rsa-1\"}", GOOD, keys.ec),
                  UNAUTHENTICATED, "kind");
    auth_free(a);
}

static void test_kid_chooses_and_an_unknown_one_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    static const char *const bad[] = {"\"rsa-2\"", "\"\"", "\"../rsa-1\"", "\"rsa-1.pem\"",
                                      "\"RSA-1\"", "7",    "null"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct buf header = BUF_NULL;
        buf_printf(&header, "{\"alg\":\"RS256\",\"kid\":%s}", bad[i]);
        check_refused(a, key_token(header.data, GOOD, keys.rsa), UNAUTHENTICATED, "kid");
        buf_done(&header);
    }
    check_refused(a, key_token("{\"alg\":\"RS256\"}", GOOD, keys.rsa), UNAUTHENTICATED,
                  "not just one key");
    auth_free(a);
}

static void test_without_kid_the_only_key_is_taken(void **state) {
    (void)state;
    char folder[] = "/tmp/handoff-test-auth-one-XXXXXX";
    assert_non_null(mkdtemp(folder));
    jwt_write_public_key(keys.ec, folder, "only.pem", NULL);
    struct auth *a = must_auth(&(struct setup){.algorithms = "ES256", .folder = folder});
    check_taken(a, key_token("{\"alg\":\"ES256\"}", GOOD, keys.ec), NULL);
    auth_free(a);
    struct buf path = BUF_NULL;
    buf_printf(&path, "%s/only.pem", folder);
    unlink(path.data);
    buf_done(&path);
    rmdir(folder);
}

static void test_a_bad_signature_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    check_refused(a, hmac_token(HS256, GOOD, "another-secret-0123456789-0123456"), UNAUTHENTICATED,
                  "signature");
    check_refused(a, key_token("{\"alg\":\"RS256\",\"kid\":\"rsa-1\"}", GOOD, keys.stranger),
                  UNAUTHENTICATED, "signature");
    struct buf zero = BUF_NULL; /* CVE-2022-21449: r = s = 0 */
    static const unsigned char zeros[64];
    jwt_put_input(&zero, "{\"alg\":\"ES256\",\"kid\":\"ec-1\"}", "{" GOOD "}",
                  strlen("{" GOOD "}"));
    buf_putc(&zero, '.');
    jwt_put_base64url(&zero, zeros, sizeof(zeros));
    check_refused(a, zero, UNAUTHENTICATED, "signature");
    auth_free(a);
}

static void test_every_changed_character_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    struct buf good = hmac_token(HS256, GOOD, SECRET);
    struct principal p;
    struct fault f;
    for (size_t i = 0; i < good.len; i++) {
        char was = good.data[i];
        good.data[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(auth_verify(a, good.data, good.len, NOW, &p, &f), UNAUTHENTICATED);
        good.data[i] = was;
    }
    for (size_t len = 0; len < good.len; len++)
        assert_int_equal(auth_verify(a, good.data, len, NOW, &p, &f), UNAUTHENTICATED);
    check_taken(a, good, NULL);
    auth_free(a);
}

static void test_a_wrong_shape_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    static const char *const ends[] = {".", "=", "==", ".AAAA", " ", "\n", "+", "/", "%"};
    for (size_t i = 0; i < N_ELEMENTS(ends); i++) {
        struct buf token = hmac_token(HS256, GOOD, SECRET);
        buf_puts(&token, ends[i]);
        check_refused(a, token, UNAUTHENTICATED, "");
    }
    static const char *const shapes[] = {"", ".", "..", "...", "a", "a.b", "a.b.c", "a..c", ".b.c"};
    for (size_t i = 0; i < N_ELEMENTS(shapes); i++) {
        struct buf token = BUF_NULL;
        buf_puts(&token, shapes[i]);
        check_refused(a, token, UNAUTHENTICATED, "");
    }
    struct buf empty_signature = BUF_NULL;
    jwt_put_input(&empty_signature, HS256, "{" GOOD "}", strlen("{" GOOD "}"));
    buf_putc(&empty_signature, '.');
    check_refused(a, empty_signature, UNAUTHENTICATED, "three parts");
    struct buf nul = hmac_token(HS256, GOOD, SECRET);
    buf_put(&nul, "\0x", 2);
    check_refused(a, nul, UNAUTHENTICATED, "base64url");
    auth_free(a);
}

static void test_a_bad_header_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    check_refused(a, hmac_token("{\"alg\":\"none\",\"alg\":\"HS256\"}", GOOD, SECRET),
                  UNAUTHENTICATED, "header is not JSON");
    check_refused(a, hmac_token("[\"HS256\"]", GOOD, SECRET), UNAUTHENTICATED, "alg");
    check_refused(a, hmac_token("HS256", GOOD, SECRET), UNAUTHENTICATED, "not JSON");
    check_refused(a, hmac_token("{\"alg\":\"HS256\"}x", GOOD, SECRET), UNAUTHENTICATED, "not JSON");
    check_refused(a,
                  hmac_token("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", GOOD, SECRET),
                  UNAUTHENTICATED, "crit");
    check_refused(a, hmac_token("{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", GOOD, SECRET),
                  UNAUTHENTICATED, "typ");
    check_refused(a, hmac_token("{\"alg\":\"HS256\",\"typ\":7}", GOOD, SECRET), UNAUTHENTICATED,
                  "typ");
    auth_free(a);
}

static void test_a_token_over_8_kib_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    _cleanup_(freep) char *claims = must_alloc(10240 + 100);
    int n = snprintf(claims, 100, "%s,\"x\":\"", GOOD);
    memset(claims + n, 'x', 10240);
    strcpy(claims + n + 10240, "\"");
    check_refused(a, hmac_token(HS256, claims, SECRET), UNAUTHENTICATED, "8192");
    strcpy(claims + n + 5900, "\"");
    struct buf large = hmac_token(HS256, claims, SECRET);
    assert_in_range(large.len, 7900, 8192);
    check_taken(a, large, NULL);
    auth_free(a);
}

static void test_exp_is_needed_and_judged(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    const char *sub = "\"sub\":\"u\"";
    static const struct {
        const char *exp;
        enum fault_code code;
    } cases[] = {
        {"1799999970", FAULT_TOKEN_EXPIRED}, /* 30 s ago */
        {"1799999971", FAULT_NONE},
        {"1800000000.75", FAULT_NONE},
        {"1e300", FAULT_NONE},
        {"0", FAULT_TOKEN_EXPIRED},
        {"-1e300", FAULT_TOKEN_EXPIRED},
        {"\"1800000600\"", UNAUTHENTICATED},
        {"null", UNAUTHENTICATED},
        {"true", UNAUTHENTICATED},
        {"[1800000600]", UNAUTHENTICATED},
        {"1e400", UNAUTHENTICATED},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct buf claims = BUF_NULL;
        buf_printf(&claims, "%s,\"exp\":%s", sub, cases[i].exp);
        if (cases[i].code == FAULT_NONE)
            check_taken(a, hmac_token(HS256, claims.data, SECRET), NULL);
        else
            check_claims(a, claims.data, cases[i].code, "");
        buf_done(&claims);
    }
    check_claims(a, sub, UNAUTHENTICATED, "exp is missing");
    auth_free(a);
}

static void test_a_cached_token_expires_too(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    struct buf token = hmac_token(HS256, GOOD ",\"nbf\":1800000000", SECRET);
    struct principal p;
    struct fault f;
    assert_int_equal(auth_verify(a, token.data, token.len, NOW, &p, &f), 0);
    assert_int_equal(auth_verify(a, token.data, token.len, NOW + 629, &p, &f), 0);
    assert_int_equal(auth_verify(a, token.data, token.len, NOW + 630, &p, &f), FAULT_TOKEN_EXPIRED);
    assert_int_equal(auth_verify(a, token.data, token.len, NOW - 31, &p, &f), UNAUTHENTICATED);
    assert_int_equal(auth_verify(a, token.data, token.len, NOW - 30, &p, &f), 0);
    buf_done(&token);
    auth_free(a);
}

static void test_nbf_and_iat_in_the_future_are_refused(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    check_taken(a, hmac_token(HS256, GOOD ",\"nbf\":1800000030,\"iat\":1800000030", SECRET), NULL);
    check_claims(a, GOOD ",\"nbf\":1800000031", UNAUTHENTICATED, "future");
    check_claims(a, GOOD ",\"nbf\":1800000030.5", UNAUTHENTICATED, "future");
    check_claims(a, GOOD ",\"iat\":1800000031", UNAUTHENTICATED, "future");
    check_claims(a, GOOD ",\"iat\":1800000031,\"nbf\":0", UNAUTHENTICATED, "future");
    check_claims(a, GOOD ",\"nbf\":\"0\"", UNAUTHENTICATED, "nbf is not a number");
    check_claims(a, GOOD ",\"iat\":null", UNAUTHENTICATED, "iat is not a number");
    auth_free(a);
}

static void test_sub_is_needed(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    check_claims(a, "\"exp\":1800000600", UNAUTHENTICATED, "sub is missing");
    check_claims(a, "\"exp\":1800000600,\"sub\":\"\"", UNAUTHENTICATED, "1 to 255");
    check_claims(a, "\"exp\":1800000600,\"sub\":7", UNAUTHENTICATED, "sub is not a string");
    check_claims(a, "\"exp\":1800000600,\"sub\":null", UNAUTHENTICATED, "sub is not a string");
    check_claims(a, "\"exp\":1800000600,\"sub\":\"a\\u0000b\"", UNAUTHENTICATED, "not JSON");
    check_claims(a, "\"exp\":1800000600,\"sub\":\"a\",\"sub\":\"b\"", UNAUTHENTICATED, "");
    struct buf claims = BUF_NULL;
    buf_printf(&claims, "\"exp\":1800000600,\"sub\":\"%0255d\"", 0);
    check_taken(a, hmac_token(HS256, claims.data, SECRET), NULL);
    buf_clear(&claims);
    buf_printf(&claims, "\"exp\":1800000600,\"sub\":\"%0256d\"", 0);
    check_claims(a, claims.data, UNAUTHENTICATED, "1 to 255");
    buf_done(&claims);
    auth_free(a);
}

/* Expected ids: python3 -c 'import uuid; print(uuid.uuid5(uuid.NAMESPACE_URL, "iss\nsub"))' */
static void test_a_user_that_is_no_uuid_gets_one(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    struct principal p;
    check_taken(a, hmac_token(HS256, "\"exp\":1800000600,\"sub\":\"auth0|42\"", SECRET), &p);
    assert_string_equal(p.user_id, "bab6e240-53e0-50d6-b7c2-193dda323125");
    check_taken(a,
                hmac_token(HS256,
                           "\"exp\":1800000600,\"sub\":\"auth0|42\",\"iss\":\"https://i.example\"",
                           SECRET),
                &p);
    assert_string_equal(p.user_id, "78ee6e62-695c-57bd-86ba-4a18f47fbc24");
    check_taken(a,
                hmac_token(HS256,
                           "\"exp\":1800000600,\"sub\":\"0197F22E-79B0-7CC3-98C4-DC0C0C07398F\"",
                           SECRET),
                &p);
    assert_string_equal(p.user_id, USER);
    auth_free(a);
}

static void test_issuer_and_audience_count_where_configured(void **state) {
    (void)state;
    struct auth *a = must_auth(&(struct setup){
        .algorithms = "HS256", .secret = SECRET, .issuer = "https://i", .audience = "handoff"});
#define ISS ",\"iss\":\"https://i\""
    check_taken(a, hmac_token(HS256, GOOD ISS ",\"aud\":\"handoff\"", SECRET), NULL);
    check_taken(a, hmac_token(HS256, GOOD ISS ",\"aud\":[\"x\",\"handoff\"]", SECRET), NULL);
    check_claims(a, GOOD ISS, UNAUTHENTICATED, "aud");
    check_claims(a, GOOD ISS ",\"aud\":\"handoff2\"", UNAUTHENTICATED, "aud");
    check_claims(a, GOOD ISS ",\"aud\":[]", UNAUTHENTICATED, "aud");
    check_claims(a, GOOD ISS ",\"aud\":[[\"handoff\"],7]", UNAUTHENTICATED, "aud");
    check_claims(a, GOOD ISS ",\"aud\":{\"handoff\":1}", UNAUTHENTICATED, "aud");
    check_claims(a, GOOD ",\"aud\":\"handoff\"", UNAUTHENTICATED, "iss");
    check_claims(a, GOOD ",\"iss\":\"https://i/\",\"aud\":\"handoff\"", UNAUTHENTICATED, "iss");
    check_claims(a, GOOD ",\"iss\":7,\"aud\":\"handoff\"", UNAUTHENTICATED, "iss");
    auth_free(a);
    struct auth *any = must_auth(&hmac_only);
    check_taken(any, hmac_token(HS256, GOOD ",\"iss\":\"x\",\"aud\":7", SECRET), NULL);
    check_claims(any, GOOD ",\"iss\":7", UNAUTHENTICATED, "iss");
    auth_free(any);
}

static void test_device_id_is_taken_or_refused(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    struct principal p;
    check_taken(a, hmac_token(HS256, GOOD ",\"device_id\":\"Phone_1.a:b-c\"", SECRET), &p);
    assert_string_equal(p.device_id, "Phone_1.a:b-c");
    static const char *const bad[] = {"\"\"", "\".\"", "\"..\"", "\"a b\"",   "\"a/b\"",
                                      "7",    "null",  "[]",     "\"\u00e9\""};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct buf claims = BUF_NULL;
        buf_printf(&claims, "%s,\"device_id\":%s", GOOD, bad[i]);
        check_claims(a, claims.data, UNAUTHENTICATED, "device_id");
        buf_done(&claims);
    }
    struct buf claims = BUF_NULL;
    buf_printf(&claims, "%s,\"device_id\":\"%0128d\"", GOOD, 1);
    check_taken(a, hmac_token(HS256, claims.data, SECRET), &p);
    assert_int_equal(strlen(p.device_id), 128);
    buf_clear(&claims);
    buf_printf(&claims, "%s,\"device_id\":\"%0129d\"", GOOD, 1);
    check_claims(a, claims.data, UNAUTHENTICATED, "device_id");
    buf_done(&claims);
    auth_free(a);
}

static void test_scope_narrows_rights(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    static const struct {
        const char *scope;
        unsigned rights;
    } cases[] = {
        {"", 0},
        {"openid profile", 0},
        {"sessions:read", COMMAND_READ},
        {" openid  sessions:write ", COMMAND_WRITE},
        {"sessions:read sessions:write", COMMAND_READ | COMMAND_WRITE},
        {"sessions:admin", COMMAND_ADMIN},
        {"sessions:administrator sessions:rea xsessions:read", 0},
        {"SESSIONS:READ", 0},
        {"sessions:read,sessions:write", 0},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct principal p;
        struct buf claims = BUF_NULL;
        buf_printf(&claims, "%s,\"scope\":\"%s\"", GOOD, cases[i].scope);
        check_taken(a, hmac_token(HS256, claims.data, SECRET), &p);
        assert_int_equal(p.rights, cases[i].rights);
        buf_done(&claims);
    }
    check_claims(a, GOOD ",\"scope\":[\"sessions:read\"]", UNAUTHENTICATED, "scope");
    auth_free(a);
}

static void test_a_payload_that_is_no_object_is_refused(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    static const char *const payloads[] = {"[]", "7",   "\"x\"", "null",
                                           "{",  "{}x", "\xff",  "{\"exp\":}"};
    for (size_t i = 0; i < N_ELEMENTS(payloads); i++) {
        struct buf token = BUF_NULL;
        jwt_put_input(&token, HS256, payloads[i], strlen(payloads[i]));
        jwt_sign_hmac(&token, EVP_sha256(), SECRET);
        check_refused(a, token, UNAUTHENTICATED, "");
    }
    auth_free(a);
}

static void test_the_cache_is_bounded_and_right(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 12000; i++) { /* more than it holds */
            struct buf claims = BUF_NULL;
            buf_printf(&claims, "\"exp\":1800000600,\"sub\":\"00000000-0000-7000-8000-%012d\"", i);
            struct buf token = hmac_token(HS256, claims.data, SECRET);
            struct principal p;
            struct fault f;
            assert_int_equal(auth_verify(a, token.data, token.len, NOW, &p, &f), 0);
            assert_int_equal(atoi(p.user_id + 24), i);
            buf_done(&token);
            buf_done(&claims);
        }
    auth_free(a);
}

static void check_config(const struct setup *s, const char *why) {
    struct auth *a = NULL;
    char *error = NULL;
    assert_int_equal(auth_of(s, &a, &error), -EINVAL);
    assert_null(a);
    if (!strstr(error, why))
        fail_msg("\"%s\" is not in \"%s\"", why, error);
    free(error);
}

static void test_a_service_without_a_key_refuses_to_start(void **state) {
    (void)state;
    check_config(&(struct setup){.algorithms = "HS256"}, "HANDOFF_JWT_SECRET is needed");
    check_config(
        &(struct setup){.algorithms = "HS256", .secret = "0123456789012345678901234567890"},
        "under 32 bytes");
    check_config(&(struct setup){.algorithms = "HS256", .secret = SECRET, .previous = "short"},
                 "HANDOFF_JWT_SECRET_PREVIOUS has under 32 bytes");
    check_config(&(struct setup){.algorithms = "HS256,RS256", .secret = SECRET},
                 "HANDOFF_JWT_KEYS has no RSA key");
    check_config(&(struct setup){.algorithms = "ES256", .secret = SECRET}, "no P-256 key");
    check_config(&(struct setup){.algorithms = "RS256", .folder = "/nowhere"}, "/nowhere No such");
    check_config(&(struct setup){.algorithms = "none", .secret = SECRET}, "allowed: HS256");
}

static void check_key_file(const char *text, EVP_PKEY *key, const char *why) {
    struct buf path = BUF_NULL;
    buf_printf(&path, "%s/bad.pem", keys.folder);
    if (key) {
        jwt_write_public_key(key, keys.folder, "bad.pem", NULL);
    } else {
        FILE *file = fopen(path.data, "we");
        fputs(text, file);
        fclose(file);
    }
    check_config(&(struct setup){.algorithms = "RS256", .folder = keys.folder}, why);
    unlink(path.data);
    buf_done(&path);
    EVP_PKEY_free(key);
}

static void test_weak_or_odd_key_files_refuse_the_start(void **state) {
    (void)state;
    check_key_file(NULL, EVP_RSA_gen(1024), "bad.pem is no key that is allowed");
    check_key_file(NULL, EVP_EC_gen("P-384"), "bad.pem is no key that is allowed");
    check_key_file(NULL, EVP_EC_gen("secp256k1"), "bad.pem is no key that is allowed");
    check_key_file(NULL, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), "is no key that is allowed");
    check_key_file("", NULL, "bad.pem is no public key in PEM form");
    check_key_file("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", NULL,
                   "bad.pem is no public key in PEM form");
}

static void check_bearer(const char *header, const char *expected) {
    size_t len = 0;
    const char *token = auth_bearer(header, &len);
    if (!expected) {
        assert_null(token);
        return;
    }
    assert_non_null(token);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(token, expected, len);
}

static void test_bearer_finds_the_token(void **state) {
    (void)state;
    check_bearer("Bearer abc.d-e_f.g", "abc.d-e_f.g");
    check_bearer("bearer abc", "abc");
    check_bearer("BEARER   abc== ", "abc==");
    check_bearer(NULL, NULL);
    check_bearer("", NULL);
    check_bearer("Bearer", NULL);
    check_bearer("Bearer ", NULL);
    check_bearer("Bearerabc", NULL);
    check_bearer("Basic abc", NULL);
    check_bearer("Bearer abc def", NULL);
    check_bearer("Bearer abc, Bearer def", NULL);
    check_bearer("Bearer abc\tdef", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_good_kind_is_taken),
        cmocka_unit_test(test_alg_none_is_refused),
        cmocka_unit_test(test_an_algorithm_outside_the_list_is_refused),
        cmocka_unit_test(test_a_public_key_is_no_secret),
        cmocka_unit_test(test_a_key_of_another_kind_is_refused),
        cmocka_unit_test(test_kid_chooses_and_an_unknown_one_is_refused),
        cmocka_unit_test(test_without_kid_the_only_key_is_taken),
        cmocka_unit_test(test_a_bad_signature_is_refused),
        cmocka_unit_test(test_every_changed_character_is_refused),
        cmocka_unit_test(test_a_wrong_shape_is_refused),
        cmocka_unit_test(test_a_bad_header_is_refused),
        cmocka_unit_test(test_a_token_over_8_kib_is_refused),
        cmocka_unit_test(test_exp_is_needed_and_judged),
        cmocka_unit_test(test_a_cached_token_expires_too),
        cmocka_unit_test(test_nbf_and_iat_in_the_future_are_refused),
        cmocka_unit_test(test_sub_is_needed),
        cmocka_unit_test(test_a_user_that_is_no_uuid_gets_one),
        cmocka_unit_test(test_issuer_and_audience_count_where_configured),
        cmocka_unit_test(test_device_id_is_taken_or_refused),
        cmocka_unit_test(test_scope_narrows_rights),
        cmocka_unit_test(test_a_payload_that_is_no_object_is_refused),
        cmocka_unit_test(test_the_cache_is_bounded_and_right),
        cmocka_unit_test(test_a_service_without_a_key_refuses_to_start),
        cmocka_unit_test(test_weak_or_odd_key_files_refuse_the_start),
        cmocka_unit_test(test_bearer_finds_the_token),
    };
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
