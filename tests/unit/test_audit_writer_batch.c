/* From deliveries to statements' parameters: services/audit_writer/entry.h and batch.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/audit_writer/batch.h"
#include "services/audit_writer/writer_private.h"
#include "tests/unit/array_text.h"

#define ID_A "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01" /* made at 2026-02-12T12:00:00.000Z */
#define ID_B "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f02"
#define OWNER "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define OTHER "7f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define MADE_AT 1770897600000

/* ---- Helpers ---- */

static struct entry *read_bytes(const char *body, size_t len, const char *message_id) {
    struct bus_message m = {.tag = 1, .body = body, .body_len = len};
    snprintf(m.message_id, sizeof(m.message_id), "%s", message_id);
    return entry_new(&m, 1, 0);
}

/* An event of ID_A's; second: of the minute 12:00, and the version. */
static struct entry *event(const char *id, const char *type, uint64_t version, const char *more) {
    struct buf body = BUF_NULL;
    buf_printf(&body,
               "{\"type\":\"%s\",\"sessionId\":\"%s\",\"epoch\":1,\"version\":%llu,\"timestamp\":"
               "\"2026-02-12T12:00:%02d.000Z\",\"userId\":\"" OTHER "\",\"deviceId\":\"tab\"%s}",
               type, id, (unsigned long long)version, (int)(version % 60), more);
    struct entry *e = read_bytes(body.data, body.len, "0197aaaa-0000-4000-8000-000000000001");
    buf_done(&body);
    return e;
}

static struct entry *created(const char *id) {
    return event(id, "session_created", 1,
                 ",\"session\":{\"userId\":\"" OWNER "\",\"name\":\"A\",\"type\":\"chess\","
                 "\"status\":\"active\",\"createdAt\":\"2026-02-12T12:00:00.000Z\","
                 "\"completedAt\":null,\"ttlSeconds\":60,\"onIdle\":\"pause\",\"activeDeviceId\":"
                 "\"phone\",\"lastModified\":\"2026-02-12T12:00:00.000Z\",\"modifiedBy\":\"phone\","
                 "\"checksum\":\"c1\"}");
}

static struct entry *delta(const char *id, uint64_t version, const char *operations) {
    struct buf more = BUF_NULL;
    buf_printf(&more, ",\"operations\":%s,\"checksum\":\"c%llu\"", operations,
               (unsigned long long)version);
    struct entry *e = event(id, "state_delta", version, more.data);
    buf_done(&more);
    return e;
}

static struct entry *status(uint64_t version, const char *to, const char *device) {
    char more[256];
    snprintf(more, sizeof(more), ",\"from\":\"active\",\"to\":\"%s\",\"activeDeviceId\":%s", to,
             device);
    return event(ID_A, "status_changed", version, more);
}

#define RENAME(to) "[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"" to "\"}]"
#define WRITE "[{\"op\":\"add\",\"path\":\"/data/x\",\"value\":1}]"

static void free_all(struct entry **entries, size_t n) {
    for (size_t i = 0; i < n; i++)
        entry_free(entries[i]);
}

static void expect_parameter(const struct batch_statement *s, size_t number, const char *value) {
    assert_true(number <= s->n_parameters);
    array_text_is(&s->parameters[number - 1], value);
}

/* ---- Arrays ---- */

static void expect_array(struct buf *array, const char *text) {
    array_text_is(array, text);
    buf_done(array);
}

static void test_arrays_carry_each_type_and_nulls(void **state) {
    (void)state;
    static const char *const elements[] = {"plain", "", "a\"b", "\\", "{a,b}", "NULL", "é\n"};
    struct buf array = BUF_NULL;
    for (size_t i = 0; i < N_ELEMENTS(elements); i++)
        array_put_text(&array, ARRAY_TEXT, elements[i], strlen(elements[i]));
    array_put_null(&array, ARRAY_TEXT);
    expect_array(&array, "{\"plain\",\"\",\"a\\\"b\",\"\\\\\",\"{a,b}\",\"NULL\",\"é\n\",NULL}");
    array_put_null(&array, ARRAY_UUID);
    array_put_uuid(&array, ID_A);
    expect_array(&array, "{NULL,\"" ID_A "\"}");
    array_put_integer(&array, INT_MIN);
    array_put_integer(&array, INT_MAX);
    expect_array(&array, "{\"-2147483648\",\"2147483647\"}");
    array_put_bigint(&array, INT64_MIN);
    array_put_bigint(&array, INT64_MAX);
    expect_array(&array, "{\"-9223372036854775808\",\"9223372036854775807\"}");
    array_put_boolean(&array, true);
    array_put_boolean(&array, false);
    expect_array(&array, "{\"t\",\"f\"}");
    array_put_moment(&array, MADE_AT + 1);
    array_put_moment(&array, 0);
    expect_array(&array, "{\"2026-02-12T12:00:00.001Z\",\"1970-01-01T00:00:00.000Z\"}");
}

