/* A name that was moved or copied, there or away, is told with its value, so that who has the
 * operations and not the whole session knows it; applied anew they lead to the same session. */
#include "tests/unit/patch_fixture.h"

/* The operations that `operations` are told as; applied, both lead to the same. */
static char *told(const char *data, const char *operations) {
    _cleanup_(patch_result_done) struct patch_result result = {0}, again = {0};
    struct fault f = {0};
    assert_int_equal(apply(data, operations, &result, &f), 0);
    struct buf out = BUF_NULL;
    text_print(result.operations, &out);
    assert_int_equal(apply(data, out.data, &again, &f), 0);
    assert_true(text_equal(result.document, again.document));
    return buf_take(&out);
}

static void test_a_copied_or_moved_name_is_told_with_its_value(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"{\"a\":\"x\"}", "[{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/name\"}]",
         "[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"x\"}]"},
        {"{\"a\":\"x\"}", "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/name\"}]",
         "[{\"op\":\"remove\",\"path\":\"/data/a\"},"
         "{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"x\"}]"},
        {"{\"a\":\"x\"}",
         "[{\"op\":\"remove\",\"path\":\"/name\"},"
         "{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/name\"}]",
         "[{\"op\":\"remove\",\"path\":\"/name\"},"
         "{\"op\":\"add\",\"path\":\"/name\",\"value\":\"x\"}]"},
        {"1", "[{\"op\":\"move\",\"from\":\"/name\",\"path\":\"/name\"}]",
         "[{\"op\":\"remove\",\"path\":\"/name\"},"
         "{\"op\":\"add\",\"path\":\"/name\",\"value\":\"n\"}]"},
        {"1", "[{\"op\":\"copy\",\"from\":\"/name\",\"path\":\"/name\"}]",
         "[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"n\"}]"},
        {"[\"x\",\"y\"]",
         "[{\"op\":\"move\",\"from\":\"/data/0\",\"path\":\"/name\"},"
         "{\"op\":\"move\",\"from\":\"/data/0\",\"path\":\"/name\"}]",
         "[{\"op\":\"remove\",\"path\":\"/data/0\"},"
         "{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"x\"},"
         "{\"op\":\"remove\",\"path\":\"/data/0\"},"
         "{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"y\"}]"},
        {"{}", "[{\"op\":\"copy\",\"from\":\"/name\",\"path\":\"/data/b\"}]",
         "[{\"op\":\"add\",\"path\":\"/data/b\",\"value\":\"n\"}]"},
        {"{}",
         "[{\"op\":\"move\",\"from\":\"/name\",\"path\":\"/data/b\"},"
         "{\"op\":\"add\",\"path\":\"/name\",\"value\":\"other\"}]",
         "[{\"op\":\"remove\",\"path\":\"/name\"},"
         "{\"op\":\"add\",\"path\":\"/data/b\",\"value\":\"n\"},"
         "{\"op\":\"add\",\"path\":\"/name\",\"value\":\"other\"}]"},
        {"{}", "[{\"op\":\"copy\",\"from\":\"/name\",\"path\":\"/data\"}]",
         "[{\"op\":\"add\",\"path\":\"/data\",\"value\":\"n\"}]"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        _cleanup_(freep) char *operations = told(cases[i][0], cases[i][1]);
        assert_string_equal(operations, cases[i][2]);
    }
}

static void test_other_operations_are_told_as_they_came(void **state) {
    (void)state;
    static const char *const cases[] = {
        "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/data/name\"}]",
        "[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"other\"}]",
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        _cleanup_(freep) char *operations = told("{\"a\":\"x\"}", cases[i]);
        assert_string_equal(operations, cases[i]);
    }
}

/* What is no name may be as large as the data, and is written over before the end anyway. */
static void test_what_is_no_name_on_the_way_is_not_told(void **state) {
    (void)state;
    static const char operations[] = "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/name\"},"
                                     "{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"last\"}]";
    _cleanup_(freep) char *same = told("{\"a\":{\"b\":[1,2,3]}}", operations);
    assert_string_equal(same, operations);
    _cleanup_(freep) char *empty = told("{\"a\":\"\"}", operations);
    assert_string_equal(empty, operations);
    static const char away[] = "[{\"op\":\"move\",\"from\":\"/data/a\",\"path\":\"/name\"},"
                               "{\"op\":\"copy\",\"from\":\"/name\",\"path\":\"/data/c\"},"
                               "{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"last\"}]";
    _cleanup_(freep) char *passed = told("{\"a\":{\"b\":[1,2,3]}}", away);
    assert_string_equal(passed, away);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copied_or_moved_name_is_told_with_its_value),
        cmocka_unit_test(test_other_operations_are_told_as_they_came),
        cmocka_unit_test(test_what_is_no_name_on_the_way_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
