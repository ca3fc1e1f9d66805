/* What a connection may send, and how many connections a user may have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "common/users.h"
#include "services/ws_fanout/limits.h"

static void test_rates_and_bursts_are_as_configured(void **state) {
    struct limits l;
    (void)state;
    limits_init(&l, 100, 1000, 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(bucket_take(&l.messages, 1, 0), 0);
    assert_int_equal(bucket_take(&l.messages, 1, 0), 10);
    assert_int_equal(bucket_take(&l.bytes, 2000, 0), 0);
    assert_int_equal(bucket_take(&l.bytes, 1, 0), 1);
    for (int i = 0; i < 50; i++)
        assert_int_equal(bucket_take(&l.broadcasts, 1, 0), 0);
    assert_int_equal(bucket_take(&l.broadcasts, 1, 0), 20);
}

static void test_the_tenth_refusal_without_a_pause_is_one_too_many(void **state) {
    struct limits l;
    (void)state;
    limits_init(&l, 1, 1, 0);
    for (int i = 0; i < 9; i++)
        assert_false(limits_refuse(&l, 5000 + 999 * i));
    assert_true(limits_refuse(&l, 5000 + 999 * 9));
}

static void test_a_pause_forgives(void **state) {
    struct limits l;
    (void)state;
    limits_init(&l, 1, 1, 0);
    for (int round = 1; round < 4; round++)
        for (int i = 0; i < 9; i++)
            assert_false(limits_refuse(&l, 10000 * round));
}

static void name_user(unsigned n, char ret[static UUID_LEN + 1]) {
    snprintf(ret, UUID_LEN + 1, "%08u-0000-4000-8000-000000000000", n % 100000000);
}

static void test_a_user_has_as_many_connections_as_allowed(void **state) {
    struct table t;
    char ada[UUID_LEN + 1], bob[UUID_LEN + 1];
    (void)state;
    table_init(&t);
    name_user(1, ada), name_user(2, bob);
    for (int i = 0; i < 3; i++)
        assert_true(users_enter(&t, ada, 3));
    assert_false(users_enter(&t, ada, 3));
    assert_true(users_enter(&t, bob, 3));
    users_leave(&t, ada);
    assert_true(users_enter(&t, ada, 3));
    assert_false(users_enter(&t, ada, 3));
    users_leave(&t, bob);
    assert_int_equal(t.n, 1);
    users_done(&t);
}

static void test_users_that_left_are_forgotten(void **state) {
    enum { N = 3000 };
    struct table t;
    char id[UUID_LEN + 1];
    (void)state;
    table_init(&t);
    for (unsigned n = 0; n < N; n++) {
        name_user(n, id);
        assert_true(users_enter(&t, id, 1));
    }
    assert_int_equal(t.n, N);
    for (unsigned n = 0; n < N; n++) {
        name_user(n, id);
        assert_false(users_enter(&t, id, 1));
        users_leave(&t, id);
    }
    assert_int_equal(t.n, 0);
    users_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates_and_bursts_are_as_configured),
        cmocka_unit_test(test_the_tenth_refusal_without_a_pause_is_one_too_many),
        cmocka_unit_test(test_a_pause_forgives),
        cmocka_unit_test(test_a_user_has_as_many_connections_as_allowed),
        cmocka_unit_test(test_users_that_left_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
