/* The rules of clocks: what time does. Every mode with every action, what can be done afterwards,
 * who wins, and warnings. */
#include "clock_fixture.h"

struct row {
    const char *script;
    /* by mode, then end_session, skip, auto_switch, notify */
    const char *expected[CLOCK_N_MODES][CLOCK_N_ACTIONS];
};

/* A minute passes before anybody acts: time is booked as of the deadlines. With notify the
 * turn stands from there on. */
static const struct row all_deadlines = {
    "start @60000 expire expire expire expire expire",
    {
        {"-@- a:10000/0*1! b:0/10000*0 c:0/10000*0 | a>end blue wins early early early early",
         "-@- a:10000/0*1! b:10000/0*1! c:10000/0*1! | a>b b>c c>end early early",
         "-@- a:10000/0*1! b:10000/0*1! c:10000/0*1! | a>b b>c c>end early early",
         "a@- a:10000/0*0! b:0/10000*0 c:0/10000*0 | a>a early early early early"},
        {"-@- a:5000/0*1! b:0/5000*0 c:0/5000*0 | a>end blue wins early early early early",
         "-@- a:5000/0*1! b:5000/0*1! c:5000/0*1! | a>b b>c c>end early early",
         "c@25000 a:10000/5000*2 b:10000/5000*2 c:5000/5000*1 | a>b b>c c>a a>b b>c",
         "a@- a:5000/0*0! b:0/5000*0 c:0/5000*0 | a>a early early early early"},
        {"-@- a:10000/0*1! b:0/10000*0 c:0/0*0! | a>end blue wins early early early early",
         "-@- a:10000/0*1! b:10000/0*1! c:0/0*0! | a>b b>end early early early",
         "-@- a:10000/0*1! b:10000/0*1! c:0/0*0! | a>b b>end early early early",
         "a@- a:10000/0*0! b:0/10000*0 c:0/0*0! | a>a early early early early"},
        {"-@- a:10000/0*1! b:0/0*0! c:0/0*0! | a>end early early early early",
         "-@- a:10000/0*1! b:0/0*0! c:0/0*0! | a>end early early early early",
         "-@- a:10000/0*1! b:0/0*0! c:0/0*0! | a>end early early early early",
         "a@- a:10000/0*0! b:0/0*0! c:0/0*0! | a>a early early early early"},
        {"-@- a:8000/0*1! b:0/8000*0 c:0/8000*0 | a>end blue wins early early early early",
         "-@- a:8000/0*1! b:8000/0*1! c:8000/0*1! | a>b b>c c>end early early",
         "-@- a:8000/0*1! b:8000/0*1! c:8000/0*1! | a>b b>c c>end early early",
         "a@- a:8000/0*0! b:0/8000*0 c:0/8000*0 | a>a early early early early"},
    }};

/* A switch after it: who ran out has no increment, and no turn. */
static const struct row then_a_switch = {
    "start @10000 expire @13000 switch",
    {
        {"-@- a:10000/0*1! b:0/10000*0 c:0/10000*0 | a>end blue wins invalid_transition",
         "c@13000 a:10000/0*1! b:3000/9000*1 c:0/10000*0 | a>b b>c:3000",
         "c@13000 a:10000/0*1! b:3000/9000*1 c:0/10000*0 | a>b b>c:3000",
         "b@13000 a:10000/0*1! b:0/10000*0 c:0/10000*0 | a>a a>b:0"},
        {"-@- a:5000/0*1! b:0/5000*0 c:0/5000*0 | a>end blue wins invalid_transition",
         "c@13000 a:5000/0*1! b:5000/5000*1 c:0/5000*0 | a>b b>c:5000",
         "c@13000 a:5000/5000*1 b:5000/5000*1 c:0/5000*0 | a>b b>c:5000",
         "b@13000 a:5000/5000*1 b:0/5000*0 c:0/5000*0 | a>a a>b:0"},
        {"-@- a:10000/0*1! b:0/10000*0 c:0/0*0! | a>end blue wins invalid_transition",
         "b@13000 a:10000/0*1! b:3000/7000*1 c:0/0*0! | a>b b>b:3000",
         "b@13000 a:10000/0*1! b:3000/7000*1 c:0/0*0! | a>b b>b:3000",
         "b@13000 a:10000/0*1! b:0/10000*0 c:0/0*0! | a>a a>b:0"},
        {"-@- a:10000/0*1! b:0/0*0! c:0/0*0! | a>end invalid_transition",
         "-@- a:10000/0*1! b:0/0*0! c:0/0*0! | a>end invalid_transition",
         "-@- a:10000/0*1! b:0/0*0! c:0/0*0! | a>end invalid_transition",
         "a@- a:10000/0*0! b:0/0*0! c:0/0*0! | a>a invalid_transition"},
        {"-@- a:8000/0*1! b:0/8000*0 c:0/8000*0 | a>end blue wins invalid_transition",
         "c@13000 a:8000/0*1! b:5000/3000*1 c:0/8000*0 | a>b b>c:5000",
         "c@13000 a:8000/0*1! b:5000/3000*1 c:0/8000*0 | a>b b>c:5000",
         "b@13000 a:8000/0*1! b:0/8000*0 c:0/8000*0 | a>a a>b:0"},
    }};

