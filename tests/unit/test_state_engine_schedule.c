/* What is due soon, in order of its moments; and what time it is in the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/state_engine/attention_private.h"

#define NOW 1770897600000LL
#define SESSION "0197a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"

static void id_of(unsigned i, char ret[static UUID_LEN + 1]) {
    snprintf(ret, UUID_LEN + 1, "0197a1b2-c3d4-7e5f-8a6b-%012x", i);
}

static void add(struct schedule *s, unsigned i, int64_t at) {
    char id[UUID_LEN + 1];
    id_of(i, id);
    assert_true(schedule_add(s, id, i % 65, at));
}

static void test_the_earliest_comes_first(void **state) {
    (void)state;
    struct schedule s = {0};
    struct schedule_item taken[1000];
    for (unsigned i = 0; i < 1000; i++)
        add(&s, i, NOW + (i * 7919) % 1000); /* each moment once */
    assert_int_equal(schedule_next(&s), NOW);
    assert_int_equal(schedule_take(&s, NOW + 999, taken, 1000), 1000);
    for (unsigned i = 0; i < 1000; i++) {
        char id[UUID_LEN + 1];
        assert_int_equal(taken[i].at, NOW + i);
        unsigned which = (unsigned)strtoul(taken[i].session_id + 24, NULL, 16);
        id_of(which, id);
        assert_string_equal(taken[i].session_id, id);
        assert_int_equal(taken[i].set, which % 65);
        assert_int_equal((which * 7919) % 1000, i);
    }
    assert_int_equal(schedule_next(&s), 0);
    schedule_done(&s);
}

static void test_only_what_is_due_is_taken_and_not_more_than_asked_for(void **state) {
    (void)state;
    struct schedule s = {0};
    struct schedule_item taken[4];
    for (unsigned i = 0; i < 4; i++)
        add(&s, i, NOW + i);
    assert_int_equal(schedule_take(&s, NOW - 1, taken, 4), 0);
    assert_int_equal(schedule_take(&s, NOW + 2, taken, 2), 2);
    assert_int_equal(schedule_take(&s, NOW + 2, taken, 2), 1);
    assert_int_equal(taken[0].at, NOW + 2);
    assert_int_equal(schedule_next(&s), NOW + 3);
    schedule_clear(&s);
    assert_int_equal(schedule_next(&s), 0);
    assert_int_equal(schedule_take(&s, NOW + 3, taken, 4), 0);
    schedule_done(&s);
}

static void test_a_full_one_takes_no_more(void **state) {
    (void)state;
    struct schedule s = {0};
    struct schedule_item taken;
    for (unsigned i = 0; i < SCHEDULE_MAX; i++)
        add(&s, i, NOW + i);
    assert_false(schedule_add(&s, SESSION, 0, NOW - 1));
    assert_int_equal(schedule_next(&s), NOW);
    assert_int_equal(schedule_take(&s, NOW, &taken, 1), 1);
    assert_true(schedule_add(&s, SESSION, 0, NOW - 1));
    assert_int_equal(schedule_next(&s), NOW - 1);
    schedule_done(&s);
}

static void test_what_is_due_shortly_after_a_look_waits_for_company(void **state) {
    (void)state;
    static const struct {
        int64_t at, looked_at, wake;
    } cases[] = {
        {NOW, 0, NOW},                               /* never looked */
        {NOW, NOW - SCHEDULE_APART_MS, NOW},         /* just long enough ago */
        {NOW, NOW - SCHEDULE_APART_MS + 1, NOW + 1}, /* not quite */
        {NOW, NOW - 1, NOW - 1 + SCHEDULE_APART_MS},
        {NOW, NOW, NOW}, /* there was no room for it */
        {NOW, NOW + 1000, NOW},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct schedule s = {0};
        add(&s, 1, cases[i].at);
        assert_int_equal(schedule_wake(&s, cases[i].looked_at), cases[i].wake);
        schedule_done(&s);
    }
    struct schedule empty = {0};
    assert_int_equal(schedule_wake(&empty, NOW), 0);
}

