/* What holds for clocks whatever happens to them, over random sequences of what a session can do to
 * its clock. HANDOFF_TEST_SEED picks other sequences; a failure says its seed.
 *
 * 1. Time used + time remaining = time given + increments + adjustments - what was forfeited, after
 *    each step, for every account of time:
 *    - per_participant, and count_up with a maximum: one account for each participant, which was
 *      given totalTimeMs or maxTimeMs.
 *    - per_group: one for each group, which was given totalTimeMs once; all its members' used time
 *      goes from it, and each shows all that remains.
 *    - global: one for all, in the same way.
 *    - per_cycle: one for each participant. A turn's end forfeits what the turn had left, and gives
 *      timePerCycleMs, which is what shows as remaining until the next turn begins.
 *    - count_up without a maximum gives nothing: what is used is what ran, which is compared with a
 *      stopwatch of the test's own.
 * 2. Who acts late acts as in time: a clock whose deadlines are acted on only when a command comes
 *    is after each command the same, byte by byte, as one whose deadlines were acted on each in its
 *    moment. */
#include "clock_fixture.h"

#define MAX_MEMBERS 6
#define N_SEQUENCES 150 /* of each mode and action */
#define N_STEPS 60

/* splitmix64 (Steele, Lea and Flood 2014) */
static uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* least to most, both included */
static int64_t random_in(uint64_t *state, int64_t least, int64_t most) {
    return least + (int64_t)(random_next(state) % (uint64_t)(most - least + 1));
}

static uint64_t seed_of_run(void) {
    const char *text = getenv("HANDOFF_TEST_SEED");
    return text ? strtoull(text, NULL, 0) : 1;
}

struct sequence {
    struct clock late;    /* acted on before commands only */
    struct clock in_time; /* acted on in each moment */
    uint64_t random;
    int64_t now;
    bool is_active, has_ended;    /* the session */
    int64_t granted[MAX_MEMBERS]; /* by account: given, increments, adjustments, less forfeited */
    int64_t ran[MAX_MEMBERS];     /* by participant: the test's stopwatch */
};

static int64_t first_time(const struct clock *c) {
    return c->mode == CLOCK_PER_CYCLE  ? c->cycle_ms
           : c->mode == CLOCK_COUNT_UP ? c->max_ms
                                       : c->total_ms;
}

static struct clock random_clock(enum clock_mode mode, enum clock_action action, uint64_t *random) {
    struct clock c = {.mode = mode,
                      .action = action,
                      .total_ms = random_in(random, 1000, 60000),
                      .cycle_ms = random_in(random, 1000, 20000),
                      .active = CLOCK_NOBODY,
                      .n_participants = (size_t)random_in(random, 1, MAX_MEMBERS)};
    if (random_in(random, 0, 1))
        c.increment_ms = random_in(random, 0, CLOCK_INCREMENT_MAX_MS);
    if (random_in(random, 0, 2))
        c.max_ms = random_in(random, 1000, 60000);
    if (random_in(random, 0, 9) == 0) /* near the bound */
        c.total_ms = c.cycle_ms = c.max_ms = CLOCK_TIME_MAX_MS - random_in(random, 0, 20000);
    c.participants = must_alloc(c.n_participants * sizeof(*c.participants));
    for (size_t i = 0; i < c.n_participants; i++) {
        struct clock_participant *p = &c.participants[i];
        snprintf(p->id, sizeof(p->id), "p%zu", i);
        snprintf(p->group, sizeof(p->group), "g%zu", i % 3);
        p->total_ms = c.total_ms;
        p->remaining_ms = first_time(&c);
    }
    return c;
}

static size_t account_of(const struct clock *c, size_t who) {
    return c->mode == CLOCK_GLOBAL ? 0 : c->mode == CLOCK_PER_GROUP ? who % 3 : who;
}

