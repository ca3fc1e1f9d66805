/* Events: every body held against its golden example, the envelope read back, and what is no event
 * refused. */
#include "golden_session.h"

#include "proto/event.h"

#define FRIEND "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
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
        assert_true(uuid_is(e->message_id, strlen(e->message_id)));
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
    assert_string_equal(e.message_id, TRIAL_ID);
    expect_event(&e, "event_snapshot");
    event_labelled_snapshot(&s, GOLDEN_USER, "phone-1", GOLDEN_UPDATED_MS + 60000,
                            "Before the long sit", TRIAL_ID, &e);
    assert_string_equal(e.message_id, TRIAL_ID);
    expect_event(&e, "event_snapshot.labelled");
    session_done(&s);
}

/* The id follows from the position: whoever publishes the rebuild again sends the same message. */
static void test_a_rebuild_has_an_id_that_follows_from_it(void **state) {
    (void)state;
    struct session s = golden_session();
    struct event e, again, next, read;
    struct fault f;
    s.position.epoch = 2;
    event_session_rebuilt(&s, GOLDEN_UPDATED_MS + 60000, &e);
    event_session_rebuilt(&s, GOLDEN_UPDATED_MS, &again);
    s.position.epoch = 3;
    event_session_rebuilt(&s, GOLDEN_UPDATED_MS, &next);
    assert_true(uuid_is(e.message_id, strlen(e.message_id)));
    assert_string_equal(e.message_id, again.message_id);
    assert_string_not_equal(e.message_id, next.message_id);
    assert_int_equal(event_parse(e.body, e.body_len, &read, NULL, &f), 0);
    assert_string_equal(e.message_id, read.message_id);
    event_done(&again);
    event_done(&next);
    s.position.epoch = 2;
    event_done(&e);
    event_session_rebuilt(&s, s.updated_at, &e);
    assert_true(event_tells_rebuilt(e.body, e.body_len));
    assert_false(event_tells_rebuilt(e.body, 10));
    expect_event(&e, "event_session_rebuilt");
    event_session_deleted(&s, GOLDEN_USER, "phone-1", &e);
    assert_false(event_tells_rebuilt(e.body, e.body_len));
    event_done(&e);
    session_done(&s);
}

static void test_a_snapshot_without_a_label_has_none(void **state) {
    (void)state;
    struct session s = golden_session();
    struct event e;
    event_labelled_snapshot(&s, GOLDEN_USER, "phone-1", 0, NULL, TRIAL_ID, &e);
    assert_null(strstr(e.body, "label"));
    event_done(&e);
    session_done(&s);
}

static void test_sharing_equals_its_examples(void **state) {
    (void)state;
    struct session s = golden_session();
    struct event e;
    s.position.version = 43;
    event_participant_changed(&s, GOLDEN_USER, "phone-1", FRIEND, SESSION_ROLE_EDITOR, &e);
    assert_string_equal(e.message_id, GOLDEN_SESSION ":1:43");
    expect_event(&e, "event_participant_changed");
    event_participant_changed(&s, GOLDEN_USER, "phone-1", FRIEND, SESSION_ROLE_NONE, &e);
    expect_event(&e, "event_participant_changed.removed");
    event_device_changed(&s, GOLDEN_USER, "phone-1", "tablet-7", true, &e);
    assert_string_equal(e.message_id, GOLDEN_SESSION ":1:43");
    expect_event(&e, "event_device_changed");
    event_device_changed(&s, GOLDEN_USER, "phone-1", "tablet-7", false, &e);
    assert_non_null(strstr(e.body, "\"removed\":false"));
    event_done(&e);
    session_done(&s);
}

static struct event_presence joined_tablet(void) {
    return (struct event_presence){
        .type = EVENT_DEVICE_JOINED,
        .session_id = GOLDEN_SESSION,
        .position = {.version = 42, .epoch = 1},
        .moment = GOLDEN_UPDATED_MS,
        .user_id = GOLDEN_USER,
        .device_id = "tablet-7",
        .active_device = "phone-1",
        .name = "Ada's tablet",
        .platform = "android",
        .n_devices = 2,
    };
}

static void test_presence_equals_its_examples(void **state) {
    (void)state;
    struct event_presence p = joined_tablet();
    struct event e;
    event_presence(&p, &e);
    expect_event(&e, "event_device_joined");
    p.type = EVENT_DEVICE_LEFT;
    p.moment += 60000;
    p.active_device = p.name = p.platform = "";
    p.n_devices = 1;
    event_presence(&p, &e);
    expect_event(&e, "event_device_left");
}

