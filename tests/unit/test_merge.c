#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "proto/canonical.h"
#include "proto/merge.h"
#include "proto/patch.h"
#include "proto/pointer.h"
#include "proto/text.h"

static json_t *parse(const char *text) {
    json_t *value = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &value, &f), 0);
    return value;
}

static json_t *resource_of(const char *data) {
    json_t *resource = parse("{\"name\":\"n\"}");
    json_object_set_new(resource, "data", parse(data));
    return resource;
}

static json_t *operations_of(const json_t *resource, const char *patch) {
    json_auto_t *merge_patch = parse(patch);
    json_t *operations = NULL;
    struct fault f;
    assert_int_equal(merge_to_operations(resource, merge_patch, &operations, &f), 0);
    return operations;
}

static void assert_operations(const char *data, const char *patch, const char *expected) {
    json_auto_t *resource = resource_of(data);
    json_auto_t *operations = operations_of(resource, patch);
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    text_print(operations, &out);
    assert_string_equal(out.data, expected);
}

static void assert_merged(const char *data, const char *patch, const char *expected) {
    static const struct patch_limits limits = {.max_data_bytes = 1 << 19, .max_data_depth = 64};
    json_auto_t *resource = resource_of(data);
    json_auto_t *wrapped = json_object();
    json_object_set_new(wrapped, "data", parse(patch));
    json_auto_t *operations = NULL;
    _cleanup_(patch_result_done) struct patch_result result = {0};
    struct fault f;
    assert_int_equal(merge_to_operations(resource, wrapped, &operations, &f), 0);
    size_t bytes = canonical_size(json_object_get(resource, "data"));
    assert_int_equal(patch_apply(resource, bytes, operations, &limits, &result, &f), 0);
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    canonical_print(json_object_get(result.document, "data"), &out);
    assert_string_equal(out.data, expected);
}

