/* What commands, changes of status and the clock's own moments do to a session with a clock. The
 * rules of clocks are in test_state_engine_clock.c; here: what is saved, told and looked at next.
 */
#include "services/state_engine/clock.h"
#include "tests/unit/apply_fixture.h"

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define CHESS(more)                                                                                \
    "{\"mode\":\"per_participant\",\"totalTimeMs\":600000,\"incrementMs\":3000," more              \
    "\"participants\":[{\"participantId\":\"white\"},{\"participantId\":\"black\"}]}"
#define WITH(action) CHESS("\"onTimeout\":{\"action\":\"" action "\"},\"warningsMs\":[10000,1000],")

static void take_clock(struct command *c, const char *text) {
    struct fault f;
    json_auto_t *json = json_of(text);
    assert_int_equal(command_take_clock(json, c, &f), 0);
}

/* The session is what the change made of it, and what it told is done with. */
static void settle(struct world *w) {
    session_done(&w->session);
    session_copy(&w->change.next, &w->session);
    world_clear(w);
}

static void create_with(struct world *w, enum session_status status, const char *clock) {
    w->command = command_of(COMMAND_CREATE, "phone");
    w->command.name = must_strdup("Chess");
    strcpy(w->command.type, "game");
    w->command.status = status;
    take_clock(&w->command, clock);
    assert_int_equal(apply(w, NULL), 0);
}

static void open_with(struct world *w, enum session_status status, const char *clock) {
    create_with(w, status, clock);
    settle(w);
}

static int at(struct world *w, int64_t now, enum command_kind kind) {
    world_clear(w);
    w->command = command_of(kind, kind == COMMAND_DUE ? "" : "phone");
    w->context.now = now;
    return 0;
}

static int ask_due(struct world *w, int64_t now) {
    at(w, now, COMMAND_DUE);
    return apply(w, &w->session);
}

static int ask_switch(struct world *w, int64_t now, const char *next, const char *current) {
    at(w, now, COMMAND_SWITCH);
    strcpy(w->command.next_participant, next);
    strcpy(w->command.current_participant, current);
    return apply(w, &w->session);
}

static int ask_adjust(struct world *w, int64_t now, const char *participant, int64_t adjust_ms) {
    at(w, now, COMMAND_CLOCK_ADJUST);
    strcpy(w->command.clock_participant, participant);
    w->command.adjust_ms = adjust_ms;
    w->command.reason = must_strdup("a late start");
    return apply(w, &w->session);
}

static int ask_status(struct world *w, int64_t now, enum session_status to) {
    at(w, now, COMMAND_STATUS);
    w->command.status = to;
    return apply(w, &w->session);
}

static void expect_event(const struct world *w, size_t i, enum event_type type, uint64_t version) {
    assert_true(i < w->change.n_events);
    assert_int_equal(w->change.events[i].type, type);
    assert_int_equal(w->change.events[i].position.version, version);
}

static void expect_told(const struct world *w, size_t i, const char *part) {
    if (!strstr(w->change.events[i].body, part))
        fail_msg("%s\nis not in\n%s", part, w->change.events[i].body);
}

/* ---- create, set ---- */

static void test_a_create_starts_the_clock_of_an_active_session(void **state) {
    (void)state;
    struct world w = {0};
    create_with(&w, SESSION_ACTIVE, WITH("end_session"));
    const struct session *s = &w.change.next;
    assert_true(session_clock_runs(s));
    assert_int_equal(s->clock_at, NOW + 590 * SECOND); /* the first warning */
    assert_int_equal(s->clock_told, 0);
    assert_int_equal(session_expires_at(s), 0);
    expect_told(&w, 0,
                "\"activeParticipantId\":\"white\",\"cycleStartedAt\":\"2026-02-12T12:00:00");
    world_done(&w);
}

static void test_a_pending_sessions_clock_stands_and_can_be_set(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_PENDING, CHESS(""));
    assert_false(session_clock_runs(&w.session));
    assert_int_equal(w.session.clock_at, 0);
    at(&w, NOW, COMMAND_CLOCK_SET);
    take_clock(&w.command, "{\"mode\":\"global\",\"totalTimeMs\":60000,\"participants\":["
                           "{\"participantId\":\"ada\"}]}");
    assert_int_equal(apply(&w, &w.session), 0);
    assert_int_equal(change_n_versions(&w.change), 1);
    expect_event(&w, 0, EVENT_CLOCK_SET, 2);
    expect_told(&w, 0, "\"clock\":{\"mode\":\"global\"");
    assert_non_null(strstr(w.change.next.clock_text, "ada"));
    settle(&w);
    assert_int_equal(ask_status(&w, NOW, SESSION_ACTIVE), 0);
    settle(&w);
    at(&w, NOW, COMMAND_CLOCK_SET);
    take_clock(&w.command, CHESS(""));
    assert_int_equal(apply(&w, &w.session), FAULT_INVALID_TRANSITION);
    world_done(&w);
}

