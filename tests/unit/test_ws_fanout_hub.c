/* What the hub decides by: the order of events, filling of gaps; and the table of rooms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "services/ws_fanout/order.h"
#include "services/ws_fanout/room.h"

static void test_order_of_events_is_judged_by_position(void **state) {
    static const struct {
        struct position at, event;
        enum order_verdict verdict;
    } rows[] = {
        {{5, 1}, {6, 1}, ORDER_FORWARD}, {{5, 1}, {5, 1}, ORDER_DROP},
        {{5, 1}, {4, 1}, ORDER_DROP},    {{5, 1}, {1, 1}, ORDER_DROP},
        {{5, 1}, {7, 1}, ORDER_GAP},     {{5, 1}, {900, 1}, ORDER_GAP},
        {{5, 1}, {6, 2}, ORDER_EPOCH},   {{5, 1}, {1, 2}, ORDER_EPOCH},
        {{5, 2}, {6, 1}, ORDER_DROP},    {{5, 2}, {6, 2}, ORDER_FORWARD},
        {{0, 1}, {1, 1}, ORDER_FORWARD}, {{UINT64_MAX - 1, 1}, {UINT64_MAX, 1}, ORDER_FORWARD},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        if (order_judge(rows[i].at, rows[i].event) != rows[i].verdict)
            print_error("row %zu\n", i);
        assert_int_equal(order_judge(rows[i].at, rows[i].event), rows[i].verdict);
    }
}

static void test_newer_looks_at_the_epoch_first(void **state) {
    (void)state;
    assert_true(order_is_newer((struct position){1, 2}, (struct position){9, 1}));
    assert_false(order_is_newer((struct position){9, 1}, (struct position){1, 2}));
    assert_true(order_is_newer((struct position){2, 1}, (struct position){1, 1}));
    assert_false(order_is_newer((struct position){2, 1}, (struct position){2, 1}));
}

/* versions: ended by 0 */
static void expect_fill(uint64_t at, uint64_t since, uint64_t stored, const uint64_t *versions,
                        enum order_reach reach, size_t from, size_t to) {
    struct store_delta deltas[8] = {0};
    struct order_window w = {.since = since, .stored = stored, .deltas = deltas};
    size_t got_from = 99, got_to = 99;
    for (; versions[w.n]; w.n++)
        deltas[w.n].version = versions[w.n];
    assert_int_equal(order_fill(at, &w, &got_from, &got_to), reach);
    assert_int_equal(got_from, reach == ORDER_REACHED ? from : 99);
    assert_int_equal(got_to, reach == ORDER_REACHED ? to : 99);
}

static void test_gap_is_filled_by_an_unbroken_run_only(void **state) {
    (void)state;
    expect_fill(5, 5, 8, (uint64_t[]){6, 7, 8, 0}, ORDER_REACHED, 0, 3);
    expect_fill(5, 2, 7, (uint64_t[]){3, 4, 5, 6, 7, 0}, ORDER_REACHED, 3, 5);
    expect_fill(0, 0, 2, (uint64_t[]){1, 2, 0}, ORDER_REACHED, 0, 2);
    expect_fill(5, 5, 5, (uint64_t[]){0}, ORDER_REACHED, 0, 0);
    expect_fill(5, 3, 5, (uint64_t[]){4, 5, 0}, ORDER_REACHED, 2, 2);
    expect_fill(5, 5, 7, (uint64_t[]){7, 0}, ORDER_TOO_OLD, 0, 0);
    expect_fill(5, 5, 8, (uint64_t[]){6, 8, 0}, ORDER_TOO_OLD, 0, 0);
    expect_fill(5, 5, 6, (uint64_t[]){6, 6, 0}, ORDER_TOO_OLD, 0, 0);
    expect_fill(5, 5, 5, (uint64_t[]){6, 7, 5, 0}, ORDER_TOO_OLD, 0, 0);
    expect_fill(5, 5, 9, (uint64_t[]){0}, ORDER_TOO_OLD, 0, 0);
}

