/* Runs of confirmed versions, whose published mark is to move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/state_engine/marks.h"

#define ONE "0197a1b2-c3d4-7e5f-8a6b-000000000001"
#define OTHER "0197a1b2-c3d4-7e5f-8a6b-000000000002"

static void add(struct marks *m, const char *session_id, uint64_t version, uint64_t epoch) {
    marks_add(m, session_id, (struct position){version, epoch});
}

static void assert_run(const struct store_mark *run, const char *session_id, uint64_t first,
                       uint64_t last) {
    assert_string_equal(run->session_id, session_id);
    assert_int_equal(run->first, first);
    assert_int_equal(run->published.version, last);
    assert_false(run->settled);
}

static void test_versions_in_order_are_one_run(void **state) {
    (void)state;
    struct marks m = {0};
    for (uint64_t version = 5; version <= 9; version++) {
        add(&m, ONE, version, 1);
        add(&m, OTHER, version + 10, 1);
    }
    assert_int_equal(m.n, 2);
    assert_run(&m.items[0], ONE, 5, 9);
    assert_run(&m.items[1], OTHER, 15, 19);
    marks_done(&m);
}

static void test_a_version_before_a_run_joins_it(void **state) {
    (void)state;
    struct marks m = {0};
    add(&m, ONE, 6, 1);
    add(&m, ONE, 5, 1);
    assert_int_equal(m.n, 1);
    assert_run(&m.items[0], ONE, 5, 6);
    marks_done(&m);
}

/* Somebody else's version lies between: this engine cannot say that it was confirmed. */
static void test_a_gap_starts_another_run(void **state) {
    (void)state;
    struct marks m = {0};
    add(&m, ONE, 5, 1);
    add(&m, ONE, 7, 1);
    assert_int_equal(m.n, 2);
    assert_run(&m.items[0], ONE, 5, 5);
    assert_run(&m.items[1], ONE, 7, 7);
    marks_done(&m);
}

static void test_another_epoch_starts_another_run(void **state) {
    (void)state;
    struct marks m = {0};
    add(&m, ONE, 5, 1);
    add(&m, ONE, 6, 2);
    assert_int_equal(m.n, 2);
    assert_int_equal(m.items[1].published.epoch, 2);
    marks_done(&m);
}

static void test_what_is_settled_goes_and_the_rest_stays_in_order(void **state) {
    (void)state;
    struct marks m = {0};
    for (uint64_t version = 2; version <= 10; version += 2)
        add(&m, ONE, version, 1);
    m.items[0].settled = m.items[2].settled = m.items[4].settled = true;
    marks_drop_settled(&m);
    assert_int_equal(m.n, 2);
    assert_run(&m.items[0], ONE, 4, 4);
    assert_run(&m.items[1], ONE, 8, 8);
    marks_drop_settled(&m);
    assert_int_equal(m.n, 2);
    marks_done(&m);
}

static void test_a_full_list_forgets_the_oldest(void **state) {
    (void)state;
    struct marks m = {0};
    for (uint64_t i = 1; i <= MARKS_MAX; i++)
        add(&m, ONE, 2 * i, 1);
    assert_int_equal(m.n, MARKS_MAX);
    assert_run(&m.items[0], ONE, 2, 2);
    add(&m, OTHER, 1, 1);
    assert_int_equal(m.n, MARKS_MAX);
    assert_run(&m.items[0], ONE, 4, 4);
    assert_run(&m.items[MARKS_MAX - 1], OTHER, 1, 1);
    marks_done(&m);
    assert_null(m.items);
}

/* A session may have 1000 unpublished versions, no more: its mark must not wait for a tick. */
static void test_a_long_run_is_urgent(void **state) {
    (void)state;
    struct marks m = {0};
    for (uint64_t version = 1; version <= MARKS_URGENT_RUN; version++)
        add(&m, ONE, version, 1);
    assert_false(m.is_urgent);
    add(&m, ONE, MARKS_URGENT_RUN + 1, 1);
    assert_true(m.is_urgent);
    marks_drop_settled(&m);
    assert_false(m.is_urgent);
    marks_done(&m);
}

static void test_many_runs_are_urgent(void **state) {
    (void)state;
    struct marks m = {0};
    for (uint64_t i = 1; i < MARKS_URGENT; i++)
        add(&m, ONE, 2 * i, 1);
    assert_false(m.is_urgent);
    add(&m, OTHER, 1, 1);
    assert_true(m.is_urgent);
    marks_done(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_in_order_are_one_run),
        cmocka_unit_test(test_a_version_before_a_run_joins_it),
        cmocka_unit_test(test_a_gap_starts_another_run),
        cmocka_unit_test(test_another_epoch_starts_another_run),
        cmocka_unit_test(test_what_is_settled_goes_and_the_rest_stays_in_order),
        cmocka_unit_test(test_a_full_list_forgets_the_oldest),
        cmocka_unit_test(test_a_long_run_is_urgent),
        cmocka_unit_test(test_many_runs_are_urgent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