/* Time given to who ran out: it is in the rotation again; the turn that stands (notify) goes on. */
static const struct row then_time_is_given = {
    "start @10000 expire @11000 adjust=a:3000 start @12000 stop",
    {
        {"a@- a:11000/2000*1 b:0/10000*0 c:0/10000*0 | a>end blue wins",
         "b@- a:10000/3000*1 b:2000/8000*0 c:0/10000*0 | a>b",
         "b@- a:10000/3000*1 b:2000/8000*0 c:0/10000*0 | a>b",
         "a@- a:11000/2000*0 b:0/10000*0 c:0/10000*0 | a>a"},
        {"a@- a:6000/2000*1 b:0/5000*0 c:0/5000*0 | a>end blue wins",
         "b@- a:5000/3000*1 b:5000/0*0 c:0/5000*0 | a>b",
         "b@- a:5000/8000*1 b:5000/0*0 c:0/5000*0 | a>b",
         "a@- a:6000/2000*0 b:0/5000*0 c:0/5000*0 | a>a"},
        {"a@- a:11000/2000*1 b:0/10000*0 c:0/2000*0 | a>end blue wins",
         "b@- a:10000/3000*1 b:2000/8000*0 c:0/3000*0 | a>b",
         "b@- a:10000/3000*1 b:2000/8000*0 c:0/3000*0 | a>b",
         "a@- a:11000/2000*0 b:0/10000*0 c:0/2000*0 | a>a"},
        {"a@- a:11000/2000*1 b:0/2000*0 c:0/2000*0 | a>end",
         "a@- a:11000/2000*1 b:0/2000*0 c:0/2000*0 | a>end",
         "a@- a:11000/2000*1 b:0/2000*0 c:0/2000*0 | a>end",
         "a@- a:11000/2000*0 b:0/2000*0 c:0/2000*0 | a>a"},
        {"a@- a:9000/2000*1 b:0/8000*0 c:0/8000*0 | a>end blue wins",
         "b@- a:8000/3000*1 b:4000/4000*0 c:0/8000*0 | a>b",
         "b@- a:8000/3000*1 b:4000/4000*0 c:0/8000*0 | a>b",
         "a@- a:9000/2000*0 b:0/8000*0 c:0/8000*0 | a>a"},
    }};

static void play(const struct row *row) {
    for (unsigned mode = 0; mode < CLOCK_N_MODES; mode++)
        for (unsigned action = 0; action < CLOCK_N_ACTIONS; action++)
            fixture_expect(fixture_clock((enum clock_mode)mode, (enum clock_action)action),
                           row->script, row->expected[mode][action]);
}

static void test_every_action_in_every_mode(void **state) {
    (void)state;
    play(&all_deadlines);
}

static void test_a_switch_after_the_deadline(void **state) {
    (void)state;
    play(&then_a_switch);
}

static void test_time_given_after_the_deadline(void **state) {
    (void)state;
    play(&then_time_is_given);
}

