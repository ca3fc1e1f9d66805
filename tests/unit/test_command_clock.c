/* Commands for clocks: read whole, and refused at each bound with the member's name. */
#include "golden_command.h"

static void test_switch_is_read_whole(void **state) {
    (void)state;
    struct command c = golden_command("command.switch");
    assert_int_equal(c.kind, COMMAND_SWITCH);
    assert_string_equal(c.next_participant, "black");
    assert_string_equal(c.current_participant, "white");
    assert_string_equal(c.key, "switch-1");
    assert_true(c.has_base);
    assert_int_equal(c.base.version, 42);
    command_done(&c);

    struct fault f;
    assert_int_equal(parse_changed("command.switch", (struct change){"nextParticipantId", NULL},
                                   (struct change){"currentParticipantId", NULL}, &c, &f),
                     0);
    assert_string_equal(c.next_participant, "");
    assert_string_equal(c.current_participant, "");
    command_done(&c);
}

static void test_clocks_are_read_whole(void **state) {
    (void)state;
    struct command c = golden_command("command.clock_set");
    assert_int_equal(c.kind, COMMAND_CLOCK_SET);
    assert_int_equal(c.n_if_match, 1);
    assert_true(c.wants_session);
    assert_int_equal(c.clock->mode, CLOCK_PER_PARTICIPANT);
    assert_int_equal(c.clock->increment_ms, 3000);
    assert_int_equal(c.clock->n_participants, 2);
    assert_string_equal(c.clock->participants[1].id, "black");
    command_done(&c);
    assert_null(c.clock);

    c = golden_command("command.create_clock");
    assert_int_equal(c.kind, COMMAND_CREATE);
    assert_int_equal(c.status, SESSION_PENDING);
    assert_int_equal(c.clock->n_participants, 2);
    command_done(&c);

    c = golden_command("command.create");
    assert_null(c.clock);
    command_done(&c);
}

static void test_adjust_is_read_whole(void **state) {
    (void)state;
    struct command c = golden_command("command.clock_adjust");
    assert_int_equal(c.kind, COMMAND_CLOCK_ADJUST);
    assert_string_equal(c.clock_participant, "black");
    assert_int_equal(c.adjust_ms, -60000);
    assert_string_equal(c.reason, "Late to the board");
    command_done(&c);
}

struct wrong {
    const char *example;
    struct change change;
    int code;
    const char *field;
};

static void expect_refusal(const struct wrong *w) {
    struct command c = {.deadline = 77};
    struct fault f = {0};
    int r = parse_changed(w->example, w->change, no_change, &c, &f);
    if (r != w->code || f.code != (enum fault_code)r || strcmp(f.field, w->field) != 0)
        fail_msg("%s with %s = %s: code %d, field %s, %s", w->example, w->change.member,
                 w->change.value ? w->change.value : "nothing", r, f.field, f.detail);
    assert_int_equal(c.deadline, 77); /* untouched */
}

