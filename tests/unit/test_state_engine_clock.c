/* The rules of clocks, as tables: every mode with every command, whatever happens on timeout, and
 * what is said about turns, increments, groups and adjustments. Time that runs out is in
 * test_state_engine_clock_time.c. */
#include "clock_fixture.h"

struct row {
    const char *script;
    const char
        *expected[CLOCK_N_MODES]; /* per_participant, per_cycle, per_group, global, count_up */
};

static const struct row rows[] = {
    {"start",
     {"a@0 a:0/10000*0 b:0/10000*0 c:0/10000*0", "a@0 a:0/5000*0 b:0/5000*0 c:0/5000*0",
      "a@0 a:0/10000*0 b:0/10000*0 c:0/10000*0", "a@0 a:0/10000*0 b:0/10000*0 c:0/10000*0",
      "a@0 a:0/8000*0 b:0/8000*0 c:0/8000*0"}},
    /* paused, and again */
    {"start @3000 stop",
     {"a@- a:3000/7000*0 b:0/10000*0 c:0/10000*0", "a@- a:3000/2000*0 b:0/5000*0 c:0/5000*0",
      "a@- a:3000/7000*0 b:0/10000*0 c:0/7000*0", "a@- a:3000/7000*0 b:0/7000*0 c:0/7000*0",
      "a@- a:3000/5000*0 b:0/8000*0 c:0/8000*0"}},
    {"start @3000 stop @9000 start @9500 stop",
     {"a@- a:3500/6500*0 b:0/10000*0 c:0/10000*0", "a@- a:3500/1500*0 b:0/5000*0 c:0/5000*0",
      "a@- a:3500/6500*0 b:0/10000*0 c:0/6500*0", "a@- a:3500/6500*0 b:0/6500*0 c:0/6500*0",
      "a@- a:3500/4500*0 b:0/8000*0 c:0/8000*0"}},
    {"start @3000 stop @9000 switch",
     {"a@- a:3000/7000*0 b:0/10000*0 c:0/10000*0 | invalid_transition",
      "a@- a:3000/2000*0 b:0/5000*0 c:0/5000*0 | invalid_transition",
      "a@- a:3000/7000*0 b:0/10000*0 c:0/7000*0 | invalid_transition",
      "a@- a:3000/7000*0 b:0/7000*0 c:0/7000*0 | invalid_transition",
      "a@- a:3000/5000*0 b:0/8000*0 c:0/8000*0 | invalid_transition"}},
    /* to the next, which is of the other group; round and round */
    {"start @3000 switch",
     {"b@3000 a:3000/9000*1 b:0/10000*0 c:0/10000*0 | a>b:3000",
      "b@3000 a:3000/5000*1 b:0/5000*0 c:0/5000*0 | a>b:3000",
      "b@3000 a:3000/9000*1 b:0/10000*0 c:0/9000*0 | a>b:3000",
      "b@3000 a:3000/9000*1 b:0/9000*0 c:0/9000*0 | a>b:3000",
      "b@3000 a:3000/5000*1 b:0/8000*0 c:0/8000*0 | a>b:3000"}},
    {"start @4000 switch @6000 switch @7000 switch",
     {"a@7000 a:4000/8000*1 b:2000/10000*1 c:1000/11000*1 | a>b:4000 b>c:2000 c>a:1000",
      "a@7000 a:4000/5000*1 b:2000/5000*1 c:1000/5000*1 | a>b:4000 b>c:2000 c>a:1000",
      "a@7000 a:4000/7000*1 b:2000/10000*1 c:1000/7000*1 | a>b:4000 b>c:2000 c>a:1000",
      "a@7000 a:4000/9000*1 b:2000/9000*1 c:1000/9000*1 | a>b:4000 b>c:2000 c>a:1000",
      "a@7000 a:4000/4000*1 b:2000/6000*1 c:1000/7000*1 | a>b:4000 b>c:2000 c>a:1000"}},
    /* to another of the group: its time goes on running, without increment */
    {"start @3000 to=c",
     {"c@3000 a:3000/9000*1 b:0/10000*0 c:0/10000*0 | a>c:3000",
      "c@3000 a:3000/5000*1 b:0/5000*0 c:0/5000*0 | a>c:3000",
      "c@3000 a:3000/7000*1 b:0/10000*0 c:0/7000*0 | a>c:3000",
      "c@3000 a:3000/9000*1 b:0/9000*0 c:0/9000*0 | a>c:3000",
      "c@3000 a:3000/5000*1 b:0/8000*0 c:0/8000*0 | a>c:3000"}},
    /* to oneself: a lap */
    {"start @3000 to=a",
     {"a@3000 a:3000/9000*1 b:0/10000*0 c:0/10000*0 | a>a:3000",
      "a@3000 a:3000/5000*1 b:0/5000*0 c:0/5000*0 | a>a:3000",
      "a@3000 a:3000/7000*1 b:0/10000*0 c:0/7000*0 | a>a:3000",
      "a@3000 a:3000/9000*1 b:0/9000*0 c:0/9000*0 | a>a:3000",
      "a@3000 a:3000/5000*1 b:0/8000*0 c:0/8000*0 | a>a:3000"}},
    /* who may end the turn, and whom it may go to */
    {"start @3000 of=b to=x of=a of=a",
     {"b@3000 a:3000/9000*1 b:0/10000*0 c:0/10000*0 | not_active_participant invalid_value "
      "a>b:3000 not_active_participant",
      "b@3000 a:3000/5000*1 b:0/5000*0 c:0/5000*0 | not_active_participant invalid_value "
      "a>b:3000 not_active_participant",
      "b@3000 a:3000/9000*1 b:0/10000*0 c:0/9000*0 | not_active_participant invalid_value "
      "a>b:3000 not_active_participant",
      "b@3000 a:3000/9000*1 b:0/9000*0 c:0/9000*0 | not_active_participant invalid_value "
      "a>b:3000 not_active_participant",
      "b@3000 a:3000/5000*1 b:0/8000*0 c:0/8000*0 | not_active_participant invalid_value "
      "a>b:3000 not_active_participant"}},
    {"switch",
     {"-@- a:0/10000*0 b:0/10000*0 c:0/10000*0 | invalid_transition",
      "-@- a:0/5000*0 b:0/5000*0 c:0/5000*0 | invalid_transition",
      "-@- a:0/10000*0 b:0/10000*0 c:0/10000*0 | invalid_transition",
      "-@- a:0/10000*0 b:0/10000*0 c:0/10000*0 | invalid_transition",
      "-@- a:0/8000*0 b:0/8000*0 c:0/8000*0 | invalid_transition"}},
    /* time given: to the active one, to another one, to another one of the group */
    {"start @1000 adjust=a:4000",
     {"a@1000 a:1000/13000*0 b:0/10000*0 c:0/10000*0", "a@1000 a:1000/8000*0 b:0/5000*0 c:0/5000*0",
      "a@1000 a:1000/13000*0 b:0/10000*0 c:0/13000*0",
      "a@1000 a:1000/13000*0 b:0/13000*0 c:0/13000*0",
      "a@1000 a:1000/11000*0 b:0/8000*0 c:0/8000*0"}},
    {"start @1000 adjust=b:4000",
     {"a@1000 a:1000/9000*0 b:0/14000*0 c:0/10000*0", "a@1000 a:1000/4000*0 b:0/9000*0 c:0/5000*0",
      "a@1000 a:1000/9000*0 b:0/14000*0 c:0/9000*0",
      "a@1000 a:1000/13000*0 b:0/13000*0 c:0/13000*0",
      "a@1000 a:1000/7000*0 b:0/12000*0 c:0/8000*0"}},
    {"start @1000 adjust=c:4000",
     {"a@1000 a:1000/9000*0 b:0/10000*0 c:0/14000*0", "a@1000 a:1000/4000*0 b:0/5000*0 c:0/9000*0",
      "a@1000 a:1000/13000*0 b:0/10000*0 c:0/13000*0",
      "a@1000 a:1000/13000*0 b:0/13000*0 c:0/13000*0",
      "a@1000 a:1000/7000*0 b:0/8000*0 c:0/12000*0"}},
    /* time taken from a clock that stands; what is taken from all is nobody's turn any more */
    {"adjust=b:-1000",
     {"-@- a:0/10000*0 b:0/9000*0 c:0/10000*0", "-@- a:0/5000*0 b:0/4000*0 c:0/5000*0",
      "-@- a:0/10000*0 b:0/9000*0 c:0/10000*0", "-@- a:0/9000*0 b:0/9000*0 c:0/9000*0",
      "-@- a:0/8000*0 b:0/7000*0 c:0/8000*0"}},
    {"start @1000 adjust=x:1 adjust=a:-9001 adjust=b:86400000",
     {"a@0 a:0/10000*0 b:0/10000*0 c:0/10000*0 | not_found invalid_value invalid_value",
      "a@0 a:0/5000*0 b:0/5000*0 c:0/5000*0 | not_found invalid_value invalid_value",
      "a@0 a:0/10000*0 b:0/10000*0 c:0/10000*0 | not_found invalid_value invalid_value",
      "a@0 a:0/10000*0 b:0/10000*0 c:0/10000*0 | not_found invalid_value invalid_value",
      "a@0 a:0/8000*0 b:0/8000*0 c:0/8000*0 | not_found invalid_value invalid_value"}},
};

