/* Request headers with a grammar of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/problem.h"
#include "proto/text.h"
#include "services/session_api/headers.h"

/* ---- Accept ---- */

static void test_accept_takes_json_where_a_range_covers_it(void **state) {
    (void)state;
    assert_true(headers_accept_json(NULL));
    assert_true(headers_accept_json(""));
    assert_true(headers_accept_json(" "));
    assert_true(headers_accept_json("*/*"));
    assert_true(headers_accept_json("application/*"));
    assert_true(headers_accept_json("Application/JSON"));
    assert_true(headers_accept_json("application/json; charset=utf-8"));
    assert_true(headers_accept_json("text/html, application/json;q=0.1"));
    assert_true(headers_accept_json("text/html;q=0.9,*/*;q=0.001"));
}

static void test_accept_refuses_json_where_none_does(void **state) {
    (void)state;
    assert_false(headers_accept_json("text/html"));
    assert_false(headers_accept_json("application/jsonp"));
    assert_false(headers_accept_json("application/problem+json"));
    assert_false(headers_accept_json("*/*;q=0"));
    assert_false(headers_accept_json("application/json;q=0.000"));
}

static void test_accept_is_decided_by_the_most_specific_range(void **state) {
    (void)state;
    assert_false(headers_accept_json("*/*, application/json;q=0"));
    assert_false(headers_accept_json("application/json;q=0, */*"));
    assert_false(headers_accept_json("application/*;q=0, */*;q=1"));
    assert_true(headers_accept_json("application/*;q=0, application/json"));
}

static void expect_type(const char *accept, int expected) {
    static const char *const types[] = {"image/svg+xml", "image/png", "text/plain"};
    int type = headers_accept(accept, types, N_ELEMENTS(types));
    if (type != expected)
        fail_msg("%s: %d, and not %d", accept ? accept : "none", type, expected);
}

static void test_accept_chooses_among_several(void **state) {
    (void)state;
    expect_type(NULL, 0);
    expect_type(" ", 0);
    expect_type("*/*", 0);
    expect_type("image/*", 0);
    expect_type("IMAGE/*;q=0.5", 0);
    expect_type("image/png", 1);
    expect_type("text/*", 2);
    expect_type("text/plain; charset=utf-8", 2);
    expect_type("image/svg+xml;q=0.5, image/png", 1);
    expect_type("image/svg+xml;q=0.5, */*;q=0.6", 1);
    expect_type("image/*;q=0.2, text/plain;q=0.3, image/png;q=0.1", 2);
    expect_type("text/plain, image/png", 1);
    expect_type("text/html, application/xhtml+xml, */*;q=0.8", 0);
    expect_type("application/json", -1);
    expect_type("image/gif, image/svg", -1);
    expect_type("*/*;q=0", -1);
    expect_type("image/svg+xml;q=0, image/png;q=0, text/plain;q=0, */*", -1);
    expect_type("image/", -1);
}

/* ---- If-Match, If-None-Match ---- */

static void expect_tag(const char *value, uint64_t version, uint64_t epoch) {
    struct command c = {0};
    struct fault f;
    assert_int_equal(headers_if_match(value, &c, &f), 0);
    assert_int_equal(c.n_if_match, 1);
    assert_int_equal(c.if_match[0].version, version);
    assert_int_equal(c.if_match[0].epoch, epoch);
}

static void test_if_match_reads_positions(void **state) {
    (void)state;
    expect_tag("\"42\"", 42, 1);
    expect_tag("  \"42.3\"  ", 42, 3);
    expect_tag("\"9007199254740991\"", 9007199254740991, 1);
}

static void test_if_match_reads_any_and_lists(void **state) {
    (void)state;
    struct command any = {0}, list = {0};
    struct fault f;
    assert_int_equal(headers_if_match(" * ", &any, &f), 0);
    assert_true(any.if_match_any);
    assert_int_equal(any.n_if_match, 0);
    assert_int_equal(headers_if_match("\"1\" ,\"2.2\",\"abc\"", &list, &f), 0);
    assert_false(list.if_match_any);
    assert_int_equal(list.n_if_match, 3);
    assert_int_equal(list.if_match[1].epoch, 2);
}

static void test_if_match_takes_a_tag_of_no_session_as_one_that_never_matches(void **state) {
    (void)state;
    static const char *const tags[] = {"\"abc\"",
                                       "\"\"",
                                       "\"042\"",
                                       "\"0\"",
                                       "\"42.1\"",
                                       "\"42.\"",
                                       "\".2\"",
                                       "\"4x\"",
                                       "\"-1\"",
                                       "\"42.03\"",
                                       "\"9007199254740992\"",
                                       "\"99999999999999999999999\""};
    for (size_t i = 0; i < N_ELEMENTS(tags); i++)
        expect_tag(tags[i], TEXT_INTEGER_MAX, TEXT_INTEGER_MAX);
}

static void test_if_match_refuses_weak_and_malformed(void **state) {
    (void)state;
    static const char *const values[] = {"",        "42",      "W/\"42\"",    "\"1\",W/\"2\"",
                                         "\"1",     "1\"",     "\"1\" \"2\"", "\"1\",",
                                         ",\"1\"",  "*,\"1\"", "\"1\",*",     "w/\"1\"",
                                         "\"a b\"", "\"1\"x",  "**"};
    for (size_t i = 0; i < N_ELEMENTS(values); i++) {
        struct command c = {0};
        struct fault f;
        if (headers_if_match(values[i], &c, &f) != FAULT_INVALID_REQUEST)
            fail_msg("taken: %s", values[i]);
        assert_string_equal(f.field, "If-Match");
    }
}