static void test_the_deadline_is_reached_not_passed(void **state) {
    (void)state;
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 2),
                   "expire start @9999 expire @10000 expire",
                   "b@10000 a:10000/0*1! b:0/10000*0 | early early a>b");
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 2),
                   "start @9999 stop @50000 expire start @50001 expire",
                   "b@50001 a:10000/0*1! b:0/10000*0 | early a>b");
}

/* Once only: it stands at 0 over a pause, and nobody can be given the turn who has no time. */
static void test_notify_tells_once(void **state) {
    (void)state;
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_NOTIFY, 2),
                   "start @10000 expire @11000 stop @12000 start @13000 expire to=a of=b switch",
                   "b@13000 a:10000/0*1! b:0/10000*0 | a>a early invalid_value "
                   "not_active_participant a>b:0");
    fixture_expect(fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_NOTIFY, 2),
                   "start @10000 expire switch @20000 expire switch to=a",
                   "b@- a:10000/0*1! b:10000/0*0! | a>a a>b:0 b>b invalid_transition "
                   "invalid_value");
    /* a turn of one's own is whole each time */
    fixture_expect(fixture_of(CLOCK_PER_CYCLE, CLOCK_NOTIFY, 1),
                   "start @5000 expire @7000 switch @8000 stop", "a@- a:6000/4000*1 | a>a a>a:0");
    fixture_expect(fixture_of(CLOCK_PER_CYCLE, CLOCK_NOTIFY, 2),
                   "start @5000 expire @7000 to=a @8000 stop",
                   "a@- a:6000/4000*1 b:0/5000*0 | a>a a>a:0");
    /* adjusted by nothing is not given time */
    fixture_expect(fixture_of(CLOCK_GLOBAL, CLOCK_NOTIFY, 1),
                   "start @10000 expire adjust=a:0 start @20000 expire",
                   "a@- a:10000/0*0! | a>a early");
}

/* ---- Who wins ---- */

/* Ends by a's deadline; groups: of each participant, a letter or - for none. */
static void expect_winner(const char *groups, const char *script, const char *expected) {
    struct clock c = fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_END_SESSION, strlen(groups));
    for (size_t i = 0; i < c.n_participants; i++) {
        snprintf(c.participants[i].group, 2, "%s", groups[i] == '-' ? "" : &groups[i]);
    }
    _cleanup_(freep) char *line = fixture_play(&c, script);
    assert_string_equal(strchr(line, '|'), expected);
    clock_done(&c);
}

static void test_one_of_two_sides_wins(void **state) {
    (void)state;
    const char *play_out = "start @10000 expire";
    expect_winner("-", play_out, "| a>end");
    expect_winner("--", play_out, "| a>end b wins");
    expect_winner("---", play_out, "| a>end");
    expect_winner("xy", play_out, "| a>end y wins");
    expect_winner("xx", play_out, "| a>end");
    expect_winner("xyx", play_out, "| a>end y wins");
    expect_winner("xyy", play_out, "| a>end y wins");
    expect_winner("xyz", play_out, "| a>end");
    expect_winner("x-", play_out, "| a>end b wins");
    expect_winner("x-x", play_out, "| a>end");
    expect_winner("xyx", "start @1000 switch @11000 expire", "| a>b:1000 b>end x wins");
    /* who has no time left either has not won */
    expect_winner("--", "adjust=b:-10000 start @10000 expire", "| a>end");
    expect_winner("xyy", "adjust=b:-10000 start @10000 expire", "| a>end y wins");
    expect_winner("xyy", "adjust=b:-10000 adjust=c:-10000 start @10000 expire", "| a>end");
}

/* ---- Warnings ---- */

static struct clock warning_clock(void) {
    struct clock c = fixture_of(CLOCK_PER_PARTICIPANT, CLOCK_SKIP, 2);
    c.warnings[0] = 10000;
    c.warnings[1] = 5000;
    c.warnings[2] = 1000;
    c.n_warnings = 3;
    return c;
}

static int64_t next_at(const struct clock *c, int64_t told) {
    int64_t at = clock_next_at(c, told);
    return at ? at - NOON : 0;
}

