/* A clock's JSON: what a request may say, and what is stored. */
#include <errno.h>

#include "golden.h"
#include "proto/clock.h"

#define CHESS                                                                                      \
    "{\"mode\":\"per_participant\",\"totalTimeMs\":600000,\"incrementMs\":3000,"                   \
    "\"onTimeout\":{\"action\":\"skip\"},\"warningsMs\":[1000,10000,5000,1000],"                   \
    "\"participants\":[{\"participantId\":\"white\"},"                                             \
    "{\"participantId\":\"black\",\"totalTimeMs\":300000}]}"

static int take(const char *text, struct clock *ret, struct fault *f) {
    json_auto_t *value = golden_value(text);
    return clock_take(value, ret, f);
}

static struct clock taken(const char *text) {
    struct clock c;
    struct fault f = {0};
    if (take(text, &c, &f) != 0)
        fail_msg("%s: %s: %s", text, f.field, f.detail);
    return c;
}

static char *printed(const struct clock *c) {
    struct buf text = BUF_NULL;
    clock_print(c, &text);
    return buf_take(&text);
}

static void expect_print(const struct clock *c, const char *expected) {
    _cleanup_(freep) char *text = printed(c);
    assert_string_equal(text, expected);
}

/* ---- Requests ---- */

static void test_a_request_becomes_a_clock_that_stands(void **state) {
    (void)state;
    struct clock c = taken(CHESS);
    expect_print(&c,
                 "{\"mode\":\"per_participant\",\"totalTimeMs\":600000,\"incrementMs\":3000,"
                 "\"timePerCycleMs\":null,\"maxTimeMs\":null,\"onTimeout\":{\"action\":\"skip\"},"
                 "\"warningsMs\":[10000,5000,1000],\"participants\":["
                 "{\"participantId\":\"white\",\"groupId\":null,\"totalTimeMs\":600000,"
                 "\"timeUsedMs\":0,\"timeRemainingMs\":600000,\"cycleCount\":0,\"isActive\":false,"
                 "\"hasExpired\":false},"
                 "{\"participantId\":\"black\",\"groupId\":null,\"totalTimeMs\":300000,"
                 "\"timeUsedMs\":0,\"timeRemainingMs\":300000,\"cycleCount\":0,\"isActive\":false,"
                 "\"hasExpired\":false}],"
                 "\"activeParticipantId\":null,\"cycleStartedAt\":null,\"cycleCount\":0}");
    clock_done(&c);
}

static void test_modes_have_the_time_they_begin_with(void **state) {
    (void)state;
    static const struct {
        const char *settings, *participants;
        int64_t remaining;
    } cases[] = {
        {"\"mode\":\"per_participant\"",
         "{\"participantId\":\"a\",\"totalTimeMs\":5000},"
         "{\"participantId\":\"b\",\"totalTimeMs\":6000}",
         5000},
        {"\"mode\":\"per_cycle\",\"timePerCycleMs\":30000", "{\"participantId\":\"a\"}", 30000},
        {"\"mode\":\"per_group\",\"totalTimeMs\":9000",
         "{\"participantId\":\"a\",\"groupId\":\"g\"},{\"participantId\":\"b\",\"groupId\":\"h\"}",
         9000},
        {"\"mode\":\"per_group\"",
         "{\"participantId\":\"a\",\"groupId\":\"g\",\"totalTimeMs\":7000},"
         "{\"participantId\":\"b\",\"groupId\":\"h\",\"totalTimeMs\":8000},"
         "{\"participantId\":\"c\",\"groupId\":\"g\",\"totalTimeMs\":7000}",
         7000},
        {"\"mode\":\"global\",\"totalTimeMs\":4000", "{\"participantId\":\"a\"}", 4000},
        {"\"mode\":\"count_up\",\"maxTimeMs\":3000", "{\"participantId\":\"a\"}", 3000},
        {"\"mode\":\"count_up\"", "{\"participantId\":\"a\"}", 0},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        char text[512];
        snprintf(text, sizeof(text), "{%s,\"participants\":[%s]}", cases[i].settings,
                 cases[i].participants);
        struct clock c = taken(text);
        assert_int_equal(c.participants[0].remaining_ms, cases[i].remaining);
        assert_int_equal(c.action, CLOCK_END_SESSION);
        assert_int_equal(c.active, CLOCK_NOBODY);
        _cleanup_(freep) char *shown = printed(&c);
        assert_int_equal(strstr(shown, "\"timeRemainingMs\":null") != NULL, clock_is_unbounded(&c));
        struct clock again;
        assert_int_equal(clock_parse(shown, strlen(shown), &again), 0);
        expect_print(&again, shown);
        clock_done(&again);
        clock_done(&c);
    }
}

