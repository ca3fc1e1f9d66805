/* common/lookup: names that are answered, late, or not at all; who frees what when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

#include "common/lookup.h"
#include "tests/slow_names.h"

#define GUARD_S 60 /* no test takes longer, however busy the machine is */

static struct lookup *begin(struct lookups *all, const char *host) {
    struct lookup *lookup = NULL;
    assert_int_equal(lookup_begin(&lookup, all, host), 0);
    return lookup;
}

static void await_one(struct lookups *all) {
    struct pollfd fd = {.fd = lookups_fd(all), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, -1), 1);
    lookups_clear(all);
    assert_int_equal(poll(&fd, 1, 0), 0);
}

static struct lookup_answer answer_of(struct lookups *all, struct lookup *lookup) {
    struct lookup_answer answer;
    int err;
    while ((err = lookup_take(&lookup, &answer)) == -EAGAIN)
        await_one(all);
    assert_int_equal(err, 0);
    assert_null(lookup);
    return answer;
}

static struct lookup_answer look_up(struct lookups *all, const char *host) {
    return answer_of(all, begin(all, host));
}

static void test_a_numeric_address_needs_no_thread(void **state) {
    (void)state;
    static const char *const addresses[] = {"127.0.0.1", "::1", "fe80::1%lo"};
    struct lookups *all = lookups_new(0);
    for (size_t i = 0; i < N_ELEMENTS(addresses); i++) {
        struct lookup_answer answer = look_up(all, addresses[i]);
        assert_int_equal(answer.n, 1);
        assert_string_equal(answer.addresses[0], addresses[i]);
    }
    lookups_free(all);
}

static void test_a_name_has_its_addresses_in_order(void **state) {
    (void)state;
    struct lookups *all = lookups_new(1);
    struct lookup_answer answer = look_up(all, "two.test");
    assert_int_equal(answer.n, 2);
    assert_string_equal(answer.addresses[0], "127.0.0.2");
    assert_string_equal(answer.addresses[1], "127.0.0.1");
    answer = look_up(all, "many.test");
    assert_int_equal(answer.n, LOOKUP_MAX_ADDRESSES);
    assert_string_equal(answer.addresses[LOOKUP_MAX_ADDRESSES - 1], "127.0.0.13");
    lookups_free(all);
}

static void test_a_name_that_nobody_knows_says_so(void **state) {
    (void)state;
    struct lookups *all = lookups_new(1);
    struct lookup_answer answer = look_up(all, "none.test");
    assert_int_equal(answer.n, 0);
    assert_string_equal(answer.why, "Name or service not known");
    lookups_free(all);
}

static void test_a_slow_name_is_answered_late(void **state) {
    (void)state;
    struct lookups *all = lookups_new(1);
    struct lookup *lookup = begin(all, "slow.test");
    struct lookup_answer answer;
    assert_int_equal(lookup_take(&lookup, &answer), -EAGAIN);
    assert_non_null(lookup);
    slow_give_answers(1);
    answer = answer_of(all, lookup);
    assert_string_equal(answer.addresses[0], "127.0.0.1");
    assert_false(slow_takes_signals);
    lookups_free(all);
}

/* Abandoned ones count until their threads have ended. */
static void test_threads_are_bounded(void **state) {
    (void)state;
    slow_await_threads();
    struct lookups *all = lookups_new(2);
    struct lookup *first = begin(all, "slow.test"), *second = begin(all, "slow.test");
    struct lookup *third = NULL;
    assert_int_equal(lookup_begin(&third, all, "slow.test"), -EAGAIN);
    first = lookup_abandon(first);
    assert_null(first);
    assert_int_equal(lookup_begin(&third, all, "slow.test"), -EAGAIN);
    assert_null(third);
    assert_int_equal(slow_n_threads(), 2);
    slow_give_answers(2);
    answer_of(all, second);
    slow_await_threads();
    assert_int_equal(look_up(all, "two.test").n, 2);
    lookups_free(all);
}

static void test_what_is_abandoned_is_freed_by_whoever_is_last(void **state) {
    (void)state;
    struct lookups *all = lookups_new(3);
    lookup_abandon(begin(all, "slow.test"));
    lookup_abandon(begin(all, "slow.test"));
    struct lookup *done = begin(all, "two.test");
    await_one(all);
    lookup_abandon(done);
    lookup_abandon(NULL);
    lookups_free(all);
    lookups_free(NULL);
    slow_give_answers(2);
    slow_await_threads();
}

/* At every moment of the thread's. */
static void test_letting_go_races_with_the_answer(void **state) {
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct lookups *all = lookups_new(2);
        struct lookup *lookup = begin(all, "two.test"), *other = begin(all, "two.test");
        struct lookup_answer answer;
        for (int k = 0; k < i % 50; k++)
            sched_yield();
        if (i % 2 || lookup_take(&lookup, &answer) == -EAGAIN)
            lookup_abandon(lookup);
        lookup_abandon(other);
        lookups_free(all);
    }
    slow_await_threads();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_numeric_address_needs_no_thread),
        cmocka_unit_test(test_a_name_has_its_addresses_in_order),
        cmocka_unit_test(test_a_name_that_nobody_knows_says_so),
        cmocka_unit_test(test_a_slow_name_is_answered_late),
        cmocka_unit_test(test_threads_are_bounded),
        cmocka_unit_test(test_what_is_abandoned_is_freed_by_whoever_is_last),
        cmocka_unit_test(test_letting_go_races_with_the_answer),
    };
    alarm(GUARD_S);
    slow_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
