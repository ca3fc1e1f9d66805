/* The clock that a session carries: in the resource, in both parts in Redis, in a patch's `test`;
 * and what of its text is refused unparsed. */
#include "golden_session.h"

#include <errno.h>

#include "proto/clock.h"
#include "proto/patch.h"

#define CLOCK                                                                                      \
    "{\"mode\":\"per_participant\",\"totalTimeMs\":600000,\"onTimeout\":{\"action\":\"skip\"},"    \
    "\"warningsMs\":[5000,1000],\"participants\":[{\"participantId\":\"a.b_c:D-1\","               \
    "\"groupId\":null,\"isActive\":true}],\"cycleStartedAt\":\"2026-02-12T12:05:00.000Z\"}"

static struct session with_clock(void) {
    struct session s = golden_session();
    assert_int_equal(session_take_clock(&s, CLOCK, strlen(CLOCK), true), 0);
    s.clock_at = GOLDEN_UPDATED_MS + 600000;
    s.clock_told = GOLDEN_UPDATED_MS;
    return s;
}

static char *print_state(const struct session *s, size_t *ret_len) {
    struct buf out = BUF_NULL;
    session_print_state(s, &out);
    *ret_len = out.len;
    return buf_take(&out);
}

static void test_resource_shows_it_before_data_and_a_list_does_not(void **state) {
    (void)state;
    struct session s = with_clock();
    struct buf out = BUF_NULL;
    session_print(&s, SESSION_ROLE_OWNER, &out);
    assert_non_null(strstr(out.data, "\"modifiedBy\":\"phone-1\",\"clock\":" CLOCK ",\"data\":{"));
    buf_clear(&out);
    session_print_summary(&s, SESSION_ROLE_OWNER, &out);
    assert_null(strstr(out.data, "clock"));
    buf_done(&out);
    session_done(&s);
}

static void test_copy_owns_its_own(void **state) {
    (void)state;
    struct session s = with_clock(), copy;
    session_copy(&s, &copy);
    s.clock_text[0] = 'X';
    assert_string_equal(copy.clock_text, CLOCK);
    assert_int_equal(copy.clock_len, strlen(CLOCK));
    assert_true(session_clock_runs(&copy));
    session_done(&s);
    session_done(&copy);
    assert_null(copy.clock_text);
    assert_false(session_clock_runs(&copy));
}

static void test_nothing_lapses_while_it_runs(void **state) {
    (void)state;
    struct session s = with_clock();
    assert_int_equal(session_expires_at(&s), 0);
    s.clock_runs = false;
    assert_int_equal(session_expires_at(&s), s.touched_at + 3600000);
    session_done(&s);
}

/* ---- set ---- */

static void fill_clock(struct clock *c, size_t n) {
    struct fault f;
    json_t *object =
        json_pack("{s:s, s:f, s:[f, f], s:o}", "mode", "per_participant", "totalTimeMs", 600000.0,
                  "warningsMs", 5000.0, 1000.0, "participants", json_array());
    for (size_t i = 0; i < n; i++) {
        char id[CLOCK_ID_MAX + 1];
        snprintf(id, sizeof(id), "%0*zu", CLOCK_ID_MAX, i);
        json_array_append_new(json_object_get(object, "participants"),
                              json_pack("{s:s, s:s}", "participantId", id, "groupId", id));
    }
    assert_int_equal(clock_take(object, c, &f), 0);
    json_decref(object);
}

/* What clock_print prints has the shape that is asked for, and is what the audit trail prints. */
static void expect_text(struct session *s, const struct clock *c) {
    struct buf text = BUF_NULL, again = BUF_NULL;
    session_set_clock(s, c);
    clock_print(c, &text);
    assert_int_equal(s->clock_len, text.len);
    assert_string_equal(s->clock_text, text.data);
    assert_int_equal(session_clock_span(s->clock_text, s->clock_len), s->clock_len);
    json_t *parsed = golden_value(s->clock_text);
    text_print(parsed, &again);
    assert_string_equal(again.data, text.data);
    json_decref(parsed);
    buf_done(&text);
    buf_done(&again);
}

static void test_a_clock_is_set_and_taken_away(void **state) {
    (void)state;
    static const size_t n[] = {1, 2, CLOCK_MAX_PARTICIPANTS};
    for (size_t i = 0; i < N_ELEMENTS(n); i++) {
        struct session s = golden_session(), read = {0};
        struct clock c;
        size_t len;
        fill_clock(&c, n[i]);
        s.clock_at = 5;
        expect_text(&s, &c);
        assert_false(session_clock_runs(&s));
        c.active = 0;
        c.started_at = GOLDEN_UPDATED_MS;
        expect_text(&s, &c);
        assert_true(session_clock_runs(&s));
        assert_int_equal(s.clock_at, 5); /* the caller's */
        char *text = print_state(&s, &len);
        assert_int_equal(session_parse_state(&read, text, len), 0);
        assert_string_equal(read.clock_text, s.clock_text);
        session_set_clock(&s, NULL);
        assert_null(s.clock_text);
        assert_int_equal(s.clock_len, 0);
        assert_false(session_clock_runs(&s));
        free(text);
        clock_done(&c);
        session_done(&s);
        session_done(&read);
    }
}

