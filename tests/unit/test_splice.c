/* Patches on text: what they come to is what patch_apply comes to, and the usual ones need no tree.
 */
#include "proto/splice.h"
#include "tests/unit/patch_fixture.h"

static bool splice(const char *data, const json_t *operations, struct splice_result *ret) {
    return splice_apply(data, strlen(data), operations, &limits, ret);
}

static void assert_spliced(const char *data, const char *operations, const char *expected) {
    json_auto_t *patch = parse(operations);
    _cleanup_(splice_result_done) struct splice_result result = {0};
    assert_true(splice(data, patch, &result));
    assert_string_equal(result.data.data, expected);
    assert_int_equal(result.data.len, strlen(expected));
    assert_data(data, operations, expected);
}

static void assert_left_alone(const char *data, const char *operations) {
    json_auto_t *patch = parse(operations);
    struct splice_result result = {0};
    assert_false(splice(data, patch, &result));
    assert_null(result.data.data);
    assert_null(result.operations);
}

#define OP(op, path) "{\"op\":\"" op "\",\"path\":\"" path "\"}"
#define PUT(op, path, value) "{\"op\":\"" op "\",\"path\":\"" path "\",\"value\":" value "}"

static void test_members_are_written_in_place(void **state) {
    (void)state;
    const char *data = "{\"a\":1,\"c\":{\"x\":[\"}\",\"\\\\\\\"\"]},\"d\":null}";
    assert_spliced(data, "[" PUT("replace", "/data/a", "1e30") "]",
                   "{\"a\":1e+30,\"c\":{\"x\":[\"}\",\"\\\\\\\"\"]},\"d\":null}");
    assert_spliced(data, "[" PUT("add", "/data/d", "{\"z\":1,\"y\":2}") "]",
                   "{\"a\":1,\"c\":{\"x\":[\"}\",\"\\\\\\\"\"]},\"d\":{\"y\":2,\"z\":1}}");
    assert_spliced(data, "[" OP("remove", "/data/a") "]",
                   "{\"c\":{\"x\":[\"}\",\"\\\\\\\"\"]},\"d\":null}");
    assert_spliced(data, "[" OP("remove", "/data/c") "," OP("remove", "/data/d") "]", "{\"a\":1}");
    assert_spliced("{\"a\":1}", "[" OP("remove", "/data/a") "]", "{}");
    assert_spliced("{\"\":1}", "[" PUT("replace", "/data/", "2") "]", "{\"\":2}");
}

static void test_new_members_go_where_they_sort(void **state) {
    (void)state;
    assert_spliced("{}", "[" PUT("add", "/data/b", "1") "]", "{\"b\":1}");
    assert_spliced("{\"b\":1}", "[" PUT("add", "/data/a", "0") "]", "{\"a\":0,\"b\":1}");
    assert_spliced("{\"b\":1}", "[" PUT("add", "/data/c", "2") "]", "{\"b\":1,\"c\":2}");
    assert_spliced("{\"a\":0,\"c\":2}", "[" PUT("add", "/data/b", "1") "]",
                   "{\"a\":0,\"b\":1,\"c\":2}");
    assert_spliced("{\"\\n\":0,\"\\u001f\":1}", "[" PUT("add", "/data/\\r", "2") "]",
                   "{\"\\n\":0,\"\\r\":2,\"\\u001f\":1}");
    /* U+1F600 is written with surrogates in UTF-16, and so sorts before U+FFEE. */
    assert_spliced("{\"\xef\xbf\xae\":1}", "[" PUT("add", "/data/\xf0\x9f\x98\x80", "2") "]",
                   "{\"\xf0\x9f\x98\x80\":2,\"\xef\xbf\xae\":1}");
}

static void test_elements_shift(void **state) {
    (void)state;
    assert_spliced("[]", "[" PUT("add", "/data/0", "1") "," PUT("add", "/data/-", "2") "]",
                   "[1,2]");
    assert_spliced("[1,2]", "[" PUT("add", "/data/0", "0") "," PUT("add", "/data/3", "3") "]",
                   "[0,1,2,3]");
    assert_spliced("[1,2,3]", "[" OP("remove", "/data/1") "," OP("remove", "/data/1") "]", "[1]");
    assert_spliced("[[1]]", "[" OP("remove", "/data/0/0") "," OP("remove", "/data/0") "]", "[]");
    assert_spliced("{\"l\":[1,{\"x\":2}]}", "[" PUT("replace", "/data/l/1/x", "[]") "]",
                   "{\"l\":[1,{\"x\":[]}]}");
}

