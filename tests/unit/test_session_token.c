/* common/session_token and what auth makes of it: tokens that are taken, and everything near one
 * that is not: other claims, keys, curves and algorithms. Files of keys are test_session_keys.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <unistd.h>

#include "base/base64url.h"
#include "common/session_token.h"
#include "proto/command.h"
#include "proto/text.h"
#include "tests/auth_setup.h"
#include "tests/session_key_files.h"

#define SESSION "0197f22e-79b0-7cc3-98c4-dc0c0c073990"
#define OWN                                                                                        \
    "\"iss\":\"handoff\",\"exp\":1800000600,\"sub\":\"" USER "\",\"session_id\":\"" SESSION        \
    "\",\"device_id\":\"tv\""

static struct {
    struct key_files files;
    EVP_PKEY *own, *next, *stranger, *p384, *rsa;
    struct auth *auth; /* signs with own, verifies own and next */
    char kid[64], next_kid[64];
} t;

static struct buf set_of(const struct auth *a) {
    struct buf out = BUF_NULL;
    assert_true(session_token_print_keys(a, &out));
    return out;
}

/* The kids of the set, in order. */
static void take_kids(void) {
    struct buf set = set_of(t.auth);
    json_auto_t *json = NULL;
    assert_int_equal(text_parse(set.data, set.len, &json, NULL), 0);
    const json_t *keys = json_object_get(json, "keys");
    assert_int_equal(json_array_size(keys), 2);
    strcpy(t.kid, json_string_value(json_object_get(json_array_get(keys, 0), "kid")));
    strcpy(t.next_kid, json_string_value(json_object_get(json_array_get(keys, 1), "kid")));
    buf_done(&set);
}

static int set_up(void **state) {
    (void)state;
    key_files_init(&t.files);
    t.own = EVP_EC_gen("P-256");
    t.next = EVP_EC_gen("P-256");
    t.stranger = EVP_EC_gen("P-256");
    t.p384 = EVP_EC_gen("P-384");
    t.rsa = EVP_RSA_gen(2048);
    t.auth = must_auth(&(struct setup){
        .algorithms = "HS256",
        .secret = SECRET,
        .issuer = "https://id.example",
        .audience = "somebody",
        .own_key = key_files_private(&t.files, "own", t.own),
        .own_public_keys = key_files_public(&t.files, "both", (EVP_PKEY *[]){t.own, t.next}, 2)});
    take_kids();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    auth_free(t.auth);
    EVP_PKEY_free(t.own);
    EVP_PKEY_free(t.next);
    EVP_PKEY_free(t.stranger);
    EVP_PKEY_free(t.p384);
    EVP_PKEY_free(t.rsa);
    key_files_done(&t.files);
    return 0;
}

static struct buf made(const struct auth *a) {
    struct buf token = BUF_NULL;
    char *text = NULL;
    int64_t expires_at = 0;
    assert_int_equal(session_token_new(a, USER, SESSION, "tv:1", NOW, &text, &expires_at), 0);
    assert_int_equal(expires_at, NOW + 86400);
    buf_puts(&token, text);
    free(text);
    return token;
}

/* Signed by any key under any header's alg and kid. */
static struct buf signed_by(EVP_PKEY *key, const char *alg, const char *kid, const char *claims) {
    struct buf token = BUF_NULL, header = BUF_NULL, payload = BUF_NULL;
    buf_printf(&header, "{\"alg\":\"%s\",\"kid\":\"%s\"}", alg, kid);
    buf_printf(&payload, "{%s}", claims);
    jwt_put_input(&token, header.data, payload.data, payload.len);
    jwt_sign_key(&token, key);
    buf_done(&header);
    buf_done(&payload);
    return token;
}

static struct buf own_token(const char *claims) {
    return signed_by(t.own, "ES256", t.kid, claims);
}

/* ---- what is taken ---- */

static void test_a_token_of_ours_is_taken_for_what_it_is(void **state) {
    (void)state;
    struct principal p;
    check_taken(t.auth, made(t.auth),
                &p); /* whatever algorithms, issuer and audience others need */
    assert_string_equal(p.user_id, USER);
    assert_string_equal(p.session_id, SESSION);
    assert_string_equal(p.device_id, "tv:1");
    assert_true(p.is_session_token);
    assert_int_equal(p.rights, COMMAND_READ | COMMAND_WRITE);
    assert_int_equal(p.expires_at, NOW + 86400);
    check_taken(t.auth, own_token(OWN), &p);
    check_taken(t.auth, signed_by(t.next, "ES256", t.next_kid, OWN), &p);
    assert_true(p.is_session_token);
}