/* ---- Rows ---- */

static void test_event_becomes_a_row_with_its_body_as_it_came(void **state) {
    (void)state;
    struct entry *e = delta(ID_A, 7, WRITE);
    struct batch b;
    batch_build(&e, 1, NULL, &b);
    assert_int_equal(b.events.n_rows, 1);
    assert_int_equal(b.events.n_parameters, 13);
    expect_parameter(&b.events, 1, "{\"" ID_A "\"}");
    expect_parameter(&b.events, 2, "{\"" ID_A ":1:7\"}");
    expect_parameter(&b.events, 4, "{\"7\"}");
    expect_parameter(&b.events, 6, "{\"update\"}");
    expect_parameter(&b.events, 7, "{\"tab\"}");
    expect_parameter(&b.events, 8, "{\"" OTHER "\"}");
    expect_parameter(&b.events, 10, "{\"2026-02-12T12:00:07.000Z\"}");
    struct buf payload = BUF_NULL;
    array_put_text(&payload, ARRAY_JSON, e->body, e->body_len);
    assert_int_equal(b.events.parameters[8].len, payload.len);
    assert_memory_equal(b.events.parameters[8].data, payload.data, payload.len);
    buf_done(&payload);
    assert_int_equal(b.snapshots.n_rows, 0);
    batch_done(&b);
    entry_free(e);
}

#define HASH_OF(digit) digit digit digit digit digit digit digit digit

static struct entry *with_headers(const char *command_id, const char *key_hash,
                                  const char *fingerprint) {
    static const char body[] =
        "{\"type\":\"session_deleted\",\"sessionId\":\"" ID_A
        "\",\"epoch\":1,\"version\":2,\"timestamp\":"
        "\"2026-02-12T12:00:02.000Z\",\"userId\":\"" OTHER "\",\"deviceId\":\"tab\"}";
    struct bus_message m = {.tag = 1, .body = body, .body_len = sizeof(body) - 1};
    snprintf(m.command_id, sizeof(m.command_id), "%s", command_id);
    snprintf(m.key_hash, sizeof(m.key_hash), "%s", key_hash);
    snprintf(m.fingerprint, sizeof(m.fingerprint), "%s", fingerprint);
    return entry_new(&m, 1, 0);
}

static void expect_headers(struct entry *e, const char *command_id, const char *key_hash,
                           const char *fingerprint) {
    struct batch b;
    assert_string_equal(e->reason, "");
    batch_build(&e, 1, NULL, &b);
    expect_parameter(&b.events, 11, command_id);
    expect_parameter(&b.events, 12, key_hash);
    expect_parameter(&b.events, 13, fingerprint);
    batch_done(&b);
    entry_free(e);
}

static void test_command_and_key_are_kept_where_they_can_be(void **state) {
    (void)state;
    static const char key[] = HASH_OF("0123456f"), print[] = HASH_OF("abcdef09");
    expect_headers(with_headers(ID_B, key, print), "{\"" ID_B "\"}",
                   "{\"" HASH_OF("0123456f") "\"}", "{\"" HASH_OF("abcdef09") "\"}");
    expect_headers(with_headers("", "", ""), "{NULL}", "{NULL}", "{NULL}");
    expect_headers(with_headers("a command", key, print + 1), "{NULL}", "{NULL}", "{NULL}");
    expect_headers(with_headers(ID_B, HASH_OF("0123456F"), print), "{\"" ID_B "\"}", "{NULL}",
                   "{NULL}");
}

static void test_snapshot_keeps_its_data_out_of_the_event_row(void **state) {
    (void)state;
    struct entry *e = event(ID_A, "snapshot", 3, ",\"data\":{\"big\":1e-7},\"checksum\":\"c3\"");
    struct batch b;
    batch_build(&e, 1, NULL, &b);
    expect_parameter(&b.events, 2, "{\"0197aaaa-0000-4000-8000-000000000001\"}");
    char *payload = array_text(&b.events.parameters[8]);
    assert_null(strstr(payload, "big"));
    assert_non_null(strstr(payload, "\\\"checksum\\\":\\\"c3\\\""));
    free(payload);
    assert_int_equal(b.snapshots.n_rows, 1);
    char *data = array_text(&b.snapshots.parameters[3]);
    assert_non_null(strstr(data, "{\\\"big\\\":1e-7}"));
    free(data);
    batch_done(&b);
    entry_free(e);
}

