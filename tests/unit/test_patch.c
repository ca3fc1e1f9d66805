#include "tests/unit/patch_fixture.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
