/* Request bodies of clocks into commands; what they have that nobody knows is refused by name. */
#include "golden.h"

#include "services/session_api/bodies.h"

typedef int read_fn(enum media_type type, const char *body, size_t len, struct command *c,
                    struct fault *f);

/* Taken (code 0), or refused with that field; nothing is left over either way. */
static void expect(read_fn *read, const char *body, int code, const char *field) {
    struct command c = {0};
    struct fault f = {0};
    int r = read(MEDIA_JSON, body, strlen(body), &c, &f);
    if (r != code || strcmp(f.field, field) != 0)
        fail_msg("%.200s: %s, field %s, %s", body,
                 r ? fault_wire_code((enum fault_code)r) : "taken", f.field, f.detail);
    command_done(&c);
}

static void test_each_takes_json_only(void **state) {
    (void)state;
    static read_fn *const reads[] = {bodies_read_clock, bodies_read_switch, bodies_read_adjust};
    static const enum media_type types[] = {MEDIA_MERGE_PATCH, MEDIA_JSON_PATCH, MEDIA_OTHER};
    for (size_t i = 0; i < N_ELEMENTS(reads); i++)
        for (size_t t = 0; t < N_ELEMENTS(types); t++) {
            struct command c = {0};
            struct fault f = {0};
            assert_int_equal(reads[i](types[t], "{}", 2, &c, &f), FAULT_UNSUPPORTED_MEDIA_TYPE);
            assert_string_equal(f.field, "Content-Type");
        }
    for (size_t i = 0; i < N_ELEMENTS(reads); i++) {
        expect(reads[i], "{", FAULT_INVALID_JSON, "");
        expect(reads[i], "[]", FAULT_INVALID_REQUEST, "");
        expect(reads[i], "null", FAULT_INVALID_REQUEST, "");
    }
}

/* ---- clocks ---- */

#define ADA "\"participants\":[{\"participantId\":\"ada\"}]"
#define QUIZ "\"mode\":\"per_cycle\",\"timePerCycleMs\":30000," ADA

static void test_a_clock_is_read(void **state) {
    (void)state;
    _cleanup_(freep) char *body = golden_text("request_clock");
    struct command c = {0};
    struct fault f = {0};
    assert_int_equal(bodies_read_clock(MEDIA_JSON, body, strlen(body), &c, &f), 0);
    assert_int_equal(c.clock->mode, CLOCK_PER_PARTICIPANT);
    assert_int_equal(c.clock->n_participants, 2);
    command_done(&c);
}

/* As it was received, computed members and all: the same clock as without them. */
static void test_a_clock_may_be_sent_as_it_was_shown(void **state) {
    (void)state;
    _cleanup_(freep) char *shown = golden_text("clock");
    struct command c = {0};
    struct fault f = {0};
    assert_int_equal(bodies_read_clock(MEDIA_JSON, shown, strlen(shown), &c, &f), 0);
    assert_int_equal(c.clock->participants[0].used_ms, 0);
    assert_int_equal(c.clock->participants[0].remaining_ms, 600000);
    assert_int_equal(c.clock->active, CLOCK_NOBODY);
    command_done(&c);
}

/* The body is the clock: its members have no path before them. */
static void test_a_clock_is_refused_by_member(void **state) {
    (void)state;
    expect(bodies_read_clock, "{" QUIZ "}", 0, "");
    expect(bodies_read_clock, "{}", FAULT_INVALID_REQUEST, "mode");
    expect(bodies_read_clock, "{" QUIZ ",\"increment\":1}", FAULT_INVALID_REQUEST, "increment");
    expect(bodies_read_clock, "{" QUIZ ",\"onTimeout\":{\"action\":\"skip\",\"then\":1}}",
           FAULT_INVALID_REQUEST, "onTimeout.then");
    expect(bodies_read_clock, "{\"mode\":\"global\",\"participants\":[{\"id\":\"ada\"}]}",
           FAULT_INVALID_REQUEST, "participants.0.id");
    expect(bodies_read_clock, "{\"mode\":\"global\"," ADA "}", FAULT_INVALID_VALUE, "totalTimeMs");
    expect(bodies_read_clock, "{\"mode\":\"global\",\"participants\":7}", FAULT_INVALID_REQUEST,
           "participants");
    expect(bodies_read_clock, "{" QUIZ ",\"onTimeout\":7}", FAULT_INVALID_REQUEST, "onTimeout");
}

