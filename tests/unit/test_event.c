/* Events: every body held against its golden example, the envelope read back, and what is no event
 * refused. */
#include "golden_session.h"

#include "proto/event.h"

#define TRIAL_ID "0d9f3c1e-7b64-4a52-9e8d-1c2b3a4f5e6d"

/* The body is the example's, and its envelope reads back as what the event says of itself. */
static void expect_event(struct event *e, const char *example) {
    golden_equal(e->body, example);
    assert_int_equal(strlen(e->body), e->body_len);
    struct event read = {0};
    struct fault f = {0};
    json_t *json = NULL;
    assert_int_equal(event_parse(e->body, e->body_len, &read, &json, &f), 0);
    assert_int_equal(read.type, e->type);
    assert_string_equal(read.session_id, e->session_id);
    assert_true(position_equal(read.position, e->position));
    assert_int_equal(read.timestamp, e->timestamp);
    assert_string_equal(read.user_id, e->user_id);
    assert_string_equal(read.device_id, e->device_id);
    if (event_is_versioned(e->type))
        assert_string_equal(read.message_id, e->message_id);
    else
        assert_string_equal(e->message_id, TRIAL_ID);
    assert_null(read.body);
    assert_true(json_is_object(json));
    json_decref(json);
    event_done(e);
}

static void test_created_equals_its_example(void **state) {
    (void)state;
    struct session s = golden_session();
    json_t *data = golden_value("{\"progress\":0,\"preferences\":{\"theme\":\"dark\"}}");
    session_set_data(&s, data);
    json_decref(data);
    s.position.version = 1;
    s.updated_at = s.touched_at = s.last_modified = GOLDEN_CREATED_MS;
    struct event e;
    event_session_created(&s, "phone-1", &e);
    assert_string_equal(e.message_id, GOLDEN_SESSION ":1:1");
    expect_event(&e, "event_session_created");
    session_done(&s);
}

static void test_delta_equals_its_examples(void **state) {
    (void)state;
    struct session s = golden_session();
    json_t *operations =
        golden_value("[{\"op\":\"replace\",\"path\":\"/data/progress\",\"value\":75}]");
    struct event e;
    event_state_delta(&s, GOLDEN_USER, "phone-1", 41, operations, false, &e);
    assert_string_equal(e.message_id, GOLDEN_SESSION ":1:42");
    expect_event(&e, "event_state_delta");
    event_state_delta(&s, GOLDEN_USER, "phone-1", 41, operations, true, &e);
    expect_event(&e, "event_state_delta.rebased");
    json_decref(operations);
    session_done(&s);
}

static void test_status_changed_equals_its_examples(void **state) {
    (void)state;
    struct session s = golden_session();
    struct event e;
    s.position.version = 43;
    snprintf(s.active_device, sizeof(s.active_device), "tablet-7");
    event_status_changed(&s, GOLDEN_USER, "tablet-7", SESSION_ACTIVE, "takeover", &e);
    expect_event(&e, "event_status_changed.takeover");
    s.active_device[0] = '\0';
    s.status = SESSION_PAUSED;
    event_status_changed(&s, GOLDEN_USER, "phone-1", SESSION_ACTIVE, "request", &e);
    expect_event(&e, "event_status_changed");
    session_done(&s);
}

static void test_deleted_equals_its_example(void **state) {
    (void)state;
    struct session s = golden_session();
    s.position.version = 43;
    struct event e;
    event_session_deleted(&s, GOLDEN_USER, "phone-1", &e);
    expect_event(&e, "event_session_deleted");
    session_done(&s);
}

static void test_unversioned_events_equal_their_examples(void **state) {
    (void)state;
    struct session s = golden_session();
    struct event e;
    event_snapshot(&s, TRIAL_ID, &e);
    assert_string_equal(e.device_id, "");
    expect_event(&e, "event_snapshot");
    s.position.version = 43;
    snprintf(s.active_device, sizeof(s.active_device), "tablet-7");
    event_device_joined(&s, GOLDEN_USER, "tablet-7", TRIAL_ID, &e);
    expect_event(&e, "event_device_joined");
    session_done(&s);
}

static void test_message_id_holds_the_greatest_position(void **state) {
    (void)state;
    struct session s = golden_session();
    s.position = (struct position){.version = TEXT_INTEGER_MAX, .epoch = TEXT_INTEGER_MAX};
    struct event e;
    event_session_deleted(&s, GOLDEN_USER, "", &e);
    assert_string_equal(e.message_id, GOLDEN_SESSION ":9007199254740991:9007199254740991");
    event_done(&e);
    event_done(&e);
    event_done(NULL);
    session_done(&s);
}