static void test_warnings_come_in_their_order(void **state) {
    (void)state;
    struct clock c = warning_clock();
    assert_int_equal(clock_next_at(&c, 0), 0); /* it stands */
    assert_int_equal(clock_deadline(&c), 0);
    assert_int_equal(clock_warning(&c, 0, NOON), 0);
    clock_start(&c, NOON);
    assert_int_equal(clock_deadline(&c), NOON + 10000);
    /* 10000 ms before the end is the beginning: nothing to tell */
    assert_int_equal(clock_warning(&c, 0, NOON), 0);
    assert_int_equal(next_at(&c, 0), 5000);
    assert_int_equal(clock_warning(&c, 0, NOON + 4999), 0);
    assert_int_equal(clock_warning(&c, 0, NOON + 5000), 5000);
    assert_int_equal(clock_warning(&c, NOON + 5000, NOON + 5001), 0);
    assert_int_equal(next_at(&c, NOON + 4999), 5000);
    assert_int_equal(next_at(&c, NOON + 5000), 9000);
    assert_int_equal(clock_warning(&c, NOON + 5000, NOON + 9000), 1000);
    assert_int_equal(next_at(&c, NOON + 9000), 10000);
    assert_int_equal(next_at(&c, NOON + 10000), 10000);
    clock_done(&c);
}

static void test_a_late_warning_is_the_nearest_one(void **state) {
    (void)state;
    struct clock c = warning_clock();
    clock_start(&c, NOON);
    assert_int_equal(clock_warning(&c, 0, NOON + 9999), 1000);
    assert_int_equal(clock_warning(&c, NOON + 9000, NOON + 9999), 0);
    assert_int_equal(clock_warning(&c, 0, NOON + 10000), 0); /* the deadline says more */
    clock_done(&c);
}

static void test_a_turn_has_its_own_warnings(void **state) {
    (void)state;
    struct clock c = warning_clock();
    struct clock_switched done;
    clock_start(&c, NOON);
    assert_int_equal(clock_switch(&c, NULL, NULL, NOON + 7000, &done, NULL), 0);
    assert_int_equal(next_at(&c, NOON + 5000), 12000);
    assert_int_equal(clock_switch(&c, NULL, NULL, NOON + 7000, &done, NULL), 0);
    /* a: 3000 + 2000 are left, so 5000 before the end is its beginning; b had 2000 more */
    assert_int_equal(clock_deadline(&c), NOON + 12000);
    assert_int_equal(clock_warning(&c, 0, NOON + 7000), 0);
    assert_int_equal(next_at(&c, NOON + 5000), 11000);
    /* a pause moves them, and what was given tells them again */
    clock_stop(&c, NOON + 11500);
    assert_int_equal(clock_next_at(&c, NOON + 11000), 0);
    clock_start(&c, NOON + 20000);
    assert_int_equal(next_at(&c, NOON + 11000), 20500);
    assert_int_equal(clock_adjust(&c, "a", 6000, NOON + 20000, NULL), 0);
    assert_int_equal(next_at(&c, NOON + 11000), 21500);
    clock_done(&c);
}

static void test_where_no_time_ends_nothing_warns(void **state) {
    (void)state;
    struct clock c = warning_clock();
    c.mode = CLOCK_COUNT_UP;
    c.max_ms = 0;
    clock_start(&c, NOON);
    assert_int_equal(clock_next_at(&c, 0), 0);
    assert_int_equal(clock_warning(&c, 0, NOON + 5000), 0);
    clock_done(&c);
    c = warning_clock();
    c.n_warnings = 0;
    clock_start(&c, NOON);
    assert_int_equal(next_at(&c, 0), 10000);
    assert_int_equal(clock_warning(&c, 0, NOON + 9999), 0);
    clock_done(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_action_in_every_mode),
        cmocka_unit_test(test_a_switch_after_the_deadline),
        cmocka_unit_test(test_time_given_after_the_deadline),
        cmocka_unit_test(test_the_deadline_is_reached_not_passed),
        cmocka_unit_test(test_notify_tells_once),
        cmocka_unit_test(test_one_of_two_sides_wins),
        cmocka_unit_test(test_warnings_come_in_their_order),
        cmocka_unit_test(test_a_late_warning_is_the_nearest_one),
        cmocka_unit_test(test_a_turn_has_its_own_warnings),
        cmocka_unit_test(test_where_no_time_ends_nothing_warns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