static json_t *part_of(const struct buf *token, size_t i) {
    const char *at = token->data;
    char bytes[1024];
    for (; i; i--)
        at = strchr(at, '.') + 1;
    ssize_t n = base64url_decode(at, strcspn(at, "."), bytes);
    assert_true(n > 0);
    json_t *json = NULL;
    assert_int_equal(text_parse(bytes, (size_t)n, &json, NULL), 0);
    return json;
}

static const char *member(const json_t *json, const char *name) {
    const char *text = json_string_value(json_object_get(json, name));
    return text ? text : "";
}

static void test_its_parts_are_those_of_the_standard(void **state) {
    (void)state;
    struct buf token = made(t.auth);
    json_auto_t *header = part_of(&token, 0), *payload = part_of(&token, 1);
    assert_int_equal(json_object_size(header), 3);
    assert_string_equal(member(header, "alg"), "ES256");
    assert_string_equal(member(header, "typ"), "JWT");
    assert_string_equal(member(header, "kid"), t.kid);
    assert_int_equal(json_object_size(payload), 7);
    assert_string_equal(member(payload, "iss"), "handoff");
    assert_string_equal(member(payload, "sub"), USER);
    assert_string_equal(member(payload, "session_id"), SESSION);
    assert_string_equal(member(payload, "device_id"), "tv:1");
    assert_true(uuid_is(member(payload, "jti"), strlen(member(payload, "jti"))));
    assert_true(json_number_value(json_object_get(payload, "iat")) == NOW);
    assert_true(json_number_value(json_object_get(payload, "exp")) == NOW + 86400);
    struct buf second = made(t.auth);
    assert_string_not_equal(token.data, second.data); /* jti */
    buf_done(&second);
    buf_done(&token);
}

/* r or s with leading zeros is one signature in 128 or so: each must have its 64 bytes. */
static void test_every_signature_has_its_length(void **state) {
    (void)state;
    for (int i = 0; i < 600; i++) {
        struct buf token = made(t.auth);
        assert_int_equal(strlen(strrchr(token.data, '.') + 1), 86);
        buf_done(&token);
    }
}

static void test_it_expires(void **state) {
    (void)state;
    struct buf token = made(t.auth);
    struct principal p;
    struct fault f;
    assert_int_equal(auth_verify(t.auth, token.data, token.len, NOW + 86400, &p, &f), 0);
    assert_int_equal(auth_verify(t.auth, token.data, token.len, NOW + 86430, &p, &f),
                     FAULT_TOKEN_EXPIRED);
    assert_int_equal(auth_verify(t.auth, token.data, token.len, NOW - 31, &p, &f),
                     FAULT_UNAUTHENTICATED);
    buf_done(&token);
}

/* ---- what is not ---- */