/* ---- status ---- */

static void test_status_starts_and_stops_it(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_PENDING, CHESS(""));
    assert_int_equal(ask_status(&w, NOW + MINUTE, SESSION_ACTIVE), 0);
    assert_int_equal(w.change.next.clock_at, NOW + 11 * MINUTE);
    expect_event(&w, 0, EVENT_STATUS_CHANGED, 2);
    expect_told(&w, 0, "\"activeParticipantId\":\"white\"");
    settle(&w);
    assert_int_equal(ask_status(&w, NOW + 2 * MINUTE, SESSION_PAUSED), 0);
    assert_false(session_clock_runs(&w.change.next));
    assert_int_equal(w.change.next.clock_at, 0);
    expect_told(&w, 0, "\"timeRemainingMs\":540000");
    settle(&w);
    assert_int_equal(ask_status(&w, NOW + 60 * MINUTE, SESSION_ACTIVE), 0);
    assert_int_equal(w.change.next.clock_at, NOW + 69 * MINUTE);
    settle(&w);
    assert_int_equal(ask_status(&w, NOW + 61 * MINUTE, SESSION_COMPLETED), 0);
    assert_false(session_clock_runs(&w.change.next));
    assert_int_equal(w.change.next.clock_at, 0);
    expect_told(&w, 0, "\"timeRemainingMs\":480000");
    world_done(&w);
}

static void test_a_takeover_leaves_it_alone(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE, CHESS(""));
    at(&w, NOW + MINUTE, COMMAND_STATUS);
    strcpy(w.command.device_id, "laptop");
    w.command.status = SESSION_ACTIVE;
    assert_int_equal(apply(&w, &w.session), 0);
    assert_string_equal(w.change.next.clock_text, w.session.clock_text);
    assert_int_equal(w.change.next.clock_at, w.session.clock_at);
    world_done(&w);
}

/* ---- switch, adjust ---- */

static void test_a_switch_is_a_version_and_moves_the_deadline(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE, CHESS(""));
    assert_int_equal(ask_switch(&w, NOW + MINUTE, "", "white"), 0);
    assert_int_equal(change_n_versions(&w.change), 1);
    expect_event(&w, 0, EVENT_CLOCK_SWITCHED, 2);
    expect_told(&w, 0, "\"from\":\"white\",\"to\":\"black\",\"elapsedMs\":60000,\"clock\":{");
    assert_int_equal(w.change.next.clock_at, NOW + 11 * MINUTE);
    settle(&w);
    assert_int_equal(ask_switch(&w, NOW + 2 * MINUTE, "", "white"), FAULT_NOT_ACTIVE_PARTICIPANT);
    assert_int_equal(ask_switch(&w, NOW + 2 * MINUTE, "red", "black"), FAULT_INVALID_VALUE);
    assert_int_equal(ask_switch(&w, NOW + 2 * MINUTE, "white", "black"), 0);
    /* 9 minutes and the increment are left. */
    assert_int_equal(w.change.next.clock_at, NOW + 11 * MINUTE + 3 * SECOND);
    world_done(&w);
}

static void test_the_fiftieth_version_has_a_snapshot(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE, CHESS(""));
    w.session.position.version = 49;
    assert_int_equal(ask_switch(&w, NOW + MINUTE, "", "white"), 0);
    assert_int_equal(w.change.n_events, 2);
    expect_event(&w, 1, EVENT_SNAPSHOT, 50);
    world_done(&w);
}

static void test_without_a_running_clock_nothing_is_switched(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    assert_int_equal(ask_switch(&w, NOW, "", "white"), FAULT_INVALID_TRANSITION);
    assert_int_equal(ask_adjust(&w, NOW, "white", 1000), FAULT_NOT_FOUND);
    world_done(&w);
    w = (struct world){0};
    open_with(&w, SESSION_PENDING, CHESS(""));
    assert_int_equal(ask_switch(&w, NOW, "", "white"), FAULT_INVALID_TRANSITION);
    world_done(&w);
}

