/* common/pace.c: what waits leaves at once while nothing is on its way, and never later than the
 * bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/pace.h"

#define START_NS 1000000000000u

static void send_all(struct pace *p, uint64_t *ret_first) {
    *ret_first = pace_sent(p);
    for (size_t i = 1; i < PACE_MAX_ON_WAY; i++)
        (void)pace_sent(p);
}

static void test_nothing_waits_while_a_place_is_free(void **state) {
    struct pace p = {0};
    (void)state;
    for (size_t i = 0; i < PACE_MAX_ON_WAY; i++) {
        pace_wait(&p, START_NS);
        assert_false(pace_holds(&p, START_NS));
        assert_int_equal(pace_sent(&p), i + 1);
    }
    pace_wait(&p, START_NS);
    assert_true(pace_holds(&p, START_NS));
}

static void test_a_reply_lets_go(void **state) {
    struct pace p = {0};
    uint64_t first;
    (void)state;
    send_all(&p, &first);
    pace_wait(&p, START_NS);
    pace_answered(&p, first + PACE_MAX_ON_WAY); /* of no message */
    assert_true(pace_holds(&p, START_NS));
    pace_answered(&p, first);
    assert_false(pace_holds(&p, START_NS));
    pace_answered(&p, first); /* the next reply of the same */
    (void)pace_sent(&p);
    pace_wait(&p, START_NS);
    assert_true(pace_holds(&p, START_NS));
}

static void test_the_first_that_waits_counts(void **state) {
    struct pace p = {0};
    uint64_t first;
    (void)state;
    send_all(&p, &first);
    pace_wait(&p, START_NS);
    pace_wait(&p, START_NS + PACE_HOLD_NS - 1);
    assert_true(pace_holds(&p, START_NS + PACE_HOLD_NS - 1));
    assert_false(pace_holds(&p, START_NS + PACE_HOLD_NS));
}

/* Messages whose answer takes long: each of those after them waits no longer than the bound. */
static void test_slow_ones_do_not_add_up(void **state) {
    struct pace p = {0};
    uint64_t first, now = START_NS;
    (void)state;
    send_all(&p, &first);
    for (size_t i = 0; i < 10; i++) {
        pace_wait(&p, now);
        assert_true(pace_holds(&p, now));
        now += PACE_HOLD_NS;
        assert_false(pace_holds(&p, now));
        (void)pace_sent(&p);
    }
    pace_wait(&p, now);
    pace_answered(&p, first); /* forgotten by now */
    assert_true(pace_holds(&p, now));
    pace_answered(&p, first + PACE_MAX_ON_WAY + 9);
    assert_false(pace_holds(&p, now));
}

static void test_what_was_given_up_waits_no_more(void **state) {
    struct pace p = {0};
    uint64_t first;
    (void)state;
    send_all(&p, &first);
    pace_wait(&p, START_NS);
    pace_dropped(&p);
    pace_wait(&p, START_NS + PACE_HOLD_NS);
    assert_true(pace_holds(&p, START_NS + PACE_HOLD_NS));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_waits_while_a_place_is_free),
        cmocka_unit_test(test_a_reply_lets_go),
        cmocka_unit_test(test_the_first_that_waits_counts),
        cmocka_unit_test(test_slow_ones_do_not_add_up),
        cmocka_unit_test(test_what_was_given_up_waits_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