static void test_types_follow_the_contract(void **state) {
    (void)state;
    for (unsigned i = 0; i < EVENT_N_TYPES; i++) {
        const char *name = event_type_name(i);
        enum event_type type = EVENT_N_TYPES;
        assert_true(event_type_parse(name, strlen(name), &type));
        assert_int_equal(type, i);
        assert_false(event_type_parse(name, strlen(name) - 1, &type));
        assert_true(event_is_durable(i));
    }
    assert_string_equal(event_kind(EVENT_STATE_DELTA), "update");
    assert_string_equal(event_kind(EVENT_STATUS_CHANGED), "status");
    assert_true(event_is_versioned(EVENT_SESSION_DELETED));
    assert_false(event_is_versioned(EVENT_SNAPSHOT));
    assert_false(event_is_versioned(EVENT_DEVICE_JOINED));
    assert_false(event_goes_to_devices(EVENT_SNAPSHOT));
    assert_true(event_goes_to_devices(EVENT_DEVICE_JOINED));
    enum event_type type = EVENT_SNAPSHOT;
    assert_false(event_type_parse("", 0, &type));
    assert_false(event_type_parse("broadcast", 9, &type));
    assert_int_equal(type, EVENT_SNAPSHOT);
}

/* The delta example with one member replaced by the value of `text`, or left out when NULL. */
static int parse_changed(const char *member, const char *text, struct fault *f) {
    json_t *object = golden_load("event_state_delta");
    if (text)
        json_object_set_new(object, member, golden_value(text));
    else
        json_object_del(object, member);
    struct buf body = BUF_NULL;
    text_print(object, &body);
    json_decref(object);
    struct event e = {.timestamp = 77};
    json_t *json = NULL;
    int r = event_parse(body.data, body.len, &e, &json, f);
    if (r) {
        assert_int_equal(e.timestamp, 77); /* untouched */
        assert_null(json);
    }
    json_decref(json);
    buf_done(&body);
    return r;
}

static void test_wrong_envelope_is_refused_by_name(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"type", "\"unheard_of\""},
        {"type", "7"},
        {"type", NULL},
        {"sessionId", "\"019C51B8-ee00-7a3b-8f21-5b6c7d8e9f01\""},
        {"sessionId", "\"\""},
        {"sessionId", NULL},
        {"epoch", "0"},
        {"epoch", NULL},
        {"version", "0"},
        {"version", "1.5"},
        {"version", "9007199254740994"},
        {"version", "\"42\""},
        {"version", NULL},
        {"timestamp", "\"2026-02-12T12:00:00Z\""},
        {"timestamp", "1770897600000"},
        {"timestamp", NULL},
        {"userId", "null"},
        {"userId", "\"ada\""},
        {"userId", NULL},
        {"deviceId", "\"\""},
        {"deviceId", "\"..\""},
        {"deviceId", "3"},
        {"deviceId", NULL},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct fault f = {0};
        if (parse_changed(wrong[i][0], wrong[i][1], &f) != FAULT_INVALID_REQUEST)
            fail_msg("%s = %s was taken", wrong[i][0], wrong[i][1] ? wrong[i][1] : "nothing");
        assert_int_equal(f.code, FAULT_INVALID_REQUEST);
        assert_string_equal(f.field, wrong[i][0]);
    }
}

static void test_what_later_versions_add_is_ignored(void **state) {
    (void)state;
    struct fault f = {0};
    assert_int_equal(parse_changed("someLaterMember", "{\"x\":[1]}", &f), 0);
    assert_int_equal(parse_changed("deviceId", "null", &f), 0);
    assert_int_equal(parse_changed("version", "9007199254740991", &f), 0);
}

static int parse_text(const char *text, size_t len) {
    struct event e = {0};
    struct fault f = {0};
    return event_parse(text, len, &e, NULL, &f);
}

static void test_what_is_no_object_is_refused(void **state) {
    (void)state;
    assert_int_equal(parse_text("", 0), FAULT_INVALID_JSON);
    assert_int_equal(parse_text("{\"type\":", 8), FAULT_INVALID_JSON);
    assert_int_equal(parse_text("[]", 2), FAULT_INVALID_REQUEST);
    assert_int_equal(parse_text("null", 4), FAULT_INVALID_REQUEST);
    assert_int_equal(parse_text("{}", 2), FAULT_INVALID_REQUEST);
    char *whole = golden_text("event_state_delta");
    for (size_t len = 0; len < strlen(whole); len++)
        assert_int_equal(parse_text(whole, len), FAULT_INVALID_JSON);
    free(whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_created_equals_its_example),
        cmocka_unit_test(test_delta_equals_its_examples),
        cmocka_unit_test(test_status_changed_equals_its_examples),
        cmocka_unit_test(test_deleted_equals_its_example),
        cmocka_unit_test(test_unversioned_events_equal_their_examples),
        cmocka_unit_test(test_message_id_holds_the_greatest_position),
        cmocka_unit_test(test_types_follow_the_contract),
        cmocka_unit_test(test_wrong_envelope_is_refused_by_name),
        cmocka_unit_test(test_what_later_versions_add_is_ignored),
        cmocka_unit_test(test_what_is_no_object_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
