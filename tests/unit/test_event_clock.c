/* The events of clocks: every body held against its golden example; the clock in it is the text
 * that the session carries. */
#include "golden_session.h"

#include "proto/event.h"

/* The golden session with the clock of an example. */
static struct session session_with_clock_of(const char *example) {
    struct session s = golden_session();
    json_t *object = golden_load(example);
    struct buf text = BUF_NULL;
    text_print(json_object_get(object, "clock"), &text);
    json_decref(object);
    assert_int_equal(session_take_clock(&s, text.data, text.len, true), 0);
    buf_done(&text);
    s.position.version = 43;
    return s;
}

static void expect_event(struct event *e, const char *example) {
    struct event read = {0};
    struct fault f = {0};
    golden_equal(e->body, example);
    assert_int_equal(strlen(e->body), e->body_len);
    assert_int_equal(event_parse(e->body, e->body_len, &read, NULL, &f), 0);
    assert_int_equal(read.type, e->type);
    assert_string_equal(read.device_id, e->device_id);
    if (event_is_versioned(e->type))
        assert_string_equal(e->message_id, GOLDEN_SESSION ":1:43");
    event_done(e);
}

static void test_set_equals_its_example(void **state) {
    (void)state;
    struct session s = session_with_clock_of("event_clock_set");
    struct event e;
    event_clock_set(&s, GOLDEN_USER, "phone-1", &e);
    expect_event(&e, "event_clock_set");
    session_done(&s);
}

static void test_switched_equals_its_example(void **state) {
    (void)state;
    struct session s = session_with_clock_of("event_clock_switched");
    struct event e;
    event_clock_switched(&s, GOLDEN_USER, "phone-1", "white", "black", 12000, &e);
    expect_event(&e, "event_clock_switched");
    session_done(&s);
}

static void test_adjusted_equals_its_example(void **state) {
    (void)state;
    struct session s = session_with_clock_of("event_clock_adjusted");
    struct event e;
    event_clock_adjusted(&s, GOLDEN_USER, "phone-1", "black", -60000, "Late to the board", &e);
    expect_event(&e, "event_clock_adjusted");
    event_clock_adjusted(&s, GOLDEN_USER, "phone-1", "black", 1, "\"\n\"", &e);
    assert_non_null(strstr(e.body, "\"reason\":\"\\\"\\n\\\"\""));
    event_done(&e);
    session_done(&s);
}

static void test_expired_equals_its_examples(void **state) {
    (void)state;
    struct session s = session_with_clock_of("event_clock_expired");
    struct event e;
    event_clock_expired(&s, "white", NULL, CLOCK_END_SESSION, "black", &e);
    expect_event(&e, "event_clock_expired");
    session_done(&s);
    s = session_with_clock_of("event_clock_expired.group");
    event_clock_expired(&s, NULL, "red", CLOCK_SKIP, NULL, &e);
    expect_event(&e, "event_clock_expired.group");
    session_done(&s);
}

/* Told again, it is the same message; another warning, turn or participant's is another. */
static void test_a_warning_has_an_id_that_follows_from_it(void **state) {
    (void)state;
    struct session s = session_with_clock_of("event_clock_switched");
    struct event first, others[5];
    event_clock_warning(&s, "white", 10000, GOLDEN_UPDATED_MS, &first);
    assert_true(uuid_is(first.message_id, strlen(first.message_id)));
    event_clock_warning(&s, "white", 10000, GOLDEN_UPDATED_MS + 1, &others[0]);
    assert_string_equal(others[0].message_id, first.message_id);
    event_clock_warning(&s, "white", 5000, GOLDEN_UPDATED_MS, &others[1]);
    event_clock_warning(&s, "black", 10000, GOLDEN_UPDATED_MS, &others[2]);
    s.position.version++;
    event_clock_warning(&s, "white", 10000, GOLDEN_UPDATED_MS, &others[3]);
    s.position = (struct position){43, 2};
    event_clock_warning(&s, "white", 10000, GOLDEN_UPDATED_MS, &others[4]);
    for (size_t i = 1; i < N_ELEMENTS(others); i++)
        assert_string_not_equal(others[i].message_id, first.message_id);
    for (size_t i = 0; i < N_ELEMENTS(others); i++)
        event_done(&others[i]);
    event_done(&first);
    session_done(&s);
}

static void test_warning_equals_its_example(void **state) {
    (void)state;
    struct session s = session_with_clock_of("event_clock_switched");
    struct event e;
    char longest[CLOCK_ID_MAX + 1];
    s.position.version = 42;
    event_clock_warning(&s, "white", 10000, GOLDEN_UPDATED_MS, &e);
    expect_event(&e, "event_clock_warning");
    memset(longest, 'x', CLOCK_ID_MAX);
    longest[CLOCK_ID_MAX] = '\0';
    struct event another;
    s.position = (struct position){TEXT_INTEGER_MAX, TEXT_INTEGER_MAX};
    event_clock_warning(&s, longest, CLOCK_TIME_MAX_MS, GOLDEN_UPDATED_MS, &e);
    event_clock_warning(&s, longest, CLOCK_TIME_MAX_MS - 1, GOLDEN_UPDATED_MS, &another);
    assert_string_not_equal(e.message_id, another.message_id); /* nothing was cut */
    event_done(&e);
    event_done(&another);
    session_done(&s);
}

static void test_a_status_change_shows_the_clock(void **state) {
    (void)state;
    struct session s = session_with_clock_of("event_status_changed.clock");
    struct event e;
    s.position.version = 44;
    s.status = SESSION_EXPIRED;
    event_status_changed(&s, GOLDEN_USER, "", SESSION_ACTIVE, "clock", &e);
    golden_equal(e.body, "event_status_changed.clock");
    event_done(&e);
    session_done(&s);
}

static void test_a_created_session_shows_the_clock(void **state) {
    (void)state;
    struct session s = session_with_clock_of("session.clock");
    struct event e;
    event_session_created(&s, "phone-1", &e);
    assert_non_null(strstr(e.body, ",\"clock\":{\"mode\":"));
    event_done(&e);
    session_done(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_equals_its_example),
        cmocka_unit_test(test_switched_equals_its_example),
        cmocka_unit_test(test_adjusted_equals_its_example),
        cmocka_unit_test(test_expired_equals_its_examples),
        cmocka_unit_test(test_a_warning_has_an_id_that_follows_from_it),
        cmocka_unit_test(test_warning_equals_its_example),
        cmocka_unit_test(test_a_status_change_shows_the_clock),
        cmocka_unit_test(test_a_created_session_shows_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
