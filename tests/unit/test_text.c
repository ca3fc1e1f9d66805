#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "proto/text_private.h"

static json_t *parse(const char *text) {
    json_t *value = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &value, &f), 0);
    assert_non_null(value);
    return value;
}

static void assert_refused(const char *text, size_t len) {
    json_t *value = NULL;
    struct fault f = {0};
    /* Nothing lies behind the copy, so that AddressSanitizer sees a read past the end. */
    _cleanup_(freep) char *copy = must_alloc(len);
    memcpy(copy, text, len);
    assert_int_equal(text_parse(copy, len, &value, &f), FAULT_INVALID_JSON);
    assert_null(value);
    assert_int_equal(f.code, FAULT_INVALID_JSON);
    assert_non_null(strstr(f.detail, "line "));
    assert_true(text_is_utf8(f.detail, strlen(f.detail)));
}

static void assert_prints(const char *text, const char *expected) {
    json_auto_t *value = parse(text);
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    text_print(value, &out);
    assert_string_equal(out.data, expected);
}

static void test_values_of_any_type_are_parsed_and_printed(void **state) {
    (void)state;
    assert_prints(" null ", "null");
    assert_prints("[true,false]", "[true,false]");
    assert_prints("1.50e1", "15");
    assert_prints("{\"b\":[],\"a\":{}}", "{\"b\":[],\"a\":{}}");
    assert_prints("\"\\u00e9\\/\\u001f\\\"\"", "\"\xc3\xa9/\\u001f\\\"\"");
    assert_prints("\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"");
}

static void test_the_usual_text_is_read_quickly(void **state) {
    (void)state;
    static const char *const texts[] = {
        " null ",
        "true",
        "false\n",
        "\"\"",
        "{}",
        "[]",
        " [ 1 , -2 , 0.125 , -0 , -0.0 , 999999999999999 , 0.1 , 123456789.012345 ] ",
        "{ \"b\" : [ { } , [ ] ] ,\t\"a\" : { \"\" : 1 } }\r\n",
        "\"more than eight bytes, \x7f, \xc3\xa9, \xef\xbf\xae and \xf0\x9f\x98\x80\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t, and a text behind\"",
        "{\"\\n\":{\"\\t\":\"\\r\"},\"\\r\":\"\\n\"}",
    };
    for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
        size_t len = strlen(texts[i]);
        _cleanup_(freep) char *copy = must_malloc(len); /* nothing lies behind it */
        memcpy(copy, texts[i], len);
        json_auto_t *quick = text_parse_quickly(copy, len), *strict = NULL;
        assert_non_null(quick);
        assert_int_equal(text_parse_strictly(texts[i], len, &strict, NULL), 0);
        _cleanup_(buf_done) struct buf first = BUF_NULL, second = BUF_NULL;
        text_print(quick, &first);
        text_print(strict, &second);
        assert_string_equal(first.data, second.data);
        assert_true(json_equal(quick, strict));
    }
}

static void test_the_strict_way_judges_the_rest(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        "nul",
        "tru",
        "fals",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "{",
        "{\"",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{a:1}",
        "1 2",
        "01",
        "-",
        "1.",
        ".5",
        "+1",
        "1e5",
        "1E5",
        "1.5e1",
        "1234567890123456",
        "0.1234567890123456",
        "\"\\u0041\"",
        "\"\\x\"",
        "\"\\",
        "\"\n\"",
        "\"\x01\"",
        "\"\x80\"",
        "\"\xc3\"",
        "\"\xed\xa0\x80\"",
        "{\"a\":1,\"a\":2}",
        "{\"\\n\":1,\"\\n\":2}",
        "NaN",
    };
    for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
        size_t len = strlen(texts[i]);
        _cleanup_(freep) char *copy = must_malloc(len);
        memcpy(copy, texts[i], len);
        if (text_parse_quickly(copy, len))
            fail_msg("%s", texts[i]);
    }
    assert_null(text_parse_quickly("\"a\0b\"", 5));
    assert_null(text_parse_quickly("1\0", 2));
    char deep[130];
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    assert_null(text_parse_quickly(deep, sizeof(deep)));
    json_auto_t *deepest = text_parse_quickly(deep + 1, sizeof(deep) - 2);
    assert_int_equal(text_depth(deepest, 100), 64);
}

static void test_numbers_are_reals(void **state) {
    (void)state;
    json_auto_t *value = parse("[1,-2,3.0]");
    for (size_t i = 0; i < 3; i++)
        assert_true(json_is_real(json_array_get(value, i)));
}