/* A clock that was received can be sent: nulls, and what the server computes, say nothing. */
static void test_what_is_shown_can_be_asked_for(void **state) {
    (void)state;
    struct clock c = taken(CHESS);
    _cleanup_(freep) char *fresh = printed(&c);
    c.active = 1;
    c.started_at = 1770897600000;
    c.n_cycles = 7;
    c.participants[1].used_ms = 1;
    c.participants[1].remaining_ms--;
    _cleanup_(freep) char *played = printed(&c);
    struct clock again = taken(played);
    expect_print(&again, fresh);
    clock_done(&again);
    clock_done(&c);
}

#define TWO "\"participants\":[{\"participantId\":\"a\"},{\"participantId\":\"b\"}]"
#define ONE "\"participants\":[{\"participantId\":\"a\"}]"
#define BAD FAULT_INVALID_VALUE
#define WRONG FAULT_INVALID_REQUEST

static const struct {
    const char *text;
    enum fault_code code;
    const char *field;
} refused[] = {
    {"[]", WRONG, "clock"},
    {"{" ONE "}", WRONG, "clock.mode"},
    {"{\"mode\":1," ONE "}", WRONG, "clock.mode"},
    {"{\"mode\":\"blitz\"," ONE "}", BAD, "clock.mode"},
    {"{\"mode\":\"count_up\"}", WRONG, "clock.participants"},
    {"{\"mode\":\"count_up\",\"participants\":null}", WRONG, "clock.participants"},
    {"{\"mode\":\"count_up\",\"participants\":[]}", BAD, "clock.participants"},
    {"{\"mode\":\"count_up\",\"participants\":[1]}", WRONG, "clock.participants.0"},
    {"{\"mode\":\"count_up\",\"participants\":[{}]}", WRONG, "clock.participants.0.participantId"},
    {"{\"mode\":\"count_up\",\"participants\":[{\"participantId\":\"a b\"}]}", BAD,
     "clock.participants.0.participantId"},
    {"{\"mode\":\"count_up\",\"participants\":[{\"participantId\":\"\"}]}", BAD,
     "clock.participants.0.participantId"},
    {"{\"mode\":\"count_up\",\"participants\":[{\"participantId\":\"a\"},{\"participantId\":\"b\"},"
     "{\"participantId\":\"a\"}]}",
     BAD, "clock.participants.2.participantId"},
    {"{\"mode\":\"count_up\",\"participants\":[{\"participantId\":\"a\",\"groupId\":7}]}", WRONG,
     "clock.participants.0.groupId"},
    {"{\"mode\":\"count_up\",\"participants\":[{\"participantId\":\"a\",\"groupId\":\"..\"}]}", BAD,
     "clock.participants.0.groupId"},
    {"{\"mode\":\"count_up\",\"participants\":[{\"participantId\":\"a\",\"totalTimeMs\":1}]}", BAD,
     "clock.participants.0.totalTimeMs"},
    {"{\"mode\":\"count_up\",\"totalTimeMs\":\"1000\"," ONE "}", WRONG, "clock.totalTimeMs"},
    {"{\"mode\":\"count_up\",\"totalTimeMs\":1000.5," ONE "}", WRONG, "clock.totalTimeMs"},
    {"{\"mode\":\"count_up\",\"totalTimeMs\":999," ONE "}", BAD, "clock.totalTimeMs"},
    {"{\"mode\":\"count_up\",\"totalTimeMs\":86400001," ONE "}", BAD, "clock.totalTimeMs"},
    {"{\"mode\":\"count_up\",\"timePerCycleMs\":999," ONE "}", BAD, "clock.timePerCycleMs"},
    {"{\"mode\":\"count_up\",\"timePerCycleMs\":86400001," ONE "}", BAD, "clock.timePerCycleMs"},
    {"{\"mode\":\"count_up\",\"maxTimeMs\":999," ONE "}", BAD, "clock.maxTimeMs"},
    {"{\"mode\":\"count_up\",\"maxTimeMs\":86400001," ONE "}", BAD, "clock.maxTimeMs"},
    {"{\"mode\":\"count_up\",\"incrementMs\":-1," ONE "}", BAD, "clock.incrementMs"},
    {"{\"mode\":\"count_up\",\"incrementMs\":60001," ONE "}", BAD, "clock.incrementMs"},
    {"{\"mode\":\"count_up\",\"onTimeout\":\"skip\"," ONE "}", WRONG, "clock.onTimeout"},
    {"{\"mode\":\"count_up\",\"onTimeout\":{}," ONE "}", WRONG, "clock.onTimeout.action"},
    {"{\"mode\":\"count_up\",\"onTimeout\":{\"action\":\"explode\"}," ONE "}", BAD,
     "clock.onTimeout.action"},
    {"{\"mode\":\"count_up\",\"warningsMs\":1000," ONE "}", WRONG, "clock.warningsMs"},
    {"{\"mode\":\"count_up\",\"warningsMs\":[1000,\"1\"]," ONE "}", WRONG, "clock.warningsMs.1"},
    {"{\"mode\":\"count_up\",\"warningsMs\":[1.5]," ONE "}", WRONG, "clock.warningsMs.0"},
    {"{\"mode\":\"count_up\",\"warningsMs\":[0]," ONE "}", BAD, "clock.warningsMs.0"},
    {"{\"mode\":\"count_up\",\"warningsMs\":[86400001]," ONE "}", BAD, "clock.warningsMs.0"},
    {"{\"mode\":\"count_up\",\"warningsMs\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]," ONE "}",
     BAD, "clock.warningsMs"},
    {"{\"mode\":\"per_participant\"," TWO "}", BAD, "clock.totalTimeMs"},
    {"{\"mode\":\"per_participant\",\"participants\":[{\"participantId\":\"a\","
     "\"totalTimeMs\":1000},{\"participantId\":\"b\"}]}",
     BAD, "clock.totalTimeMs"},
    {"{\"mode\":\"per_cycle\",\"totalTimeMs\":1000," TWO "}", BAD, "clock.timePerCycleMs"},
    {"{\"mode\":\"per_group\",\"totalTimeMs\":1000,\"participants\":[{\"participantId\":\"a\","
     "\"groupId\":\"g\"},{\"participantId\":\"b\",\"groupId\":null}]}",
     BAD, "clock.participants.1.groupId"},
    {"{\"mode\":\"per_group\",\"participants\":[{\"participantId\":\"a\",\"groupId\":\"g\"}]}", BAD,
     "clock.totalTimeMs"},
    {"{\"mode\":\"per_group\",\"totalTimeMs\":1000,\"participants\":[{\"participantId\":\"a\","
     "\"groupId\":\"g\"},{\"participantId\":\"b\",\"groupId\":\"h\"},{\"participantId\":\"c\","
     "\"groupId\":\"g\",\"totalTimeMs\":2000}]}",
     BAD, "clock.participants.2.totalTimeMs"},
    {"{\"mode\":\"global\"," TWO "}", BAD, "clock.totalTimeMs"},
    {"{\"mode\":\"global\",\"totalTimeMs\":1000,\"participants\":[{\"participantId\":\"a\"},"
     "{\"participantId\":\"b\",\"totalTimeMs\":1001}]}",
     BAD, "clock.participants.1.totalTimeMs"},
};