static void test_sessions_get_one_row_each_sorted_by_id(void **state) {
    (void)state;
    struct entry *entries[] = {created(ID_B), created(ID_A), delta(ID_B, 2, WRITE),
                               delta(ID_A, 2, WRITE), delta(ID_B, 3, WRITE)};
    struct batch b;
    batch_build(entries, 5, NULL, &b);
    assert_int_equal(b.events.n_rows, 5);
    assert_int_equal(b.sessions.n_rows, 2);
    assert_int_equal(b.sessions.n_parameters, 26);
    expect_parameter(&b.sessions, 1, "{\"" ID_A "\",\"" ID_B "\"}");
    expect_parameter(&b.sessions, 3, "{\"2\",\"3\"}");
    expect_parameter(&b.sessions, 6, "{\"" OWNER "\",\"" OWNER "\"}");
    expect_parameter(&b.sessions, 19, "{\"c2\",\"c3\"}");
    batch_done(&b);
    free_all(entries, 5);
}

static void test_entries_that_are_no_events_are_left_out(void **state) {
    (void)state;
    struct entry *entries[] = {read_bytes("?", 1, ""), created(ID_A), read_bytes("", 0, "")};
    struct batch b;
    batch_build(entries, 3, NULL, &b);
    assert_int_equal(b.events.n_rows, 1);
    assert_int_equal(b.sessions.n_rows, 1);
    batch_done(&b);
    batch_build(entries, 1, NULL, &b);
    assert_int_equal(b.events.n_rows + b.sessions.n_rows + b.snapshots.n_rows, 0);
    batch_done(&b);
    free_all(entries, 3);
}

static void test_owner_is_nobody_until_the_creation_is_seen(void **state) {
    (void)state;
    struct entry *e = delta(ID_A, 2, WRITE);
    struct batch b;
    batch_build(&e, 1, NULL, &b);
    expect_parameter(&b.sessions, 6, "{\"00000000-0000-0000-0000-000000000000\"}");
    expect_parameter(&b.sessions, 5, "{\"2026-02-12T12:00:00.000Z\"}"); /* told by the id */
    expect_parameter(&b.sessions, 7, "{NULL}");
    expect_parameter(&b.sessions, 8, "{NULL}");
    expect_parameter(&b.sessions, 11, "{NULL}");
    expect_parameter(&b.sessions, 13, "{NULL}");
    batch_done(&b);
    entry_free(e);
}

/* ---- What changes say ---- */