static void test_bad_syntax_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        " ",
                                        "{",
                                        "[1,]",
                                        "{\"a\":1,}",
                                        "{a:1}",
                                        "'a'",
                                        "01",
                                        "-01",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "1e",
                                        "-",
                                        "nul",
                                        "NaN",
                                        "Infinity",
                                        "[1] 2",
                                        "1 1",
                                        "\"\t\"",
                                        "\"\\x\"",
                                        "\"a",
                                        "\xef\xbb\xbf[]",
                                        "// x\n1",
                                        "[}",
                                        "\\",
                                        "\"\\"};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        assert_refused(texts[i], strlen(texts[i]));
    assert_refused("1\0", 2);
    assert_refused("[1\0]", 4);
    assert_refused("\"a\0b\"", 5);
    assert_refused("\0", 1);
}

static void test_what_jansson_would_take_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"{\"a\":1,\"a\":1}",
                                        "{\"a\":{\"b\":1,\"c\":2,\"\\u0062\":1}}",
                                        "\"\\u0000\"",
                                        "{\"\\u0000\":1}",
                                        "\"\\ud800\"",
                                        "\"\\udc00\\ud800\"",
                                        "\"\xff\"",
                                        "\"\xc0\x80\"",
                                        "\"\xed\xa0\x80\"",
                                        "\"\xf4\x90\x80\x80\"",
                                        "\"\xe2\x82\"",
                                        "1e400",
                                        "-1e400"};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        assert_refused(texts[i], strlen(texts[i]));
}

static void test_integers_are_kept_digit_for_digit_or_refused(void **state) {
    (void)state;
    assert_prints("9007199254740991", "9007199254740991");
    assert_prints("-9007199254740992", "-9007199254740992");
    assert_prints("9007199254740994", "9007199254740994");
    assert_prints("123456789012345680000", "123456789012345680000");
    assert_prints("9007199254740993.0", "9007199254740992");
    assert_prints("\"9007199254740993\\\" 9007199254740993\"",
                  "\"9007199254740993\\\" 9007199254740993\"");
    assert_prints("1e21", "1e+21");
    static const char *const texts[] = {"9007199254740993",
                                        "[-9007199254740993]",
                                        "{\"a\":1000000000000000000000}",
                                        "12345678901234567890123456789",
                                        "9223372036854775807",
                                        "[1,9007199254740993]"};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        assert_refused(texts[i], strlen(texts[i]));
}

static void test_minus_zero_becomes_zero(void **state) {
    (void)state;
    static const char *const texts[] = {"[-0]", "[-0.0]", "[-0e5]", "[-1e-400]", "[-0.00]"};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
        json_auto_t *value = parse(texts[i]);
        assert_false(signbit(json_real_value(json_array_get(value, 0))));
    }
    json_auto_t *inner = parse("{\"a\":[{\"b\":-0}],\"c\":-0.5}");
    json_t *b = json_object_get(json_array_get(json_object_get(inner, "a"), 0), "b");
    assert_false(signbit(json_real_value(b)));
    assert_true(json_real_value(json_object_get(inner, "c")) == -0.5);
}

static void fill(char *text, size_t n, char open, char close) {
    memset(text, open, n);
    memset(text + n, close, n);
    text[2 * n] = '\0';
}

static void test_nesting_ends_at_a_thousand(void **state) {
    (void)state;
    char text[2100];
    fill(text, 1000, '[', ']');
    json_auto_t *value = parse(text);
    assert_int_equal(text_depth(value, 2000), 1000);
    fill(text, 1001, '[', ']');
    assert_refused(text, 2002);
    memset(text, '{', 1500);
    assert_refused(text, 1500);
}

static void test_brackets_in_strings_do_not_nest(void **state) {
    (void)state;
    char text[3003];
    memset(text, '[', sizeof(text));
    text[0] = text[3001] = '"';
    text[3002] = '\0';
    json_auto_t *value = parse(text);
    assert_int_equal(json_string_length(value), 3000);
}

static void assert_place(const char *text, const char *place) {
    json_t *value = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &value, &f), FAULT_INVALID_JSON);
    assert_int_equal(strncmp(f.detail, place, strlen(place)), 0);
}

static void test_details_say_where(void **state) {
    (void)state;
    assert_place("[1,\n \"\xc3\xa9\", 9007199254740993]", "line 2, column 7:");
    assert_place("[1,\n\xff]", "line 2, column 1: invalid UTF-8");
    assert_place("[\n\n1 2]", "line 3, column");
}