static void test_our_key_verifies_session_tokens_only(void **state) {
    (void)state;
    static const struct {
        const char *claims, *why;
    } cases[] = {
        {GOOD, "iss"},
        {GOOD ",\"iss\":\"https://id.example\",\"aud\":\"somebody\"", "iss"},
        {GOOD ",\"iss\":\"handoff\"", "session_id is missing"},
        {GOOD ",\"iss\":\"handoff\",\"session_id\":\"" SESSION "\"", "device_id is missing"},
        {GOOD ",\"iss\":\"Handoff\",\"session_id\":\"" SESSION "\",\"device_id\":\"tv\"", "iss"},
        {GOOD ",\"iss\":[\"handoff\"],\"session_id\":\"" SESSION "\",\"device_id\":\"tv\"", "iss"},
        {GOOD ",\"iss\":\"handoff\",\"session_id\":\"x\",\"device_id\":\"tv\"", "no session's id"},
        {GOOD ",\"iss\":\"handoff\",\"session_id\":\"\",\"device_id\":\"tv\"", "no session's id"},
        {GOOD ",\"iss\":\"handoff\",\"session_id\":7,\"device_id\":\"tv\"", "not a string"},
        {GOOD ",\"iss\":\"handoff\",\"session_id\":null,\"device_id\":\"tv\"", "not a string"},
        {GOOD ",\"iss\":\"handoff\",\"session_id\":[\"" SESSION "\"],\"device_id\":\"tv\"",
         "not a string"},
        {OWN ",\"scope\":\"sessions:admin\"", "scope"},
        {OWN ",\"scope\":\"sessions:read\"", "scope"},
        {"\"iss\":\"handoff\",\"exp\":1800000600,\"sub\":\"alice\",\"session_id\":\"" SESSION
         "\",\"device_id\":\"tv\"",
         "no user's id"},
        {"\"iss\":\"handoff\",\"sub\":\"" USER "\",\"session_id\":\"" SESSION
         "\",\"device_id\":\"tv\"",
         "exp is missing"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++)
        check_refused(t.auth, own_token(cases[i].claims), UNAUTHENTICATED, cases[i].why);
}

static void test_no_other_key_signs_under_our_kid(void **state) {
    (void)state;
    check_refused(t.auth, signed_by(t.stranger, "ES256", t.kid, OWN), UNAUTHENTICATED, "signature");
    check_refused(t.auth, signed_by(t.next, "ES256", t.kid, OWN), UNAUTHENTICATED, "signature");
    check_refused(t.auth, signed_by(t.own, "ES256", t.next_kid, OWN), UNAUTHENTICATED, "signature");
    check_refused(t.auth, signed_by(t.own, "ES256", "unknown", OWN), UNAUTHENTICATED, "alg");
    struct buf none = BUF_NULL;
    jwt_put_input(&none, "{\"alg\":\"ES256\"}", "{" OWN "}", strlen("{" OWN "}"));
    jwt_sign_key(&none, t.own);
    check_refused(t.auth, none, UNAUTHENTICATED, "alg"); /* without kid it is nobody's */
}

static void test_our_key_is_for_no_other_algorithm(void **state) {
    (void)state;
    char header[128];
    static const char *const others[] = {"HS256", "RS256", "ES384", "ES512", "none", "es256", ""};
    for (size_t i = 0; i < N_ELEMENTS(others); i++) {
        check_refused(t.auth, signed_by(t.own, others[i], t.kid, OWN), UNAUTHENTICATED, "alg");
        snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", others[i], t.kid);
        check_refused(t.auth, hmac_token(header, OWN, SECRET), UNAUTHENTICATED, "alg");
    }
    _cleanup_(freep) char *pem = key_files_pem(t.own);
    snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"kid\":\"%s\"}", t.kid);
    check_refused(t.auth, hmac_token(header, OWN, pem), UNAUTHENTICATED, "alg");
    snprintf(header, sizeof(header), "{\"alg\":\"ES256\",\"kid\":\"%s\"}", t.kid);
    check_refused(t.auth, hmac_token(header, OWN, SECRET), UNAUTHENTICATED, "signature");
    check_refused(t.auth, hmac_token(header, OWN, pem), UNAUTHENTICATED, "signature");
    check_refused(t.auth, signed_by(t.rsa, "ES256", t.kid, OWN), UNAUTHENTICATED, "signature");
    check_refused(t.auth, signed_by(t.p384, "ES256", t.kid, OWN), UNAUTHENTICATED, "signature");
}

/* Signatures that are no point's: r or s zero, as large as the order, or of another length. */
static void test_odd_signatures_are_none(void **state) {
    (void)state;
    static const uint8_t order[] = {0xff, 0xff, 0xff, 0xff, 0,    0,    0,    0,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                    0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    static const size_t lengths[] = {1, 32, 63, 64, 65, 70, 72, 96, 128, 4096};
    uint8_t bytes[4096] = {0};
    for (int kind = 0; kind < 3; kind++) { /* zeros; the order twice; ones */
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = kind == 0 ? 0 : kind == 1 ? order[i % sizeof(order)] : 0xff;
        for (size_t i = 0; i < N_ELEMENTS(lengths); i++) {
            struct buf token = own_token(OWN);
            token.len = (size_t)(strrchr(token.data, '.') + 1 - token.data);
            jwt_put_base64url(&token, bytes, lengths[i]);
            check_refused(t.auth, token, UNAUTHENTICATED, "signature");
        }
    }
    struct buf der = own_token(OWN); /* a good one as X.509 has it */
    unsigned char signature[128];
    size_t len = sizeof(signature);
    der.len = (size_t)(strrchr(der.data, '.') - der.data);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, t.own);
    EVP_DigestSign(context, signature, &len, (const unsigned char *)der.data, der.len);
    EVP_MD_CTX_free(context);
    buf_putc(&der, '.');
    jwt_put_base64url(&der, signature, len);
    check_refused(t.auth, der, UNAUTHENTICATED, "signature");
}