static void test_data_itself_is_written(void **state) {
    (void)state;
    assert_spliced("{\"a\":1}", "[" PUT("replace", "/data", "5") "]", "5");
    assert_spliced("5", "[" PUT("add", "/data", "{\"b\":1,\"a\":0}") "]", "{\"a\":0,\"b\":1}");
}

static void test_tests_compare_values_and_are_not_told(void **state) {
    (void)state;
    json_auto_t *patch = parse(
        "[" PUT("test", "/data/a", "{\"y\":1.0,\"x\":0}") "," PUT("replace", "/data/b", "2") "]");
    _cleanup_(splice_result_done) struct splice_result result = {0}, alone = {0};
    assert_true(splice("{\"a\":{\"x\":0,\"y\":1},\"b\":1}", patch, &result));
    assert_true(result.writes);
    assert_int_equal(json_array_size(result.operations), 1);
    assert_ptr_equal(json_array_get(result.operations, 0), json_array_get(patch, 1));
    json_array_remove(patch, 1);
    assert_true(splice("{\"a\":{\"x\":0,\"y\":1}}", patch, &alone));
    assert_false(alone.writes);
    assert_left_alone("{\"a\":1}", "[" PUT("test", "/data/a", "2") "]");
}

static void test_what_is_refused_or_rare_is_left_to_the_tree(void **state) {
    (void)state;
    static const char *const patches[] = {
        "[]",
        "[5]",
        "[{}]",
        "[" OP("remove", "/data") "]",
        "[" OP("remove", "/data/x") "]",
        "[" OP("replace", "/data/a") "]",
        "[" PUT("replace", "/data/x", "1") "]",
        "[" PUT("add", "/data/x/y", "1") "]",
        "[" PUT("add", "/data/a/y", "1") "]",
        "[" PUT("add", "/data/l/3", "1") "]",
        "[" PUT("add", "/data/l/01", "1") "]",
        "[" PUT("replace", "/data/l/2", "1") "]",
        "[" PUT("replace", "/data/l/-", "1") "]",
        "[" PUT("add", "/data/l/-/x", "1") "]",
        "[" PUT("add", "/name", "\"m\"") "]",
        "[" PUT("add", "/database", "1") "]",
        "[" PUT("add", "/data/~0", "1") "]",
        "[" PUT("add", "", "1") "]",
        "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/b\"}]",
        "[{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/data/b\"}]",
        "[" PUT("add", "/data/b", "1") "," OP("remove", "/data/x") "]",
    };
    for (size_t i = 0; i < N_ELEMENTS(patches); i++)
        assert_left_alone("{\"a\":1,\"l\":[1,2]}", patches[i]);
}

static void test_limits_are_the_trees(void **state) {
    (void)state;
    static const struct patch_limits tight = {.max_data_bytes = 18, .max_data_depth = 3};
    static const struct {
        const char *patch;
        bool fits;
    } cases[] = {
        {"[" PUT("add", "/data/b", "\"123\"") "]", true}, /* 18 bytes */
        {"[" PUT("add", "/data/b", "\"1234\"") "]", false},
        {"[" PUT("replace", "/data/a/0", "[2]") "]", true},
        {"[" PUT("replace", "/data/a/0", "[[]]") "]", false},
        {"[" PUT("test", "/data/a/0", "[[]]") "]", false},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        json_auto_t *patch = parse(cases[i].patch);
        _cleanup_(splice_result_done) struct splice_result result = {0};
        const char *data = "{\"a\":[]}";
        if (strstr(cases[i].patch, "/data/a/0"))
            data = "{\"a\":[1]}";
        assert_int_equal(splice_apply(data, strlen(data), patch, &tight, &result), cases[i].fits);
    }
}

static void test_text_that_is_damaged_is_left_alone(void **state) {
    (void)state;
    static const char *const texts[] = {"",         "{",           "{\"",    "{\"b",      "{\"b\"",
                                        "{\"b\":",  "{\"b\":1",    "{\"b\\", "[",         "[1",
                                        "{\"b\":}", "{\"\\x\":1}", "{b:1}",  "{\"b\":1]", "x"};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        assert_left_alone(texts[i], "[" PUT("replace", "/data/c/1", "1") "]");
}