/* ---- state ---- */

static void test_state_is_read_back(void **state) {
    (void)state;
    struct session s = with_clock(), read = {0};
    size_t len;
    char *text = print_state(&s, &len);
    assert_non_null(strstr(text, "\"modifiedBy\":\"phone-1\",\"clock\":" CLOCK ",\"data\":{"));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(session_parse_state(&read, text, len), 0);
        assert_string_equal(read.clock_text, CLOCK);
        assert_int_equal(read.clock_len, strlen(CLOCK));
        assert_string_equal(read.data_text, s.data_text);
        assert_int_equal(session_verify(&read), 0);
    }
    free(text);
    session_done(&s);
    s = golden_session();
    text = print_state(&s, &len);
    assert_int_equal(session_parse_state(&read, text, len), 0); /* none: what was there goes */
    assert_null(read.clock_text);
    assert_int_equal(read.clock_len, 0);
    free(text);
    session_done(&s);
    session_done(&read);
}

static void test_truncated_state_is_refused(void **state) {
    (void)state;
    struct session s = with_clock(), read = {0};
    size_t len;
    char *text = print_state(&s, &len);
    for (size_t n = 0; n < len; n++) {
        char *exact = must_realloc(NULL, n); /* the sanitizer sees a read past it */
        memcpy(exact, text, n);
        assert_int_equal(session_parse_state(&read, exact, n), -EBADMSG);
        free(exact);
    }
    assert_null(read.clock_text);
    free(text);
    session_done(&s);
}

static void test_text_of_another_shape_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t span;
    } cases[] = {
        {"{}", 2},
        {"{},\"data\":{}", 2},
        {CLOCK ",\"data\":{\"a\":[[[[]]]]}", sizeof(CLOCK) - 1},
        {"{\"a\":[{}]}", 10},
        {"{\"a\":[{\"b\":[]}]}", 0}, /* four levels */
        {"{[[[]]]}", 0},
        {"{]}", 0},
        {"{[}", 0},
        {"{[}]", 0},
        {"}", 0},
        {"]", 0},
        {"[]", 0},
        {"null", 0},
        {"\"\"", 0},
        {" {}", 0},
        {"{ }", 0},
        {"{\"a\":\"\\u007d\"}", 0},
        {"{\"a\":\"\xc3\xa4\"}", 0},
        {"{\"a\":\"b/c\"}", 0},
        {"{\"a\":1+1}", 0},
        {"{", 0},
        {"", 0},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        const char *text = cases[i].text;
        if (session_clock_span(text, strlen(text)) != cases[i].span)
            fail_msg("%s: %zu", text, session_clock_span(text, strlen(text)));
        struct session s = {0};
        bool whole = cases[i].span > 0 && cases[i].span == strlen(text);
        assert_int_equal(session_take_clock(&s, text, strlen(text), true), whole ? 0 : -EBADMSG);
        assert_int_equal(session_clock_runs(&s), whole);
        session_done(&s);
    }
    assert_int_equal(session_clock_span("{\0}", 3), 0);
}

static void test_state_with_a_damaged_clock_is_refused(void **state) {
    (void)state;
    static const char *const clocks[] = {"null",       "[]",  "\"\"",           "{",
                                         "{\"a\": 1}", "{}}", "{},\"clock\":{}"};
    struct session s = golden_session(), read = {0};
    for (size_t i = 0; i < N_ELEMENTS(clocks); i++) {
        struct buf text = BUF_NULL;
        buf_printf(&text,
                   "{\"version\":1,\"lastModified\":\"2026-02-12T12:05:00.000Z\",\"modifiedBy\":"
                   "\"phone-1\",\"clock\":%s,\"data\":%s,\"checksum\":\"%s\"}",
                   clocks[i], s.data_text, s.checksum);
        if (session_parse_state(&read, text.data, text.len) != -EBADMSG)
            fail_msg("%s", clocks[i]);
        buf_done(&text);
    }
    session_done(&s);
    session_done(&read);
}

/* ---- meta ---- */

static void put_into_object(void *arg, const char *field, const char *value, size_t len) {
    assert_int_equal(json_object_set_new(arg, field, json_stringn(value, len)), 0);
}

