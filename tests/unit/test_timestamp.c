/* base/timestamp: what is printed is what is parsed, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/timestamp.h"

static void check_print(int64_t unix_ms, const char *expected) {
    char text[TIMESTAMP_LEN + 1];
    timestamp_print(unix_ms, text);
    assert_string_equal(text, expected);
}

static void test_print_known_moments(void **state) {
    (void)state;
    check_print(0, "1970-01-01T00:00:00.000Z");
    check_print(-1, "1969-12-31T23:59:59.999Z");
    check_print(1770897600123, "2026-02-12T12:00:00.123Z");
    check_print(951782400000, "2000-02-29T00:00:00.000Z");
}

static void test_print_clamps_what_has_no_four_digit_year(void **state) {
    (void)state;
    check_print(INT64_MAX, "9999-12-31T23:59:59.999Z");
    check_print(253402300800000, "9999-12-31T23:59:59.999Z");
    check_print(INT64_MIN, "0000-01-01T00:00:00.000Z");
}

static void test_parse_reads_back_what_print_wrote(void **state) {
    (void)state;
    const int64_t moments[] = {0, -1, 999, 1770897600123, 253402300799999, -62167219200000};
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
        char text[TIMESTAMP_LEN + 1];
        int64_t again = 42;
        timestamp_print(moments[i], text);
        assert_true(timestamp_parse(text, TIMESTAMP_LEN, &again));
        assert_int_equal(again, moments[i]);
    }
}

static void test_parse_refuses_every_other_form(void **state) {
    (void)state;
    const char *const bad[] = {
        "",
        "2026-02-12T12:00:00Z",
        "2026-02-12T12:00:00.123+00:00",
        "2026-02-12 12:00:00.123Z",
        "2026-02-12t12:00:00.123z",
        "2026-02-30T12:00:00.123Z",
        "2025-02-29T12:00:00.123Z",
        "2026-13-12T12:00:00.123Z",
        "2026-00-12T12:00:00.123Z",
        "2026-02-12T24:00:00.123Z",
        "2026-02-12T12:60:00.123Z",
        "2026-02-12T12:00:60.123Z",
        "2026-02-12T12:00:00.12 Z",
        "2026-02-12T12:00:00.1234Z",
        "+026-02-12T12:00:00.123Z",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t ms = 42;
        if (timestamp_parse(bad[i], strlen(bad[i]), &ms))
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(ms, 42);
    }
    int64_t ms;
    assert_false(timestamp_parse("2026-02-12T12:00:00.123Z", TIMESTAMP_LEN - 1, &ms));
}

static void test_clocks_go_forward(void **state) {
    (void)state;
    int64_t before = timestamp_monotonic_ms();
    assert_true(timestamp_monotonic_ms() >= before);
    assert_true(timestamp_wall_ms() > 1700000000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print_known_moments),
        cmocka_unit_test(test_print_clamps_what_has_no_four_digit_year),
        cmocka_unit_test(test_parse_reads_back_what_print_wrote),
        cmocka_unit_test(test_parse_refuses_every_other_form),
        cmocka_unit_test(test_clocks_go_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