/* What is slowest as a tree: one object of as many members as there is room for. */
static void test_the_dearest_patch_is_within_the_trees_cost(void **state) {
    (void)state;
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    struct buf data = BUF_NULL, operations = BUF_NULL;
    size_t n = sizeof(letters) - 1;
    buf_puts(&data, "{\"a\":{");
    for (size_t i = 0; data.len < (512u << 10) - 64; i++)
        buf_printf(&data, "%s\"%c%c%c\":0", i ? "," : "", letters[i / n / n], letters[i / n % n],
                   letters[i % n]);
    buf_puts(&data, "}}");
    buf_puts(&operations, "[" PUT("add", "/data/b", "1"));
    for (int i = 0; i < 6; i++)
        buf_puts(&operations, "," PUT("replace", "/data/a/000", "1"));
    buf_puts(&operations, "," PUT("replace", "/data/a", "1") "]");
    assert_spliced(data.data, operations.data, "{\"a\":1,\"b\":1}");
    buf_done(&operations);
    buf_done(&data);
}

/* {"a":"…"} of that many bytes. */
static char *document_of(size_t len) {
    struct buf text = BUF_NULL;
    buf_puts(&text, "{\"a\":\"");
    while (text.len < len - 2)
        buf_putc(&text, '.');
    buf_puts(&text, "\"}");
    return buf_take(&text);
}

static void test_data_as_large_as_a_session_may_have_is_spliced(void **state) {
    (void)state;
    static const struct patch_limits most = {512u << 10, 64}, more = {1u << 20, 64};
    static const struct {
        size_t len;
        const char *patch;
        bool is_spliced;
    } cases[] = {
        {(512u << 10) - 6, "[" PUT("add", "/data/b", "1") "]", true},
        {(512u << 10) - 5, "[" PUT("add", "/data/b", "1") "]", false},
        {(512u << 10) + 1, "[" PUT("replace", "/data/a", "1") "]", false},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        _cleanup_(freep) char *text = document_of(cases[i].len);
        json_auto_t *patch = parse(cases[i].patch);
        for (int with_more = 0; with_more < 2; with_more++) {
            _cleanup_(splice_result_done) struct splice_result result = {0};
            assert_int_equal(
                splice_apply(text, cases[i].len, patch, with_more ? &more : &most, &result),
                cases[i].is_spliced);
        }
    }
}

static void test_deep_places_are_found(void **state) {
    (void)state;
    struct buf data = BUF_NULL, expected = BUF_NULL, operations = BUF_NULL;
    buf_puts(&operations, "[{\"op\":\"replace\",\"value\":2,\"path\":\"/data");
    for (int i = 0; i < 30; i++) {
        buf_puts(&data, "{\"a\":[\"]\",[],");
        buf_puts(&operations, "/a/2");
    }
    buf_put(&expected, data.data, data.len);
    buf_puts(&data, "{\"x\":1}");
    buf_puts(&expected, "{\"x\":2}");
    for (int i = 0; i < 30; i++) {
        buf_puts(&data, ",{}],\"b\":\"}\"}");
        buf_puts(&expected, ",{}],\"b\":\"}\"}");
    }
    buf_puts(&operations, "/x\"}]");
    assert_spliced(data.data, operations.data, expected.data);
    buf_done(&data);
    buf_done(&expected);
    buf_done(&operations);
}

/* ---- both ways, on what chance makes ---- */

static unsigned dice(unsigned sides) {
    static uint64_t seed = 88172645463325252u; /* xorshift: the same in every run */
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 32) % sides;
}

static const char *const names[] = {"",
                                    "a",
                                    "b",
                                    "ab",
                                    "0",
                                    "1",
                                    "2",
                                    "-",
                                    "01",
                                    "\"",
                                    "\\",
                                    "\n",
                                    "\x01",
                                    "\x7f",
                                    "~",
                                    "/",
                                    "z",
                                    "Z",
                                    "\xc3\xa9",
                                    "\xef\xbf\xae",
                                    "\xf0\x9f\x98\x80"};

static json_t *random_scalar(void) {
    static const double numbers[] = {0, 1, -1, 0.1, 1e21, 1e-7, 123456789, 5e-324};
    unsigned kind = dice(6);
    if (kind < 2)
        return json_real(numbers[dice(N_ELEMENTS(numbers))]);
    if (kind < 4)
        return json_string(names[dice(N_ELEMENTS(names))]);
    return kind == 4 ? json_null() : json_boolean(dice(2));
}