static void test_details_never_quote_the_text(void **state) {
    (void)state;
    json_t *value = NULL;
    struct fault f;
    const char *text = "{\"secret\":1,\"secret\":2}";
    assert_int_equal(text_parse(text, strlen(text), &value, &f), FAULT_INVALID_JSON);
    assert_null(strstr(f.detail, "secret"));
}

static void test_depth_counts_levels_and_stops(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t depth;
    } cases[] = {
        {"1", 0}, {"[]", 1}, {"{}", 1}, {"[[],{\"a\":[1]}]", 3}, {"{\"a\":{\"b\":{}}}", 3}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        json_auto_t *value = parse(cases[i].text);
        for (size_t most = 0; most < 5; most++) {
            size_t expected = cases[i].depth <= most ? cases[i].depth : most + 1;
            assert_int_equal(text_depth(value, most), expected);
        }
    }
}

static void test_equality_is_by_value(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"1", "1.0", true},
        {"0", "-0", true},
        {"1", "true", false},
        {"0", "false", false},
        {"null", "0", false},
        {"[1,2]", "[2,1]", false},
        {"[1]", "[1,2]", false},
        {"\"1\"", "1", false},
        {"[]", "{}", false},
        {"\"a\"", "\"a\"", true},
        {"\"a\"", "\"b\"", false},
        {"\"a\"", "\"ab\"", false},
        {"{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}", true},
        {"{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
        {"{\"a\":null}", "{}", false},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        json_auto_t *a = parse(cases[i].a), *b = parse(cases[i].b);
        assert_int_equal(text_equal(a, b), cases[i].equal);
        assert_int_equal(text_equal(b, a), cases[i].equal);
    }
    json_auto_t *integer = json_integer(3), *real = json_real(3);
    assert_true(text_equal(integer, real));
}

static void test_members_are_read_by_type(void **state) {
    (void)state;
    json_auto_t *object =
        parse("{\"s\":\"x\",\"b\":true,\"i\":7,\"o\":{},\"a\":[],\"f\":1.5,\"n\":null}");
    const char *text = "before";
    bool flag = false;
    int64_t number = -1;
    json_t *inner = NULL;
    struct fault f;
    assert_int_equal(text_get_string(object, "s", TEXT_REQUIRED, &text, &f), 0);
    assert_string_equal(text, "x");
    assert_int_equal(text_get_bool(object, "b", TEXT_REQUIRED, &flag, &f), 0);
    assert_true(flag);
    assert_int_equal(text_get_integer(object, "i", TEXT_REQUIRED, 0, 7, &number, &f), 0);
    assert_int_equal(number, 7);
    assert_int_equal(text_get_object(object, "o", TEXT_REQUIRED, &inner, &f), 0);
    assert_true(json_is_object(inner));
    assert_int_equal(text_get_array(object, "a", TEXT_REQUIRED, &inner, &f), 0);
    assert_true(json_is_array(inner));

    assert_int_equal(text_get_string(object, "i", TEXT_OPTIONAL, &text, &f), FAULT_INVALID_REQUEST);
    assert_string_equal(f.field, "i");
    assert_int_equal(text_get_string(object, "n", TEXT_OPTIONAL, &text, &f), FAULT_INVALID_REQUEST);
    assert_int_equal(text_get_bool(object, "i", TEXT_OPTIONAL, &flag, &f), FAULT_INVALID_REQUEST);
    assert_int_equal(text_get_object(object, "a", TEXT_OPTIONAL, &inner, &f),
                     FAULT_INVALID_REQUEST);
    assert_int_equal(text_get_array(object, "o", TEXT_OPTIONAL, &inner, &f), FAULT_INVALID_REQUEST);
    assert_int_equal(text_get_integer(object, "f", TEXT_OPTIONAL, 0, 9, &number, &f),
                     FAULT_INVALID_REQUEST);
    assert_int_equal(text_get_integer(object, "s", TEXT_OPTIONAL, 0, 9, &number, &f),
                     FAULT_INVALID_REQUEST);
    assert_int_equal(number, 7);
}

