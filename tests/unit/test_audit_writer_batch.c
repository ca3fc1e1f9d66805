/* From deliveries to statements' parameters: services/audit_writer/entry.h and batch.h. */
#include "tests/unit/audit_entry_fixture.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays_carry_each_type_and_nulls),
        cmocka_unit_test(test_event_becomes_a_row_with_its_body_as_it_came),
        cmocka_unit_test(test_command_and_key_are_kept_where_they_can_be),
        cmocka_unit_test(test_snapshot_keeps_its_data_out_of_the_event_row),
        cmocka_unit_test(test_sessions_get_one_row_each_sorted_by_id),
        cmocka_unit_test(test_entries_that_are_no_events_are_left_out),
        cmocka_unit_test(test_owner_is_nobody_until_the_creation_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
