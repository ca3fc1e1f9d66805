/* A clock in Redis: saved and loaded with its session, read by who does not write, given back by a
 * recovery, and told of without a version. */
#include "common/store_recover.h"
#include "tests/integration/store_batch_fixture.h"
#include "tests/integration/store_run.h"

#define CLOCK                                                                                      \
    "{\"mode\":\"per_participant\",\"totalTimeMs\":600000,\"participants\":[{\"participantId\":"   \
    "\"white\",\"timeRemainingMs\":600000,\"isActive\":true}],"                                    \
    "\"cycleStartedAt\":\"2026-02-12T12:00:00.004Z\"}"
#define OTHER_CLOCK "{\"mode\":\"global\"}"
#define AT 1770898200004
#define TOLD 1770898190004

static void give_clock(struct session *s) {
    assert_int_equal(session_take_clock(s, CLOCK, strlen(CLOCK), true), 0);
    s->clock_at = AT;
    s->clock_told = TOLD;
}

static void expect_clock(const struct session *s) {
    assert_string_equal(s->clock_text, CLOCK);
    assert_int_equal(s->clock_len, strlen(CLOCK));
    assert_true(session_clock_runs(s));
    assert_int_equal(s->clock_at, AT);
    assert_int_equal(s->clock_told, TOLD);
}

static void create_with_clock(struct fixture *f) {
    fixture_session(&f->session);
    give_clock(&f->session);
    assert_int_equal(fixture_save_one(f->batch, fixture_save(&f->session, 5)), STORE_SAVED);
}

static void test_it_is_loaded_as_it_was_saved(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    create_with_clock(f);
    struct store_load l = fixture_load(f->batch, s->id, false, NULL, 0);
    assert_int_equal(l.err, 0);
    expect_clock(&l.session);
    assert_string_equal(l.session.data_text, s->data_text);
    store_load_done(&l);

    s->position.version++; /* another one, which stands */
    assert_int_equal(session_take_clock(s, OTHER_CLOCK, strlen(OTHER_CLOCK), false), 0);
    s->clock_at = s->clock_told = 0;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 6)), STORE_SAVED);
    l = fixture_load(f->batch, s->id, false, NULL, 0);
    assert_string_equal(l.session.clock_text, OTHER_CLOCK);
    assert_false(session_clock_runs(&l.session));
    assert_int_equal(l.session.clock_at, 0);
    assert_int_equal(l.session.clock_told, 0);
    store_load_done(&l);
}

/* Meta alone tells when it is to be looked at, and that it runs. */
static void test_meta_is_enough_to_know_when(void **state) {
    struct fixture *f = *state;
    create_with_clock(f);
    struct store_load l = {0};
    int64_t now;
    fixture_set_id(l.session_id, f->session.id);
    assert_int_equal(store_batch_load(f->batch, &l, 1, &now), 0);
    assert_int_equal(l.err, 0);
    assert_null(l.session.clock_text);
    assert_true(session_clock_runs(&l.session));
    assert_int_equal(l.session.clock_at, AT);
    assert_int_equal(session_expires_at(&l.session), 0);
    store_load_done(&l);
}

static void test_a_reader_sees_it(void **state) {
    struct fixture *f = *state;
    struct run run;
    create_with_clock(f);
    start_up(&run);
    assert_int_equal(read_one(&run, f->session.id), 0);
    expect_clock(&run.session);
    stop(&run);
}

static void test_a_damaged_one_is_bad(void **state) {
    struct fixture *f = *state;
    struct run run;
    create_with_clock(f);
    char *text = must_strdup(fixture_ask(f->redis, "GET session:{%s}:state", f->session.id));
    *strstr(text, "[{\"participantId") = '(';
    fixture_ask(f->redis, "SET session:{%s}:state %s", f->session.id, text);
    struct store_load l = fixture_load(f->batch, f->session.id, false, NULL, 0);
    assert_int_equal(l.err, -EBADMSG);
    store_load_done(&l);
    start_up(&run);
    assert_int_equal(read_one(&run, f->session.id), -EBADMSG);
    stop(&run);
    free(text);
}

/* ---- without a version ---- */