static void test_an_adjustment_is_told_with_its_reason(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE, CHESS(""));
    assert_int_equal(ask_adjust(&w, NOW + MINUTE, "white", -MINUTE), 0);
    expect_event(&w, 0, EVENT_CLOCK_ADJUSTED, 2);
    expect_told(&w, 0,
                "\"participantId\":\"white\",\"adjustMs\":-60000,\"reason\":\"a late start\"");
    assert_int_equal(w.change.next.clock_at, NOW + 9 * MINUTE);
    settle(&w);
    assert_int_equal(ask_adjust(&w, NOW + MINUTE, "red", 1), FAULT_NOT_FOUND);
    assert_int_equal(ask_adjust(&w, NOW + MINUTE, "black", -11 * MINUTE), FAULT_INVALID_VALUE);
    world_done(&w);
}

static void test_time_for_whose_was_over_lets_the_turn_go_on(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE, CHESS("\"onTimeout\":{\"action\":\"notify\"},"));
    assert_int_equal(ask_due(&w, NOW + 10 * MINUTE), 0);
    expect_told(&w, 0, "\"action\":\"notify\"");
    assert_int_equal(w.change.next.status, SESSION_ACTIVE);
    assert_int_equal(w.change.next.clock_at, 0);
    settle(&w);
    assert_int_equal(ask_adjust(&w, NOW + 20 * MINUTE, "white", MINUTE), 0);
    assert_true(session_clock_runs(&w.change.next));
    assert_int_equal(w.change.next.clock_at, NOW + 21 * MINUTE);
    world_done(&w);
}

/* ---- deadlines ---- */

static void test_a_deadline_that_ends_the_session_is_two_versions(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE, CHESS(""));
    assert_int_equal(ask_due(&w, NOW + 10 * MINUTE - 1), 0);
    assert_false(w.change.saves);
    assert_int_equal(ask_due(&w, NOW + 10 * MINUTE + 40), 0);
    assert_int_equal(change_n_versions(&w.change), 2);
    assert_int_equal(w.change.n_events, 3);
    expect_event(&w, 0, EVENT_CLOCK_EXPIRED, 2);
    expect_told(&w, 0, "\"participantId\":\"white\",\"action\":\"end_session\"");
    expect_told(&w, 0, "\"winner\":\"black\"");
    expect_event(&w, 1, EVENT_STATUS_CHANGED, 3);
    expect_told(&w, 1, "\"from\":\"active\",\"to\":\"expired\"");
    expect_told(&w, 1, "\"reason\":\"clock\"");
    expect_told(&w, 1, "\"timeUsedMs\":600000,\"timeRemainingMs\":0"); /* as of the deadline */
    expect_event(&w, 2, EVENT_SNAPSHOT, 3);
    assert_string_equal(w.change.snapshot_id, w.change.events[2].message_id);
    const struct session *s = &w.change.next;
    assert_int_equal(s->status, SESSION_EXPIRED);
    assert_int_equal(s->completed_at, NOW + 10 * MINUTE + 40);
    assert_int_equal(s->clock_at, 0);
    assert_false(session_clock_runs(s));
    assert_int_equal(w.change.deadline, NOW + 10 * MINUTE);
    settle(&w);
    assert_int_equal(ask_due(&w, NOW + 11 * MINUTE), 0);
    assert_false(w.change.saves);
    world_done(&w);
}

static void test_deadlines_that_passed_are_acted_on_one_by_one(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE,
              "{\"mode\":\"per_cycle\",\"timePerCycleMs\":5000,\"onTimeout\":{\"action\":"
              "\"auto_switch\"},\"participants\":[{\"participantId\":\"a\"},{\"participantId\":"
              "\"b\"},{\"participantId\":\"c\"}]}");
    for (int64_t i = 1; i <= 3; i++) {
        assert_int_equal(ask_due(&w, NOW + MINUTE), 0);
        assert_int_equal(change_n_versions(&w.change), 1);
        expect_event(&w, 0, EVENT_CLOCK_EXPIRED, (uint64_t)i + 1);
        assert_int_equal(w.change.deadline, NOW + i * 5 * SECOND);
        assert_int_equal(w.change.next.clock_at, NOW + (i + 1) * 5 * SECOND); /* due at once */
        settle(&w);
    }
    world_done(&w);
}

static void test_a_groups_time_is_told_of_the_group(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE,
              "{\"mode\":\"per_group\",\"totalTimeMs\":5000,\"participants\":["
              "{\"participantId\":\"a\",\"groupId\":\"red\"},"
              "{\"participantId\":\"b\",\"groupId\":\"blue\"}]}");
    assert_int_equal(ask_due(&w, NOW + MINUTE), 0);
    expect_told(&w, 0, "\"groupId\":\"red\",\"action\":\"end_session\"");
    expect_told(&w, 0, "\"winner\":\"blue\"");
    world_done(&w);
}