static void check_accounts(const struct sequence *s) {
    const struct clock *c = &s->late;
    int64_t used[MAX_MEMBERS] = {0};
    for (size_t i = 0; i < c->n_participants; i++) {
        assert_true(c->participants[i].used_ms >= 0);
        used[account_of(c, i)] += c->participants[i].used_ms;
    }
    for (size_t i = 0; i < c->n_participants; i++) {
        size_t account = account_of(c, i);
        if (clock_is_unbounded(c))
            assert_int_equal(c->participants[i].used_ms, s->ran[i]);
        else
            assert_int_equal(used[account] + c->participants[i].remaining_ms, s->granted[account]);
    }
}

/* ---- What a session does to its clock ---- */

static void grant(struct sequence *s, size_t who, int64_t ms) {
    s->granted[account_of(&s->late, who)] += ms;
}

/* A turn that was ended has been booked: what it is granted for that. left: of its time. */
static void grant_turn_end(struct sequence *s, size_t who, size_t to, int64_t left, bool was_over) {
    const struct clock *c = &s->late;
    if (c->mode == CLOCK_PER_CYCLE) {
        grant(s, who, c->cycle_ms - left);
    } else if (c->mode != CLOCK_COUNT_UP && !was_over &&
               !(c->mode == CLOCK_PER_GROUP && account_of(c, who) == account_of(c, to))) {
        int64_t room = CLOCK_TIME_MAX_MS - left;
        grant(s, who, c->increment_ms < room ? c->increment_ms : room);
    }
}

/* The stopwatch: what has run until now of a clock without deadlines. */
static void watch(struct sequence *s) {
    const struct clock *c = &s->late;
    if (clock_is_unbounded(c) && clock_runs(c))
        s->ran[c->active] += s->now - c->started_at;
}

static void catch_up(struct sequence *s) {
    struct clock_expired done;
    while (clock_expire(&s->late, s->now, &done)) {
        if (s->late.mode == CLOCK_PER_CYCLE && s->late.action == CLOCK_AUTO_SWITCH)
            grant(s, done.participant, s->late.cycle_ms);
        s->has_ended |= done.ends;
        check_accounts(s);
    }
}

static void do_switch(struct sequence *s) {
    struct clock *c = &s->late;
    size_t named = (size_t)random_in(&s->random, 0, 2 * (int64_t)c->n_participants);
    const char *next = named < c->n_participants ? c->participants[named].id : NULL;
    size_t from = c->active;
    bool was_over = from != CLOCK_NOBODY && c->participants[from].has_expired;
    int64_t left = from == CLOCK_NOBODY ? 0 : c->participants[from].remaining_ms;
    struct clock_switched done, same;
    watch(s);
    int r = clock_switch(c, next, NULL, s->now, &done, NULL);
    assert_int_equal(clock_switch(&s->in_time, next, NULL, s->now, &same, NULL), r);
    if (r == 0) {
        assert_int_equal(done.from, from);
        assert_int_equal(done.to, c->active);
        assert_true(done.elapsed_ms >= 0);
        assert_int_equal(done.elapsed_ms, same.elapsed_ms);
        grant_turn_end(s, from, done.to, left - done.elapsed_ms, was_over);
    } else { /* nobody has time, or not the one that was named */
        assert_false(clock_is_unbounded(c));
    }
}

static void do_adjust(struct sequence *s) {
    struct clock *c = &s->late;
    size_t who = (size_t)random_in(&s->random, 0, (int64_t)c->n_participants - 1);
    int64_t ms = random_in(&s->random, -20000, 20000);
    int r = clock_adjust(c, c->participants[who].id, ms, s->now, NULL);
    assert_int_equal(clock_adjust(&s->in_time, c->participants[who].id, ms, s->now, NULL), r);
    if (r == 0)
        grant(s, who, ms);
    if (s->is_active) {
        clock_start(c, s->now);
        clock_start(&s->in_time, s->now);
    }
}