static void test_no_changed_character_passes(void **state) {
    (void)state;
    struct buf good = made(t.auth);
    struct principal p;
    struct fault f;
    for (size_t i = 0; i < good.len; i++) {
        char was = good.data[i];
        good.data[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(auth_verify(t.auth, good.data, good.len, NOW, &p, &f), UNAUTHENTICATED);
        good.data[i] = was;
    }
    check_taken(t.auth, good, NULL);
}

/* ---- an identity provider's ---- */

static void test_anyones_session_id_confines(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    struct principal p;
    check_taken(a, hmac_token(HS256, GOOD, SECRET), &p);
    assert_string_equal(p.session_id, "");
    assert_true(auth_covers(&p, SESSION) && auth_covers(&p, USER) && auth_covers(&p, ""));
    check_taken(a, hmac_token(HS256, GOOD ",\"session_id\":\"" SESSION "\"", SECRET), &p);
    assert_string_equal(p.session_id, SESSION);
    assert_false(p.is_session_token);
    assert_true(auth_covers(&p, SESSION));
    assert_false(auth_covers(&p, USER) || auth_covers(&p, ""));
    check_taken(
        a,
        hmac_token(HS256, GOOD ",\"session_id\":\"0197F22E-79B0-7CC3-98C4-DC0C0C073990\"", SECRET),
        &p);
    assert_string_equal(p.session_id, SESSION);
    check_taken(a, hmac_token(HS256, OWN ",\"scope\":\"sessions:read\"", SECRET), &p);
    assert_false(p.is_session_token); /* its issuer may call itself as it likes */
    check_claims(a, GOOD ",\"session_id\":\"\"", UNAUTHENTICATED, "session_id");
    check_claims(a, GOOD ",\"session_id\":7", UNAUTHENTICATED, "session_id");
    check_claims(a, GOOD ",\"session_id\":null", UNAUTHENTICATED, "session_id");
    check_claims(a, GOOD ",\"session_id\":\"" SESSION "x\"", UNAUTHENTICATED, "session_id");
    auth_free(a);
}

/* Supabase has session_id in every token, for something else. */
static void test_a_provider_may_have_another_name_for_it(void **state) {
    (void)state;
    struct principal p;
    struct auth *a =
        must_auth(&(struct setup){.algorithms = "HS256",
                                  .secret = SECRET,
                                  .session_claim = "handoff_session",
                                  .own_key = key_files_private(&t.files, "again", t.own)});
    check_taken(a, hmac_token(HS256, GOOD ",\"session_id\":\"" USER "\"", SECRET), &p);
    assert_string_equal(p.session_id, "");
    check_taken(a, hmac_token(HS256, GOOD ",\"handoff_session\":\"" SESSION "\"", SECRET), &p);
    assert_string_equal(p.session_id, SESSION);
    check_claims(a, GOOD ",\"handoff_session\":7", UNAUTHENTICATED, "handoff_session");
    check_taken(a, made(a), &p); /* ours have the name that they have */
    assert_string_equal(p.session_id, SESSION);
    check_refused(
        a,
        own_token(GOOD ",\"iss\":\"handoff\",\"device_id\":\"tv\",\"handoff_session\":\"" SESSION
                       "\""),
        UNAUTHENTICATED, "session_id is missing");
    auth_free(a);
}

static void test_without_a_key_nothing_is_signed(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    struct buf out = BUF_NULL;
    char *token = NULL;
    int64_t expires_at = 0;
    assert_false(session_token_can_sign(a));
    assert_int_equal(session_token_new(a, USER, SESSION, "tv", NOW, &token, &expires_at),
                     -EOPNOTSUPP);
    assert_null(token);
    assert_false(session_token_print_keys(a, &out));
    assert_int_equal(out.len, 0);
    check_refused(a, made(t.auth), UNAUTHENTICATED, "alg");
    auth_free(a);
}

/* RFC 7638 works its example with RSA; this is RFC 7515's key (appendix A.3), whose thumbprint
 * other libraries agree upon. */
static void test_the_thumbprint_is_that_of_others(void **state) {
    (void)state;
    static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                              "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                              "-----END PUBLIC KEY-----\n";
    struct auth *a =
        must_auth(&(struct setup){.algorithms = "HS256",
                                  .secret = SECRET,
                                  .own_public_keys = key_files_text(&t.files, "rfc7515", pem)});
    struct buf set = set_of(a);
    assert_string_equal(set.data, "{\"keys\":[{\"crv\":\"P-256\",\"kty\":\"EC\","
                                  "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                  "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\","
                                  "\"kid\":\"oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U\",\"use\":"
                                  "\"sig\",\"alg\":\"ES256\"}]}");
    buf_done(&set);
    auth_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_of_ours_is_taken_for_what_it_is),
        cmocka_unit_test(test_its_parts_are_those_of_the_standard),
        cmocka_unit_test(test_every_signature_has_its_length),
        cmocka_unit_test(test_it_expires),
        cmocka_unit_test(test_our_key_verifies_session_tokens_only),
        cmocka_unit_test(test_no_other_key_signs_under_our_kid),
        cmocka_unit_test(test_our_key_is_for_no_other_algorithm),
        cmocka_unit_test(test_odd_signatures_are_none),
        cmocka_unit_test(test_no_changed_character_passes),
        cmocka_unit_test(test_anyones_session_id_confines),
        cmocka_unit_test(test_a_provider_may_have_another_name_for_it),
        cmocka_unit_test(test_without_a_key_nothing_is_signed),
        cmocka_unit_test(test_the_thumbprint_is_that_of_others),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