static void test_what_is_wrong_is_named(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
        struct clock c;
        struct fault f = {0};
        if (take(refused[i].text, &c, &f) != (int)refused[i].code ||
            strcmp(f.field, refused[i].field) != 0)
            fail_msg("%s: %d %s %s", refused[i].text, f.code, f.field, f.detail);
        assert_null(c.participants);
        assert_true(f.detail[0]);
        assert_int_equal(take(refused[i].text, &c, NULL), refused[i].code);
    }
}

static void test_the_bounds_are_allowed(void **state) {
    (void)state;
    static const char *const texts[] = {
        "\"totalTimeMs\":1000",
        "\"totalTimeMs\":86400000",
        "\"timePerCycleMs\":1000",
        "\"timePerCycleMs\":86400000",
        "\"maxTimeMs\":1000",
        "\"maxTimeMs\":86400000",
        "\"incrementMs\":0",
        "\"incrementMs\":60000",
        "\"warningsMs\":[]",
        "\"warningsMs\":[1,86400000]",
        "\"warningsMs\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]",
        "\"warningsMs\":null,\"onTimeout\":null,\"incrementMs\":null,\"totalTimeMs\":null",
        "\"something\":\"else\"",
    };
    for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
        char text[512];
        snprintf(text, sizeof(text), "{\"mode\":\"count_up\",%s," ONE "}", texts[i]);
        struct clock c = taken(text);
        _cleanup_(freep) char *shown = printed(&c);
        struct clock again;
        assert_int_equal(clock_parse(shown, strlen(shown), &again), 0);
        clock_done(&again);
        clock_done(&c);
    }
}