static void test_absent_members_leave_the_result_alone(void **state) {
    (void)state;
    json_auto_t *object = parse("{}");
    const char *text = "before";
    int64_t number = 5;
    struct fault f;
    assert_int_equal(text_get_string(object, "s", TEXT_OPTIONAL, &text, &f), 0);
    assert_string_equal(text, "before");
    assert_int_equal(text_get_string(object, "s", TEXT_REQUIRED, &text, &f), FAULT_INVALID_REQUEST);
    assert_string_equal(f.field, "s");
    assert_int_equal(text_get_integer(object, "i", TEXT_OPTIONAL, 0, 9, &number, &f), 0);
    assert_int_equal(number, 5);
    json_auto_t *array = parse("[1]");
    assert_int_equal(text_get_string(array, "s", TEXT_REQUIRED, &text, &f), FAULT_INVALID_REQUEST);
}

static void test_integers_are_bounded(void **state) {
    (void)state;
    json_auto_t *object =
        parse("{\"a\":60,\"b\":59,\"c\":101,\"d\":1e300,\"e\":-1e300,\"f\":9223372036854775808.0}");
    int64_t number = 0;
    struct fault f;
    assert_int_equal(text_get_integer(object, "a", TEXT_REQUIRED, 60, 100, &number, &f), 0);
    for (const char *name = "bcdef"; *name; name++) {
        char member[2] = {*name, '\0'};
        assert_int_equal(text_get_integer(object, member, TEXT_REQUIRED, 60, 100, &number, &f),
                         FAULT_INVALID_VALUE);
        assert_string_equal(f.field, member);
    }
    assert_int_equal(
        text_get_integer(object, "f", TEXT_REQUIRED, INT64_MIN, INT64_MAX, &number, &f),
        FAULT_INVALID_VALUE);
    assert_int_equal(number, 60);
}

static void test_utf8_is_that_of_rfc_3629(void **state) {
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "a\xc3",
                                      "\xc3\x28",
                                      "\xf0\x9f\x98"};
    for (size_t i = 0; i < N_ELEMENTS(good); i++)
        assert_true(text_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        assert_false(text_is_utf8(bad[i], strlen(bad[i])));
    assert_int_equal(text_n_characters("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10), 4);
    assert_int_equal(text_n_characters("", 0), 0);
}

static void test_numbers_are_digits_without_leading_zeros(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "00", "01", "-1", "+1", " 1", "1 ", "1.0", "9007199254740992", "99999999999999999999",
        "x"};
    uint64_t number = 7;
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        assert_false(text_parse_number(bad[i], strlen(bad[i]), &number));
    assert_int_equal(number, 7);
    assert_true(text_parse_number("0", 1, &number) && number == 0);
    assert_true(text_parse_number("9007199254740991", 16, &number) && number == TEXT_INTEGER_MAX);
    assert_true(text_parse_number("42x", 2, &number) && number == 42);
}

static void test_printable_is_ascii_from_space_to_tilde(void **state) {
    (void)state;
    assert_true(text_is_printable("", 0));
    assert_true(text_is_printable(" az~", 4));
    assert_false(text_is_printable("a\x1f", 2));
    assert_false(text_is_printable("\x7f", 1));
    assert_false(text_is_printable("\xc3\xa9", 2));
    assert_false(text_is_printable("a\0b", 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_digits_without_leading_zeros),
        cmocka_unit_test(test_printable_is_ascii_from_space_to_tilde),
        cmocka_unit_test(test_values_of_any_type_are_parsed_and_printed),
        cmocka_unit_test(test_the_usual_text_is_read_quickly),
        cmocka_unit_test(test_the_strict_way_judges_the_rest),
        cmocka_unit_test(test_numbers_are_reals),
        cmocka_unit_test(test_bad_syntax_is_refused),
        cmocka_unit_test(test_what_jansson_would_take_is_refused),
        cmocka_unit_test(test_integers_are_kept_digit_for_digit_or_refused),
        cmocka_unit_test(test_minus_zero_becomes_zero),
        cmocka_unit_test(test_nesting_ends_at_a_thousand),
        cmocka_unit_test(test_brackets_in_strings_do_not_nest),
        cmocka_unit_test(test_details_say_where),
        cmocka_unit_test(test_details_never_quote_the_text),
        cmocka_unit_test(test_depth_counts_levels_and_stops),
        cmocka_unit_test(test_equality_is_by_value),
        cmocka_unit_test(test_members_are_read_by_type),
        cmocka_unit_test(test_absent_members_leave_the_result_alone),
        cmocka_unit_test(test_integers_are_bounded),
        cmocka_unit_test(test_utf8_is_that_of_rfc_3629),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
