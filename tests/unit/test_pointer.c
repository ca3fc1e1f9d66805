#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "proto/pointer.h"
#include "proto/text.h"

static struct pointer parse(const char *text) {
    struct pointer p;
    struct fault f;
    assert_int_equal(pointer_parse(text, strlen(text), &p, &f), 0);
    return p;
}

static void assert_tokens(const char *text, size_t n, const char *const *tokens) {
    _cleanup_(pointer_done) struct pointer p = parse(text);
    assert_int_equal(p.n_tokens, n);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(p.tokens[i].name, tokens[i]);
        assert_int_equal(p.tokens[i].len, strlen(tokens[i]));
    }
}

static void test_tokens_are_split_and_unescaped(void **state) {
    (void)state;
    assert_tokens("", 0, NULL);
    assert_tokens("/", 1, (const char *[]){""});
    assert_tokens("//", 2, (const char *[]){"", ""});
    assert_tokens("/a/", 2, (const char *[]){"a", ""});
    assert_tokens("/data/a~1b/m~0n", 3, (const char *[]){"data", "a/b", "m~n"});
    assert_tokens("/~01/~10/~0~1", 3, (const char *[]){"~1", "/0", "~/"});
}

static void test_bad_pointers_are_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"a", "data/a", "#/a", "/~", "/a~", "/~2", "/a/~a", " /a"};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
        struct pointer p = {0};
        struct fault f;
        assert_int_equal(pointer_parse(texts[i], strlen(texts[i]), &p, &f), FAULT_INVALID_REQUEST);
        assert_string_equal(f.field, "path");
        assert_null(p.tokens);
    }
}

static void test_length_and_tokens_are_bounded(void **state) {
    (void)state;
    _cleanup_(freep) char *text = must_alloc(POINTER_MAX_BYTES + 2);
    memset(text, 'a', POINTER_MAX_BYTES + 1);
    text[0] = '/';
    struct pointer p = {0};
    struct fault f;
    assert_int_equal(pointer_parse(text, POINTER_MAX_BYTES, &p, &f), 0);
    pointer_done(&p);
    assert_int_equal(pointer_parse(text, POINTER_MAX_BYTES + 1, &p, &f), FAULT_INVALID_REQUEST);
    memset(text, '/', POINTER_MAX_TOKENS + 1);
    assert_int_equal(pointer_parse(text, POINTER_MAX_TOKENS, &p, &f), 0);
    pointer_done(&p);
    assert_int_equal(pointer_parse(text, POINTER_MAX_TOKENS + 1, &p, &f), FAULT_INVALID_VALUE);
}

/* RFC 6901, section 5. */
static void test_the_rfcs_examples_are_found(void **state) {
    (void)state;
    const char *text = "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,"
                       "\"i\\\\j\":5,\"k\\\"l\":6,\" \":7,\"m~n\":8}";
    static const char *const paths[] = {"/",     "/a~1b", "/c%d", "/e^f", "/g|h",
                                        "/i\\j", "/k\"l", "/ ",   "/m~0n"};
    json_auto_t *document = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &document, &f), 0);
    for (size_t i = 0; i < N_ELEMENTS(paths); i++) {
        _cleanup_(pointer_done) struct pointer p = parse(paths[i]);
        json_t *found = pointer_find(document, &p, p.n_tokens);
        assert_true(json_number_value(found) == (double)i && json_is_number(found));
    }
    _cleanup_(pointer_done) struct pointer second = parse("/foo/1");
    assert_string_equal(json_string_value(pointer_find(document, &second, 2)), "baz");
    assert_true(json_is_array(pointer_find(document, &second, 1)));
    assert_ptr_equal(pointer_find(document, &second, 0), document);
}

static void test_what_is_not_there_is_not_found(void **state) {
    (void)state;
    const char *text = "{\"a\":[1,[2]],\"s\":\"x\",\"o\":{\"0\":1},\"n\":null}";
    static const char *const paths[] = {
        "/b",       "/a/2",   "/a/-",          "/a/01",
        "/a/1/0/0", "/s/0",   "/a/x",          "/o/1",
        "/a/-1",    "/a/1e0", "/a/ 1",         "/n/x",
        "/a/",      "/o/00",  "/a/4294967296", "/a/18446744073709551616"};
    json_auto_t *document = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &document, &f), 0);
    for (size_t i = 0; i < N_ELEMENTS(paths); i++) {
        _cleanup_(pointer_done) struct pointer p = parse(paths[i]);
        assert_null(pointer_find(document, &p, p.n_tokens));
    }
}

static void assert_index(const char *name, bool valid, size_t expected) {
    char copy[32];
    strcpy(copy, name);
    struct pointer_token token = {.name = copy, .len = strlen(copy)};
    size_t index = 77;
    assert_int_equal(pointer_index(&token, &index), valid);
    assert_int_equal(index, valid ? expected : 77);
}

static void test_indexes_are_plain_digits(void **state) {
    (void)state;
    assert_index("0", true, 0);
    assert_index("10", true, 10);
    assert_index("2147483648", true, 2147483648);
    assert_index("2147483649", false, 0);
    assert_index("99999999999999999999", false, 0);
    assert_index("01", false, 0);
    assert_index("00", false, 0);
    assert_index("", false, 0);
    assert_index("-", false, 0);
    assert_index("-1", false, 0);
    assert_index("+1", false, 0);
    assert_index("1a", false, 0);
    assert_index("\xd9\xa1", false, 0); /* an Arabic digit */
}

static void test_above_is_a_proper_prefix(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        bool above;
    } cases[] = {
        {"/data/a", "/data/a", false},
        {"/data", "/data/a", true},
        {"/data/a", "/data", false},
        {"/data/a", "/data/b", false},
        {"/data/a", "/data/ab", false},
        {"/data/a/x", "/data/b/x", false},
        {"", "/name", true},
        {"/a~1b", "/a/b", false},
        {"/data/", "/data", false},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        _cleanup_(pointer_done) struct pointer a = parse(cases[i].a);
        _cleanup_(pointer_done) struct pointer b = parse(cases[i].b);
        assert_int_equal(pointer_is_above(&a, &b), cases[i].above);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_are_split_and_unescaped),
        cmocka_unit_test(test_bad_pointers_are_refused),
        cmocka_unit_test(test_length_and_tokens_are_bounded),
        cmocka_unit_test(test_the_rfcs_examples_are_found),
        cmocka_unit_test(test_what_is_not_there_is_not_found),
        cmocka_unit_test(test_indexes_are_plain_digits),
        cmocka_unit_test(test_above_is_a_proper_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
