/* The commands that an engine gives itself: how many at a time, and which goes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/bus_private.h"
#include "services/state_engine/worker_private.h"

#define MOST 1024
#define LEASE 1000

static void name_session(size_t n, char ret[static UUID_LEN + 1]) {
    snprintf(ret, UUID_LEN + 1, "01a1fc3a-54db-775c-8a74-%012zx", n);
}

static bool give(struct worker *w, size_t n, enum due_what what) {
    char session_id[UUID_LEN + 1];
    name_session(n, session_id);
    return worker_give(w, session_id, what, LEASE);
}

/* The next job is that session's; it is done, or not yet. */
static void expect_next(struct worker *w, size_t n, bool is_done) {
    char session_id[UUID_LEN + 1];
    name_session(n, session_id);
    _cleanup_(job_freep) struct job *j = queue_pop(&w->jobs);
    assert_non_null(j);
    assert_int_equal(j->command.kind, COMMAND_DUE);
    assert_string_equal(j->command.session_id, session_id);
    assert_int_equal(j->command.deadline, LEASE);
    if (is_done)
        worker_close_one(w, j->delivery);
}

static void fill(struct worker *w) {
    for (size_t n = 0; n < MOST; n++)
        assert_true(give(w, n, DUE_LAPSE));
}

/* Whatever is left in hand. */
static void empty(struct worker *w) {
    for (struct job *j; (j = queue_pop(&w->jobs));)
        job_free(j);
    while (w->deliveries)
        worker_close_one(w, w->deliveries);
    assert_int_equal(w->n_given, 0);
    assert_int_equal(w->n_deliveries, 0);
}

static void test_so_many_are_in_hand_and_no_more(void **state) {
    (void)state;
    struct bus bus = {0};
    struct worker w = {.bus = &bus};
    fill(&w);
    assert_int_equal(w.jobs.n, MOST);
    assert_false(give(&w, MOST, DUE_LAPSE));
    assert_false(give(&w, MOST, DUE_CLOCK));
    assert_int_equal(w.jobs.n, MOST);
    assert_int_equal(w.n_given, MOST);
    empty(&w);
}

/* It is in hand until all is confirmed, and not only until it is begun. */
static void test_one_that_is_done_makes_room_for_one(void **state) {
    (void)state;
    struct bus bus = {0};
    struct worker w = {.bus = &bus};
    fill(&w);
    expect_next(&w, 0, false);
    assert_false(give(&w, MOST, DUE_CLOCK));
    expect_next(&w, 1, true);
    assert_true(give(&w, MOST, DUE_LAPSE));
    assert_false(give(&w, MOST + 1, DUE_LAPSE));
    empty(&w);
}

static void test_a_clock_goes_before_what_waits(void **state) {
    (void)state;
    struct bus bus = {0};
    struct worker w = {.bus = &bus};
    assert_true(give(&w, 1, DUE_LAPSE));
    assert_true(give(&w, 2, DUE_CLOCK));
    assert_true(give(&w, 3, DUE_LAPSE));
    expect_next(&w, 2, true);
    expect_next(&w, 1, true);
    expect_next(&w, 3, true);
    empty(&w);
}

static void test_who_ends_gives_none(void **state) {
    (void)state;
    struct worker w = {.is_draining = true};
    assert_false(give(&w, 1, DUE_CLOCK));
    assert_int_equal(w.jobs.n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_so_many_are_in_hand_and_no_more),
        cmocka_unit_test(test_one_that_is_done_makes_room_for_one),
        cmocka_unit_test(test_a_clock_goes_before_what_waits),
        cmocka_unit_test(test_who_ends_gives_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