/* RFC 7396, appendix A, but the two whose patch is null: that would remove data. */
static void test_the_rfcs_examples_come_out(void **state) {
    (void)state;
    assert_merged("{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
    assert_merged("{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}");
    assert_merged("{\"a\":\"b\"}", "{\"a\":null}", "{}");
    assert_merged("{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}");
    assert_merged("{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
    assert_merged("{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}");
    assert_merged("{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
                  "{\"a\":{\"b\":\"d\"}}");
    assert_merged("{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}");
    assert_merged("[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]");
    assert_merged("{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]");
    assert_merged("{\"a\":\"foo\"}", "\"bar\"", "\"bar\"");
    assert_merged("{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}");
    assert_merged("[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}");
    assert_merged("{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}");
}

static void test_nulls_inside_arrays_stay(void **state) {
    (void)state;
    assert_merged("{}", "{\"a\":[null,{\"b\":null}]}", "{\"a\":[null,{\"b\":null}]}");
}

static void test_changes_become_operations_in_place(void **state) {
    (void)state;
    assert_operations("{\"a\":{\"b\":1,\"c/d\":2},\"x\":1}",
                      "{\"name\":\"m\",\"data\":{\"a\":{\"b\":2,\"c/d\":null,\"~\":3}}}",
                      "[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"m\"},"
                      "{\"op\":\"replace\",\"path\":\"/data/a/b\",\"value\":2},"
                      "{\"op\":\"remove\",\"path\":\"/data/a/c~1d\"},"
                      "{\"op\":\"add\",\"path\":\"/data/a/~0\",\"value\":3}]");
}

static void test_what_is_equal_yields_nothing(void **state) {
    (void)state;
    assert_operations(
        "{\"a\":1,\"b\":{\"c\":[1,{\"d\":2}]}}",
        "{\"name\":\"n\",\"data\":{\"a\":1.0,\"b\":{\"c\":[1,{\"d\":2}],\"no\":null}}}", "[]");
    assert_operations("{}", "{}", "[]");
    assert_operations("5", "{\"data\":5}", "[]");
}

static void test_shapes_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *patch;
        enum fault_code code;
        const char *field;
    } cases[] = {
        {"[]", FAULT_INVALID_REQUEST, ""},
        {"\"x\"", FAULT_INVALID_REQUEST, ""},
        {"{\"name\":5}", FAULT_INVALID_REQUEST, "name"},
        {"{\"name\":null}", FAULT_INVALID_VALUE, "name"},
        {"{\"data\":null}", FAULT_INVALID_VALUE, "data"},
        {"{\"status\":\"paused\"}", FAULT_PATH_NOT_WRITABLE, "status"},
        {"{\"data\":{},\"id\":null}", FAULT_PATH_NOT_WRITABLE, "id"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        json_auto_t *patch = parse(cases[i].patch);
        json_auto_t *resource = resource_of("{}");
        json_t *operations = NULL;
        struct fault f;
        assert_int_equal(merge_check(patch, &f), cases[i].code);
        assert_string_equal(f.field, cases[i].field);
        assert_int_equal(merge_to_operations(resource, patch, &operations, &f), cases[i].code);
        assert_null(operations);
    }
}

/* {"data":{"a":{"<prefix>":{"0":0,…}}}} with n members. */
static char *wide_patch(size_t n, const char *head, const char *tail) {
    struct buf patch = BUF_NULL;
    buf_puts(&patch, head);
    for (size_t i = 0; i < n; i++)
        buf_printf(&patch, "%s\"%zu\":%zu", i ? "," : "", i, i);
    buf_puts(&patch, tail);
    return buf_take(&patch);
}

static void assert_folds(const char *data, const char *patch, size_t n, const char *path) {
    json_auto_t *resource = resource_of(data);
    json_auto_t *operations = operations_of(resource, patch);
    assert_int_equal(json_array_size(operations), n);
    assert_int_equal(patch_check(operations, NULL), 0);
    const json_t *last = json_array_get(operations, n - 1);
    assert_string_equal(json_string_value(json_object_get(last, "path")), path);
}

static void test_a_thousand_operations_are_left_alone(void **state) {
    (void)state;
    _cleanup_(freep) char *all = wide_patch(1000, "{\"data\":{\"a\":{", "}}}");
    assert_folds("{\"a\":{}}", all, 1000, "/data/a/999");
    _cleanup_(freep) char *more = wide_patch(1001, "{\"data\":{\"a\":{", "}}}");
    assert_folds("{\"a\":{}}", more, 1, "/data/a");
    _cleanup_(freep) char *named = wide_patch(1000, "{\"name\":\"m\",\"data\":{\"a\":{", "}}}");
    assert_folds("{\"a\":{}}", named, 2, "/data/a");
}

static void test_folding_takes_the_nearest_common_ancestor(void **state) {
    (void)state;
    _cleanup_(freep) char *before = wide_patch(2000, "{\"data\":{\"a\":{\"b\":{", "},\"c\":1}}}");
    assert_folds("{\"a\":{\"b\":{},\"c\":1}}", before, 1, "/data/a/b");
    assert_folds("{\"a\":{\"b\":{},\"c\":2}}", before, 1, "/data/a");
    _cleanup_(freep) char *after =
        wide_patch(2000, "{\"data\":{\"z\":{\"y\":1},\"a\":{\"b\":{", "}}}}");
    assert_folds("{\"a\":{\"b\":{}},\"z\":{\"y\":1}}", after, 1, "/data/a/b");
    assert_folds("{\"a\":{\"b\":{}},\"z\":{\"y\":2}}", after, 1, "/data");
}

static void test_long_paths_are_folded_too(void **state) {
    (void)state;
    _cleanup_(buf_done) struct buf name = BUF_NULL, data = BUF_NULL, patch = BUF_NULL;
    for (size_t i = 0; i < POINTER_MAX_BYTES / 2; i++)
        buf_putc(&name, 'x');
    /* 20 changes below 32 KiB of path would be 640 KiB. */
    buf_printf(&data, "{\"%s\":{}}", name.data);
    buf_printf(&patch, "{\"data\":{\"%s\":{", name.data);
    _cleanup_(freep) char *many = wide_patch(20, patch.data, "}}}");
    _cleanup_(buf_done) struct buf path = BUF_NULL;
    buf_printf(&path, "/data/%s", name.data);
    assert_folds(data.data, many, 1, path.data);
    _cleanup_(freep) char *few = wide_patch(2, patch.data, "}}}");
    buf_puts(&path, "/1");
    assert_folds(data.data, few, 2, path.data);
}

static void test_a_path_over_a_pointers_length_is_folded(void **state) {
    (void)state;
    _cleanup_(buf_done) struct buf name = BUF_NULL, data = BUF_NULL, patch = BUF_NULL;
    for (size_t i = 0; i < POINTER_MAX_BYTES; i++)
        buf_putc(&name, 'x');
    buf_printf(&data, "{\"a\":{\"%s\":{\"b\":{}}}}", name.data);
    buf_printf(&patch, "{\"data\":{\"a\":{\"%s\":{\"b\":{\"c\":1}}}}}", name.data);
    assert_folds(data.data, patch.data, 1, "/data/a");
    buf_clear(&patch);
    buf_printf(&patch, "{\"data\":{\"a\":{\"%s\":null}}}", name.data);
    assert_folds(data.data, patch.data, 1, "/data/a");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rfcs_examples_come_out),
        cmocka_unit_test(test_nulls_inside_arrays_stay),
        cmocka_unit_test(test_changes_become_operations_in_place),
        cmocka_unit_test(test_what_is_equal_yields_nothing),
        cmocka_unit_test(test_shapes_are_checked),
        cmocka_unit_test(test_a_thousand_operations_are_left_alone),
        cmocka_unit_test(test_folding_takes_the_nearest_common_ancestor),
        cmocka_unit_test(test_long_paths_are_folded_too),
        cmocka_unit_test(test_a_path_over_a_pointers_length_is_folded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
