/* Sessions that the engine keeps: what comes back, what goes, and that it stays within its bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "services/state_engine/recent.h"

#define RUN "0123456789012345678901234567890123456789"

static struct session make(unsigned number, size_t data_len) {
    struct session s = {.run_id = RUN, .position = {7, 1}};
    snprintf(s.id, sizeof(s.id), "0190aaaa-bbbb-7ccc-8ddd-%012x", number);
    s.name = must_strdup("name");
    s.data_text = must_alloc(data_len + 1);
    memset(s.data_text, '1', data_len);
    s.data_len = data_len;
    return s;
}

static void put(struct recent *r, unsigned number, const char *token) {
    struct session s = make(number, 300);
    recent_put(r, &s, token);
    assert_null(s.name);
}

/* The token, or NULL: it is not kept. */
static const char *take(struct recent *r, unsigned number, const char *run_id) {
    static char token[STORE_TOKEN_CAP];
    struct session wanted = make(number, 1), s = {0};
    bool is_kept = recent_take(r, wanted.id, run_id, &s, token);
    if (is_kept) {
        assert_string_equal(s.id, wanted.id);
        assert_int_equal(s.data_len, 300);
    }
    session_done(&s);
    session_done(&wanted);
    return is_kept ? token : NULL;
}

static void test_what_is_put_is_taken_once(void **state) {
    (void)state;
    _cleanup_(recent_freep) struct recent *r = recent_new(1 << 20);
    assert_null(take(r, 1, RUN));
    put(r, 1, "a:1");
    put(r, 2, "a:2");
    put(r, 1 + 8192, "a:3"); /* in the same chain */
    assert_int_equal(recent_n(r), 3);
    assert_string_equal(take(r, 1, RUN), "a:1");
    assert_null(take(r, 1, RUN));
    assert_string_equal(take(r, 1 + 8192, RUN), "a:3");
    assert_string_equal(take(r, 2, RUN), "a:2");
    assert_int_equal(recent_n(r), 0);
    assert_int_equal(recent_bytes(r), 0);
}

static void test_the_newest_copy_counts(void **state) {
    (void)state;
    _cleanup_(recent_freep) struct recent *r = recent_new(1 << 20);
    put(r, 1, "a:1");
    put(r, 1, "a:2");
    assert_int_equal(recent_n(r), 1);
    assert_string_equal(take(r, 1, RUN), "a:2");
}

static void test_one_of_another_run_is_dropped(void **state) {
    (void)state;
    _cleanup_(recent_freep) struct recent *r = recent_new(1 << 20);
    static const char *const runs[] = {"", "1123456789012345678901234567890123456789"};
    for (size_t i = 0; i < N_ELEMENTS(runs); i++) {
        put(r, 1, "a:1");
        assert_null(take(r, 1, runs[i]));
        assert_null(take(r, 1, RUN));
    }
    assert_int_equal(recent_n(r), 0);
}

static void test_who_was_not_used_for_longest_goes(void **state) {
    (void)state;
    _cleanup_(recent_freep) struct recent *r = recent_new(64 << 10);
    for (unsigned i = 1; recent_n(r) == i - 1; i++) {
        put(r, i, "a:1");
        assert_true(recent_bytes(r) <= 64 << 10);
    }
    size_t n = recent_n(r);
    assert_true(n > 20);
    assert_null(take(r, 1, RUN)); /* it made room */
    put(r, 2, take(r, 2, RUN));   /* used */
    put(r, 5000, "a:1");
    assert_int_equal(recent_n(r), n);
    assert_null(take(r, 3, RUN));
    assert_non_null(take(r, 2, RUN));
    assert_non_null(take(r, 4, RUN));
    assert_non_null(take(r, 5000, RUN));
}

static void test_what_should_not_be_kept_is_not(void **state) {
    (void)state;
    _cleanup_(recent_freep) struct recent *r = recent_new(64 << 10);
    put(r, 1, "a:1");
    put(r, 1, ""); /* whose token is not known; and the old copy is out of date */
    struct session large = make(2, 4 << 10), deleted = make(3, 300);
    deleted.deleted = true;
    recent_put(r, &large, "a:1");
    recent_put(r, &deleted, "a:1");
    assert_int_equal(recent_n(r), 0);
    _cleanup_(recent_freep) struct recent *none = recent_new(0);
    put(none, 1, "a:1");
    assert_int_equal(recent_n(none), 0);
}

static void test_a_lost_connection_forgets_all(void **state) {
    (void)state;
    _cleanup_(recent_freep) struct recent *r = recent_new(1 << 20);
    put(r, 1, "a:1");
    recent_check(r, 0);
    assert_int_equal(recent_n(r), 1);
    recent_check(r, 1);
    assert_int_equal(recent_n(r), 0);
    put(r, 1, "a:2");
    recent_check(r, 1);
    assert_int_equal(recent_n(r), 1);
}

/* Several engines on the same sessions: a copy is nearly always out of date. */
static void test_copies_that_are_of_no_use_are_hardly_tried(void **state) {
    (void)state;
    _cleanup_(recent_freep) struct recent *r = recent_new(1 << 20);
    for (int i = 0; i < 1000; i++)
        recent_note(r, true);
    unsigned n_given = 0;
    for (unsigned i = 0; i < 10 * RECENT_PROBE_EVERY; i++) {
        put(r, 1, "a:1");
        n_given += take(r, 1, RUN) != NULL;
    }
    assert_int_equal(n_given, 10);
    for (int i = 0; i < 1000; i++)
        recent_note(r, false);
    put(r, 1, "a:1");
    assert_non_null(take(r, 1, RUN));
}

static void test_hits_and_misses_are_counted_once(void **state) {
    (void)state;
    _cleanup_(recent_freep) struct recent *r = recent_new(1 << 20);
    uint64_t n_hits, n_misses;
    recent_count(r, true);
    recent_count(r, true);
    recent_count(r, false);
    recent_counted(r, &n_hits, &n_misses);
    assert_int_equal(n_hits, 2);
    assert_int_equal(n_misses, 1);
    recent_counted(r, &n_hits, &n_misses);
    assert_int_equal(n_hits + n_misses, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_put_is_taken_once),
        cmocka_unit_test(test_the_newest_copy_counts),
        cmocka_unit_test(test_one_of_another_run_is_dropped),
        cmocka_unit_test(test_who_was_not_used_for_longest_goes),
        cmocka_unit_test(test_what_should_not_be_kept_is_not),
        cmocka_unit_test(test_a_lost_connection_forgets_all),
        cmocka_unit_test(test_copies_that_are_of_no_use_are_hardly_tried),
        cmocka_unit_test(test_hits_and_misses_are_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