static void test_ids_are_names_of_a_path(void **state) {
    (void)state;
    char longest[CLOCK_ID_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    assert_true(clock_id_is_valid(longest, CLOCK_ID_MAX));
    assert_false(clock_id_is_valid(longest, CLOCK_ID_MAX + 1));
    static const char *const good[] = {"a", "A-Z_0:9.z", "...", ".a", "a."};
    static const char *const bad[] = {"", ".", "..", "a/b", "a b", "\xc3\xa9", "a\"", "a\\"};
    for (size_t i = 0; i < N_ELEMENTS(good); i++)
        assert_true(clock_id_is_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        assert_false(clock_id_is_valid(bad[i], strlen(bad[i])));
}

/* ---- How many ---- */

/* A request with n participants of the longest names; owned. */
static char *crowd(size_t n) {
    struct buf text = BUF_NULL;
    buf_puts(&text, "{\"mode\":\"per_group\",\"totalTimeMs\":86400000,\"warningsMs\":[10],"
                    "\"participants\":[");
    for (size_t i = 0; i < n; i++)
        buf_printf(&text, "%s{\"participantId\":\"%0128zu\",\"groupId\":\"%0128zu\"}", i ? "," : "",
                   n - i, i % 3);
    buf_puts(&text, "]}");
    return buf_take(&text);
}

static void test_a_thousand_and_no_more(void **state) {
    (void)state;
    _cleanup_(freep) char *most = crowd(CLOCK_MAX_PARTICIPANTS);
    _cleanup_(freep) char *more = crowd(CLOCK_MAX_PARTICIPANTS + 1);
    struct clock c = taken(most), again;
    struct fault f = {0};
    assert_int_equal(c.n_participants, CLOCK_MAX_PARTICIPANTS);
    _cleanup_(freep) char *shown = printed(&c);
    assert_int_equal(clock_parse(shown, strlen(shown), &again), 0);
    expect_print(&again, shown);
    assert_int_equal(clock_find(&again, c.participants[999].id), 999);
    assert_int_equal(clock_find(&again, "nobody"), CLOCK_NOBODY);
    clock_done(&again);
    clock_copy(&c, &again);
    expect_print(&again, shown);
    clock_done(&again);

    /* the same with one more, and with one twice */
    c.participants = must_realloc(c.participants, (c.n_participants + 1) * sizeof(*c.participants));
    c.participants[c.n_participants] = c.participants[0];
    snprintf(c.participants[c.n_participants++].id, CLOCK_ID_MAX, "another");
    _cleanup_(freep) char *too_long = printed(&c);
    assert_int_equal(clock_parse(too_long, strlen(too_long), &again), -EBADMSG);
    c.n_participants--;
    memcpy(c.participants[999].id, c.participants[0].id, sizeof(c.participants[0].id));
    _cleanup_(freep) char *twice = printed(&c);
    assert_int_equal(clock_parse(twice, strlen(twice), &again), -EBADMSG);
    clock_done(&c);

    assert_int_equal(take(more, &c, &f), FAULT_INVALID_VALUE);
    assert_string_equal(f.field, "clock.participants");
}

/* ---- What was stored ---- */

#define STORED                                                                                     \
    "{\"mode\":\"per_group\",\"totalTimeMs\":60000,\"incrementMs\":0,\"timePerCycleMs\":null,"     \
    "\"maxTimeMs\":null,\"onTimeout\":{\"action\":\"notify\"},\"warningsMs\":[5000,1000],"         \
    "\"participants\":[{\"participantId\":\"a\",\"groupId\":\"g\",\"totalTimeMs\":60000,"          \
    "\"timeUsedMs\":1000,\"timeRemainingMs\":58000,\"cycleCount\":2,\"isActive\":false,"           \
    "\"hasExpired\":false},{\"participantId\":\"b\",\"groupId\":\"g\",\"totalTimeMs\":60000,"      \
    "\"timeUsedMs\":1000,\"timeRemainingMs\":58000,\"cycleCount\":1,\"isActive\":true,"            \
    "\"hasExpired\":false},{\"participantId\":\"c\",\"groupId\":\"h\",\"totalTimeMs\":60000,"      \
    "\"timeUsedMs\":60000,\"timeRemainingMs\":0,\"cycleCount\":1,\"isActive\":false,"              \
    "\"hasExpired\":true}],\"activeParticipantId\":\"b\","                                         \
    "\"cycleStartedAt\":\"2026-02-12T12:00:00.000Z\",\"cycleCount\":4}"

static int parse(const char *text) {
    struct clock c;
    int r = clock_parse(text, strlen(text), &c);
    if (r == 0) {
        expect_print(&c, text);
        clock_done(&c);
    }
    return r;
}

/* STORED with what stands first in it replaced; owned. */
static char *with(const char *from, const char *to) {
    struct buf text = BUF_NULL;
    const char *at = strstr(STORED, from);
    assert_non_null(at);
    buf_put(&text, STORED, (size_t)(at - STORED));
    buf_puts(&text, to);
    buf_puts(&text, at + strlen(from));
    return buf_take(&text);
}

static void test_what_was_stored_is_read(void **state) {
    (void)state;
    struct clock c;
    assert_int_equal(clock_parse(STORED, strlen(STORED), &c), 0);
    assert_int_equal(c.mode, CLOCK_PER_GROUP);
    assert_int_equal(c.action, CLOCK_NOTIFY);
    assert_int_equal(c.active, 1);
    assert_int_equal(c.started_at, 1770897600000);
    assert_int_equal(c.n_cycles, 4);
    assert_int_equal(c.n_warnings, 2);
    assert_string_equal(c.participants[2].group, "h");
    assert_int_equal(c.participants[0].used_ms, 1000);
    assert_int_equal(c.participants[0].remaining_ms, 58000);
    assert_true(c.participants[2].has_expired);
    expect_print(&c, STORED);
    clock_done(&c);
}

static void test_what_cannot_be_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"{\"mode\"", " {\"mode\""},
        {"\"mode\":\"per_group\"", "\"mode\":\"per_pair\""},
        {"\"mode\":\"per_group\"", "\"mode\":\"global\""},    /* does not agree */
        {"\"mode\":\"per_group\"", "\"mode\":\"per_cycle\""}, /* lacks its time */
        {"\"mode\":\"per_group\"", "\"mode\":\"count_up\""},  /* has nothing remaining */
        {"\"totalTimeMs\":60000", "\"totalTimeMs\":060000"},
        {"\"totalTimeMs\":60000", "\"totalTimeMs\":999"},
        {"\"totalTimeMs\":60000", "\"totalTimeMs\":86400001"},
        {"\"incrementMs\":0", "\"incrementMs\":60001"},
        {"\"incrementMs\":0", "\"incrementMs\":null"},
        {"\"timePerCycleMs\":null", "\"timePerCycleMs\":0"},
        {"\"maxTimeMs\":null", "\"maxTimeMs\":86400001"},
        {"\"action\":\"notify\"", "\"action\":\"none\""},
        {"[5000,1000]", "[1000,5000]"},
        {"[5000,1000]", "[5000,5000]"},
        {"[5000,1000]", "[5000,0]"},
        {"[5000,1000]", "[5000,]"},
        {"[5000,1000]", "[86400001]"},
        {"[5000,1000]", "[17,16,15,14,13,12,11,10,9,8,7,6,5,4,3,2,1]"},
        {"\"participantId\":\"a\"", "\"participantId\":\"b\""},
        {"\"participantId\":\"a\"", "\"participantId\":\"\""},
        {"\"participantId\":\"a\"", "\"participantId\":\"a b\""},
        {"\"participantId\":\"a\"", "\"participantId\":null"},
        {"\"groupId\":\"g\"", "\"groupId\":null"},
        {"\"groupId\":\"g\"", "\"groupId\":\"h\""},
        {"\"groupId\":\"g\",\"totalTimeMs\":60000", "\"groupId\":\"g\",\"totalTimeMs\":null"},
        {"\"groupId\":\"g\",\"totalTimeMs\":60000", "\"groupId\":\"g\",\"totalTimeMs\":60001"},
        {"\"timeUsedMs\":1000", "\"timeUsedMs\":-1000"},
        {"\"timeUsedMs\":1000", "\"timeUsedMs\":9007199254740992"},
        {"\"timeRemainingMs\":58000", "\"timeRemainingMs\":58001"},
        {"\"timeRemainingMs\":58000", "\"timeRemainingMs\":86400001"},
        {"\"timeRemainingMs\":58000", "\"timeRemainingMs\":null"},
        {"\"timeRemainingMs\":0", "\"timeRemainingMs\":1"}, /* has expired */
        {"\"cycleCount\":2", "\"cycleCount\":-2"},
        {"\"isActive\":false", "\"isActive\":true"}, /* the second one, too */
        {"\"isActive\":true", "\"isActive\":false"},
        {"\"isActive\":true", "\"isActive\":1"},
        {"\"hasExpired\":false", "\"hasExpired\":true"},
        {"\"activeParticipantId\":\"b\"", "\"activeParticipantId\":\"a\""},
        {"\"activeParticipantId\":\"b\"", "\"activeParticipantId\":\"nobody\""},
        {"\"activeParticipantId\":\"b\"", "\"activeParticipantId\":null"},
        {"\"cycleStartedAt\":\"2026-02-12T12:00:00.000Z\"", "\"cycleStartedAt\":\"2026-02-12\""},
        {"\"cycleStartedAt\":\"2026-02-12T12:00:00.000Z\"",
         "\"cycleStartedAt\":\"1970-01-01T00:00:00.000Z\""},
        {"\"cycleStartedAt\":\"2026-02-12T12:00:00.000Z\"", "\"cycleStartedAt\":1770897600000"},
        {",\"cycleCount\":4}", ",\"cycleCount\":4} "},
        {",\"cycleCount\":4}", "}"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        _cleanup_(freep) char *text = with(cases[i].from, cases[i].to);
        if (parse(text) != -EBADMSG)
            fail_msg("%s was taken", text);
    }
}

