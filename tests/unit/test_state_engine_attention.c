/* Which of the due entries an engine looks at: those that it claimed itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "services/state_engine/attention_private.h"

static void set(struct store_due *due, const char *session_id, bool is_claimed) {
    *due = (struct store_due){.is_claimed = is_claimed};
    memcpy(due->session_id, session_id, strlen(session_id) + 1);
}

static void test_what_another_engine_claimed_is_left_to_it(void **state) {
    (void)state;
    struct store_due due[4];
    set(&due[0], "a", false);
    set(&due[1], "b", true);
    set(&due[2], "c", false);
    set(&due[3], "d", true);
    assert_int_equal(attention_keep_claimed(due, 4), 2);
    assert_string_equal(due[0].session_id, "b");
    assert_string_equal(due[1].session_id, "d");
}

static void test_without_a_claim_nothing_is_looked_at(void **state) {
    (void)state;
    struct store_due due[1];
    set(&due[0], "a", false);
    assert_int_equal(attention_keep_claimed(due, 1), 0);
    assert_int_equal(attention_keep_claimed(due, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_another_engine_claimed_is_left_to_it),
        cmocka_unit_test(test_without_a_claim_nothing_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
