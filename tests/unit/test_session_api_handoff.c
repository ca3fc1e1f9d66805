/* Handoff codes: what they look like, the url, and the bodies that make and redeem them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "services/session_api/bodies.h"
#include "services/session_api/handoff_code.h"

static void test_each_code_is_another(void **state) {
    (void)state;
    char first[HANDOFF_CODE_LEN + 1], code[HANDOFF_CODE_LEN + 1];
    size_t n_last[256] = {0};
    handoff_code_new(first);
    for (int i = 0; i < 1000; i++) {
        handoff_code_new(code);
        assert_true(handoff_code_is(code, strlen(code)));
        assert_string_not_equal(code, first);
        n_last[(unsigned char)code[HANDOFF_CODE_LEN - 1]]++;
    }
    assert_int_equal(n_last['A'] + n_last['Q'] + n_last['g'] + n_last['w'], 1000); /* two bits */
    assert_true(n_last['A'] && n_last['Q'] && n_last['g'] && n_last['w']);
}

static void test_what_could_be_a_code(void **state) {
    (void)state;
    assert_true(handoff_code_is("ABCabc012-_ABCabc012-_", 22));
    assert_true(handoff_code_is("ABCabc012-_ABCabc012-_/x", 22));
    assert_false(handoff_code_is("ABCabc012-_ABCabc012-_A", 23));
    assert_false(handoff_code_is("ABCabc012-_ABCabc012-", 21));
    assert_false(handoff_code_is("ABCabc012-_ABCabc012+/", 22));
    assert_false(handoff_code_is("ABCabc012-_ABCabc012==", 22));
    assert_false(handoff_code_is("", 0));
}

static void test_the_url_has_the_code_where_it_says(void **state) {
    (void)state;
    static const struct {
        const char *url, *expected;
    } cases[] = {{"http://localhost:8080/#code={code}", "http://localhost:8080/#code=XYZ"},
                 {"app://join/{code}?from=qr", "app://join/XYZ?from=qr"},
                 {"{code}", "XYZ"},
                 {"https://x/", "https://x/"}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct buf out = BUF_NULL;
        handoff_code_put_url(cases[i].url, "XYZ", &out);
        assert_string_equal(out.data, cases[i].expected);
        buf_done(&out);
    }
}

/* ---- bodies ---- */

static void expect_offer(const char *body, enum session_role role, int64_t ttl_s) {
    enum session_role taken = SESSION_ROLE_NONE;
    int64_t taken_s = 0;
    struct fault f;
    assert_int_equal(bodies_read_offer(MEDIA_JSON, body, strlen(body), &taken, &taken_s, &f), 0);
    assert_int_equal(taken, role);
    assert_int_equal(taken_s, ttl_s);
}

static void test_offers(void **state) {
    (void)state;
    enum session_role role;
    int64_t ttl_s;
    struct fault f;
    expect_offer("", SESSION_ROLE_OWNER, 120);
    expect_offer("{}", SESSION_ROLE_OWNER, 120);
    expect_offer("{\"role\":\"owner\",\"ttlSeconds\":10}", SESSION_ROLE_OWNER, 10);
    expect_offer("{\"role\":\"editor\",\"ttlSeconds\":300}", SESSION_ROLE_EDITOR, 300);
    expect_offer("{\"role\":\"viewer\"}", SESSION_ROLE_VIEWER, 120);
    static const struct {
        const char *body, *field;
        enum fault_code code;
    } bad[] = {{"{\"role\":\"none\"}", "role", FAULT_INVALID_VALUE},
               {"{\"role\":\"Owner\"}", "role", FAULT_INVALID_VALUE},
               {"{\"role\":null}", "role", FAULT_INVALID_REQUEST},
               {"{\"ttlSeconds\":9}", "ttlSeconds", FAULT_INVALID_VALUE},
               {"{\"ttlSeconds\":301}", "ttlSeconds", FAULT_INVALID_VALUE},
               {"{\"ttlSeconds\":\"60\"}", "ttlSeconds", FAULT_INVALID_REQUEST},
               {"{\"code\":\"x\"}", "code", FAULT_INVALID_REQUEST},
               {"[]", "", FAULT_INVALID_REQUEST},
               {"{", "", FAULT_INVALID_JSON}};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(
            bodies_read_offer(MEDIA_JSON, bad[i].body, strlen(bad[i].body), &role, &ttl_s, &f),
            bad[i].code);
        assert_string_equal(f.field, bad[i].field);
    }
    assert_int_equal(bodies_read_offer(MEDIA_OTHER, "{}", 2, &role, &ttl_s, &f),
                     FAULT_UNSUPPORTED_MEDIA_TYPE);
    expect_offer("", SESSION_ROLE_OWNER, 120);
}

static int read_redeem(const char *body, char *hash, char *device, struct fault *f) {
    return bodies_read_redeem(MEDIA_JSON, body, strlen(body), hash, device, f);
}

static void test_redeeming(void **state) {
    (void)state;
    char hash[HASH_HEX_LEN + 1], device[SESSION_DEVICE_MAX + 1], expected[HASH_HEX_LEN + 1];
    struct fault f;
    assert_int_equal(read_redeem("{\"code\":\"abc\"}", hash, device, &f), 0);
    hash_sha256_hex("abc", 3, expected);
    assert_string_equal(hash, expected);
    assert_string_equal(device, "");
    assert_int_equal(read_redeem("{\"code\":\"\",\"device\":{\"id\":\"a:b\",\"name\":\"\xc3\xa4\","
                                 "\"platform\":\"web\"}}",
                                 hash, device, &f),
                     0);
    assert_string_equal(device, "a:b");
    assert_int_equal(read_redeem("{\"code\":\"x\",\"device\":{}}", hash, device, &f), 0);
    assert_string_equal(device, "");
}

static void test_what_a_device_may_say(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t most;
    } said[] = {{"id", SESSION_DEVICE_MAX},
                {"name", SESSION_DEVICE_NAME_MAX_BYTES},
                {"platform", SESSION_DEVICE_PLATFORM_MAX_BYTES}};
    char hash[HASH_HEX_LEN + 1], device[SESSION_DEVICE_MAX + 1], body[512], text[300];
    struct fault f;
    for (size_t i = 0; i < N_ELEMENTS(said); i++) {
        for (size_t more = 0; more < 2; more++) {
            memset(text, 'x', said[i].most + more);
            text[said[i].most + more] = '\0';
            snprintf(body, sizeof(body), "{\"code\":\"x\",\"device\":{\"%s\":\"%s\"}}",
                     said[i].name, text);
            assert_int_equal(read_redeem(body, hash, device, &f), more ? FAULT_INVALID_VALUE : 0);
        }
        assert_string_equal(f.field, said[i].name);
        snprintf(body, sizeof(body), "{\"code\":\"x\",\"device\":{\"%s\":\"a\\u009fb\"}}",
                 said[i].name);
        assert_int_equal(read_redeem(body, hash, device, &f), FAULT_INVALID_VALUE);
        snprintf(body, sizeof(body), "{\"code\":\"x\",\"device\":{\"%s\":1}}", said[i].name);
        assert_int_equal(read_redeem(body, hash, device, &f), FAULT_INVALID_REQUEST);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_code_is_another),
        cmocka_unit_test(test_what_could_be_a_code),
        cmocka_unit_test(test_the_url_has_the_code_where_it_says),
        cmocka_unit_test(test_offers),
        cmocka_unit_test(test_redeeming),
        cmocka_unit_test(test_what_a_device_may_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