static void test_store_time_is_estimated_within_what_an_answer_allows(void **state) {
    (void)state;
    /* Asked at 100, answered at 110: the store's 1000 was between. */
    assert_int_equal(schedule_offset(0, 1000, 100, 110), 890);
    assert_int_equal(schedule_offset(5000, 1000, 100, 110), 900);
    assert_int_equal(schedule_offset(895, 1000, 100, 110), 895);
    /* A slow answer says little. */
    assert_int_equal(schedule_offset(895, 3000, 2100, 2600), 895);
    /* A clock that was set is followed in both directions. */
    assert_int_equal(schedule_offset(895, 9000, 100, 101), 8899);
    assert_int_equal(schedule_offset(895, 500, 100, 101), 400);
}

/* ---- arming ---- */

struct world {
    struct attention a;
};

static void open_world(struct world *w) {
    *w = (struct world){0};
    assert_int_equal(store_batch_new(&w->a.store, "redis://127.0.0.1:1"), 0);
    w->a.cache = must_alloc(ATTENTION_N_CACHED * sizeof(*w->a.cache));
}

static void close_world(struct world *w) {
    store_batch_free(w->a.store);
    schedule_done(&w->a.schedule);
    free(w->a.cache);
}

static void test_a_save_is_looked_at_soon_and_armed_once(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(attention_arm(&w.a, SESSION, NOW, 0), NOW + 2500);
    assert_int_equal(attention_arm(&w.a, SESSION, NOW + 1500, 0), 0);
    assert_int_equal(attention_arm(&w.a, SESSION, NOW + 1501, 0), NOW + 4001);
    assert_int_equal(attention_arm(&w.a, SESSION, NOW + 1502, NOW + 9000), 0);
    assert_int_equal(schedule_next(&w.a.schedule), 0); /* found by a reading */
    close_world(&w);
}

static void test_a_nearer_moment_is_armed_and_on_the_schedule(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(attention_arm(&w.a, SESSION, NOW, 0), NOW + 2500);
    assert_int_equal(attention_arm(&w.a, SESSION, NOW, NOW + 2000), NOW + 2000);
    assert_int_equal(w.a.schedule.n, 0); /* the next reading has it */
    assert_int_equal(attention_arm(&w.a, SESSION, NOW, NOW + 1999), NOW + 1999);
    assert_int_equal(w.a.schedule.n, 1);
    assert_int_equal(attention_arm(&w.a, SESSION, NOW, NOW + 300), NOW + 300);
    assert_int_equal(schedule_next(&w.a.schedule), NOW + 300);
    /* So near it may be looked at already: armed again, though it is on the schedule. */
    assert_int_equal(attention_arm(&w.a, SESSION, NOW, NOW + 300), NOW + 300);
    assert_int_equal(w.a.schedule.n, 2);
    /* What has passed is due at once. */
    assert_int_equal(attention_arm(&w.a, SESSION, NOW, NOW - 5000), NOW - 5000);
    assert_int_equal(schedule_next(&w.a.schedule), NOW - 5000);
    attention_forget(&w.a);
    assert_int_equal(schedule_next(&w.a.schedule), 0);
    assert_int_equal(attention_arm(&w.a, SESSION, NOW, 0), NOW + 2500);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_earliest_comes_first),
        cmocka_unit_test(test_only_what_is_due_is_taken_and_not_more_than_asked_for),
        cmocka_unit_test(test_a_full_one_takes_no_more),
        cmocka_unit_test(test_what_is_due_shortly_after_a_look_waits_for_company),
        cmocka_unit_test(test_store_time_is_estimated_within_what_an_answer_allows),
        cmocka_unit_test(test_a_save_is_looked_at_soon_and_armed_once),
        cmocka_unit_test(test_a_nearer_moment_is_armed_and_on_the_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
