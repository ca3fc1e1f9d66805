/* When a connection is to be looked at, and that each one keeps its place among the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/config.h"
#include "services/ws_fanout/events.h"
#include "services/ws_fanout/fanout.h"

#define N_CONNECTIONS 100
#define NOW 100000
#define WALL 1770897600000
#define TOKEN_S (WALL / 1000 + 3600)

static struct config config = {.auth_timeout_ms = 5000, .stuck_timeout_ms = 30000};
static struct app app = {.config = &config};
static struct fanout fanout = {.app = &app};
static char somewhere; /* a socket, which is not looked into */

static struct connection sample(void) {
    return (struct connection){.fanout = &fanout,
                               .socket = (struct socket *)(void *)&somewhere,
                               .is_authenticated = true,
                               .opened_at = NOW - 1000,
                               .principal.expires_at = TOKEN_S};
}

static int64_t deadline_of(const struct connection *c) {
    return connection_deadline(c, NOW, WALL);
}

static void test_a_deadline_is_the_first_that_may_come(void **state) {
    (void)state;
    struct connection c = sample();
    assert_int_equal(deadline_of(&c), NOW + 3600000 - 60000);
    c.token_expiring_told = true;
    assert_int_equal(deadline_of(&c), NOW + 3600000);
    c.busy_since = NOW - 10;
    assert_int_equal(deadline_of(&c), NOW - 10 + 30000);
    c.principal.expires_at = WALL / 1000 + 1;
    assert_int_equal(deadline_of(&c), NOW + 1000);
    c.closing_since = NOW - 20;
    assert_int_equal(deadline_of(&c), NOW - 20 + 5000);
    c = sample();
    c.is_authenticated = false;
    assert_int_equal(deadline_of(&c), NOW - 1000 + 5000);
    c.socket = NULL;
    assert_int_equal(deadline_of(&c), INT64_MAX);
}

static void test_a_stream_is_looked_at_in_each_run(void **state) {
    (void)state;
    struct connection c = sample();
    c.events = (struct events *)(void *)&somewhere;
    assert_int_equal(deadline_of(&c), NOW);
}

static void expect_places(struct connection *const *list, size_t n) {
    bool is_taken[N_CONNECTIONS] = {false};
    for (size_t i = 0; i < n; i++) {
        assert_in_range(list[i]->deadline_place, 0, n - 1);
        assert_false(is_taken[list[i]->deadline_place]);
        is_taken[list[i]->deadline_place] = true;
    }
}

static void test_who_goes_leaves_its_place_to_another(void **state) {
    (void)state;
    struct deadlines d = {0};
    struct connection connections[N_CONNECTIONS], *list[N_CONNECTIONS];
    for (size_t i = 0; i < N_CONNECTIONS; i++) {
        connections[i] = sample();
        connections[i].closing_since = NOW;
        list[i] = &connections[i];
        deadlines_add(&d, list[i]);
    }
    for (size_t n = N_CONNECTIONS; n > 0; n--) {
        size_t gone = n / 3;
        expect_places(list, n);
        deadlines_remove(&d, list[gone]);
        list[gone] = list[n - 1];
        assert_int_equal(d.n, n - 1);
        deadlines_run(&d, NOW, WALL);
    }
    deadlines_done(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_deadline_is_the_first_that_may_come),
        cmocka_unit_test(test_a_stream_is_looked_at_in_each_run),
        cmocka_unit_test(test_who_goes_leaves_its_place_to_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
