#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "proto/canonical.h"
#include "proto/patch.h"
#include "proto/text.h"

static const struct patch_limits limits = {.max_data_bytes = 512 * 1024, .max_data_depth = 64};

static json_t *parse(const char *text) {
    json_t *value = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &value, &f), 0);
    return value;
}

static int apply_json(json_t *resource, const json_t *operations, struct patch_result *ret,
                      struct fault *f) {
    size_t data_bytes = canonical_size(json_object_get(resource, "data"));
    int r = patch_apply(resource, data_bytes, operations, &limits, ret, f);
    if (r == 0)
        assert_int_equal(ret->data_bytes, canonical_size(json_object_get(ret->document, "data")));
    return r;
}

/* Applies to {"version":3,"name":"n","data":<data>}. */
static int apply(const char *data, const char *operations, struct patch_result *ret,
                 struct fault *f) {
    json_auto_t *resource = parse("{\"version\":3,\"name\":\"n\"}");
    json_object_set_new(resource, "data", parse(data));
    json_auto_t *patch = parse(operations);
    _cleanup_(buf_done) struct buf before = BUF_NULL, after = BUF_NULL;
    text_print(resource, &before);
    text_print(patch, &before);
    int r = apply_json(resource, patch, ret, f);
    text_print(resource, &after);
    text_print(patch, &after);
    assert_string_equal(before.data, after.data);
    return r;
}

static void assert_data(const char *data, const char *operations, const char *expected) {
    _cleanup_(patch_result_done) struct patch_result result = {0};
    struct fault f = {0};
    assert_int_equal(apply(data, operations, &result, &f), 0);
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    canonical_print(json_object_get(result.document, "data"), &out);
    assert_string_equal(out.data, expected);
}

static struct fault refused(const char *data, const char *operations, enum fault_code code) {
    struct patch_result result = {0};
    struct fault f = {0};
    assert_int_equal(apply(data, operations, &result, &f), code);
    assert_int_equal(f.code, code);
    assert_null(result.document);
    assert_null(result.operations);
    assert_true(f.detail[0] != '\0');
    return f;
}

static void assert_failed(const char *data, const char *operations, int index,
                          const char *pointer) {
    struct fault f = refused(data, operations, FAULT_PATCH_FAILED);
    assert_int_equal(f.index, index);
    assert_string_equal(f.pointer, pointer);
}

static void test_all_six_operations_work(void **state) {
    (void)state;
    assert_data("{}", "[{\"op\":\"add\",\"path\":\"/data/a\",\"value\":null}]", "{\"a\":null}");
    assert_data("{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":[]}]",
                "{\"a\":[]}");
    assert_data("{\"a\":1,\"b\":2}", "[{\"op\":\"remove\",\"path\":\"/data/a\"}]", "{\"b\":2}");
    assert_data("{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/b\"}]",
                "{\"b\":1}");
    assert_data("{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/data/b\"}]",
                "{\"a\":1,\"b\":1}");
    assert_data("{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/data\",\"value\":{\"a\":1.0}}]",
                "{\"a\":1}");
}

static void test_arrays_shift(void **state) {
    (void)state;
    assert_data("[1,2]", "[{\"op\":\"add\",\"path\":\"/data/0\",\"value\":0}]", "[0,1,2]");
    assert_data("[1,2]", "[{\"op\":\"add\",\"path\":\"/data/2\",\"value\":3}]", "[1,2,3]");
    assert_data("[1,2]", "[{\"op\":\"add\",\"path\":\"/data/-\",\"value\":3}]", "[1,2,3]");
    assert_data("[1,2,3]", "[{\"op\":\"remove\",\"path\":\"/data/1\"}]", "[1,3]");
    assert_data("[1,2,3]", "[{\"op\":\"replace\",\"path\":\"/data/1\",\"value\":9}]", "[1,9,3]");
    assert_data("[1,2,3]", "[{\"op\":\"move\",\"from\":\"/data/0\",\"path\":\"/data/2\"}]",
                "[2,3,1]");
    assert_data("[1,2,3]", "[{\"op\":\"move\",\"from\":\"/data/0\",\"path\":\"/data/-\"}]",
                "[2,3,1]");
}