static void test_a_create_takes_a_clock(void **state) {
    (void)state;
    _cleanup_(freep) char *body = golden_text("request_create.clock");
    struct command c = {0};
    struct fault f = {0};
    assert_int_equal(bodies_read_create(MEDIA_JSON, body, strlen(body), &c, &f), 0);
    assert_int_equal(c.clock->n_participants, 2);
    command_done(&c);
#define CREATE(clock) "{\"name\":\"a\",\"type\":\"t\",\"clock\":" clock "}"
    expect(bodies_read_create, CREATE("{" QUIZ "}"), 0, "");
    expect(bodies_read_create, CREATE("null"), FAULT_INVALID_REQUEST, "clock");
    expect(bodies_read_create, CREATE("[]"), FAULT_INVALID_REQUEST, "clock");
    expect(bodies_read_create, CREATE("{}"), FAULT_INVALID_REQUEST, "clock.mode");
    expect(bodies_read_create, CREATE("{" QUIZ ",\"modes\":1}"), FAULT_INVALID_REQUEST,
           "clock.modes");
}

static char *clock_of(size_t n) {
    struct buf out = BUF_NULL;
    buf_puts(&out, "{\"mode\":\"count_up\",\"participants\":[");
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, "%s{\"participantId\":\"%zu\"}", i ? "," : "", i);
    buf_puts(&out, "]}");
    return buf_take(&out);
}

static void test_a_clock_has_up_to_1000_participants(void **state) {
    (void)state;
    _cleanup_(freep) char *most = clock_of(1000), *more = clock_of(1001);
    expect(bodies_read_clock, most, 0, "");
    expect(bodies_read_clock, more, FAULT_INVALID_VALUE, "participants");
}

/* ---- switch, adjustment ---- */

static void test_a_switch_is_read(void **state) {
    (void)state;
    struct command c = {0};
    struct fault f = {0};
    assert_int_equal(bodies_read_switch(MEDIA_OTHER, NULL, 0, &c, &f), 0); /* no body: {} */
    _cleanup_(freep) char *body = golden_text("request_switch");
    assert_int_equal(bodies_read_switch(MEDIA_JSON, body, strlen(body), &c, &f), 0);
    assert_string_equal(c.current_participant, "white");
    assert_string_equal(c.next_participant, "black");
    command_done(&c);
    expect(bodies_read_switch, "{}", 0, "");
    expect(bodies_read_switch, "{\"next\":\"black\"}", FAULT_INVALID_REQUEST, "next");
    expect(bodies_read_switch, "{\"nextParticipantId\":null}", FAULT_INVALID_REQUEST,
           "nextParticipantId");
    expect(bodies_read_switch, "{\"currentParticipantId\":\"\"}", FAULT_INVALID_VALUE,
           "currentParticipantId");
}

static void test_an_adjustment_is_read(void **state) {
    (void)state;
    struct command c = {0};
    struct fault f = {0};
    _cleanup_(freep) char *body = golden_text("request_adjust");
    assert_int_equal(bodies_read_adjust(MEDIA_JSON, body, strlen(body), &c, &f), 0);
    assert_int_equal(c.adjust_ms, -60000);
    assert_string_equal(c.reason, "Late to the board");
    command_done(&c);
    expect(bodies_read_adjust, "", FAULT_INVALID_JSON, "");
    expect(bodies_read_adjust, "{\"adjustMs\":1}", FAULT_INVALID_REQUEST, "reason");
    expect(bodies_read_adjust, "{\"reason\":\"r\"}", FAULT_INVALID_REQUEST, "adjustMs");
    expect(bodies_read_adjust, "{\"adjustMs\":1,\"reason\":\"r\",\"participantId\":\"ada\"}",
           FAULT_INVALID_REQUEST, "participantId");
    expect(bodies_read_adjust, "{\"adjustMs\":1,\"reason\":\"\"}", FAULT_INVALID_VALUE, "reason");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_takes_json_only),
        cmocka_unit_test(test_a_clock_is_read),
        cmocka_unit_test(test_a_clock_may_be_sent_as_it_was_shown),
        cmocka_unit_test(test_a_clock_is_refused_by_member),
        cmocka_unit_test(test_a_create_takes_a_clock),
        cmocka_unit_test(test_a_clock_has_up_to_1000_participants),
        cmocka_unit_test(test_a_switch_is_read),
        cmocka_unit_test(test_an_adjustment_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
