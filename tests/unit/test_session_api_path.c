/* Paths to resources, cursors, origins, problem bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "services/session_api/call.h"
#include "services/session_api/cursor.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"

static void expect_resource(const char *path, enum resource expected) {
    char id[UUID_LEN + 1] = "";
    if (path_parse(path, id) != expected)
        fail_msg("%s is %s", path, path_pattern(path_parse(path, id)));
    bool has_id = strchr(path_pattern(expected), '{');
    assert_string_equal(id, has_id ? ID : "");
}

static void test_path_names_its_resource(void **state) {
    (void)state;
    expect_resource("/sessions", RESOURCE_SESSIONS);
    expect_resource("/sessions/" ID, RESOURCE_SESSION);
    expect_resource("/sessions/" ID "/heartbeat", RESOURCE_HEARTBEAT);
    expect_resource("/sessions/" ID "/deltas", RESOURCE_DELTAS);
    expect_resource("/sessions/" ID "/broadcast", RESOURCE_BROADCAST);
    expect_resource("/time", RESOURCE_TIME);
    expect_resource("/health", RESOURCE_HEALTH);
    expect_resource("/ready", RESOURCE_READY);
}

static void test_path_that_names_nothing_is_none(void **state) {
    (void)state;
    static const char *const paths[] = {"",
                                        "/",
                                        "/sessions/",
                                        "/Sessions",
                                        "sessions",
                                        "//sessions",
                                        "/sessions/x",
                                        "/sessions/{id}",
                                        "/sessions/{id}/deltas",
                                        "/sessions/0197A3B4-1C2D-7E3F-8A4B-5C6D7E8F9A0B",
                                        "/sessions/" ID "/",
                                        "/sessions/" ID "x",
                                        "/sessions/" ID "/deltas/",
                                        "/sessions/" ID "//deltas",
                                        "/sessions/" ID "/history",
                                        "/sessions/" ID "/devices",
                                        "/sessions/" ID "/participants",
                                        "/sessions/" ID "/snapshots",
                                        "/sessions/" ID "/restore",
                                        "/sessions/" ID "/switch",
                                        "/sessions/" ID "/clock",
                                        "/sessions/" ID "/events",
                                        "/time/",
                                        "/metrics",
                                        "/none",
                                        "none",
                                        ("/sessions%2f" ID)};
    for (size_t i = 0; i < N_ELEMENTS(paths); i++)
        expect_resource(paths[i], RESOURCE_NONE);
}

static void test_methods_are_those_of_the_allow_header(void **state) {
    (void)state;
    static const char *const names[] = {"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT"};
    for (enum resource r = RESOURCE_SESSIONS; r < RESOURCE_N; r++)
        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
            bool is_allowed = path_methods(r) & path_method(names[i]);
            assert_int_equal(is_allowed, strstr(path_allow(r), names[i]) != NULL);
        }
    assert_int_equal(path_method("get"), METHOD_OTHER);
    assert_string_equal(path_method_name(path_method("BREW")), "other");
}

/* ---- cursors ---- */

static void test_cursor_comes_back_as_it_was(void **state) {
    (void)state;
    const struct cursor c = {.created_at = 1770897600123, .id = ID};
    struct cursor back = {0};
    char text[CURSOR_CAP];
    cursor_print(&c, text);
    assert_int_equal(
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
        strlen(text));
    assert_true(cursor_parse(text, &back));
    assert_int_equal(back.created_at, c.created_at);
    assert_string_equal(back.id, ID);
}

static void test_cursor_that_was_changed_is_refused(void **state) {
    (void)state;
    const struct cursor c = {.created_at = 1770897600123, .id = ID};
    struct cursor back;
    char text[CURSOR_CAP + 1];
    assert_false(cursor_parse("", &back));
    assert_false(cursor_parse("x", &back));
    cursor_print(&c, text);
    size_t len = strlen(text);
    text[len - 1] = '\0';
    assert_false(cursor_parse(text, &back));
    cursor_print(&c, text);
    strcat(text, "A");
    assert_false(cursor_parse(text, &back));
    for (size_t i = 0; i < len; i++) {
        cursor_print(&c, text);
        text[i] = '+';
        assert_false(cursor_parse(text, &back));
    }
    cursor_print(&c, text);
    text[len - 1] = text[len - 1] == '_' ? '-' : '_'; /* bits that say nothing */
    assert_false(cursor_parse(text, &back));
}

/* ---- origins ---- */

static void test_origin_is_allowed_whole_or_not(void **state) {
    (void)state;
    static const char allowed[] = "https://a.example, http://b.example:8080";
    assert_string_equal(cors_allow(allowed, "https://a.example"), "https://a.example");
    assert_string_equal(cors_allow(allowed, "http://b.example:8080"), "http://b.example:8080");
    assert_string_equal(cors_allow("*", "http://x.example"), "*");
    assert_null(cors_allow(allowed, "https://a.example.evil"));
    assert_null(cors_allow(allowed, "https://a.exampl"));
    assert_null(cors_allow(allowed, "http://b.example"));
    assert_null(cors_allow(allowed, "null"));
    assert_null(cors_allow(allowed, ""));
    assert_null(cors_allow(allowed, NULL));
    assert_null(cors_allow("", "https://a.example"));
    assert_null(cors_allow("*", NULL));
}

/* ---- problems ---- */

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_names_its_resource),
        cmocka_unit_test(test_path_that_names_nothing_is_none),
        cmocka_unit_test(test_methods_are_those_of_the_allow_header),
        cmocka_unit_test(test_cursor_comes_back_as_it_was),
        cmocka_unit_test(test_cursor_that_was_changed_is_refused),
        cmocka_unit_test(test_origin_is_allowed_whole_or_not),
        cmocka_unit_test(test_problem_has_the_members_that_apply),
        cmocka_unit_test(test_problem_takes_in_a_conflict),
        cmocka_unit_test(test_problem_of_a_token_says_no_more_than_its_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