static void test_data_and_name_themselves_can_be_written(void **state) {
    (void)state;
    assert_data("{\"a\":[1]}", "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data\"}]",
                "[1]");
    assert_data("{}",
                "[{\"op\":\"remove\",\"path\":\"/data\"},"
                "{\"op\":\"add\",\"path\":\"/data\",\"value\":5}]",
                "5");
    assert_data("5", "[{\"op\":\"replace\",\"path\":\"/data\",\"value\":\"x\"}]", "\"x\"");
    assert_data("{}", "[{\"op\":\"copy\",\"from\":\"/name\",\"path\":\"/data/n\"}]",
                "{\"n\":\"n\"}");
    assert_data("{\"x\":\"y\"}", "[{\"op\":\"move\",\"from\":\"/data/x\",\"path\":\"/name\"}]",
                "{}");
    assert_data("{}",
                "[{\"op\":\"move\",\"from\":\"/name\",\"path\":\"/data/n\"},"
                "{\"op\":\"add\",\"path\":\"/name\",\"value\":\"m\"}]",
                "{\"n\":\"n\"}");
    assert_data("{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/data\",\"path\":\"/data/self\"}]",
                "{\"a\":1,\"self\":{\"a\":1}}");
}

static void test_what_is_left_must_be_a_session(void **state) {
    (void)state;
    struct fault f = refused("{}", "[{\"op\":\"remove\",\"path\":\"/data\"}]", FAULT_INVALID_VALUE);
    assert_string_equal(f.pointer, "/data");
    assert_int_equal(f.index, -1);
    refused("{}", "[{\"op\":\"remove\",\"path\":\"/name\"}]", FAULT_INVALID_VALUE);
    f = refused("{}", "[{\"op\":\"add\",\"path\":\"/name\",\"value\":5}]", FAULT_INVALID_VALUE);
    assert_string_equal(f.pointer, "/name");
    refused("{}", "[{\"op\":\"add\",\"path\":\"/name\",\"value\":\"\"}]", FAULT_INVALID_VALUE);
}

static void test_names_have_up_to_255_characters(void **state) {
    (void)state;
    for (size_t n = 255; n <= 256; n++) {
        _cleanup_(buf_done) struct buf patch = BUF_NULL;
        buf_puts(&patch, "[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"");
        for (size_t i = 0; i < n; i++)
            buf_puts(&patch, "\xe2\x82\xac");
        buf_puts(&patch, "\"}]");
        _cleanup_(patch_result_done) struct patch_result result = {0};
        struct fault f;
        assert_int_equal(apply("{}", patch.data, &result, &f), n == 255 ? 0 : FAULT_INVALID_VALUE);
    }
}

static void test_shapes_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *operations, *field;
        int index;
    } cases[] = {
        {"{}", "operations", -1},
        {"[1]", "operations", 0},
        {"[{}]", "op", 0},
        {"[{\"op\":5,\"path\":\"/data\"}]", "op", 0},
        {"[{\"op\":\"ADD\",\"path\":\"/data\",\"value\":1}]", "op", 0},
        {"[{\"op\":\"remove\",\"path\":\"/data\"},{\"op\":\"remove\"}]", "path", 1},
        {"[{\"op\":\"remove\",\"path\":null}]", "path", 0},
        {"[{\"op\":\"remove\",\"path\":\"data\"}]", "path", 0},
        {"[{\"op\":\"remove\",\"path\":\"/data/~2\"}]", "path", 0},
        {"[{\"op\":\"add\",\"path\":\"/data\"}]", "value", 0},
        {"[{\"op\":\"test\",\"path\":\"/data\"}]", "value", 0},
        {"[{\"op\":\"move\",\"path\":\"/data\"}]", "from", 0},
        {"[{\"op\":\"copy\",\"path\":\"/data\",\"from\":\"x\"}]", "from", 0},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        json_auto_t *operations = parse(cases[i].operations);
        struct fault f;
        assert_int_equal(patch_check(operations, &f), FAULT_INVALID_REQUEST);
        assert_string_equal(f.field, cases[i].field);
        assert_int_equal(f.index, cases[i].index);
        refused("{}", cases[i].operations, FAULT_INVALID_REQUEST);
        assert_int_equal(patch_check(operations, NULL), FAULT_INVALID_REQUEST);
    }
    json_auto_t *fine = parse("[{\"op\":\"add\",\"path\":\"/data\",\"value\":null,\"more\":[]}]");
    assert_int_equal(patch_check(fine, NULL), 0);
}

