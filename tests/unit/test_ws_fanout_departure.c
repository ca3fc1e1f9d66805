/* Whose turn it is to be sent away, and who stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/ws_fanout/departure.h"
#include "services/ws_fanout/events.h"
#include "services/ws_fanout/fanout.h"

#define N_CONNECTIONS 100
#define NOW 100000
#define SPREAD_MS 10000

static char somewhere; /* a socket, which is not looked into */

/* As a fanout keeps them: serials from 1, the newest first. */
static struct connection connections[N_CONNECTIONS + 1], *list;
static struct departure departure;

static struct connection *add(uint64_t serial) {
    struct connection *c = &connections[serial - 1];
    *c = (struct connection){
        .next = list, .serial = serial, .socket = (struct socket *)(void *)&somewhere};
    list = c;
    return c;
}

static int make_connections(void **state) {
    (void)state;
    list = NULL;
    for (uint64_t serial = 1; serial <= N_CONNECTIONS; serial++)
        add(serial);
    departure_begin(&departure, list, SPREAD_MS, NOW);
    assert_true(departure.is_on);
    return 0;
}

static void send_away(struct connection *c) {
    assert_int_equal(c->closing_since, 0);
    c->closing_since = NOW;
    c->next = NULL; /* as good as freed */
}

static int64_t step(int64_t after_ms) {
    struct connection *all[N_CONNECTIONS + 1];
    size_t n = 0;
    for (struct connection *c = list; c; c = c->next)
        all[n++] = c;
    int64_t n_left = departure_step(&departure, list, NOW + after_ms, send_away);
    for (size_t i = 0; i < n; i++)
        all[i]->next = i + 1 < n ? all[i + 1] : NULL; /* a closing one is in the list for a while */
    return n_left;
}

static void expect_gone_up_to(uint64_t serial) {
    for (uint64_t i = 1; i <= N_CONNECTIONS; i++)
        assert_int_equal(connections[i - 1].closing_since != 0, i <= serial);
}

static void test_the_oldest_go_first_and_evenly(void **state) {
    (void)state;
    assert_int_equal(step(0), N_CONNECTIONS);
    expect_gone_up_to(0);
    assert_int_equal(step(SPREAD_MS / 4), 75);
    expect_gone_up_to(25);
    assert_int_equal(step(SPREAD_MS / 4), 75);
    assert_int_equal(step(SPREAD_MS - 1), 0); /* rounded towards going: the last one is not late */
    assert_false(departure.is_on);
    expect_gone_up_to(N_CONNECTIONS);
}

static void test_a_loop_that_was_late_catches_up(void **state) {
    (void)state;
    assert_int_equal(step(10 * SPREAD_MS), 0);
    assert_false(departure.is_on);
}

static void test_who_came_later_stays(void **state) {
    (void)state;
    const struct connection *late = add(N_CONNECTIONS + 1);
    assert_int_equal(step(SPREAD_MS / 2), 50);
    expect_gone_up_to(50);
    assert_int_equal(step(SPREAD_MS), 0);
    assert_int_equal(late->closing_since, 0);
    expect_gone_up_to(N_CONNECTIONS);
}

/* Those that left by themselves are not made up for by others. */
static void test_who_leaves_by_itself_is_not_counted(void **state) {
    (void)state;
    for (size_t i = 0; i < 40; i++)
        connections[i].closing_since = NOW;
    assert_int_equal(step(SPREAD_MS / 4), 60);
    expect_gone_up_to(40);
    assert_int_equal(departure_n_left(&departure, list), 60);
    departure_begin(&departure, list, SPREAD_MS, NOW);
    assert_int_equal(departure.n, 60);
    assert_int_equal(step(SPREAD_MS / 2), 30);
    expect_gone_up_to(70);
}

static void test_a_command_is_answered_before_unless_time_is_over(void **state) {
    (void)state;
    connections[0].n_commands = 1;
    assert_int_equal(step(SPREAD_MS / 2), 51);
    assert_int_equal(connections[0].closing_since, 0);
    assert_int_not_equal(connections[49].closing_since, 0);
    connections[0].n_commands = 0;
    connections[99].n_commands = 1;
    assert_int_equal(step(SPREAD_MS / 2), 50);
    assert_int_not_equal(connections[0].closing_since, 0);
    assert_int_equal(step(SPREAD_MS - 1), 1);
    assert_int_equal(step(SPREAD_MS), 0);
    expect_gone_up_to(N_CONNECTIONS);
}

static void test_who_cannot_be_told_yet_is_told_later(void **state) {
    struct events begun = {.is_started = true}, waits = {0};
    (void)state;
    connections[0].events = &begun;
    connections[1].events = &waits;
    connections[2].socket = NULL;
    assert_int_equal(step(2 * SPREAD_MS), 2);
    assert_true(departure.is_on);
    assert_int_not_equal(connections[0].closing_since, 0);
    waits.is_started = true;
    connections[2].closing_since = NOW; /* it never opened */
    assert_int_equal(step(2 * SPREAD_MS), 0);
    expect_gone_up_to(N_CONNECTIONS);
}

static void test_of_none_it_is_over_at_once(void **state) {
    (void)state;
    list = NULL;
    departure_begin(&departure, list, 1, NOW);
    assert_int_equal(departure.n, 0);
    add(1);
    assert_int_equal(step(0), 0);
    assert_false(departure.is_on);
    assert_int_equal(connections[0].closing_since, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_oldest_go_first_and_evenly, make_connections),
        cmocka_unit_test_setup(test_a_loop_that_was_late_catches_up, make_connections),
        cmocka_unit_test_setup(test_who_came_later_stays, make_connections),
        cmocka_unit_test_setup(test_who_leaves_by_itself_is_not_counted, make_connections),
        cmocka_unit_test_setup(test_a_command_is_answered_before_unless_time_is_over,
                               make_connections),
        cmocka_unit_test_setup(test_who_cannot_be_told_yet_is_told_later, make_connections),
        cmocka_unit_test_setup(test_of_none_it_is_over_at_once, make_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
