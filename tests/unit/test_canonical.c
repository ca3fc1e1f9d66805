#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/text.h"

static void assert_number(uint64_t bits, const char *expected) {
    double number;
    memcpy(&number, &bits, sizeof(number));
    char printed[CANONICAL_NUMBER_CAP];
    assert_int_equal(canonical_number(number, printed), strlen(expected));
    assert_string_equal(printed, expected);
    json_auto_t *value = json_real(number);
    assert_int_equal(canonical_size(value), strlen(expected));
}

/* RFC 8785, appendix B, without NaN and Infinity. */
static void test_numbers_are_those_of_the_rfc(void **state) {
    (void)state;
    assert_number(0x0000000000000000, "0");
    assert_number(0x8000000000000000, "0");
    assert_number(0x0000000000000001, "5e-324");
    assert_number(0x8000000000000001, "-5e-324");
    assert_number(0x7fefffffffffffff, "1.7976931348623157e+308");
    assert_number(0xffefffffffffffff, "-1.7976931348623157e+308");
    assert_number(0x4340000000000000, "9007199254740992");
    assert_number(0xc340000000000000, "-9007199254740992");
    assert_number(0x4430000000000000, "295147905179352830000");
    assert_number(0x44b52d02c7e14af5, "9.999999999999997e+22");
    assert_number(0x44b52d02c7e14af6, "1e+23");
    assert_number(0x44b52d02c7e14af7, "1.0000000000000001e+23");
    assert_number(0x444b1ae4d6e2ef4e, "999999999999999700000");
    assert_number(0x444b1ae4d6e2ef4f, "999999999999999900000");
    assert_number(0x444b1ae4d6e2ef50, "1e+21");
    assert_number(0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7");
    assert_number(0x3eb0c6f7a0b5ed8d, "0.000001");
    assert_number(0x41b3de4355555553, "333333333.3333332");
    assert_number(0x41b3de4355555554, "333333333.33333325");
    assert_number(0x41b3de4355555555, "333333333.3333333");
    assert_number(0x41b3de4355555556, "333333333.3333334");
    assert_number(0x41b3de4355555557, "333333333.33333343");
    assert_number(0xbecbf647612f3696, "-0.0000033333333333333333");
    assert_number(0x43143ff3c1cb0959, "1424953923781206.2");
}

/* Below a power of two the next double is half as far as above: the closest 16 digits do not read
 * back, their neighbour does. */
static void test_powers_of_two_are_shortest(void **state) {
    (void)state;
    assert_number((uint64_t)(1023 - 44) << 52, "5.684341886080802e-14");
    assert_number((uint64_t)(1023 + 89) << 52, "6.189700196426902e+26");
    assert_number((uint64_t)1 << 52, "2.2250738585072014e-308");
    assert_number(((uint64_t)1 << 52) - 1, "2.225073858507201e-308");
}

static void test_numbers_do_not_depend_on_the_locale(void **state) {
    (void)state;
    assert_non_null(setlocale(LC_ALL, "C.UTF-8"));
    const char *set = setlocale(LC_NUMERIC, "de_DE.UTF-8"); /* where installed */
    assert_number(0x3ff8000000000000, "1.5");
    assert_number(0x3fb999999999999a, "0.1");
    assert_non_null(set ? set : "C");
    setlocale(LC_ALL, "C");
}

static void assert_canonical(const char *text, const char *expected) {
    json_auto_t *value = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &value, &f), 0);
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    canonical_print(value, &out);
    assert_string_equal(out.data, expected);
    assert_int_equal(canonical_size(value), strlen(expected));
}

static void test_members_are_sorted_by_utf16_units(void **state) {
    (void)state;
    /* RFC 8785, section 3.2.3 */
    assert_canonical(
        "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew\","
        "\"1\":\"One\",\"\\ud83d\\ude00\":\"Emoji\",\"\\u0080\":\"Control\","
        "\"\\u00f6\":\"Latin\"}",
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\xc2\x80\":\"Control\","
        "\"\xc3\xb6\":\"Latin\",\"\xe2\x82\xac\":\"Euro Sign\","
        "\"\xf0\x9f\x98\x80\":\"Emoji\",\"\xef\xac\xb3\":\"Hebrew\"}");
    assert_canonical("{\"b\":1,\"aa\":2,\"a\":3,\"\":4}", "{\"\":4,\"a\":3,\"aa\":2,\"b\":1}");
}

static void test_wide_objects_are_sorted_too(void **state) {
    (void)state;
    assert_canonical(
        "{\"r\":0,\"q\":0,\"p\":0,\"o\":0,\"n\":0,\"m\":0,\"l\":0,\"k\":0,\"j\":0,\"i\":0,"
        "\"h\":0,\"g\":0,\"f\":0,\"e\":0,\"d\":0,\"c\":0,\"b\":0,\"a\":0}",
        "{\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":0,\"h\":0,\"i\":0,\"j\":0,"
        "\"k\":0,\"l\":0,\"m\":0,\"n\":0,\"o\":0,\"p\":0,\"q\":0,\"r\":0}");
}

static void test_strings_are_escaped_no_more_than_needed(void **state) {
    (void)state;
    assert_canonical("\"\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f \\\"\\\\\\/\\u007f\\u20ac\"",
                     "\"\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f \\\"\\\\/\x7f\xe2\x82\xac\"");
}

static void test_the_size_of_each_character_is_right(void **state) {
    (void)state;
    for (int c = 1; c < 128; c++) {
        char text[1] = {(char)c};
        _cleanup_(buf_done) struct buf out = BUF_NULL;
        buf_put_json(&out, text, 1);
        assert_int_equal(canonical_string_size(text, 1), out.len);
    }
    assert_int_equal(canonical_string_size("", 0), 2);
}

static void test_small_integers_are_measured_right(void **state) {
    (void)state;
    for (int i = -1100; i <= 1100; i++) {
        char expected[16];
        snprintf(expected, sizeof(expected), "%d", i);
        json_auto_t *real = json_real(i), *integer = json_integer(i);
        assert_int_equal(canonical_size(real), strlen(expected));
        assert_int_equal(canonical_size(integer), strlen(expected));
    }
}

static void test_empty_containers_and_literals(void **state) {
    (void)state;
    assert_canonical(" [ ] ", "[]");
    assert_canonical("{ }", "{}");
    assert_canonical("[56,{\"d\":true,\"10\":null,\"1\":[]}]",
                     "[56,{\"1\":[],\"10\":null,\"d\":true}]");
}

static void test_checksum_is_over_the_canonical_form(void **state) {
    (void)state;
    json_auto_t *value = json_object();
    char hex[HASH_HEX_LEN + 1];
    canonical_checksum(value, hex);
    /* sha256 of {} */
    assert_string_equal(hex, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_those_of_the_rfc),
        cmocka_unit_test(test_powers_of_two_are_shortest),
        cmocka_unit_test(test_numbers_do_not_depend_on_the_locale),
        cmocka_unit_test(test_members_are_sorted_by_utf16_units),
        cmocka_unit_test(test_wide_objects_are_sorted_too),
        cmocka_unit_test(test_strings_are_escaped_no_more_than_needed),
        cmocka_unit_test(test_the_size_of_each_character_is_right),
        cmocka_unit_test(test_small_integers_are_measured_right),
        cmocka_unit_test(test_empty_containers_and_literals),
        cmocka_unit_test(test_checksum_is_over_the_canonical_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