static void test_only_data_and_name_are_writable(void **state) {
    (void)state;
    static const char *const paths[] = {"",        "/",        "/id",   "/dataX", "/dat",
                                        "/name/x", "/version", "/Data", "//data"};
    for (size_t i = 0; i < N_ELEMENTS(paths); i++) {
        char operations[256];
        snprintf(operations, sizeof(operations), "[{\"op\":\"add\",\"path\":\"%s\",\"value\":1}]",
                 paths[i]);
        struct fault f = refused("{}", operations, FAULT_PATH_NOT_WRITABLE);
        assert_string_equal(f.pointer, paths[i]);
        assert_int_equal(f.index, 0);
        snprintf(operations, sizeof(operations),
                 "[{\"op\":\"copy\",\"from\":\"%s\",\"path\":\"/data/a\"}]", paths[i]);
        refused("{}", operations, FAULT_PATH_NOT_WRITABLE);
    }
    assert_data("{}", "[{\"op\":\"test\",\"path\":\"/version\",\"value\":3}]", "{}");
}

static void test_operations_are_counted(void **state) {
    (void)state;
    for (size_t n = 1000; n <= 1001; n++) {
        json_auto_t *operations = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(operations,
                                  parse("{\"op\":\"add\",\"path\":\"/data/a\",\"value\":1}"));
        assert_int_equal(patch_check(operations, NULL), n == 1000 ? 0 : FAULT_INVALID_VALUE);
    }
}

static void test_what_is_not_there_fails(void **state) {
    (void)state;
    assert_failed("{}", "[{\"op\":\"remove\",\"path\":\"/data/a\"}]", 0, "/data/a");
    assert_failed("{}", "[{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":1}]", 0, "/data/a");
    assert_failed("{}", "[{\"op\":\"add\",\"path\":\"/data/a/b\",\"value\":1}]", 0, "/data/a/b");
    assert_failed("{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/data/a/b\",\"value\":1}]", 0,
                  "/data/a/b");
    assert_failed("{}", "[{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/data/b\"}]", 0,
                  "/data/a");
    assert_failed("{}", "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/b\"}]", 0,
                  "/data/a");
    assert_failed("{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/b/c\"}]", 0,
                  "/data/b/c");
    assert_failed("{}", "[{\"op\":\"test\",\"path\":\"/data/a\",\"value\":null}]", 0, "/data/a");
    assert_failed("{}",
                  "[{\"op\":\"remove\",\"path\":\"/data\"},{\"op\":\"remove\",\"path\":\"/data\"}]",
                  1, "/data");
}

static void test_indexes_are_strict(void **state) {
    (void)state;
    static const char *const bad_adds[] = {"3", "01", "00", "-1",        "1e0",
                                           "",  "+1", "a",  "4294967296"};
    for (size_t i = 0; i < N_ELEMENTS(bad_adds); i++) {
        char operations[128], path[64];
        snprintf(path, sizeof(path), "/data/%s", bad_adds[i]);
        snprintf(operations, sizeof(operations), "[{\"op\":\"add\",\"path\":\"%s\",\"value\":1}]",
                 path);
        assert_failed("[1,2]", operations, 0, path);
    }
    assert_failed("[1,2]", "[{\"op\":\"replace\",\"path\":\"/data/2\",\"value\":1}]", 0, "/data/2");
    assert_failed("[1,2]", "[{\"op\":\"replace\",\"path\":\"/data/-\",\"value\":1}]", 0, "/data/-");
    assert_failed("[1,2]", "[{\"op\":\"remove\",\"path\":\"/data/-\"}]", 0, "/data/-");
    assert_failed("[1,2]", "[{\"op\":\"remove\",\"path\":\"/data/2\"}]", 0, "/data/2");
    assert_failed("[[1]]", "[{\"op\":\"add\",\"path\":\"/data/-/0\",\"value\":1}]", 0, "/data/-/0");
}