static void test_what_is_missing_or_wrong_is_named(void **state) {
    (void)state;
    static const struct wrong wrong[] = {
        {"command.switch", {"deviceId", NULL}, FAULT_INVALID_REQUEST, "deviceId"},
        {"command.switch", {"nextParticipantId", "7"}, FAULT_INVALID_REQUEST, "nextParticipantId"},
        {"command.switch",
         {"nextParticipantId", "null"},
         FAULT_INVALID_REQUEST,
         "nextParticipantId"},
        {"command.switch", {"nextParticipantId", "\"\""}, FAULT_INVALID_VALUE, "nextParticipantId"},
        {"command.switch",
         {"currentParticipantId", "[]"},
         FAULT_INVALID_REQUEST,
         "currentParticipantId"},
        {"command.switch",
         {"currentParticipantId", "\"..\""},
         FAULT_INVALID_VALUE,
         "currentParticipantId"},
        {"command.switch", {"epoch", "0"}, FAULT_INVALID_VALUE, "epoch"},
        {"command.clock_set", {"clock", NULL}, FAULT_INVALID_REQUEST, "clock"},
        {"command.clock_set", {"clock", "null"}, FAULT_INVALID_REQUEST, "clock"},
        {"command.clock_set", {"clock", "[]"}, FAULT_INVALID_REQUEST, "clock"},
        {"command.create_clock", {"clock", "null"}, FAULT_INVALID_REQUEST, "clock"},
        {"command.create_clock", {"clock", "\"chess\""}, FAULT_INVALID_REQUEST, "clock"},
        {"command.clock_adjust", {"participantId", NULL}, FAULT_INVALID_REQUEST, "participantId"},
        {"command.clock_adjust",
         {"participantId", "\"a b\""},
         FAULT_INVALID_VALUE,
         "participantId"},
        {"command.clock_adjust", {"adjustMs", NULL}, FAULT_INVALID_REQUEST, "adjustMs"},
        {"command.clock_adjust", {"adjustMs", "1.5"}, FAULT_INVALID_REQUEST, "adjustMs"},
        {"command.clock_adjust", {"adjustMs", "86400001"}, FAULT_INVALID_VALUE, "adjustMs"},
        {"command.clock_adjust", {"adjustMs", "-86400001"}, FAULT_INVALID_VALUE, "adjustMs"},
        {"command.clock_adjust", {"reason", NULL}, FAULT_INVALID_REQUEST, "reason"},
        {"command.clock_adjust", {"reason", "7"}, FAULT_INVALID_REQUEST, "reason"},
        {"command.clock_adjust", {"reason", "\"\""}, FAULT_INVALID_VALUE, "reason"},
    };
    for (size_t i = 0; i < N_ELEMENTS(wrong); i++)
        expect_refusal(&wrong[i]);
}

/* A quoted string of n times the text. */
static char *quoted(const char *text, size_t n) {
    struct buf out = BUF_NULL;
    buf_putc(&out, '"');
    for (size_t i = 0; i < n; i++)
        buf_puts(&out, text);
    buf_putc(&out, '"');
    return buf_take(&out);
}

/* The member is taken with n times the text, and no more. */
static void expect_bound(const char *example, const char *member, const char *text, size_t n) {
    struct command c;
    struct fault f = {0};
    char *most = quoted(text, n), *more = quoted(text, n + 1);
    if (parse_changed(example, (struct change){member, most}, no_change, &c, &f) != 0)
        fail_msg("%s: %s", member, f.detail);
    command_done(&c);
    expect_refusal(&(struct wrong){example, {member, more}, FAULT_INVALID_VALUE, member});
    free(most);
    free(more);
}

static void expect_adjust(const char *value, int64_t adjust_ms) {
    struct command c;
    struct fault f;
    assert_int_equal(parse_changed("command.clock_adjust", (struct change){"adjustMs", value},
                                   no_change, &c, &f),
                     0);
    assert_int_equal(c.adjust_ms, adjust_ms);
    command_done(&c);
}

static void test_members_are_taken_up_to_their_bounds(void **state) {
    (void)state;
    expect_bound("command.switch", "nextParticipantId", "x", CLOCK_ID_MAX);
    expect_bound("command.switch", "currentParticipantId", "x", CLOCK_ID_MAX);
    expect_bound("command.clock_adjust", "participantId", "x", CLOCK_ID_MAX);
    expect_bound("command.clock_adjust", "reason", "\xf0\x9f\x91\x8f",
                 COMMAND_REASON_MAX_CHARACTERS);
    expect_adjust("86400000", CLOCK_TIME_MAX_MS);
    expect_adjust("-86400000", -CLOCK_TIME_MAX_MS);
    expect_adjust("0", 0);
}

/* What was there is let go: a body may be taken over another one. */
static void test_a_clock_replaces_the_one_before(void **state) {
    (void)state;
    struct command c = golden_command("command.clock_set");
    json_t *other = golden_load("request_clock");
    struct fault f;
    assert_int_equal(command_take_clock(other, &c, &f), 0);
    assert_ptr_equal(c.clock_request, other);
    json_decref(other);
    assert_int_equal(c.clock->n_participants, 2);
    command_done(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_switch_is_read_whole),
        cmocka_unit_test(test_clocks_are_read_whole),
        cmocka_unit_test(test_adjust_is_read_whole),
        cmocka_unit_test(test_what_is_missing_or_wrong_is_named),
        cmocka_unit_test(test_members_are_taken_up_to_their_bounds),
        cmocka_unit_test(test_a_clock_replaces_the_one_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
