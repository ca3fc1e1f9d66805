/* Refusals as problem+json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/problem.h"

static void expect_problem(const struct fault *f, const char *conflict, const char *expected) {
    struct buf out = BUF_NULL;
    problem_print(f, "r-1", conflict, &out);
    assert_string_equal(out.data, expected);
    buf_done(&out);
}

static void test_problem_has_the_members_that_apply(void **state) {
    (void)state;
    struct fault f;
    (void)fault_set(&f, FAULT_INVALID_VALUE, "name", "too \"long\"");
    expect_problem(
        &f, NULL,
        "{\"type\":\"urn:handoff:problem:invalid_value\",\"title\":\"A value is out of range\","
        "\"status\":422,\"detail\":\"too \\\"long\\\"\",\"code\":\"invalid_value\","
        "\"requestId\":\"r-1\",\"temporary\":false,\"field\":\"name\"}");
    (void)fault_set(&f, FAULT_PATCH_FAILED, NULL, "no");
    f.index = 3;
    strcpy(f.pointer, "/data/x");
    expect_problem(
        &f, NULL,
        "{\"type\":\"urn:handoff:problem:patch_failed\",\"title\":\"The patch could not be "
        "applied\",\"status\":422,\"detail\":\"no\",\"code\":\"patch_failed\",\"requestId\":\"r-"
        "1\","
        "\"temporary\":false,\"pointer\":\"/data/x\",\"index\":3}");
    (void)fault_set(&f, FAULT_RATE_LIMITED, NULL, "slower");
    f.retry_after_ms = 1500;
    expect_problem(&f, NULL,
                   "{\"type\":\"urn:handoff:problem:rate_limited\",\"title\":\"Too many messages\","
                   "\"status\":429,\"detail\":\"slower\",\"code\":\"rate_limited\","
                   "\"requestId\":\"r-1\",\"temporary\":true,\"retryAfterMs\":1500}");
}

static void test_problem_takes_in_a_conflict(void **state) {
    (void)state;
    struct fault f;
    (void)fault_set(&f, FAULT_PRECONDITION_FAILED, NULL, "moved");
    expect_problem(
        &f, "{\"currentVersion\":3,\"epoch\":1,\"deltas\":[{}]}",
        "{\"type\":\"urn:handoff:problem:version_conflict\",\"title\":\"The session has moved "
        "on\",\"status\":412,\"detail\":\"moved\",\"code\":\"version_conflict\",\"requestId\":"
        "\"r-1\",\"temporary\":false,\"currentVersion\":3,\"epoch\":1,\"deltas\":[{}]}");
}

static void test_problem_of_a_token_says_no_more_than_its_code(void **state) {
    (void)state;
    struct fault f;
    struct buf out = BUF_NULL;
    (void)fault_set(&f, FAULT_UNAUTHENTICATED, NULL, "the signature is of another secret");
    problem_print(&f, "r-1", NULL, &out);
    assert_null(strstr(out.data, "signature"));
    assert_non_null(strstr(out.data, "\"code\":\"unauthenticated\""));
    buf_done(&out);
}

static void test_a_detail_that_was_cut_is_utf_8_all_the_same(void **state) {
    (void)state;
    struct fault f;
    (void)fault_set(&f, FAULT_INVALID_VALUE, NULL, "x");
    strcpy(f.detail, "caf\xc3");
    expect_problem(&f, NULL,
                   "{\"type\":\"urn:handoff:problem:invalid_value\",\"title\":\"A value is out of "
                   "range\",\"status\":422,\"detail\":\"caf\",\"code\":\"invalid_value\","
                   "\"requestId\":\"r-1\",\"temporary\":false}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_problem_has_the_members_that_apply),
        cmocka_unit_test(test_problem_takes_in_a_conflict),
        cmocka_unit_test(test_problem_of_a_token_says_no_more_than_its_code),
        cmocka_unit_test(test_a_detail_that_was_cut_is_utf_8_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