static void test_if_match_takes_16_tags_and_not_17(void **state) {
    (void)state;
    char value[17 * 4 + 1] = "\"1\"";
    for (int i = 1; i < 16; i++)
        strcat(value, ",\"1\"");
    struct command c = {0};
    struct fault f;
    assert_int_equal(headers_if_match(value, &c, &f), 0);
    assert_int_equal(c.n_if_match, 16);
    strcat(value, ",\"1\"");
    assert_int_equal(headers_if_match(value, &c, &f), FAULT_INVALID_REQUEST);
}

static void test_if_none_match_compares_weakly(void **state) {
    (void)state;
    const struct position at = {.version = 42, .epoch = 3};
    assert_true(headers_if_none_match("\"42.3\"", at));
    assert_true(headers_if_none_match("W/\"42.3\"", at));
    assert_true(headers_if_none_match("\"1\", W/\"42.3\"", at));
    assert_true(headers_if_none_match("*", at));
    assert_false(headers_if_none_match(NULL, at));
    assert_false(headers_if_none_match("", at));
    assert_false(headers_if_none_match("\"42\"", at));
    assert_false(headers_if_none_match("42.3", at));
    assert_false(headers_if_none_match("\"42.3", at));
}

/* ---- Idempotency-Key ---- */

static void expect_key(const char *value, const char *key) {
    char text[COMMAND_KEY_MAX + 1];
    struct fault f;
    assert_int_equal(headers_idempotency_key(value, text, &f), 0);
    assert_string_equal(text, key);
}

static void test_key_is_the_same_quoted_and_bare(void **state) {
    (void)state;
    expect_key("abc-1", "abc-1");
    expect_key("\"abc-1\"", "abc-1");
    expect_key("  \"abc-1\"\t", "abc-1");
    expect_key(" abc-1 ", "abc-1");
    expect_key("\"a \\\"b\\\\\"", "a \"b\\");
    expect_key("a b", "a b");
}

static void test_key_has_1_to_128_printable_characters(void **state) {
    (void)state;
    char key[131], text[COMMAND_KEY_MAX + 1];
    struct fault f;
    memset(key, 'k', sizeof(key));
    key[128] = '\0';
    expect_key(key, key);
    key[128] = 'k', key[129] = '\0';
    assert_int_equal(headers_idempotency_key(key, text, &f), FAULT_INVALID_REQUEST);
    static const char *const bad[] = {"", " ", "\"\"", "\"a", "\"a\"b", "a\tb", "\x7f", "\xc3\xa9"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        if (headers_idempotency_key(bad[i], text, &f) != FAULT_INVALID_REQUEST)
            fail_msg("taken: %s", bad[i]);
    assert_string_equal(f.field, "Idempotency-Key");
}

/* ---- others ---- */

static void test_prefer_is_found_among_others(void **state) {
    (void)state;
    assert_true(headers_prefer_representation("return=representation"));
    assert_true(headers_prefer_representation("respond-async, Return = \"representation\"; x=1"));
    assert_false(headers_prefer_representation(NULL));
    assert_false(headers_prefer_representation("return=minimal"));
    assert_false(headers_prefer_representation("return=minimal, return=representation"));
    assert_false(headers_prefer_representation("foo; return=representation"));
    assert_false(headers_prefer_representation("return"));
}

static void test_media_types_are_told_apart(void **state) {
    (void)state;
    assert_int_equal(headers_media_type("application/json"), MEDIA_JSON);
    assert_int_equal(headers_media_type(" Application/JSON ; charset=UTF-8"), MEDIA_JSON);
    assert_int_equal(headers_media_type("application/json;charset=\"utf-8\""), MEDIA_JSON);
    assert_int_equal(headers_media_type("application/json-patch+json"), MEDIA_JSON_PATCH);
    assert_int_equal(headers_media_type("application/merge-patch+json"), MEDIA_MERGE_PATCH);
    assert_int_equal(headers_media_type(NULL), MEDIA_OTHER);
    assert_int_equal(headers_media_type(""), MEDIA_OTHER);
    assert_int_equal(headers_media_type("text/json"), MEDIA_OTHER);
    assert_int_equal(headers_media_type("application/json; charset=iso-8859-1"), MEDIA_OTHER);
}

static void test_request_id_is_at_most_64_printable(void **state) {
    (void)state;
    char id[66];
    memset(id, 'i', sizeof(id));
    id[64] = '\0';
    assert_true(problem_request_id_is_valid(id));
    id[64] = 'i', id[65] = '\0';
    assert_false(problem_request_id_is_valid(id));
    assert_false(problem_request_id_is_valid(""));
    assert_true(problem_request_id_is_valid("a b"));
    assert_false(problem_request_id_is_valid("\xff"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept_takes_json_where_a_range_covers_it),
        cmocka_unit_test(test_accept_refuses_json_where_none_does),
        cmocka_unit_test(test_accept_is_decided_by_the_most_specific_range),
        cmocka_unit_test(test_accept_chooses_among_several),
        cmocka_unit_test(test_if_match_reads_positions),
        cmocka_unit_test(test_if_match_reads_any_and_lists),
        cmocka_unit_test(test_if_match_takes_a_tag_of_no_session_as_one_that_never_matches),
        cmocka_unit_test(test_if_match_refuses_weak_and_malformed),
        cmocka_unit_test(test_if_match_takes_16_tags_and_not_17),
        cmocka_unit_test(test_if_none_match_compares_weakly),
        cmocka_unit_test(test_key_is_the_same_quoted_and_bare),
        cmocka_unit_test(test_key_has_1_to_128_printable_characters),
        cmocka_unit_test(test_prefer_is_found_among_others),
        cmocka_unit_test(test_media_types_are_told_apart),
        cmocka_unit_test(test_request_id_is_at_most_64_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