static void do_status(struct sequence *s) {
    s->is_active = !s->is_active;
    watch(s);
    if (s->is_active) {
        clock_start(&s->late, s->now);
        clock_start(&s->in_time, s->now);
    } else {
        clock_stop(&s->late, s->now);
        clock_stop(&s->in_time, s->now);
    }
}

/* Time passes; deadlines of one of the two are acted on at each of its moments. */
static void pass_time(struct sequence *s) {
    struct clock_expired done;
    int64_t until = s->now + random_in(&s->random, 0, 1) * random_in(&s->random, 0, 40000);
    while (clock_deadline(&s->in_time) && clock_deadline(&s->in_time) <= until) {
        s->now = clock_deadline(&s->in_time);
        assert_true(clock_expire(&s->in_time, s->now, &done));
        assert_false(clock_expire(&s->in_time, s->now - 1, &done));
    }
    s->now = until;
}

static void step(struct sequence *s) {
    pass_time(s);
    catch_up(s);
    if (s->has_ended)
        return;
    int64_t what = random_in(&s->random, 0, 9);
    if (what == 0)
        do_status(s);
    else if (what <= 3)
        do_adjust(s);
    else if (what <= 8 && s->is_active)
        do_switch(s);
}

static void expect_same(const struct sequence *s) {
    _cleanup_(freep) char *late = fixture_text(&s->late);
    _cleanup_(freep) char *in_time = fixture_text(&s->in_time);
    assert_string_equal(late, in_time);
}

static void play(enum clock_mode mode, enum clock_action action, uint64_t seed) {
    struct sequence s = {.random = seed, .now = NOON};
    s.late = random_clock(mode, action, &s.random);
    clock_copy(&s.late, &s.in_time);
    for (size_t i = 0; i < s.late.n_participants; i++)
        s.granted[account_of(&s.late, i)] = first_time(&s.late);
    do_status(&s);
    for (int i = 0; i < N_STEPS && !s.has_ended; i++) {
        step(&s);
        check_accounts(&s);
        expect_same(&s);
        fixture_check(&s.late);
    }
    clock_done(&s.late);
    clock_done(&s.in_time);
}

static void test_no_time_is_lost_or_found(void **state) {
    (void)state;
    uint64_t run = seed_of_run(), seeds = run;
    print_message("HANDOFF_TEST_SEED=%" PRIu64 "\n", run);
    for (int i = 0; i < N_SEQUENCES; i++)
        for (unsigned mode = 0; mode < CLOCK_N_MODES; mode++)
            for (unsigned action = 0; action < CLOCK_N_ACTIONS; action++)
                play((enum clock_mode)mode, (enum clock_action)action, random_next(&seeds));
}

/* ---- A wall clock that steps ---- */

/* Moments in any order: what is booked is never negative, and what remains never grows by it. */
static void test_moments_in_any_order_take_no_time_back(void **state) {
    (void)state;
    uint64_t random = seed_of_run();
    for (unsigned n = 0; n < 2000; n++) {
        enum clock_mode mode = (enum clock_mode)(n % CLOCK_N_MODES);
        struct clock c = random_clock(mode, CLOCK_SKIP, &random);
        struct clock_switched done;
        int64_t used = 0;
        clock_start(&c, NOON);
        for (int i = 0; i < 10; i++) {
            int64_t now = NOON + random_in(&random, -5000, 5000), began = c.started_at;
            if (clock_switch(&c, NULL, NULL, now, &done, NULL) != 0)
                break;
            assert_true(done.elapsed_ms >= 0 && c.started_at >= began);
            used += done.elapsed_ms;
            fixture_check(&c);
        }
        for (size_t i = 0; i < c.n_participants; i++)
            used -= c.participants[i].used_ms;
        assert_int_equal(used, 0);
        clock_done(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_time_is_lost_or_found),
        cmocka_unit_test(test_moments_in_any_order_take_no_time_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