/* Nobody active, and a clock that runs; no participants; a turn that runs though its time is over.
 */
static void test_a_turn_is_somebodys(void **state) {
    (void)state;
    struct clock c = {.active = CLOCK_NOBODY};
    _cleanup_(freep) char *empty = printed(&c);
    assert_int_equal(parse(empty), -EBADMSG);
    assert_int_equal(clock_parse(STORED, strlen(STORED), &c), 0);
    c.active = CLOCK_NOBODY;
    _cleanup_(freep) char *runs = printed(&c);
    assert_int_equal(parse(runs), -EBADMSG);
    c.started_at = 0;
    _cleanup_(freep) char *stands = printed(&c);
    assert_int_equal(parse(stands), 0);
    c.active = 2;
    _cleanup_(freep) char *over = printed(&c);
    assert_int_equal(parse(over), 0);
    c.started_at = 1;
    _cleanup_(freep) char *runs_over = printed(&c);
    assert_int_equal(parse(runs_over), -EBADMSG);
    clock_done(&c);
}

static void test_every_cut_is_refused(void **state) {
    (void)state;
    struct clock c;
    for (size_t len = 0; len < strlen(STORED); len++) {
        _cleanup_(freep) char *cut = must_memdup(STORED, len);
        assert_int_equal(clock_parse(cut, len, &c), -EBADMSG);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_becomes_a_clock_that_stands),
        cmocka_unit_test(test_modes_have_the_time_they_begin_with),
        cmocka_unit_test(test_what_is_shown_can_be_asked_for),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_the_bounds_are_allowed),
        cmocka_unit_test(test_ids_are_names_of_a_path),
        cmocka_unit_test(test_a_thousand_and_no_more),
        cmocka_unit_test(test_what_was_stored_is_read),
        cmocka_unit_test(test_what_cannot_be_is_refused),
        cmocka_unit_test(test_a_turn_is_somebodys),
        cmocka_unit_test(test_every_cut_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
