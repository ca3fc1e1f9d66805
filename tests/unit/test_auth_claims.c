/* common/auth_claims: what a rightly signed token may say, to the bound and past it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/command.h"
#include "tests/auth_setup.h"

static void test_exp_is_needed_and_judged(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp_is_needed_and_judged),
        cmocka_unit_test(test_a_cached_token_expires_too),
        cmocka_unit_test(test_nbf_and_iat_in_the_future_are_refused),
        cmocka_unit_test(test_sub_is_needed),
        cmocka_unit_test(test_a_user_that_is_no_uuid_gets_one),
        cmocka_unit_test(test_issuer_and_audience_count_where_configured),
        cmocka_unit_test(test_device_id_is_taken_or_refused),
        cmocka_unit_test(test_scope_narrows_rights),
        cmocka_unit_test(test_a_payload_that_is_no_object_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
