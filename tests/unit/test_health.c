/* common/health and common/backoff: when a service is ready, and how it comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/backoff.h"
#include "common/health.h"

static void check(const struct health *h, int status, const char *expected) {
    struct buf out = BUF_NULL;
    health_print(h, &out);
    assert_string_equal(out.data, expected);
    assert_int_equal(health_ready_status(h), status);
    buf_done(&out);
}

static void test_without_dependencies_it_is_ready(void **state) {
    (void)state;
    struct health *h = health_new();
    check(h, 200, "{\"status\":\"ready\",\"dependencies\":{}}");
    health_free(h);
}

static void test_ready_only_when_each_was_reached_once(void **state) {
    (void)state;
    struct health *h = health_new();
    struct health_dependency *redis = health_add(h, "redis");
    struct health_dependency *broker = health_add(h, "rabbitmq");
    assert_false(health_is_up(redis));
    health_set(redis, true, "");
    check(h, 503,
          "{\"status\":\"starting\",\"dependencies\":{\"redis\":{\"up\":true},"
          "\"rabbitmq\":{\"up\":false,\"detail\":\"not reached yet\"}}}");
    health_set(broker, true, "");
    check(h, 200,
          "{\"status\":\"ready\",\"dependencies\":{\"redis\":{\"up\":true},"
          "\"rabbitmq\":{\"up\":true}}}");
    health_free(h);
}

static void count(void *arg) {
    int *n = arg;
    ++*n;
}

static void test_who_waits_is_told_once_when_each_was_reached(void **state) {
    (void)state;
    int n = 0;
    struct health *h = health_new();
    struct health_dependency *redis = health_add(h, "redis"), *broker = health_add(h, "rabbitmq");
    (void)health_add_optional(h, "identity_provider");
    health_when_reached(h, count, &n);
    health_set(redis, true, "");
    health_set(redis, false, "gone");
    assert_int_equal(n, 0);
    health_set(broker, true, "");
    assert_int_equal(n, 1);
    health_set(redis, true, "");
    assert_int_equal(n, 1);
    health_when_reached(h, count, &n);
    assert_int_equal(n, 2);
    health_free(h);
}

static void test_lost_later_is_degraded_and_still_ready(void **state) {
    (void)state;
    struct health *h = health_new();
    struct health_dependency *redis = health_add(h, "redis");
    health_set(redis, true, "");
    health_set(redis, false, "gone: \"x\" \xff\n");
    check(h, 200,
          "{\"status\":\"degraded\",\"dependencies\":{\"redis\":{\"up\":false,"
          "\"detail\":\"gone: \\\"x\\\" \xef\xbf\xbd\\n\"}}}");
    health_drain(h);
    assert_int_equal(health_ready_status(h), 503);
    health_free(h);
}

static void test_one_that_need_not_be_there_is_degraded_never_starting(void **state) {
    (void)state;
    struct health *h = health_new();
    health_set(health_add(h, "postgresql"), true, "");
    struct health_dependency *redis = health_add_optional(h, "redis");
    check(h, 200,
          "{\"status\":\"degraded\",\"dependencies\":{\"postgresql\":{\"up\":true},"
          "\"redis\":{\"up\":false,\"detail\":\"not reached yet\"}}}");
    health_set(redis, true, "");
    check(h, 200,
          "{\"status\":\"ready\",\"dependencies\":{\"postgresql\":{\"up\":true},"
          "\"redis\":{\"up\":true}}}");
    health_free(h);
}

static void test_set_tells_changes_once(void **state) {
    (void)state;
    struct health *h = health_new();
    struct health_dependency *redis = health_add(h, "redis");
    assert_true(health_set(redis, false, "refused"));
    assert_false(health_set(redis, false, "refused again"));
    assert_true(health_set(redis, true, ""));
    assert_false(health_set(redis, true, ""));
    health_drain(h);
    check(h, 503, "{\"status\":\"draining\",\"dependencies\":{\"redis\":{\"up\":true}}}");
    health_free(h);
}

static bool prints(const struct metrics *m, const char *line) {
    struct buf text = BUF_NULL;
    metrics_print(m, &text);
    bool is_there = strstr(text.data, line);
    buf_done(&text);
    return is_there;
}

static void test_metrics_say_what_is_up(void **state) {
    (void)state;
    struct health *h = health_new();
    struct metrics *m = metrics_new();
    struct health_dependency *redis = health_add(h, "redis");
    health_measure(h, m);
    assert_true(prints(m, "\nhandoff_dependency_up{dependency=\"redis\"} 0\n"));
    assert_true(prints(m, "\nhandoff_draining 0\n"));
    health_set(redis, true, "");
    health_drain(h);
    health_measure(h, m);
    assert_true(prints(m, "\nhandoff_dependency_up{dependency=\"redis\"} 1\n"));
    assert_true(prints(m, "\nhandoff_draining 1\n"));
    metrics_free(m);
    health_free(h);
}

static void test_backoff_doubles_within_its_bounds(void **state) {
    (void)state;
    static const uint64_t wholes[] = {100, 200, 400, 800, 1600, 2000, 2000, 2000};
    for (int round = 0; round < 200; round++) {
        struct backoff b = {0};
        for (size_t i = 0; i < sizeof(wholes) / sizeof(wholes[0]); i++) {
            uint64_t ms = backoff_next_ms(&b);
            assert_in_range(ms, wholes[i] / 2, wholes[i]);
        }
        backoff_reset(&b);
        assert_in_range(backoff_next_ms(&b), 50, 100);
    }
}

static void test_backoff_stays_bounded_for_ever(void **state) {
    (void)state;
    struct backoff b = {.n_failures = UINT32_MAX};
    assert_in_range(backoff_next_ms(&b), 1000, 2000);
    assert_in_range(backoff_next_ms(&b), 1000, 2000);
}

static void test_backoff_is_jittered(void **state) {
    (void)state;
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 200; i++) {
        struct backoff b = {.n_failures = 10};
        uint64_t ms = backoff_next_ms(&b);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_true(most - least > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_dependencies_it_is_ready),
        cmocka_unit_test(test_ready_only_when_each_was_reached_once),
        cmocka_unit_test(test_who_waits_is_told_once_when_each_was_reached),
        cmocka_unit_test(test_lost_later_is_degraded_and_still_ready),
        cmocka_unit_test(test_one_that_need_not_be_there_is_degraded_never_starting),
        cmocka_unit_test(test_set_tells_changes_once),
        cmocka_unit_test(test_metrics_say_what_is_up),
        cmocka_unit_test(test_backoff_doubles_within_its_bounds),
        cmocka_unit_test(test_backoff_stays_bounded_for_ever),
        cmocka_unit_test(test_backoff_is_jittered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
