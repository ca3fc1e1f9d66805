/* Turns: how many at once, how many of one user, and who is next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "services/session_api/turns.h"

#define N_READS 16

static char begun[8 * N_READS]; /* who began, in order */

struct read {
    struct turn turn;
    char user[UUID_LEN + 1];
};

static void begin(void *arg) {
    size_t n = strlen(begun);
    begun[n] = ((struct read *)arg)->user[0];
    begun[n + 1] = '\0';
}

static void ask(struct turns *t, struct read *r, char who) {
    memset(r->user, who, UUID_LEN);
    r->turn = (struct turn){.begin = begin, .arg = r};
    turns_ask(t, r->user, &r->turn);
}

static void ask_all(struct turns *t, struct read *reads, const char *users) {
    for (size_t i = 0; users[i]; i++)
        ask(t, &reads[i], users[i]);
}

static void end(struct turns *t, char who) {
    char user[UUID_LEN];
    memset(user, who, sizeof(user));
    turns_end(t, user);
}

static int set_up(void **state) {
    static struct turns t;
    begun[0] = '\0';
    turns_init(&t, 4, 2);
    *state = &t;
    return 0;
}

static int tear_down(void **state) {
    turns_done(*state);
    return 0;
}

static void test_so_many_are_under_way_and_no_more(void **state) {
    struct turns *t = *state;
    struct read reads[N_READS];
    ask_all(t, reads, "aabbccdd");
    assert_string_equal(begun, "aabb");
    assert_int_equal(t->n_under_way, 4);
    assert_int_equal(t->n_waiting, 4);
    end(t, 'a');
    assert_string_equal(begun, "aabbc");
    end(t, 'b');
    end(t, 'b');
    end(t, 'a');
    assert_string_equal(begun, "aabbcdcd");
    assert_int_equal(t->n_under_way, 4);
    assert_int_equal(t->n_waiting, 0);
}

static void test_one_user_has_no_more_than_its_share(void **state) {
    struct turns *t = *state;
    struct read reads[N_READS];
    ask_all(t, reads, "aaaaaaaab");
    assert_string_equal(begun, "aab");
    end(t, 'a');
    assert_string_equal(begun, "aaba");
    end(t, 'b'); /* its place is nobody's: a has its share */
    assert_string_equal(begun, "aaba");
    assert_int_equal(t->n_under_way, 2);
    assert_int_equal(t->n_waiting, 5);
}

static void test_users_take_turns_whoever_has_asked_most(void **state) {
    struct turns *t = *state;
    struct read reads[N_READS];
    ask_all(t, reads, "xxyyaaaaaabc");
    assert_string_equal(begun, "xxyy");
    end(t, 'x');
    end(t, 'x');
    end(t, 'y');
    end(t, 'y');
    assert_string_equal(begun, "xxyyabca");
    end(t, 'b');
    assert_string_equal(begun, "xxyyabca");
    end(t, 'a');
    assert_string_equal(begun, "xxyyabcaa");
}

static void test_who_has_nothing_is_forgotten(void **state) {
    struct turns *t = *state;
    struct read reads[N_READS];
    ask_all(t, reads, "aab");
    end(t, 'a');
    assert_int_equal(t->users.n, 2);
    end(t, 'a');
    end(t, 'b');
    assert_int_equal(t->users.n, 0);
    assert_int_equal(t->n_under_way, 0);
    end(t, 'b'); /* of nobody */
    assert_int_equal(t->n_under_way, 0);
}

static void test_what_begins_may_end_at_once(void **state) {
    (void)state;
    struct turns t;
    struct read reads[N_READS];
    turns_init(&t, 1, 1);
    ask_all(&t, reads, "aab");
    for (int i = 0; i < 3; i++)
        end(&t, begun[i]);
    assert_string_equal(begun, "aba");
    assert_int_equal(t.users.n, 0);
    turns_done(&t);
}

static void test_at_the_end_nothing_begins(void **state) {
    struct turns *t = *state;
    struct read reads[N_READS];
    ask_all(t, reads, "aaab");
    turns_close(t);
    end(t, 'a');
    ask(t, &reads[4], 'c');
    assert_string_equal(begun, "aab");
    assert_int_equal(t->n_waiting, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_so_many_are_under_way_and_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_user_has_no_more_than_its_share, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_users_take_turns_whoever_has_asked_most, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_who_has_nothing_is_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_begins_may_end_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_at_the_end_nothing_begins, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