static void test_commands_do_the_same_whatever_the_action(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++)
        for (unsigned mode = 0; mode < CLOCK_N_MODES; mode++)
            for (unsigned action = 0; action < CLOCK_N_ACTIONS; action++)
                fixture_expect(fixture_clock((enum clock_mode)mode, (enum clock_action)action),
                               rows[i].script, rows[i].expected[mode]);
}

/* ---- Particulars ---- */

static struct clock unbounded(size_t n) {
    struct clock c = fixture_of(CLOCK_COUNT_UP, CLOCK_END_SESSION, n);
    c.max_ms = 0;
    for (size_t i = 0; i < n; i++)
        c.participants[i].remaining_ms = 0;
    return c;
}

static void test_a_stopwatch_has_no_end_and_no_time_to_give(void **state) {
    (void)state;
    fixture_expect(unbounded(2), "start @5000 switch @6000 switch @90000000 stop",
                   "a@- a:89999000/0*1 b:1000/0*1 | a>b:5000 b>a:1000");
    fixture_expect(unbounded(1), "start @5000 switch @7000 switch @7100 expire stop",
                   "a@- a:7100/0*2 | a>a:5000 a>a:2000 early");
    fixture_expect(unbounded(1), "start @5000 adjust=a:1 adjust=a:-1",
                   "a@0 a:0/0*0 | invalid_value invalid_value");
}