/* Told again, by whomever, it is the same message; another coming or going is another. */
static void test_presence_has_an_id_that_follows_from_it(void **state) {
    (void)state;
    struct event_presence p = joined_tablet(), others[4];
    struct event first, again;
    event_presence(&p, &first);
    p.position.version++;
    p.n_devices++;
    event_presence(&p, &again);
    assert_string_equal(again.message_id, first.message_id);
    assert_int_equal(first.message_id[14], '8');
    event_done(&again);
    for (size_t i = 0; i < N_ELEMENTS(others); i++)
        others[i] = p;
    others[0].session_id = FRIEND;
    others[1].device_id = "tablet-8";
    others[2].type = EVENT_DEVICE_LEFT;
    others[3].moment++;
    for (size_t i = 0; i < N_ELEMENTS(others); i++) {
        event_presence(&others[i], &again);
        assert_string_not_equal(again.message_id, first.message_id);
        event_done(&again);
    }
    event_done(&first);
}

static void test_broadcast_equals_its_example(void **state) {
    (void)state;
    json_t *message = golden_value("{\"emoji\":\"\xf0\x9f\x91\x8f\",\"to\":[\"everybody\"]}");
    struct event_broadcast b = {GOLDEN_SESSION,    {.version = 42, .epoch = 1},
                                GOLDEN_UPDATED_MS, GOLDEN_USER,
                                "phone-1",         message};
    struct event e, another;
    event_broadcast(&b, &e);
    event_broadcast(&b, &another);
    assert_string_not_equal(another.message_id, e.message_id);
    event_done(&another);
    expect_event(&e, "event_broadcast");
    json_decref(message);
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
        assert_int_equal(event_is_durable(i), i != EVENT_BROADCAST && i != EVENT_CLOCK_WARNING);
        assert_int_equal(event_goes_to_devices(i),
                         i != EVENT_SNAPSHOT && i != EVENT_SESSION_REBUILT);
    }
    assert_string_equal(event_kind(EVENT_STATE_DELTA), "update");
    assert_string_equal(event_kind(EVENT_STATUS_CHANGED), "status");
    assert_true(event_is_versioned(EVENT_SESSION_DELETED));
    assert_false(event_is_versioned(EVENT_SNAPSHOT));
    assert_false(event_is_versioned(EVENT_DEVICE_JOINED));
    assert_false(event_is_versioned(EVENT_DEVICE_LEFT));
    assert_false(event_is_versioned(EVENT_BROADCAST));
    assert_false(event_is_versioned(EVENT_SESSION_REBUILT));
    assert_string_equal(event_kind(EVENT_SESSION_REBUILT), "rebuilt");
    assert_true(event_is_versioned(EVENT_PARTICIPANT_CHANGED));
    assert_true(event_is_versioned(EVENT_DEVICE_CHANGED));
    assert_string_equal(event_kind(EVENT_PARTICIPANT_CHANGED), "participants");
    assert_string_equal(event_kind(EVENT_DEVICE_CHANGED), "devices");
    assert_string_equal(event_kind(EVENT_DEVICE_LEFT), "device_left");
    for (unsigned i = EVENT_CLOCK_SET; i <= EVENT_CLOCK_EXPIRED; i++) {
        assert_string_equal(event_kind(i), "clock");
        assert_true(event_is_versioned(i));
    }
    assert_string_equal(event_kind(EVENT_CLOCK_WARNING), "clock_warning");
    assert_false(event_is_versioned(EVENT_CLOCK_WARNING));
    enum event_type type = EVENT_SNAPSHOT;
    assert_false(event_type_parse("", 0, &type));
    assert_false(event_type_parse("broadcasts", 10, &type));
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
        cmocka_unit_test(test_a_rebuild_has_an_id_that_follows_from_it),
        cmocka_unit_test(test_a_snapshot_without_a_label_has_none),
        cmocka_unit_test(test_sharing_equals_its_examples),
        cmocka_unit_test(test_presence_equals_its_examples),
        cmocka_unit_test(test_presence_has_an_id_that_follows_from_it),
        cmocka_unit_test(test_broadcast_equals_its_example),
        cmocka_unit_test(test_message_id_holds_the_greatest_position),
        cmocka_unit_test(test_types_follow_the_contract),
        cmocka_unit_test(test_wrong_envelope_is_refused_by_name),
        cmocka_unit_test(test_what_later_versions_add_is_ignored),
        cmocka_unit_test(test_what_is_no_object_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