static void test_tests_compare_by_value(void **state) {
    (void)state;
    assert_data("{\"a\":1,\"b\":[0]}",
                "[{\"op\":\"test\",\"path\":\"/data\",\"value\":{\"b\":[-0.0],\"a\":1e0}}]",
                "{\"a\":1,\"b\":[0]}");
    assert_failed("1", "[{\"op\":\"test\",\"path\":\"/data\",\"value\":true}]", 0, "/data");
    assert_failed("\"1\"", "[{\"op\":\"test\",\"path\":\"/data\",\"value\":1}]", 0, "/data");
}

static void test_a_value_cannot_move_into_itself(void **state) {
    (void)state;
    assert_failed("{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/a/b\"}]",
                  0, "/data/a/b");
    assert_failed("{}", "[{\"op\":\"move\",\"from\":\"/data\",\"path\":\"/data/a\"}]", 0,
                  "/data/a");
    assert_data("{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/a\"}]",
                "{\"a\":1}");
    assert_data("{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/ab\"}]",
                "{\"ab\":1}");
}

static void test_copies_are_independent(void **state) {
    (void)state;
    assert_data("{\"a\":{\"x\":[1]}}",
                "[{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/data/b\"},"
                "{\"op\":\"add\",\"path\":\"/data/b/x/-\",\"value\":2},"
                "{\"op\":\"remove\",\"path\":\"/data/a/x/0\"}]",
                "{\"a\":{\"x\":[]},\"b\":{\"x\":[1,2]}}");
}

static void test_values_of_the_patch_are_not_written_through(void **state) {
    (void)state;
    _cleanup_(patch_result_done) struct patch_result result = {0};
    struct fault f;
    const char *operations = "[{\"op\":\"add\",\"path\":\"/data/a\",\"value\":{\"x\":[1]}},"
                             "{\"op\":\"add\",\"path\":\"/data/a/x/-\",\"value\":2},"
                             "{\"op\":\"test\",\"path\":\"/name\",\"value\":\"n\"}]";
    assert_int_equal(apply("{}", operations, &result, &f), 0);
    assert_true(result.writes);
    assert_int_equal(json_array_size(result.operations), 2);
    const json_t *value = json_object_get(json_array_get(result.operations, 0), "value");
    assert_int_equal(json_array_size(json_object_get(value, "x")), 1);
}

static void test_nothing_but_tests_writes_nothing(void **state) {
    (void)state;
    _cleanup_(patch_result_done) struct patch_result result = {0}, empty = {0};
    struct fault f;
    assert_int_equal(apply("{}",
                           "[{\"op\":\"test\",\"path\":\"\",\"value\":{\"data\":{},\"version\":3,"
                           "\"name\":\"n\"}}]",
                           &result, &f),
                     0);
    assert_false(result.writes);
    assert_int_equal(json_array_size(result.operations), 0);
    assert_int_equal(apply("{}", "[]", &empty, &f), 0);
    assert_false(empty.writes);
    assert_true(json_is_array(empty.operations));
}

static void nested(struct buf *out, size_t levels) {
    for (size_t i = 0; i < levels; i++)
        buf_putc(out, '[');
    for (size_t i = 0; i < levels; i++)
        buf_putc(out, ']');
}

static void test_depth_ends_at_the_limit(void **state) {
    (void)state;
    static const struct {
        const char *path;
        size_t levels;
    } cases[] = {{"/data", 64}, {"/data/a", 63}, {"/data/b/c", 62}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++)
        for (size_t over = 0; over <= 1; over++) {
            _cleanup_(buf_done) struct buf patch = BUF_NULL;
            buf_printf(&patch, "[{\"op\":\"add\",\"path\":\"%s\",\"value\":", cases[i].path);
            nested(&patch, cases[i].levels + over);
            buf_puts(&patch, "}]");
            _cleanup_(patch_result_done) struct patch_result result = {0};
            struct fault f;
            assert_int_equal(apply("{\"b\":{}}", patch.data, &result, &f),
                             over ? FAULT_STATE_TOO_LARGE : 0);
        }
}

