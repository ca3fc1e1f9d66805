/* Token buckets: arithmetic in whole milliseconds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bucket.h"

static void test_burst_is_there_at_once_and_no_more(void **state) {
    struct bucket b;
    (void)state;
    bucket_init(&b, 10, 3, 1000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(bucket_take(&b, 1, 1000), 0);
    assert_int_equal(bucket_take(&b, 1, 1000), 100);
    assert_int_equal(bucket_take(&b, 1, 1000), 100);
}

static void test_what_was_told_is_enough_and_a_millisecond_less_is_not(void **state) {
    static const int64_t rates[] = {1, 3, 7, 50, 999, 1000, 1001, 1 << 20};
    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
        struct bucket b;
        int64_t rate = rates[i], now = 5;
        bucket_init(&b, rate, 2 * rate, now);
        assert_int_equal(bucket_take(&b, 2 * rate, now), 0);
        for (int64_t n = 1; n <= 2 * rate; n = 3 * n + 1) {
            int64_t wait = bucket_take(&b, n, now);
            assert_in_range(wait, 0, 2000);
            if (wait == 0) /* of what was too much by a part of a millisecond */
                continue;
            if (wait > 1)
                assert_int_equal(bucket_take(&b, n, now + wait - 1), 1);
            now += wait;
            assert_int_equal(bucket_take(&b, n, now), 0);
        }
    }
}

static void test_a_long_run_gives_what_the_rate_says(void **state) {
    struct bucket b;
    int64_t n_taken = 0;
    (void)state;
    bucket_init(&b, 30, 60, 0);
    for (int64_t now = 0; now <= 100000; now++)
        n_taken += bucket_take(&b, 1, now) == 0;
    assert_int_equal(n_taken, 60 + 30 * 100);
}

static void test_a_pause_fills_to_the_burst_only(void **state) {
    struct bucket b;
    (void)state;
    bucket_init(&b, 5, 2, 0);
    assert_int_equal(bucket_take(&b, 2, 0), 0);
    assert_int_equal(bucket_take(&b, 2, INT64_MAX / 2), 0);
    assert_int_equal(bucket_take(&b, 1, INT64_MAX / 2), 200);
}

static void test_more_than_the_burst_is_paid_later(void **state) {
    struct bucket b;
    (void)state;
    bucket_init(&b, 100, 100, 0);
    assert_int_equal(bucket_take(&b, 300, 0), 0);
    assert_int_equal(bucket_take(&b, 1, 0), 2010);
    assert_int_equal(bucket_take(&b, 300, 2500), 500);
    assert_int_equal(bucket_take(&b, 300, 3000), 0);
}

static void test_no_rate_is_no_limit(void **state) {
    struct bucket b;
    (void)state;
    bucket_init(&b, 0, 0, 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(bucket_take(&b, 1 << 20, 0), 0);
}

static void test_a_clock_that_goes_back_brings_nothing(void **state) {
    struct bucket b;
    (void)state;
    bucket_init(&b, 10, 1, 1000);
    assert_int_equal(bucket_take(&b, 1, 1000), 0);
    assert_int_equal(bucket_take(&b, 1, 0), 100);
    assert_int_equal(bucket_take(&b, 1, 1000), 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_is_there_at_once_and_no_more),
        cmocka_unit_test(test_what_was_told_is_enough_and_a_millisecond_less_is_not),
        cmocka_unit_test(test_a_long_run_gives_what_the_rate_says),
        cmocka_unit_test(test_a_pause_fills_to_the_burst_only),
        cmocka_unit_test(test_more_than_the_burst_is_paid_later),
        cmocka_unit_test(test_no_rate_is_no_limit),
        cmocka_unit_test(test_a_clock_that_goes_back_brings_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