static void test_skipping_the_last_one_ends_the_session(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE, CHESS("\"onTimeout\":{\"action\":\"skip\"},"));
    assert_int_equal(ask_due(&w, NOW + 10 * MINUTE), 0);
    assert_int_equal(change_n_versions(&w.change), 1);
    expect_told(&w, 0, "\"action\":\"skip\"");
    assert_int_equal(w.change.next.clock_at, NOW + 20 * MINUTE);
    settle(&w);
    assert_int_equal(ask_due(&w, NOW + 20 * MINUTE), 0);
    assert_int_equal(change_n_versions(&w.change), 2);
    expect_told(&w, 0, "\"action\":\"end_session\"");
    expect_event(&w, 1, EVENT_STATUS_CHANGED, 4);
    world_done(&w);
}

/* ---- warnings ---- */

static void test_a_warning_is_no_version_and_told_once(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE, WITH("end_session"));
    int64_t moment = NOW + 590 * SECOND;
    assert_int_equal(ask_due(&w, moment), 0);
    assert_true(w.change.saves && w.change.tells_clock);
    assert_int_equal(w.change.told_before, 0);
    assert_int_equal(change_n_versions(&w.change), 0);
    assert_int_equal(w.change.n_events, 1);
    expect_event(&w, 0, EVENT_CLOCK_WARNING, 1);
    expect_told(&w, 0, "\"participantId\":\"white\",\"remainingMs\":10000");
    const struct session *s = &w.change.next;
    assert_int_equal(s->position.version, 1);
    assert_int_equal(s->clock_told, moment);
    assert_int_equal(s->clock_at, NOW + 599 * SECOND);
    assert_int_equal(s->touched_at, w.session.touched_at);
    settle(&w);
    assert_int_equal(ask_due(&w, moment + 1), 0);
    assert_false(w.change.saves);
    assert_int_equal(ask_due(&w, NOW + 599 * SECOND), 0);
    expect_told(&w, 0, "\"remainingMs\":1000");
    assert_int_equal(w.change.told_before, moment);
    assert_int_equal(w.change.next.clock_at, NOW + 600 * SECOND);
    world_done(&w);
}

/* From the deadline on nobody is warned of it. */
static void test_a_deadline_goes_before_the_warnings_that_were_missed(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE, WITH("end_session"));
    assert_int_equal(ask_due(&w, NOW + 600 * SECOND), 0);
    expect_event(&w, 0, EVENT_CLOCK_EXPIRED, 2);
    world_done(&w);
}

static void test_a_clock_that_cannot_be_read_is_damage(void **state) {
    (void)state;
    struct world w = {0};
    open_with(&w, SESSION_ACTIVE, CHESS(""));
    w.session.clock_text[1] = '}';
    assert_true(ask_due(&w, NOW + 10 * MINUTE) < 0);
    assert_true(ask_switch(&w, NOW, "", "white") < 0);
    assert_true(ask_adjust(&w, NOW, "white", 1) < 0);
    assert_true(ask_status(&w, NOW, SESSION_PAUSED) < 0);
    world_done(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_create_starts_the_clock_of_an_active_session),
        cmocka_unit_test(test_a_pending_sessions_clock_stands_and_can_be_set),
        cmocka_unit_test(test_status_starts_and_stops_it),
        cmocka_unit_test(test_a_takeover_leaves_it_alone),
        cmocka_unit_test(test_a_switch_is_a_version_and_moves_the_deadline),
        cmocka_unit_test(test_the_fiftieth_version_has_a_snapshot),
        cmocka_unit_test(test_without_a_running_clock_nothing_is_switched),
        cmocka_unit_test(test_an_adjustment_is_told_with_its_reason),
        cmocka_unit_test(test_time_for_whose_was_over_lets_the_turn_go_on),
        cmocka_unit_test(test_a_deadline_that_ends_the_session_is_two_versions),
        cmocka_unit_test(test_deadlines_that_passed_are_acted_on_one_by_one),
        cmocka_unit_test(test_a_groups_time_is_told_of_the_group),
        cmocka_unit_test(test_skipping_the_last_one_ends_the_session),
        cmocka_unit_test(test_a_warning_is_no_version_and_told_once),
        cmocka_unit_test(test_a_deadline_goes_before_the_warnings_that_were_missed),
        cmocka_unit_test(test_a_clock_that_cannot_be_read_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