static void test_moves_and_copies_cannot_go_too_deep(void **state) {
    (void)state;
    _cleanup_(buf_done) struct buf data = BUF_NULL;
    buf_puts(&data, "{\"o\":{},\"a\":");
    nested(&data, 63);
    buf_putc(&data, '}');
    struct fault f =
        refused(data.data, "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/o/a\"}]",
                FAULT_STATE_TOO_LARGE);
    assert_int_equal(f.index, 0);
    refused(data.data, "[{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/data/o/a\"}]",
            FAULT_STATE_TOO_LARGE);
    _cleanup_(patch_result_done) struct patch_result result = {0};
    assert_int_equal(apply(data.data,
                           "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/b\"},"
                           "{\"op\":\"copy\",\"from\":\"/data/b/0\",\"path\":\"/data/o/b\"}]",
                           &result, &f),
                     0);
}

static void test_size_ends_at_the_limit(void **state) {
    (void)state;
    json_auto_t *resource = parse("{\"name\":\"n\",\"data\":{}}");
    json_auto_t *operations =
        parse("[{\"op\":\"add\",\"path\":\"/data/\\u20ac\",\"value\":\"xxxx\"},"
              "{\"op\":\"test\",\"path\":\"/version\",\"value\":1}]");
    json_array_remove(operations, 1);
    size_t size = strlen("{\"___\":\"xxxx\"}"); /* the euro sign is 3 bytes */
    for (size_t most = size - 1; most <= size; most++) {
        struct patch_limits tight = {.max_data_bytes = most, .max_data_depth = 64};
        _cleanup_(patch_result_done) struct patch_result result = {0};
        struct fault f = {0};
        int r = patch_apply(resource, 2, operations, &tight, &result, &f);
        assert_int_equal(r, most < size ? FAULT_STATE_TOO_LARGE : 0);
        assert_int_equal(f.index, 0);
    }
}

static void test_size_counts_after_each_operation(void **state) {
    (void)state;
    json_auto_t *resource = parse("{\"name\":\"n\",\"data\":{\"a\":\"xxxxxxxxxx\"}}");
    json_auto_t *operations = parse("[{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/data/b\"},"
                                    "{\"op\":\"remove\",\"path\":\"/data/b\"}]");
    struct patch_limits tight = {.max_data_bytes = 20, .max_data_depth = 64};
    struct patch_result result = {0};
    struct fault f;
    assert_int_equal(patch_apply(resource, 18, operations, &tight, &result, &f),
                     FAULT_STATE_TOO_LARGE);
    assert_int_equal(f.index, 0);
}

static void test_what_is_over_the_limit_may_shrink(void **state) {
    (void)state;
    json_auto_t *resource = parse("{\"name\":\"n\",\"data\":[1,2,3,4,5,6]}");
    json_auto_t *operations = parse("[{\"op\":\"remove\",\"path\":\"/data/0\"}]");
    struct patch_limits tight = {.max_data_bytes = 5, .max_data_depth = 64};
    _cleanup_(patch_result_done) struct patch_result result = {0};
    struct fault f;
    assert_int_equal(patch_apply(resource, 13, operations, &tight, &result, &f), 0);
    assert_int_equal(result.data_bytes, 11);
}

static json_t *zeros(size_t n) {
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(array, json_real(0));
    return array;
}

/* Applies the operations in turn, 1000 in all, to data that is taken over. */
static struct fault apply_thousand(json_t *data, const char *first, const char *second) {
    json_auto_t *resource = json_object();
    json_object_set_new(resource, "name", json_string("n"));
    json_object_set_new(resource, "data", data);
    json_auto_t *operations = json_array();
    json_auto_t *one = parse(first), *other = parse(second);
    for (size_t i = 0; i < 1000; i++)
        json_array_append(operations, i % 2 ? other : one);
    _cleanup_(patch_result_done) struct patch_result result = {0};
    struct fault f = {0};
    int r = apply_json(resource, operations, &result, &f);
    assert_int_equal(r, f.code);
    return f;
}

static void test_doubling_is_refused_at_the_limit(void **state) {
    (void)state;
    const char *copy = "{\"op\":\"copy\",\"from\":\"/data\",\"path\":\"/data/-\"}";
    struct fault f = apply_thousand(zeros(1), copy, copy);
    assert_int_equal(f.code, FAULT_STATE_TOO_LARGE);
    assert_in_range(f.index, 1, 20);
}