static json_t *random_value(unsigned depth) {
    unsigned kind = depth ? dice(5) : 4;
    json_t *value = kind < 2 ? json_object() : json_array();
    if (kind == 4) {
        json_decref(value);
        return random_scalar();
    }
    for (unsigned n = dice(5); n > 0; n--)
        if (kind < 2)
            json_object_set_new(value, names[dice(N_ELEMENTS(names))], random_value(depth - 1));
        else
            json_array_append_new(value, random_value(depth - 1));
    return value;
}

static void put_token(struct buf *path, const char *name) {
    buf_putc(path, '/');
    for (; *name; name++) {
        if (*name == '~' || *name == '/')
            buf_puts(path, *name == '~' ? "~0" : "~1");
        else
            buf_putc(path, *name);
    }
}

/* Mostly along what is there; it may change the value before it is used. */
static void put_path(struct buf *path, const json_t *at) {
    buf_puts(path, "/data");
    while (dice(5)) {
        size_t n = json_object_size(at) + json_array_size(at);
        unsigned pick = n && dice(4) ? dice((unsigned)n) : UINT32_MAX;
        char index[16];
        const char *name = names[dice(N_ELEMENTS(names))];
        const json_t *child = NULL;
        if (json_is_array(at) && pick != UINT32_MAX) {
            snprintf(index, sizeof(index), "%u", pick);
            name = index;
            child = json_array_get(at, pick);
        } else if (pick != UINT32_MAX) {
            void *i = json_object_iter((json_t *)(uintptr_t)at);
            for (; pick > 0; pick--)
                i = json_object_iter_next((json_t *)(uintptr_t)at, i);
            name = json_object_iter_key(i);
            child = json_object_iter_value(i);
        }
        put_token(path, name);
        at = child;
    }
}

static json_t *random_operation(const json_t *data) {
    static const char *const kinds[] = {"add", "replace", "remove", "test",
                                        "add", "replace", "move"};
    struct buf path = BUF_NULL;
    put_path(&path, data);
    json_t *operation = json_pack("{s:s, s:s, s:s}", "op", kinds[dice(N_ELEMENTS(kinds))], "path",
                                  path.data, "from", "/data/a");
    if (dice(20))
        json_object_set_new(operation, "value", random_value(dice(3)));
    buf_done(&path);
    return operation;
}

/* Returns whether it was spliced. */
static bool check_both_ways(const json_t *data, const json_t *patch) {
    _cleanup_(buf_done) struct buf text = BUF_NULL, expected = BUF_NULL;
    _cleanup_(splice_result_done) struct splice_result spliced = {0};
    _cleanup_(patch_result_done) struct patch_result result = {0};
    json_auto_t *resource = json_pack("{s:s, s:O}", "name", "n", "data", data);
    canonical_print(data, &text);
    if (!splice_apply(text.data, text.len, patch, &limits, &spliced))
        return false;
    struct fault f;
    if (apply_json(resource, patch, &result, &f) != 0)
        fail_msg("%s", f.detail);
    canonical_print(json_object_get(result.document, "data"), &expected);
    assert_string_equal(spliced.data.data, expected.data);
    assert_true(json_equal(spliced.operations, result.operations));
    assert_int_equal(spliced.writes, result.writes);
    return true;
}

static void test_text_and_tree_come_to_the_same(void **state) {
    (void)state;
    unsigned n_spliced = 0;
    for (int i = 0; i < 20000; i++) {
        json_auto_t *data = random_value(4), *patch = json_array();
        for (unsigned n = 1 + dice(3); n > 0; n--)
            json_array_append_new(patch, random_operation(data));
        n_spliced += check_both_ways(data, patch);
    }
    assert_in_range(n_spliced, 1000, 20000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_written_in_place),
        cmocka_unit_test(test_new_members_go_where_they_sort),
        cmocka_unit_test(test_elements_shift),
        cmocka_unit_test(test_data_itself_is_written),
        cmocka_unit_test(test_tests_compare_values_and_are_not_told),
        cmocka_unit_test(test_what_is_refused_or_rare_is_left_to_the_tree),
        cmocka_unit_test(test_limits_are_the_trees),
        cmocka_unit_test(test_text_that_is_damaged_is_left_alone),
        cmocka_unit_test(test_the_dearest_patch_is_within_the_trees_cost),
        cmocka_unit_test(test_data_as_large_as_a_session_may_have_is_spliced),
        cmocka_unit_test(test_deep_places_are_found),
        cmocka_unit_test(test_text_and_tree_come_to_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
