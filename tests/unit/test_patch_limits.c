#include "tests/unit/patch_fixture.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