static void test_copied_bytes_are_counted(void **state) {
    (void)state;
    /* 100 KB are copied each time and removed again: 4 MiB are full at the 42nd copy. */
    json_t *data = json_object();
    char *text = must_alloc(100001);
    memset(text, 'x', 100000);
    json_object_set_new(data, "a", json_string(text));
    free(text);
    struct fault f =
        apply_thousand(data, "{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/data/b\"}",
                       "{\"op\":\"remove\",\"path\":\"/data/b\"}");
    assert_int_equal(f.code, FAULT_PATCH_FAILED);
    assert_int_equal(f.index, (int)(2 * (PATCH_MAX_WORK_BYTES / 100002)));
    assert_string_equal(f.pointer, "/data/b");
}

static void test_compared_bytes_are_counted(void **state) {
    (void)state;
    _cleanup_(buf_done) struct buf op = BUF_NULL;
    buf_puts(&op, "{\"op\":\"test\",\"path\":\"/data\",\"value\":\"");
    char *text = must_alloc(100001);
    memset(text, 'x', 100000);
    buf_puts(&op, text);
    buf_puts(&op, "\"}");
    struct fault f = apply_thousand(json_string(text), op.data, op.data);
    free(text);
    assert_int_equal(f.code, FAULT_PATCH_FAILED);
    assert_in_range(f.index, 20, PATCH_MAX_WORK_BYTES / 100002);
}

static void test_shifting_a_large_array_is_bounded(void **state) {
    (void)state;
    static const char *const patches[][2] = {
        {"{\"op\":\"add\",\"path\":\"/data/0\",\"value\":1}",
         "{\"op\":\"remove\",\"path\":\"/data/0\"}"},
        {"{\"op\":\"remove\",\"path\":\"/data/0\"}", "{\"op\":\"remove\",\"path\":\"/data/0\"}"},
        {"{\"op\":\"move\",\"from\":\"/data/0\",\"path\":\"/data/-\"}",
         "{\"op\":\"move\",\"from\":\"/data/9\",\"path\":\"/data/0\"}"},
    };
    for (size_t i = 0; i < N_ELEMENTS(patches); i++) {
        struct fault f = apply_thousand(zeros(250000), patches[i][0], patches[i][1]);
        assert_int_equal(f.code, FAULT_PATCH_FAILED);
        assert_in_range(f.index, 1, 400);
        f = apply_thousand(zeros(10000), patches[i][0], patches[i][1]);
        assert_int_equal(f.code, FAULT_NONE);
    }
}

static void test_walking_a_large_value_is_bounded(void **state) {
    (void)state;
    json_t *data = json_object();
    json_object_set_new(data, "a", zeros(250000));
    json_object_set_new(data, "b", json_object());
    struct fault f =
        apply_thousand(data, "{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/b/c\"}",
                       "{\"op\":\"move\",\"from\":\"/data/b/c\",\"path\":\"/data/a\"}");
    assert_int_equal(f.code, FAULT_PATCH_FAILED);
    assert_in_range(f.index, 1, 400);
}

static void assert_overlap(const char *operations, const char *since, bool expected) {
    json_auto_t *ours = parse(operations), *theirs = parse(since);
    assert_int_equal(patch_overlaps(ours, theirs), expected);
}

#define ADD(path) "{\"op\":\"add\",\"path\":\"" path "\",\"value\":1}"
#define REPLACE(path) "{\"op\":\"replace\",\"path\":\"" path "\",\"value\":1}"
#define TEST(path) "{\"op\":\"test\",\"path\":\"" path "\",\"value\":1}"
#define COPY(from, path) "{\"op\":\"copy\",\"from\":\"" from "\",\"path\":\"" path "\"}"
#define MOVE(from, path) "{\"op\":\"move\",\"from\":\"" from "\",\"path\":\"" path "\"}"

static void test_overlap_looks_above_and_below(void **state) {
    (void)state;
    assert_overlap("[" ADD("/data/a") "]", "[" ADD("/data/a") "]", true);
    assert_overlap("[" ADD("/data/a/b") "]", "[" ADD("/data/a") "]", true);
    assert_overlap("[" ADD("/data/a") "]", "[" ADD("/data/a/b") "]", true);
    assert_overlap("[" ADD("/data/a") "]", "[" ADD("/data/b") "," ADD("/data/ab") "]", false);
    assert_overlap("[" ADD("/name") "]", "[" ADD("/data") "]", false);
    assert_overlap("[" ADD("/data/b") "]",
                   "[" ADD("/data/a") "," ADD("/data/a/b") "," ADD("/data/c") "]", false);
    assert_overlap("[" ADD("/data/a/c/d") "]",
                   "[" ADD("/data/a/b") "," ADD("/data/a") "," ADD("/data/a/z") "]", true);
    assert_overlap("[]", "[" ADD("/data") "]", false);
    assert_overlap("[" ADD("/data") "]", "[]", false);
}

