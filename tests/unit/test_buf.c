/* base/buf: growth, numbers at their bounds, JSON escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void check_and_done(struct buf *b, const char *expected) {
    assert_string_equal(b->data, expected);
    assert_int_equal(b->len, strlen(expected));
    buf_done(b);
}

static void test_take_of_an_empty_buffer_is_an_empty_string(void **state) {
    (void)state;
    struct buf b = BUF_NULL;
    _cleanup_(freep) char *text = buf_take(&b);
    assert_string_equal(text, "");
    assert_null(b.data);
}

static void test_growth_keeps_every_byte(void **state) {
    (void)state;
    struct buf b = BUF_NULL;
    for (int i = 0; i < 10000; i++)
        buf_putc(&b, (char)('a' + i % 26));
    assert_int_equal(b.len, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    assert_int_equal(b.data[10000], '\0');
    assert_true(b.cap > b.len);
    buf_done(&b);
}

static void test_put_takes_nul_bytes(void **state) {
    (void)state;
    struct buf b = BUF_NULL;
    buf_put(&b, "a\0b", 3);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "a\0b", 4);
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    buf_puts(&b, "again");
    check_and_done(&b, "again");
}

static void test_printf_longer_than_the_buffer_is_whole(void **state) {
    (void)state;
    struct buf b = BUF_NULL;
    buf_printf(&b, "%0500d|%s", 7, "end");
    assert_int_equal(b.len, 504);
    assert_string_equal(b.data + 499, "7|end");
    buf_done(&b);
}

static void test_numbers_print_at_their_bounds(void **state) {
    (void)state;
    struct buf b = BUF_NULL;
    buf_put_u64(&b, 0);
    buf_putc(&b, ' ');
    buf_put_u64(&b, UINT64_MAX);
    buf_putc(&b, ' ');
    buf_put_i64(&b, INT64_MIN);
    buf_putc(&b, ' ');
    buf_put_i64(&b, INT64_MAX);
    check_and_done(&b, "0 18446744073709551615 -9223372036854775808 9223372036854775807");
}

static void test_json_escapes_as_rfc_8785(void **state) {
    (void)state;
    struct buf b = BUF_NULL;
    buf_put_json(&b, "\"\\/\b\t\n\f\r\x01\x1f\x7f\0\xc3\xa9", 14);
    check_and_done(&b, "\"\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\\u0000\xc3\xa9\"");
    buf_puts_json(&b, "");
    check_and_done(&b, "\"\"");
}

static void test_memdup_adds_a_nul(void **state) {
    (void)state;
    _cleanup_(freep) char *copy = must_memdup("abcdef", 3);
    assert_string_equal(copy, "abc");
    _cleanup_(freep) char *none = must_memdup(NULL, 0);
    assert_string_equal(none, "");
}

/* Eight bytes are looked at together: what needs an escape is found wherever it stands. */
static void test_escapes_are_found_at_every_place(void **state) {
    (void)state;
    static const char *const escapes[][2] = {
        {"\"", "\\\""},      {"\\", "\\\\"}, {"\n", "\\n"},    {"\x01", "\\u0001"},
        {"\x1f", "\\u001f"}, {" ", " "},     {"!", "!"},       {"#", "#"},
        {"[", "["},          {"]", "]"},     {"\x7f", "\x7f"}, {"\xc3\xa9", "\xc3\xa9"},
        {"\xff", "\xff"},
    };
    for (size_t i = 0; i < N_ELEMENTS(escapes); i++)
        for (size_t before = 0; before < 20; before++)
            for (size_t after = 0; after < 20; after++) {
                _cleanup_(buf_done) struct buf text = BUF_NULL, expected = BUF_NULL, out = BUF_NULL;
                buf_printf(&text, "%.*s%s%.*s", (int)before, "abcdefghijklmnopqrst", escapes[i][0],
                           (int)after, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9uvwxyzABCDEF");
                buf_printf(&expected, "\"%.*s%s%.*s\"", (int)before, "abcdefghijklmnopqrst",
                           escapes[i][1], (int)after,
                           "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9uvwxyzABCDEF");
                buf_put_json(&out, text.data, text.len);
                assert_string_equal(out.data, expected.data);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take_of_an_empty_buffer_is_an_empty_string),
        cmocka_unit_test(test_growth_keeps_every_byte),
        cmocka_unit_test(test_put_takes_nul_bytes),
        cmocka_unit_test(test_printf_longer_than_the_buffer_is_whole),
        cmocka_unit_test(test_numbers_print_at_their_bounds),
        cmocka_unit_test(test_json_escapes_as_rfc_8785),
        cmocka_unit_test(test_memdup_adds_a_nul),
        cmocka_unit_test(test_escapes_are_found_at_every_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
