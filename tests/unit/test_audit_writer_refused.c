/* What can never be written, and what has bounds: services/audit_writer/entry.h. */
#include "tests/unit/audit_entry_fixture.h"

static void expect_reason(struct entry *e, const char *part) {
    if (!part)
        assert_string_equal(e->reason, "");
    else if (!strstr(e->reason, part))
        fail_msg("reason \"%s\" does not speak of %s", e->reason, part);
    entry_free(e);
}

static void test_what_is_no_event_has_a_reason(void **state) {
    (void)state;
    expect_reason(read_bytes("", 0, "x"), "line 1");
    expect_reason(read_bytes("[]", 2, "x"), "object");
    expect_reason(read_bytes("{}", 2, "x"), "type");
    expect_reason(event("no-id", "session_deleted", 2, ""), "sessionId");
    expect_reason(event(ID_A, "dance", 2, ""), "type");
    expect_reason(event(ID_A, "session_created", 1, ""), "session");
    expect_reason(event(ID_A, "session_created", 1,
                        ",\"session\":{\"userId\":\"nobody\",\"name\":\"A\",\"type\":\"chess\","
                        "\"status\":\"active\",\"ttlSeconds\":60,\"onIdle\":\"pause\","
                        "\"checksum\":\"c1\"}"),
                  "userId");
    expect_reason(event(ID_A, "state_delta", 2, ",\"checksum\":\"c\""), "operations");
    expect_reason(event(ID_A, "snapshot", 2, ",\"checksum\":\"c\""), "data");
    expect_reason(status(2, "sleeping", "null"), "status");
    expect_reason(event(ID_A, "participant_changed", 2, ",\"participant\":\"x\",\"role\":null"),
                  "participant");
    expect_reason(
        event(ID_A, "participant_changed", 2, ",\"participant\":\"" OWNER "\",\"role\":\"owner\""),
        "role");
    expect_reason(event(ID_A, "device_changed", 2, ",\"device\":\"a,b\",\"removed\":true"),
                  "device");
    expect_reason(event(ID_A, "device_changed", 2, ",\"device\":\"a\""), "removed");
    expect_reason(event(ID_A, "session_deleted", INT_MAX, ""), NULL);
    expect_reason(event(ID_A, "session_deleted", INT_MAX + 1ull, ""), "range");
}

static void test_participants_and_devices_get_rows_of_their_own(void **state) {
    (void)state;
    struct entry *entries[] = {
        event(ID_A, "participant_changed", 2, ",\"participant\":\"" OWNER "\",\"role\":null"),
        event(ID_A, "device_changed", 3, ",\"device\":\"lost\",\"removed\":true"),
        event(ID_A, "device_joined", 3, ",\"name\":\"Tab\",\"platform\":null"),
        status(4, "paused", "null"), delta(ID_A, 5, WRITE)};
    struct batch b;
    batch_build(entries, N_ELEMENTS(entries), NULL, &b);
    assert_int_equal(b.participants.n_rows, 1);
    expect_parameter(&b.participants, 2, "{\"" OWNER "\"}");
    expect_parameter(&b.participants, 3, "{NULL}");
    assert_int_equal(b.devices.n_rows, 3);
    expect_parameter(&b.devices, 2, "{\"lost\",\"tab\",\"tab\"}");
    expect_parameter(&b.devices, 3, "{NULL,\"" OTHER "\",\"" OTHER "\"}");
    expect_parameter(&b.devices, 5, "{NULL,\"Tab\",NULL}");
    expect_parameter(&b.devices, 7, "{\"t\",NULL,NULL}");
    expect_parameter(&b.devices, 8, "{\"4294967299\",\"0\",\"0\"}");
    batch_done(&b);
    free_all(entries, N_ELEMENTS(entries));
}

static void test_event_without_a_name_of_its_own_needs_a_message_id(void **state) {
    (void)state;
    struct entry *e = event(ID_A, "device_joined", 2, "");
    struct entry *nameless = read_bytes(e->body, e->body_len, "");
    expect_reason(e, NULL);
    expect_reason(nameless, "message_id");
}

static void test_too_large_message_has_a_reason(void **state) {
    (void)state;
    struct bus_message m = {.tag = 1, .body = "", .too_large = true};
    expect_reason(entry_new(&m, 1, 0), "too large");
}

static void test_barrier_is_no_row_and_keeps_where_to_answer(void **state) {
    (void)state;
    struct bus_message m = {
        .body = "{", .body_len = 1, .type = "barrier", .reply_to = "to", .correlation_id = "7"};
    struct entry *entries[] = {entry_new(&m, 1, 0), delta(ID_A, 2, WRITE)};
    struct batch b;
    assert_false(entry_is_row(entries[0]));
    assert_string_equal(entries[0]->reason, "");
    assert_string_equal(entries[0]->barrier->reply_to, "to");
    assert_string_equal(entries[0]->barrier->correlation_id, "7");
    batch_build(entries, 2, NULL, &b);
    assert_int_equal(b.events.n_rows, 1);
    assert_int_equal(b.sessions.n_rows, 1);
    batch_done(&b);
    batch_build(entries, 1, NULL, &b);
    assert_int_equal(b.events.n_rows + b.sessions.n_rows, 0);
    batch_done(&b);
    free_all(entries, 2);
}

static void test_texts_at_and_over_their_bounds(void **state) {
    (void)state;
    char device[SESSION_DEVICE_MAX + 4];
    memset(device, 'd', sizeof(device));
    device[0] = device[SESSION_DEVICE_MAX + 1] = '"';
    device[SESSION_DEVICE_MAX + 2] = '\0';
    expect_reason(status(2, "active", device), NULL);
    device[SESSION_DEVICE_MAX + 1] = 'd';
    device[SESSION_DEVICE_MAX + 2] = '"';
    device[SESSION_DEVICE_MAX + 3] = '\0';
    expect_reason(status(2, "active", device), "activeDeviceId");
}

static void test_refusals_are_tried_again_ever_later_and_then_every_32_s(void **state) {
    (void)state;
    static const uint64_t seconds[] = {2, 4, 8, 16, 32, 32};
    for (unsigned i = 0; i < N_ELEMENTS(seconds); i++)
        assert_int_equal(writer_refusal_wait_ms(i), seconds[i] * 1000);
    assert_int_equal(writer_refusal_wait_ms(UINT_MAX), 32000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_event_has_a_reason),
        cmocka_unit_test(test_participants_and_devices_get_rows_of_their_own),
        cmocka_unit_test(test_event_without_a_name_of_its_own_needs_a_message_id),
        cmocka_unit_test(test_too_large_message_has_a_reason),
        cmocka_unit_test(test_barrier_is_no_row_and_keeps_where_to_answer),
        cmocka_unit_test(test_texts_at_and_over_their_bounds),
        cmocka_unit_test(test_refusals_are_tried_again_ever_later_and_then_every_32_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