static void test_overlap_counts_reads_of_ours_only(void **state) {
    (void)state;
    assert_overlap("[" TEST("/data/a") "]", "[" ADD("/data/a") "]", true);
    assert_overlap("[" TEST("") "]", "[" ADD("/data/a") "]", true);
    assert_overlap("[" TEST("/version") "]", "[" ADD("/data/a") "]", false);
    assert_overlap("[" ADD("/data/a") "]", "[" TEST("/data/a") "]", false);
    assert_overlap("[" COPY("/data/a", "/data/b") "]", "[" ADD("/data/a") "]", true);
    assert_overlap("[" ADD("/data/a") "]", "[" COPY("/data/a", "/data/b") "]", false);
    assert_overlap("[" ADD("/data/a") "]", "[" MOVE("/data/a", "/data/b") "]", true);
}

static void test_overlap_takes_digits_for_the_array(void **state) {
    (void)state;
    assert_overlap("[" REPLACE("/data/l/5") "]", "[" ADD("/data/l/0") "]", true);
    assert_overlap("[" ADD("/data/l/5") "]", "[" REPLACE("/data/l/0") "]", true);
    assert_overlap("[" REPLACE("/data/l/5") "]", "[" REPLACE("/data/l/0") "]", false);
    assert_overlap("[" ADD("/data/l/-") "]", "[" ADD("/data/l/-") "]", true);
    assert_overlap("[" TEST("/data/l/5") "]", "[" REPLACE("/data/l/0") "]", false);
    assert_overlap("[" COPY("/data/l/5", "/data/x") "]", "[" REPLACE("/data/l/0") "]", false);
    assert_overlap("[" MOVE("/data/l/5", "/data/x") "]", "[" REPLACE("/data/l/0") "]", true);
    assert_overlap("[" COPY("/data/x", "/data/l/5") "]", "[" REPLACE("/data/l/0") "]", true);
    assert_overlap("[" ADD("/data/l/a") "]", "[" ADD("/data/l/b") "]", false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_six_operations_work),
        cmocka_unit_test(test_arrays_shift),
        cmocka_unit_test(test_data_and_name_themselves_can_be_written),
        cmocka_unit_test(test_what_is_left_must_be_a_session),
        cmocka_unit_test(test_names_have_up_to_255_characters),
        cmocka_unit_test(test_shapes_are_checked),
        cmocka_unit_test(test_only_data_and_name_are_writable),
        cmocka_unit_test(test_operations_are_counted),
        cmocka_unit_test(test_what_is_not_there_fails),
        cmocka_unit_test(test_indexes_are_strict),
        cmocka_unit_test(test_tests_compare_by_value),
        cmocka_unit_test(test_a_value_cannot_move_into_itself),
        cmocka_unit_test(test_copies_are_independent),
        cmocka_unit_test(test_values_of_the_patch_are_not_written_through),
        cmocka_unit_test(test_nothing_but_tests_writes_nothing),
        cmocka_unit_test(test_depth_ends_at_the_limit),
        cmocka_unit_test(test_moves_and_copies_cannot_go_too_deep),
        cmocka_unit_test(test_size_ends_at_the_limit),
        cmocka_unit_test(test_size_counts_after_each_operation),
        cmocka_unit_test(test_what_is_over_the_limit_may_shrink),
        cmocka_unit_test(test_doubling_is_refused_at_the_limit),
        cmocka_unit_test(test_copied_bytes_are_counted),
        cmocka_unit_test(test_compared_bytes_are_counted),
        cmocka_unit_test(test_shifting_a_large_array_is_bounded),
        cmocka_unit_test(test_walking_a_large_value_is_bounded),
        cmocka_unit_test(test_overlap_looks_above_and_below),
        cmocka_unit_test(test_overlap_counts_reads_of_ours_only),
        cmocka_unit_test(test_overlap_takes_digits_for_the_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