static void test_what_is_overtaken_does_nothing(void **state) {
    (void)state;
    const struct clock c = fixture_clock(CLOCK_PER_PARTICIPANT, CLOCK_SKIP);
    struct clock copy;
    clock_copy(&c, &copy);
    fixture_expect(copy, "stop", "-@- a:0/10000*0 b:0/10000*0 c:0/10000*0");
    clock_copy(&c, &copy);
    fixture_expect(copy, "start @3000 start", "a@0 a:0/10000*0 b:0/10000*0 c:0/10000*0");
    fixture_expect(c, "start @3000 stop @4000 stop", "a@- a:3000/7000*0 b:0/10000*0 c:0/10000*0");
}

static void test_increments_stop_at_the_bound(void **state) {
    (void)state;
    struct clock c = fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 1);
    c.participants[0].remaining_ms = c.participants[0].total_ms = CLOCK_TIME_MAX_MS;
    fixture_expect(c, "start @500 switch", "a@500 a:500/86400000*1 | a>a:500");
    c = fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 1);
    c.participants[0].remaining_ms = c.participants[0].total_ms = CLOCK_TIME_MAX_MS - 2000;
    fixture_expect(c, "start switch", "a@0 a:0/86400000*1 | a>a:0");
}

static void test_adjustments_end_at_nothing_and_at_the_bound(void **state) {
    (void)state;
    const struct {
        const char *script, *expected;
    } cases[] = {
        {"start @1000 adjust=a:-9000", "a@1000 a:1000/0*0 b:0/10000*0"},
        {"start @1000 adjust=a:-9001", "a@0 a:0/10000*0 b:0/10000*0 | invalid_value"},
        {"start @1000 adjust=a:86391000", "a@1000 a:1000/86400000*0 b:0/10000*0"},
        {"start @1000 adjust=a:86391001", "a@0 a:0/10000*0 b:0/10000*0 | invalid_value"},
        {"adjust=b:-10000", "-@- a:0/10000*0 b:0/0*0"},
        {"adjust=b:-10001", "-@- a:0/10000*0 b:0/10000*0 | invalid_value"},
        {"adjust=b:86390000", "-@- a:0/10000*0 b:0/86400000*0"},
        {"adjust=b:86390001", "-@- a:0/10000*0 b:0/10000*0 | invalid_value"},
        {"adjust=b:9223372036854775807", "-@- a:0/10000*0 b:0/10000*0 | invalid_value"},
        {"adjust=b:-9223372036854775808", "-@- a:0/10000*0 b:0/10000*0 | invalid_value"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++)
        fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 2), cases[i].script,
                       cases[i].expected);
}

