/* Deltas read without a tree say what the parser says, or nothing:
 * services/audit_writer/entry_scan.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "services/audit_writer/entry_scan.h"

#define ID "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"
#define USER "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define BEGIN(version, device)                                                                     \
    "{\"type\":\"state_delta\",\"sessionId\":\"" ID "\",\"epoch\":3,\"version\":" version          \
    ",\"timestamp\":\"2026-02-12T12:00:00.123Z\",\"userId\":\"" USER "\",\"deviceId\":" device     \
    ",\"baseVersion\":6,\"operations\":"
#define END ",\"checksum\":\"c0ffee\"}"
#define WITH(operations) BEGIN("7", "\"phone\"") operations END
#define VALUE(value) WITH("[{\"op\":\"add\",\"path\":\"/data/x\",\"value\":" value "}]")

static bool scan(const char *body, size_t len, struct event *ret) {
    char checksum[HASH_HEX_LEN + 1];
    char *copy = must_memdup(body, len); /* of its own length, for the sanitizers */
    bool ok = entry_scan_delta(copy, len, ret, checksum);
    if (ok)
        assert_string_equal(checksum, "c0ffee");
    free(copy);
    return ok;
}

static void expect_as_parsed(const char *body) {
    struct event scanned = {0}, parsed = {0};
    struct fault f = {0};
    if (!scan(body, strlen(body), &scanned))
        fail_msg("left to the parser: %s", body);
    if (event_parse(body, strlen(body), &parsed, NULL, &f) != 0)
        fail_msg("no event: %s: %s", body, f.detail);
    assert_int_equal(scanned.type, parsed.type);
    assert_string_equal(scanned.session_id, parsed.session_id);
    assert_true(position_equal(scanned.position, parsed.position));
    assert_int_equal(scanned.timestamp, parsed.timestamp);
    assert_string_equal(scanned.user_id, parsed.user_id);
    assert_string_equal(scanned.device_id, parsed.device_id);
    assert_string_equal(scanned.message_id, parsed.message_id);
    assert_null(scanned.body);
}

static void test_what_is_taken_says_what_the_parser_says(void **state) {
    (void)state;
    static const char *const bodies[] = {
        WITH("[]"),
        BEGIN("1", "null") "[]" END,
        BEGIN("9007199254740991", "\"a\"") "[]" END,
        BEGIN("7", "\"phone\"") "[],\"checksum\":\"c0ffee\",\"rebased\":true}",
        WITH("[{\"op\":\"remove\",\"path\":\"/data/x\"}]"),
        WITH("[{\"op\":\"move\",\"from\":\"/name\",\"path\":\"/data/x\"},"
             "{\"op\":\"remove\",\"path\":\"/data/name\"}]"),
        VALUE("0"),
        VALUE("123456789012345"),
        VALUE("0.25"),
        VALUE("\"\""),
        VALUE("\"caf\u00e9 \U0001f600 {]}[\""),
        VALUE("true"),
        VALUE("false"),
        VALUE("null"),
        VALUE("[]"),
        VALUE("[1,\"a\",[null,[]],[[2]]]"),
    };
    for (size_t i = 0; i < N_ELEMENTS(bodies); i++)
        expect_as_parsed(bodies[i]);
}

static void test_the_rest_is_left_to_the_parser(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "",
        "{}",
        WITH("[]") " ",
        WITH("[]") "}",
        WITH("{}"),
        WITH("null"),
        WITH("[1]"),
        WITH("[{}]"),
        WITH("[,]"),
        BEGIN("0", "\"phone\"") "[]" END,
        BEGIN("07", "\"phone\"") "[]" END,
        BEGIN("-7", "\"phone\"") "[]" END,
        BEGIN("9007199254740992", "\"phone\"") "[]" END,
        BEGIN("7", "\"\"") "[]" END,
        BEGIN("7", "7") "[]" END,
        WITH("[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"B\"}]"),
        WITH("[{\"path\":\"/data\",\"op\":\"remove\"}]"),
        WITH("[{\"op\":\"add\",\"path\":\"/data/x\",\"value\":1,\"value\":2}]"),
        WITH("[{\"op\":\"add\",\"path\":\"/data/x\",\"value\":1}"),
        WITH("[{\"op\":\"add\",\"path\":\"/na\\u006de\",\"value\":\"B\"}]"),
        VALUE("{}"),
        VALUE("01"),
        VALUE("-0"),
        VALUE("1."),
        VALUE(".5"),
        VALUE("1e999"),
        VALUE("1234567890123456"),
        VALUE("tru"),
        VALUE("NaN"),
        VALUE("\"\\ud800\""),
        VALUE("\"\n\""),
        VALUE("\"\xff\""),
        VALUE("\"\xed\xa0\x80\""),
        VALUE("[1,]"),
        VALUE("[,1]"),
        VALUE("[[]1]"),
        VALUE("[1]]"),
        VALUE("[[1]"),
        VALUE("[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]"),
        BEGIN("7", "\"phone\"") "[],\"checksum\":\"c0ffee\",\"rebased\":false}",
        BEGIN("7", "\"phone\"") "[],\"checksum\":\"c0ffee\",\"clock\":null}",
        BEGIN("7", "\"phone\"") "[],\"checksum\":7}",
        BEGIN("7", "\"phone\"") "[]}",
    };
    for (size_t i = 0; i < N_ELEMENTS(bodies); i++) {
        struct event e;
        if (scan(bodies[i], strlen(bodies[i]), &e))
            fail_msg("taken: %s", bodies[i]);
    }
}

static void test_nothing_is_taken_of_less_than_all(void **state) {
    (void)state;
    static const char body[] = VALUE("[1,\"caf\u00e9\"]");
    struct event e;
    for (size_t len = 0; len < sizeof(body) - 1; len++)
        assert_false(scan(body, len, &e));
    assert_true(scan(body, sizeof(body) - 1, &e));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_taken_says_what_the_parser_says),
        cmocka_unit_test(test_the_rest_is_left_to_the_parser),
        cmocka_unit_test(test_nothing_is_taken_of_less_than_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
