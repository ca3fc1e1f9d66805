#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/fault.h"
#include "proto/text.h"

static void test_set_fills_all_members(void **state) {
    (void)state;
    struct fault f;
    memset(&f, 0x5a, sizeof(f));
    assert_int_equal(fault_set(&f, FAULT_INVALID_VALUE, "name", "%d of %s", 3, "x"),
                     FAULT_INVALID_VALUE);
    assert_int_equal(f.code, FAULT_INVALID_VALUE);
    assert_string_equal(f.detail, "3 of x");
    assert_string_equal(f.field, "name");
    assert_string_equal(f.pointer, "");
    assert_int_equal(f.index, -1);
}

static void test_set_takes_no_fault_and_no_field(void **state) {
    (void)state;
    struct fault f;
    assert_int_equal(fault_set(NULL, FAULT_NOT_FOUND, NULL, "x"), FAULT_NOT_FOUND);
    fault_set(&f, FAULT_NOT_FOUND, NULL, "x");
    assert_string_equal(f.field, "");
    fault_set_place(NULL, "/a", 1);
}

static void test_set_may_quote_the_fault_it_fills(void **state) {
    (void)state;
    struct fault f;
    fault_set(&f, FAULT_INVALID_VALUE, "data", "inner");
    fault_set(&f, FAULT_INVALID_REQUEST, f.field, "outer: %s", f.detail);
    assert_string_equal(f.detail, "outer: inner");
    assert_string_equal(f.field, "data");
}

static void test_what_is_cut_stays_utf8(void **state) {
    (void)state;
    static const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t c = 0; c < 4; c++)
        for (size_t n_before = 0; n_before < 4; n_before++) {
            char text[2048] = "";
            memset(text, 'x', n_before);
            for (size_t i = 0; i < 300; i++)
                strcat(text, characters[c]);
            struct fault f;
            fault_set(&f, FAULT_INVALID_REQUEST, text, "%s", text);
            fault_set_place(&f, text, 7);
            assert_true(text_is_utf8(f.detail, strlen(f.detail)));
            assert_true(text_is_utf8(f.field, strlen(f.field)));
            assert_true(text_is_utf8(f.pointer, strlen(f.pointer)));
            assert_true(strlen(f.detail) >= sizeof(f.detail) - 4);
            assert_true(strlen(f.field) >= sizeof(f.field) - 4);
            assert_int_equal(f.index, 7);
        }
}

static void test_what_a_format_cuts_stays_utf8(void **state) {
    (void)state;
    struct fault f;
    fault_set(&f, FAULT_INVALID_REQUEST, NULL, "there is no member \"%.5s\"", "xxxx\xe2\x82\xac");
    assert_string_equal(f.detail, "there is no member \"xxxx\"");
}

static void test_what_fits_is_not_cut(void **state) {
    (void)state;
    char text[64] = "";
    memset(text, 'x', 61);
    strcat(text, "\xc3\xa9");
    struct fault f;
    fault_set(&f, FAULT_INVALID_REQUEST, text, "%s", text);
    assert_string_equal(f.field, text);
    assert_string_equal(f.detail, text);
}

static void test_each_code_comes_back_from_the_wire(void **state) {
    (void)state;
    for (enum fault_code code = FAULT_NONE + 1; code < FAULT_N_CODES; code++) {
        assert_int_equal(fault_from_wire(fault_wire_code(code), fault_http_status(code)), code);
        assert_true(strlen(fault_title(code)) > 0);
        assert_in_range(fault_http_status(code), 400, 599);
    }
}

static void test_the_status_tells_the_conflicts_apart(void **state) {
    (void)state;
    assert_int_equal(fault_from_wire("version_conflict", 409), FAULT_VERSION_CONFLICT);
    assert_int_equal(fault_from_wire("version_conflict", 412), FAULT_PRECONDITION_FAILED);
    assert_int_equal(fault_from_wire("version_conflict", 0), FAULT_VERSION_CONFLICT);
    assert_int_equal(fault_from_wire("invalid_request", 499), FAULT_INVALID_REQUEST);
    assert_int_equal(fault_from_wire("nonsense", 400), FAULT_NONE);
}

static void test_unknown_codes_show_as_internal(void **state) {
    (void)state;
    assert_string_equal(fault_wire_code(FAULT_NONE), "internal");
    assert_int_equal(fault_http_status(FAULT_N_CODES), 500);
    assert_true(fault_is_temporary(FAULT_UNAVAILABLE));
    assert_false(fault_is_temporary(FAULT_FORBIDDEN));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_fills_all_members),
        cmocka_unit_test(test_set_takes_no_fault_and_no_field),
        cmocka_unit_test(test_set_may_quote_the_fault_it_fills),
        cmocka_unit_test(test_what_is_cut_stays_utf8),
        cmocka_unit_test(test_what_a_format_cuts_stays_utf8),
        cmocka_unit_test(test_what_fits_is_not_cut),
        cmocka_unit_test(test_each_code_comes_back_from_the_wire),
        cmocka_unit_test(test_the_status_tells_the_conflicts_apart),
        cmocka_unit_test(test_unknown_codes_show_as_internal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