static void expect_moments(struct fixture *f, int64_t touched, int64_t at, int64_t told) {
    struct store_load l = fixture_load(f->batch, f->session.id, true, NULL, 0);
    assert_int_equal(l.err, 0);
    assert_int_equal(l.session.position.version, 1);
    assert_int_equal(l.n_entries, 1);
    assert_int_equal(l.session.touched_at, touched);
    assert_int_equal(l.session.clock_at, at);
    assert_int_equal(l.session.clock_told, told);
    assert_string_equal(l.session.clock_text, CLOCK);
    store_load_done(&l);
}

static struct store_save unversioned(const struct session *s, bool tells_clock) {
    return (struct store_save){.session = s,
                               .expected = s->position,
                               .tells_clock = tells_clock,
                               .told_before = TOLD,
                               .now = 7};
}

static void test_a_warning_and_a_heartbeat_may_cross(void **state) {
    struct fixture *f = *state;
    create_with_clock(f);
    int64_t touched = f->session.touched_at;
    struct session warned = f->session, beaten = f->session; /* both borrow */
    warned.clock_at = AT + 10;
    warned.clock_told = TOLD + 10;
    beaten.touched_at = touched + 20;
    assert_int_equal(fixture_save_one(f->batch, unversioned(&warned, true)), STORE_SAVED);
    expect_moments(f, touched, AT + 10, TOLD + 10);
    assert_int_equal(fixture_save_one(f->batch, unversioned(&beaten, false)), STORE_SAVED);
    expect_moments(f, touched + 20, AT + 10, TOLD + 10);
}

/* Of two engines that found the same warning due one tells it. */
static void test_a_warning_is_told_once(void **state) {
    struct fixture *f = *state;
    create_with_clock(f);
    int64_t touched = f->session.touched_at;
    struct session warned = f->session; /* borrows */
    warned.clock_told = TOLD + 10;
    assert_int_equal(fixture_save_one(f->batch, unversioned(&warned, true)), STORE_SAVED);
    warned.clock_at = AT + 99;
    assert_int_equal(fixture_save_one(f->batch, unversioned(&warned, true)), STORE_LOST);
    expect_moments(f, touched, AT, TOLD + 10);
}

static void test_a_warning_behind_another_version_is_lost(void **state) {
    struct fixture *f = *state;
    create_with_clock(f);
    struct session then = f->session;
    f->session.position.version++;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(&f->session, 6)), STORE_SAVED);
    then.clock_told = TOLD + 10;
    assert_int_equal(fixture_save_one(f->batch, unversioned(&then, true)), STORE_LOST);
}

/* ---- kept states, recovery ---- */

static void test_a_kept_state_has_it(void **state) {
    struct fixture *f = *state;
    struct session kept = {0};
    fixture_session(&f->session);
    give_clock(&f->session);
    struct store_save save = fixture_save(&f->session, 5);
    save.snapshot_id = FIXTURE_COMMAND;
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    char *text = NULL;
    size_t len;
    assert_int_equal(store_batch_snapshot(f->batch, f->session.id, 1, &text, &len), 0);
    assert_int_equal(session_parse_state(&kept, text, len), 0);
    assert_string_equal(kept.clock_text, CLOCK);
    session_done(&kept);
    free(text);
}

static void test_a_recovery_writes_it(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    struct store_found found;
    static const char event[] = "{\"type\":\"session_rebuilt\"}";
    fixture_session(s);
    give_clock(s);
    assert_int_equal(store_recover_look(f->batch, s->id, &found), 0);
    struct store_recovery recovery = {.session = s,
                                      .found = &found,
                                      .event = event,
                                      .event_len = sizeof(event) - 1,
                                      .snapshot_id = FIXTURE_COMMAND,
                                      .now = 5,
                                      .arm_at = 6};
    bool is_done = false;
    assert_int_equal(store_recover_write(f->batch, &recovery, &is_done), 0);
    assert_true(is_done);
    struct store_load l = fixture_load(f->batch, s->id, false, NULL, 0);
    assert_int_equal(l.err, 0);
    expect_clock(&l.session);
    store_load_done(&l);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_free)
    const struct CMUnitTest tests[] = {
        TEST(test_it_is_loaded_as_it_was_saved),
        TEST(test_meta_is_enough_to_know_when),
        TEST(test_a_reader_sees_it),
        TEST(test_a_damaged_one_is_bad),
        TEST(test_a_warning_and_a_heartbeat_may_cross),
        TEST(test_a_warning_is_told_once),
        TEST(test_a_warning_behind_another_version_is_lost),
        TEST(test_a_kept_state_has_it),
        TEST(test_a_recovery_writes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