/* A read begins at one receiver's position and is cut; others are elsewhere. */
static void test_a_read_that_was_cut_says_nothing_of_those_further_on(void **state) {
    static const uint64_t cut[] = {3, 4, 5, 0};
    (void)state;
    expect_fill(2, 2, 9, cut, ORDER_REACHED, 0, 3);
    expect_fill(4, 2, 9, cut, ORDER_REACHED, 2, 3);
    expect_fill(5, 2, 9, cut, ORDER_ELSEWHERE, 0, 0);
    expect_fill(6, 2, 9, cut, ORDER_ELSEWHERE, 0, 0);
    expect_fill(8, 2, 9, cut, ORDER_ELSEWHERE, 0, 0);
    expect_fill(9, 2, 9, cut, ORDER_ELSEWHERE, 0, 0);
    expect_fill(1, 2, 9, cut, ORDER_ELSEWHERE, 0, 0);
    expect_fill(5, 2, 5, cut, ORDER_REACHED, 3, 3);
    expect_fill(1, 2, 2, (uint64_t[]){0}, ORDER_ELSEWHERE, 0, 0);
}

/* An epoch that began at version 5: nothing below it joins on, even where the window is empty. */
static void test_window_of_a_rebuilt_session_joins_on_nothing_before_it(void **state) {
    (void)state;
    expect_fill(5, 5, 7, (uint64_t[]){6, 7, 0}, ORDER_REACHED, 0, 2);
    expect_fill(4, 4, 7, (uint64_t[]){6, 7, 0}, ORDER_TOO_OLD, 0, 0);
    expect_fill(0, 0, 7, (uint64_t[]){6, 7, 0}, ORDER_TOO_OLD, 0, 0);
    expect_fill(5, 5, 5, (uint64_t[]){0}, ORDER_REACHED, 0, 0);
    expect_fill(4, 4, 5, (uint64_t[]){0}, ORDER_TOO_OLD, 0, 0);
}

static void make_id(unsigned n, char ret[UUID_LEN + 1]) {
    snprintf(ret, UUID_LEN + 1, "%08x-0000-7000-8000-000000000000", n);
}

static void count_room(struct hub *h, struct room *room) {
    size_t *n = (size_t *)(void *)h;
    (void)room;
    ++*n;
}

static void test_rooms_are_found_while_the_table_grows_and_shrinks(void **state) {
    struct table t;
    char id[UUID_LEN + 1];
    size_t n = 0;
    (void)state;
    table_init(&t);
    for (unsigned i = 0; i < 2000; i++) {
        make_id(i, id);
        assert_null(rooms_find(&t, id));
        assert_string_equal(rooms_add(&t, NULL, id)->session_id, id);
    }
    for (unsigned i = 0; i < 2000; i += 2) {
        make_id(i, id);
        rooms_remove(&t, rooms_find(&t, id));
    }
    for (unsigned i = 0; i < 2000; i++) {
        make_id(i, id);
        assert_int_equal(rooms_find(&t, id) != NULL, i % 2);
    }
    rooms_each(&t, count_room, (struct hub *)(void *)&n);
    assert_int_equal(n, 1000);
    assert_int_equal(t.n, 1000);
    rooms_done(&t);
}

static void test_subscriptions_may_be_removed_from_the_end_to_the_start(void **state) {
    struct table t;
    char id[UUID_LEN + 1];
    (void)state;
    table_init(&t);
    make_id(1, id);
    struct room *room = rooms_add(&t, NULL, id);
    for (uintptr_t i = 1; i <= 9; i++)
        room_add(room, (struct connection *)i);
    uintptr_t seen = 0;
    for (size_t i = room->n_subscriptions; i-- > 0;) {
        struct subscription *s = room->subscriptions[i];
        uintptr_t who = (uintptr_t)s->connection;
        assert_int_equal(s->index, i);
        seen |= (uintptr_t)1 << who;
        if (who % 3 == 0)
            room_remove(s);
    }
    assert_int_equal(seen, 0x3fe);
    assert_int_equal(room->n_subscriptions, 6);
    rooms_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_events_is_judged_by_position),
        cmocka_unit_test(test_newer_looks_at_the_epoch_first),
        cmocka_unit_test(test_gap_is_filled_by_an_unbroken_run_only),
        cmocka_unit_test(test_a_read_that_was_cut_says_nothing_of_those_further_on),
        cmocka_unit_test(test_window_of_a_rebuilt_session_joins_on_nothing_before_it),
        cmocka_unit_test(test_rooms_are_found_while_the_table_grows_and_shrinks),
        cmocka_unit_test(test_subscriptions_may_be_removed_from_the_end_to_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