static void test_meta_tells_when_and_whether(void **state) {
    (void)state;
    struct session s = with_clock(), read = {0};
    json_t *fields = json_object(), *value;
    const char *field;
    session_each_meta(&s, NULL, put_into_object, fields);
    json_object_foreach(fields, field, value) assert_int_equal(
        session_take_meta(&read, field, json_string_value(value), json_string_length(value)), 0);
    assert_true(session_clock_runs(&read));
    assert_int_equal(read.clock_at, s.clock_at);
    assert_int_equal(read.clock_told, s.clock_told);
    json_decref(fields);
    session_done(&s);
    session_done(&read);
}

static void test_impossible_meta_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *field, *value;
    } cases[] = {{"clockRuns", ""},     {"clockRuns", "2"}, {"clockRuns", "01"},
                 {"clockRuns", "true"}, {"clockAt", ""},    {"clockAt", "-1"},
                 {"clockAt", "1.5"},    {"clockTold", "x"}, {"clockTold", "01"}};
    struct session s = with_clock();
    for (size_t i = 0; i < N_ELEMENTS(cases); i++)
        if (session_take_meta(&s, cases[i].field, cases[i].value, strlen(cases[i].value)) !=
            -EBADMSG)
            fail_msg("%s = \"%s\"", cases[i].field, cases[i].value);
    assert_true(session_clock_runs(&s));
    assert_int_equal(s.clock_told, GOLDEN_UPDATED_MS);
    session_done(&s);
}

/* ---- a patch ---- */

static int try_patch(const char *operations, struct fault *f) {
    static const struct patch_limits limits = {SESSION_DATA_MAX_BYTES, SESSION_DATA_MAX_DEPTH};
    struct session s = with_clock();
    struct patch_result result = {0};
    json_t *resource = NULL, *patch = golden_value(operations);
    assert_int_equal(session_to_json(&s, SESSION_ROLE_OWNER, &resource), 0);
    int r = patch_apply(resource, s.data_len, patch, &limits, &result, f);
    patch_result_done(&result);
    json_decref(patch);
    json_decref(resource);
    session_done(&s);
    return r;
}

static void test_patch_may_test_it_and_never_write_it(void **state) {
    (void)state;
    static const struct {
        const char *operations;
        int expected;
    } cases[] = {
        {"[{\"op\":\"test\",\"path\":\"/clock/participants/0/isActive\",\"value\":true}]", 0},
        {"[{\"op\":\"test\",\"path\":\"/clock/totalTimeMs\",\"value\":600000}]", 0},
        {"[{\"op\":\"test\",\"path\":\"/clock/totalTimeMs\",\"value\":1}]", FAULT_PATCH_FAILED},
        {"[{\"op\":\"test\",\"path\":\"/clock/participants/1\",\"value\":1}]", FAULT_PATCH_FAILED},
        {"[{\"op\":\"replace\",\"path\":\"/clock\",\"value\":{}}]", FAULT_PATH_NOT_WRITABLE},
        {"[{\"op\":\"add\",\"path\":\"/clock/totalTimeMs\",\"value\":1}]", FAULT_PATH_NOT_WRITABLE},
        {"[{\"op\":\"replace\",\"path\":\"/clock/participants/0/timeUsedMs\",\"value\":0}]",
         FAULT_PATH_NOT_WRITABLE},
        {"[{\"op\":\"remove\",\"path\":\"/clock\"}]", FAULT_PATH_NOT_WRITABLE},
        {"[{\"op\":\"move\",\"from\":\"/clock\",\"path\":\"/data/c\"}]", FAULT_PATH_NOT_WRITABLE},
        {"[{\"op\":\"copy\",\"from\":\"/clock/mode\",\"path\":\"/data/c\"}]",
         FAULT_PATH_NOT_WRITABLE},
        {"[{\"op\":\"copy\",\"from\":\"/data\",\"path\":\"/clock\"}]", FAULT_PATH_NOT_WRITABLE},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct fault f = {0};
        if (try_patch(cases[i].operations, &f) != cases[i].expected)
            fail_msg("%s", cases[i].operations);
        if (cases[i].expected == FAULT_PATH_NOT_WRITABLE) {
            assert_int_equal(fault_http_status(f.code), 422);
            assert_int_equal(f.index, 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resource_shows_it_before_data_and_a_list_does_not),
        cmocka_unit_test(test_copy_owns_its_own),
        cmocka_unit_test(test_nothing_lapses_while_it_runs),
        cmocka_unit_test(test_a_clock_is_set_and_taken_away),
        cmocka_unit_test(test_state_is_read_back),
        cmocka_unit_test(test_truncated_state_is_refused),
        cmocka_unit_test(test_text_of_another_shape_is_refused),
        cmocka_unit_test(test_state_with_a_damaged_clock_is_refused),
        cmocka_unit_test(test_meta_tells_when_and_whether),
        cmocka_unit_test(test_impossible_meta_is_refused),
        cmocka_unit_test(test_patch_may_test_it_and_never_write_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
