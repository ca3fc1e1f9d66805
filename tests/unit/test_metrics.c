/* common/metrics: Prometheus' text format 0.0.4, to the letter. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/metrics.h"

static char *print(struct metrics *m) {
    struct buf out = BUF_NULL;
    metrics_print(m, &out);
    return buf_take(&out);
}

static void check(struct metrics *m, const char *expected) {
    _cleanup_(freep) char *text = print(m);
    assert_string_equal(text, expected);
    metrics_free(m);
}

static void test_a_family_has_help_and_type_once(void **state) {
    (void)state;
    struct metrics *m = metrics_new();
    metric_add(metrics_counter(m, "handoff_a_total", "code=\"ok\"", "A."), 2);
    metric_set(metrics_gauge(m, "handoff_b", NULL, "B."), -0.5);
    metric_add(metrics_counter(m, "handoff_a_total", "code=\"bad\"", "A."), 1);
    check(m, "# HELP handoff_a_total A.\n"
             "# TYPE handoff_a_total counter\n"
             "handoff_a_total{code=\"ok\"} 2\n"
             "handoff_a_total{code=\"bad\"} 1\n"
             "# HELP handoff_b B.\n"
             "# TYPE handoff_b gauge\n"
             "handoff_b -0.5\n");
}

static void test_the_same_name_and_labels_are_the_same_metric(void **state) {
    (void)state;
    struct metrics *m = metrics_new();
    char labels[] = "code=\"ok\"";
    struct metric *one = metrics_counter(m, "handoff_a_total", labels, "A.");
    labels[6] = 'x'; /* labels were copied */
    assert_ptr_equal(one, metrics_counter(m, "handoff_a_total", "code=\"ok\"", "A."));
    assert_ptr_not_equal(one, metrics_counter(m, "handoff_a_total", NULL, "A."));
    metrics_free(m);
}

static void test_large_and_odd_numbers_print_exactly(void **state) {
    (void)state;
    struct metrics *m = metrics_new();
    metric_set(metrics_gauge(m, "handoff_a", NULL, "A."), 9007199254740991);
    metric_set(metrics_gauge(m, "handoff_b", NULL, "B."), 0.1);
    metric_set(metrics_gauge(m, "handoff_c", NULL, "C."), INFINITY);
    _cleanup_(freep) char *text = print(m);
    assert_non_null(strstr(text, "\nhandoff_a 9007199254740991\n"));
    assert_non_null(strstr(text, "\nhandoff_b 0.1\n"));
    assert_non_null(strstr(text, "\nhandoff_c +Inf\n"));
    metrics_free(m);
}

static void test_histogram_buckets_are_cumulative_and_closed(void **state) {
    (void)state;
    struct metrics *m = metrics_new();
    struct metric *h = metrics_histogram(m, "handoff_s", "kind=\"patch\"", "S.");
    metric_observe(h, 0.0001); /* on a bound: belongs to its bucket */
    metric_observe(h, 0.00011);
    metric_observe(h, 10);
    metric_observe(h, 10.5);
    _cleanup_(freep) char *text = print(m);
    const char *const lines[] = {
        "# TYPE handoff_s histogram\n",
        "handoff_s_bucket{kind=\"patch\",le=\"0.0001\"} 1\n",
        "handoff_s_bucket{kind=\"patch\",le=\"0.00025\"} 2\n",
        "handoff_s_bucket{kind=\"patch\",le=\"5\"} 2\n",
        "handoff_s_bucket{kind=\"patch\",le=\"10\"} 3\n",
        "handoff_s_bucket{kind=\"patch\",le=\"+Inf\"} 4\n",
        "handoff_s_sum{kind=\"patch\"} 20.50021\n",
        "handoff_s_count{kind=\"patch\"} 4\n",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (!strstr(text, lines[i]))
            fail_msg("%sis not in\n%s", lines[i], text);
    metrics_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_family_has_help_and_type_once),
        cmocka_unit_test(test_the_same_name_and_labels_are_the_same_metric),
        cmocka_unit_test(test_large_and_odd_numbers_print_exactly),
        cmocka_unit_test(test_histogram_buckets_are_cumulative_and_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
