/* The table of devices: found by session and device, also by the thousand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/uuid.h"
#include "services/ws_fanout/presence_table.h"

#define SESSION_A "0197a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"
#define SESSION_B "0197a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2c"

static void test_a_device_is_found_in_its_session_only(void **state) {
    (void)state;
    struct table t;
    char longest[SESSION_DEVICE_MAX + 1] = "";
    memset(longest, 'd', SESSION_DEVICE_MAX);
    table_init(&t);
    struct presence_device *phone = presence_table_add(&t, SESSION_A, "phone");
    struct presence_device *long_one = presence_table_add(&t, SESSION_A, longest);
    assert_ptr_equal(presence_table_find(&t, SESSION_A, "phone"), phone);
    assert_ptr_equal(presence_table_find(&t, SESSION_A, longest), long_one);
    assert_null(presence_table_find(&t, SESSION_B, "phone"));
    assert_null(presence_table_find(&t, SESSION_A, "phon"));
    assert_null(presence_table_find(&t, SESSION_A, "phone1"));
    longest[SESSION_DEVICE_MAX - 1] = 'e';
    assert_null(presence_table_find(&t, SESSION_A, longest));
    presence_table_remove(&t, phone);
    assert_null(presence_table_find(&t, SESSION_A, "phone"));
    assert_int_equal(t.n, 1);
    presence_table_done(&t);
}

static void remove_even(struct presence *p, struct presence_device *d) {
    struct table *t = (void *)p;
    if (d->n % 2 == 0)
        presence_table_remove(t, d);
}

static void test_thousands_are_found_and_removed_while_visited(void **state) {
    (void)state;
    enum { N = 5000 };
    struct table t;
    char device[32];
    size_t longest = 0;
    table_init(&t);
    for (unsigned i = 0; i < N; i++) {
        snprintf(device, sizeof(device), "d%u", i);
        presence_table_add(&t, i % 3 ? SESSION_A : SESSION_B, device)->n = i;
    }
    assert_true(t.n_buckets >= N);
    for (size_t i = 0; i < t.n_buckets; i++) {
        size_t len = 0;
        for (const struct table_node *d = t.buckets[i]; d; d = d->next)
            len++;
        longest = len > longest ? len : longest;
    }
    assert_in_range(longest, 1, 16); /* 8192 buckets: with this many in one the hash is none */
    presence_table_each(&t, remove_even, (void *)&t);
    assert_int_equal(t.n, N / 2);
    for (unsigned i = 0; i < N; i++) {
        snprintf(device, sizeof(device), "d%u", i);
        const struct presence_device *d =
            presence_table_find(&t, i % 3 ? SESSION_A : SESSION_B, device);
        assert_true((i % 2 == 1) == (d != NULL));
        assert_true(!d || d->n == i);
    }
    presence_table_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_device_is_found_in_its_session_only),
        cmocka_unit_test(test_thousands_are_found_and_removed_while_visited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