/* Whose time was taken away is passed over; a turn whose time was taken away is over at once. */
static void test_who_has_no_time_has_no_turn(void **state) {
    (void)state;
    fixture_expect(fixture_clock(CLOCK_PER_PARTICIPANT, CLOCK_SKIP),
                   "adjust=a:-10000 start @1000 switch @2000 switch to=a",
                   "b@2000 a:0/0*0 b:1000/11000*1 c:1000/11000*1 | b>c:1000 c>b:1000 "
                   "invalid_value");
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 2),
                   "start @1000 adjust=a:-9000 expire", "b@1000 a:1000/0*1! b:0/10000*0 | a>b");
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 2),
                   "start @1000 stop adjust=a:-9000 @5000 start expire",
                   "b@5000 a:1000/0*1! b:0/10000*0 | a>b");
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 1), "adjust=a:-10000 start switch",
                   "-@- a:0/0*0 | invalid_transition");
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 1),
                   "adjust=a:-10000 start adjust=a:500 @2000 start", "a@2000 a:0/500*0");
}

/* A time that is given to a turn to come is that turn's; the one after it is whole again. */
static void test_the_next_turn_begins_with_what_it_was_given(void **state) {
    (void)state;
    fixture_expect(fixture_of(CLOCK_PER_CYCLE, CLOCK_AUTO_SWITCH, 2),
                   "start adjust=b:3000 @1000 switch @9000 expire",
                   "a@9000 a:1000/5000*1 b:8000/5000*1 | a>b:1000 b>a");
}

/* The bounds of a day are nothing to it. */
static void test_midnight_is_a_moment_like_others(void **state) {
    (void)state;
    /* 43 200 000 ms after noon */
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 2),
                   "@43199000 start @43200500 switch @43211000 expire",
                   "a@43210500 a:1500/10500*1 b:10000/0*1! | a>b:1500 b>a");
}

static void test_time_that_steps_back_takes_nothing(void **state) {
    (void)state;
    static const char *const expected[] = {
        "b@5000 a:0/12000*1 b:0/10000*0 | a>b:0", "b@5000 a:0/5000*1 b:0/5000*0 | a>b:0",
        "b@5000 a:0/12000*1 b:0/10000*0 | a>b:0", "b@5000 a:0/12000*1 b:0/12000*0 | a>b:0",
        "b@5000 a:0/8000*1 b:0/8000*0 | a>b:0"};
    for (unsigned mode = 0; mode < CLOCK_N_MODES; mode++)
        fixture_expect(fixture_of((enum clock_mode)mode, CLOCK_SKIP, 2), "@5000 start @2000 switch",
                       expected[mode]);
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 2),
                   "@5000 start @-9000000000 stop", "a@- a:0/10000*0 b:0/10000*0");
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 2),
                   "@5000 start @2000 adjust=a:-1 expire", "a@5000 a:0/9999*0 b:0/10000*0 | early");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_do_the_same_whatever_the_action),
        cmocka_unit_test(test_a_stopwatch_has_no_end_and_no_time_to_give),
        cmocka_unit_test(test_what_is_overtaken_does_nothing),
        cmocka_unit_test(test_increments_stop_at_the_bound),
        cmocka_unit_test(test_adjustments_end_at_nothing_and_at_the_bound),
        cmocka_unit_test(test_who_has_no_time_has_no_turn),
        cmocka_unit_test(test_the_next_turn_begins_with_what_it_was_given),
        cmocka_unit_test(test_midnight_is_a_moment_like_others),
        cmocka_unit_test(test_time_that_steps_back_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