static void test_order_of_a_sessions_events_makes_no_difference(void **state) {
    (void)state;
    static const size_t orders[][6] = {
        {0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {3, 0, 5, 1, 4, 2}, {4, 2, 0, 1, 5, 3}};
    for (size_t o = 0; o < N_ELEMENTS(orders); o++) {
        struct entry *told[] = {created(ID_A),
                                delta(ID_A, 2, RENAME("B")),
                                status(3, "paused", "null"),
                                delta(ID_A, 4, WRITE),
                                event(ID_A, "device_joined", 4, ",\"activeDeviceId\":\"tab\""),
                                event(ID_A, "session_deleted", 5, "")};
        struct entry *entries[6];
        for (size_t i = 0; i < 6; i++)
            entries[i] = told[orders[o][i]];
        struct batch b;
        batch_build(entries, 6, NULL, &b);
        assert_int_equal(b.sessions.n_rows, 1);
        expect_parameter(&b.sessions, 3, "{\"5\"}");
        expect_parameter(&b.sessions, 4, "{\"2026-02-12T12:00:05.000Z\"}");
        expect_parameter(&b.sessions, 6, "{\"" OWNER "\"}");
        expect_parameter(&b.sessions, 10, "{\"4294967298\"}"); /* epoch 1, version 2 */
        expect_parameter(&b.sessions, 11, "{\"B\"}");
        expect_parameter(&b.sessions, 13, "{\"paused\"}");
        expect_parameter(&b.sessions, 14, "{NULL}");
        expect_parameter(&b.sessions, 18, "{\"tab\"}");
        expect_parameter(&b.sessions, 19, "{\"c4\"}");
        expect_parameter(&b.sessions, 20, "{\"2026-02-12T12:00:05.000Z\"}");
        expect_parameter(&b.sessions, 21, "{\"4294967297\"}"); /* nobody was active later */
        expect_parameter(&b.sessions, 22, "{\"phone\"}");
        expect_parameter(&b.sessions, 23, "{\"0\"}"); /* nobody told a clock */
        expect_parameter(&b.sessions, 24, "{NULL}");
        batch_done(&b);
        free_all(entries, 6);
    }
}

/* Snapshots, comings and goings and a rebuild carry a position that others made. */
static void test_only_what_makes_a_version_is_an_update(void **state) {
    (void)state;
    static const char *const later[] = {"device_joined", "device_left", "snapshot"};
    for (size_t i = 0; i < N_ELEMENTS(later); i++) {
        struct entry *e = event(ID_A, later[i], 30, ",\"data\":{},\"checksum\":\"c\"");
        assert_string_equal(e->reason, "");
        assert_int_equal(e->change.updated_at, 0);
        entry_free(e);
    }
    struct entry *e =
        event(ID_A, "participant_changed", 30, ",\"participant\":\"" OTHER "\",\"role\":null");
    assert_int_equal(e->change.updated_at, MADE_AT + 30000);
    entry_free(e);
}

static void test_a_rebuild_tells_the_checksum_and_no_more(void **state) {
    (void)state;
    static const char rebuilt[] =
        "{\"type\":\"session_rebuilt\",\"sessionId\":\"" ID_A "\",\"epoch\":2,\"version\":2,"
        "\"timestamp\":\"2026-02-12T12:30:00.000Z\",\"userId\":\"" OWNER "\",\"deviceId\":null,"
        "\"checksum\":\"c1\"}";
    for (size_t o = 0; o < 2; o++) {
        struct entry *told[] = {delta(ID_A, 2, WRITE), read_bytes(rebuilt, strlen(rebuilt), "m")};
        struct entry *entries[] = {told[o], told[1 - o]};
        struct batch b;
        assert_string_equal(told[1]->reason, "");
        batch_build(entries, 2, NULL, &b);
        expect_parameter(&b.sessions, 2, "{\"2\"}");
        expect_parameter(&b.sessions, 4, "{\"2026-02-12T12:00:02.000Z\"}");
        expect_parameter(&b.sessions, 16, "{\"8589934594\"}"); /* epoch 2, version 2 */
        expect_parameter(&b.sessions, 17, "{\"2026-02-12T12:00:02.000Z\"}");
        expect_parameter(&b.sessions, 18, "{\"tab\"}");
        expect_parameter(&b.sessions, 19, "{\"c1\"}");
        batch_done(&b);
        free_all(entries, 2);
    }
}

static void expect_name(const char *operations, const char *name) {
    struct entry *e = delta(ID_A, 2, operations);
    assert_string_equal(e->reason, "");
    if (name)
        assert_string_equal(e->change.name, name);
    else
        assert_null(e->change.name);
    assert_int_equal(e->change.name_position != 0, name != NULL);
    entry_free(e);
}

static void test_name_is_what_the_last_operation_on_it_says(void **state) {
    (void)state;
    expect_name(WRITE, NULL);
    expect_name("[]", NULL);
    expect_name(RENAME("B"), "B");
    expect_name("[{\"op\":\"add\",\"path\":\"/name\",\"value\":\"B\"},"
                "{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"C\"}]",
                "C");
    /* moved there: the operations do not tell */
    expect_name("[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"B\"},"
                "{\"op\":\"copy\",\"from\":\"/data/x\",\"path\":\"/name\"}]",
                NULL);
    expect_name("[{\"op\":\"add\",\"path\":\"/data/name\",\"value\":\"B\"}]", NULL);
}

static void test_final_status_sets_the_end_and_no_other_does(void **state) {
    (void)state;
    static const struct {
        const char *status;
        bool ends;
    } cases[] = {{"active", false},   {"paused", false},   {"pending", false},
                 {"completed", true}, {"cancelled", true}, {"expired", true}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct entry *e = status(9, cases[i].status, "\"tab\"");
        assert_string_equal(e->reason, "");
        assert_int_equal(e->change.completed_at, cases[i].ends ? MADE_AT + 9000 : 0);
        assert_string_equal(e->change.active_device, "tab");
        entry_free(e);
    }
}

static void test_greater_epoch_wins_whatever_the_versions(void **state) {
    (void)state;
    assert_true(entry_position((struct position){.epoch = 2, .version = 1}) >
                entry_position((struct position){.epoch = 1, .version = INT_MAX}));
    assert_true(entry_position((struct position){.epoch = INT_MAX, .version = INT_MAX}) > 0);
}

/* ---- What can never be written ---- */

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
        cmocka_unit_test(test_arrays_carry_each_type_and_nulls),
        cmocka_unit_test(test_event_becomes_a_row_with_its_body_as_it_came),
        cmocka_unit_test(test_command_and_key_are_kept_where_they_can_be),
        cmocka_unit_test(test_snapshot_keeps_its_data_out_of_the_event_row),
        cmocka_unit_test(test_sessions_get_one_row_each_sorted_by_id),
        cmocka_unit_test(test_entries_that_are_no_events_are_left_out),
        cmocka_unit_test(test_owner_is_nobody_until_the_creation_is_seen),
        cmocka_unit_test(test_order_of_a_sessions_events_makes_no_difference),
        cmocka_unit_test(test_only_what_makes_a_version_is_an_update),
        cmocka_unit_test(test_a_rebuild_tells_the_checksum_and_no_more),
        cmocka_unit_test(test_name_is_what_the_last_operation_on_it_says),
        cmocka_unit_test(test_final_status_sets_the_end_and_no_other_does),
        cmocka_unit_test(test_greater_epoch_wins_whatever_the_versions),
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
