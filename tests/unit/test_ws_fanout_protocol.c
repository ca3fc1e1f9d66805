/* Client messages parsed, server messages printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "services/ws_fanout/protocol.h"

#define ID "01a1fc2e-d56f-771e-9ab2-a8c296371cd4"
#define SUM "11d0a8967009cbcdf468f09e5b09e73e7119b528c35a0e0b23f2ae052786b8fa"

#define SWITCH(more) "{\"type\":\"switch\",\"sessionId\":\"" ID "\"" more "}"

static struct fault parse(const char *text, struct protocol_message *m) {
    struct fault f = {.index = -1};
    int r = protocol_parse(text, strlen(text), m, &f);
    assert_int_equal(r, f.code);
    return f;
}

static void expect(const char *text, enum fault_code code, const char *field) {
    struct protocol_message m;
    struct fault f = parse(text, &m);
    if (f.code != code || strcmp(f.field, field) != 0)
        print_error("%s: %s, field \"%s\"\n", text, f.code ? fault_wire_code(f.code) : "taken",
                    f.field);
    assert_int_equal(f.code, code);
    assert_string_equal(f.field, field);
    protocol_message_done(&m);
}

static void test_each_type_is_parsed(void **state) {
    static const struct {
        const char *text;
        enum protocol_type type;
    } rows[] = {
        {"{\"type\":\"auth\",\"token\":\"a.b.c\"}", PROTOCOL_AUTH},
        {"{\"type\":\"subscribe\",\"sessionId\":\"" ID "\"}", PROTOCOL_SUBSCRIBE},
        {"{\"type\":\"unsubscribe\",\"sessionId\":\"" ID "\"}", PROTOCOL_UNSUBSCRIBE},
        {"{\"type\":\"patch\",\"sessionId\":\"" ID "\",\"operations\":[]}", PROTOCOL_PATCH},
        {"{\"type\":\"status\",\"sessionId\":\"" ID "\",\"status\":\"paused\"}", PROTOCOL_STATUS},
        {"{\"type\":\"switch\",\"sessionId\":\"" ID "\"}", PROTOCOL_SWITCH},
        {"{\"type\":\"heartbeat\",\"sessionId\":\"" ID "\",\"more\":1}", PROTOCOL_HEARTBEAT},
        {"{\"type\":\"broadcast\",\"sessionId\":\"" ID "\",\"message\":null}", PROTOCOL_BROADCAST},
        {" {\"type\":\"ping\"}\n", PROTOCOL_PING},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct protocol_message m;
        assert_int_equal(parse(rows[i].text, &m).code, FAULT_NONE);
        assert_int_equal(m.type, rows[i].type);
        assert_string_equal(m.command.session_id, m.session_id);
        protocol_message_done(&m);
    }
}

static void test_patch_fills_its_command(void **state) {
    struct protocol_message m;
    (void)state;
    assert_int_equal(parse("{\"type\":\"patch\",\"id\":\"p\",\"sessionId\":\"" ID
                           "\",\"operations\":[{\"op\":\"remove\",\"path\":\"/data/a\"}],"
                           "\"baseVersion\":7,\"epoch\":2,\"checksum\":\"" SUM
                           "\",\"key\":\"k 1\"}",
                           &m)
                         .code,
                     FAULT_NONE);
    assert_string_equal(m.id, "p");
    assert_int_equal(m.command.kind, COMMAND_PATCH);
    assert_int_equal(m.command.format, COMMAND_PATCH_OPERATIONS);
    assert_true(m.command.has_base);
    assert_int_equal(m.command.base.version, 7);
    assert_int_equal(m.command.base.epoch, 2);
    assert_false(m.command.disjoint);
    assert_string_equal(m.command.checksum, SUM);
    assert_string_equal(m.command.key, "k 1");
    assert_int_equal(json_array_size(m.command.patch), 1);
    protocol_message_done(&m);
}

static void test_switch_fills_its_command(void **state) {
    struct protocol_message m;
    (void)state;
    assert_int_equal(parse(SWITCH(",\"nextParticipantId\":\"black\",\"currentParticipantId\":"
                                  "\"white\",\"baseVersion\":7,\"epoch\":2,\"key\":\"k 1\""),
                           &m)
                         .code,
                     FAULT_NONE);
    assert_int_equal(m.command.kind, COMMAND_SWITCH);
    assert_string_equal(m.command.next_participant, "black");
    assert_string_equal(m.command.current_participant, "white");
    assert_int_equal(m.command.base.version, 7);
    assert_int_equal(m.command.base.epoch, 2);
    assert_string_equal(m.command.key, "k 1");
    assert_false(m.command.wants_session);
    protocol_message_done(&m);
    assert_int_equal(parse(SWITCH(",\"baseVersion\":7"), &m).code, FAULT_NONE);
    assert_string_equal(m.command.current_participant, "");
    assert_int_equal(m.command.base.epoch, 1);
    protocol_message_done(&m);
}

static void test_epoch_is_one_unless_said(void **state) {
    struct protocol_message m;
    (void)state;
    assert_int_equal(parse("{\"type\":\"patch\",\"sessionId\":\"" ID
                           "\",\"operations\":[],\"baseVersion\":7,\"merge\":\"disjoint\"}",
                           &m)
                         .code,
                     FAULT_NONE);
    assert_int_equal(m.command.base.epoch, 1);
    assert_true(m.command.disjoint);
    protocol_message_done(&m);
}

static void test_malformed_messages_are_refused_by_name(void **state) {
    (void)state;
    expect("", FAULT_INVALID_JSON, "");
    expect("{", FAULT_INVALID_JSON, "");
    expect("{\"type\":\"ping\",\"type\":\"ping\"}", FAULT_INVALID_JSON, "");
    expect("[]", FAULT_INVALID_REQUEST, "");
    expect("null", FAULT_INVALID_REQUEST, "");
    expect("{}", FAULT_INVALID_REQUEST, "type");
    expect("{\"type\":1}", FAULT_INVALID_REQUEST, "type");
    expect("{\"type\":\"Ping\"}", FAULT_INVALID_REQUEST, "type");
    expect("{\"type\":\"ping\",\"id\":7}", FAULT_INVALID_REQUEST, "id");
    expect("{\"type\":\"auth\"}", FAULT_INVALID_REQUEST, "token");
    expect("{\"type\":\"auth\",\"token\":\"t\",\"device\":\"d\"}", FAULT_INVALID_REQUEST, "device");
    expect("{\"type\":\"auth\",\"token\":\"t\",\"device\":{\"name\":1}}", FAULT_INVALID_REQUEST,
           "name");
    expect("{\"type\":\"subscribe\"}", FAULT_INVALID_REQUEST, "sessionId");
    expect("{\"type\":\"subscribe\",\"sessionId\":5}", FAULT_INVALID_REQUEST, "sessionId");
}

#define SUBSCRIBE(more) "{\"type\":\"subscribe\",\"sessionId\":\"" ID "\"" more "}"
#define AUTH(device) "{\"type\":\"auth\",\"token\":\"t\",\"device\":" device "}"
#define PATCH(more) "{\"type\":\"patch\",\"sessionId\":\"" ID "\"" more "}"
#define STATUS(more) "{\"type\":\"status\",\"sessionId\":\"" ID "\"" more "}"

static void test_bad_members_are_refused_by_name(void **state) {
    (void)state;
    expect("{\"type\":\"subscribe\",\"sessionId\":\"x\"}", FAULT_NOT_FOUND, "sessionId");
    expect("{\"type\":\"subscribe\",\"sessionId\":\"01A1FC2E-D56F-771E-9AB2-A8C296371CD4\"}",
           FAULT_NOT_FOUND, "sessionId");
    expect(SUBSCRIBE(",\"since\":\"3\""), FAULT_INVALID_REQUEST, "since");
    expect(SUBSCRIBE(",\"since\":null"), FAULT_INVALID_REQUEST, "since");
    expect(SUBSCRIBE(",\"since\":1.5"), FAULT_INVALID_REQUEST, "since");
    expect(SUBSCRIBE(",\"since\":-1"), FAULT_INVALID_VALUE, "since");
    expect(SUBSCRIBE(",\"since\":9007199254740992"), FAULT_INVALID_VALUE, "since");
    expect(SUBSCRIBE(",\"since\":3,\"epoch\":0"), FAULT_INVALID_VALUE, "epoch");
    expect(SUBSCRIBE(",\"epoch\":1"), FAULT_INVALID_REQUEST, "epoch");
    expect(PATCH(""), FAULT_INVALID_REQUEST, "operations");
    expect(PATCH(",\"operations\":{}"), FAULT_INVALID_REQUEST, "operations");
    expect(PATCH(",\"operations\":[],\"baseVersion\":0"), FAULT_INVALID_VALUE, "baseVersion");
    expect(PATCH(",\"operations\":[],\"baseVersion\":1.5"), FAULT_INVALID_REQUEST, "baseVersion");
    expect(PATCH(",\"operations\":[],\"epoch\":1"), FAULT_INVALID_REQUEST, "epoch");
    expect(PATCH(",\"operations\":[],\"merge\":\"other\""), FAULT_INVALID_VALUE, "merge");
    expect(PATCH(",\"operations\":[],\"checksum\":\"ab\""), FAULT_INVALID_VALUE, "checksum");
    expect(PATCH(",\"operations\":[],\"merge\":\"disjoint\",\"checksum\":\"" SUM "\""),
           FAULT_INVALID_REQUEST, "checksum");
    expect(PATCH(",\"operations\":[],\"key\":\"\""), FAULT_INVALID_REQUEST, "key");
    expect(PATCH(",\"operations\":[],\"key\":\"\\u0007\""), FAULT_INVALID_REQUEST, "key");
    expect("{\"type\":\"switch\"}", FAULT_INVALID_REQUEST, "sessionId");
    expect(SWITCH(",\"nextParticipantId\":1"), FAULT_INVALID_REQUEST, "nextParticipantId");
    expect(SWITCH(",\"currentParticipantId\":\"a b\""), FAULT_INVALID_VALUE,
           "currentParticipantId");
    expect(SWITCH(",\"baseVersion\":0"), FAULT_INVALID_VALUE, "baseVersion");
    expect(SWITCH(",\"epoch\":1"), FAULT_INVALID_REQUEST, "epoch");
    expect(SWITCH(",\"key\":\"\""), FAULT_INVALID_REQUEST, "key");
    expect(STATUS(""), FAULT_INVALID_REQUEST, "status");
    expect(STATUS(",\"status\":\"pending\""), FAULT_INVALID_VALUE, "status");
    expect(STATUS(",\"status\":\"expired\""), FAULT_INVALID_VALUE, "status");
    expect(STATUS(",\"status\":\"running\""), FAULT_INVALID_VALUE, "status");
}

static void test_subscribe_may_say_a_position(void **state) {
    static const struct {
        const char *text;
        bool has_since;
        struct position since;
    } rows[] = {
        {SUBSCRIBE(""), false, {0, 1}},
        {SUBSCRIBE(",\"since\":0"), true, {0, 1}},
        {SUBSCRIBE(",\"since\":41"), true, {41, 1}},
        {SUBSCRIBE(",\"epoch\":3,\"since\":41"), true, {41, 3}},
        {SUBSCRIBE(",\"since\":9007199254740991"), true, {9007199254740991, 1}},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct protocol_message m;
        assert_int_equal(parse(rows[i].text, &m).code, FAULT_NONE);
        assert_int_equal(m.has_since, rows[i].has_since);
        assert_true(position_equal(m.since, rows[i].since));
        protocol_message_done(&m);
    }
}

static void test_a_device_says_what_it_is(void **state) {
    struct protocol_message m;
    (void)state;
    assert_int_equal(
        parse(AUTH("{\"name\":\"B\u00fcro \u2028\",\"platform\":\"ios 19\"}"), &m).code,
        FAULT_NONE);
    assert_string_equal(m.device_name, "B\xc3\xbcro \xe2\x80\xa8");
    assert_string_equal(m.device_platform, "ios 19");
    protocol_message_done(&m);
    assert_int_equal(parse(AUTH("{\"name\":\"\"}"), &m).code, FAULT_NONE);
    assert_null(m.device_name);
    assert_null(m.device_platform);
    protocol_message_done(&m);
    expect(AUTH("{\"name\":\"a\\u0000b\"}"), FAULT_INVALID_JSON, "");
    expect(AUTH("{\"name\":\"a\\nb\"}"), FAULT_INVALID_VALUE, "name");
    expect(AUTH("{\"name\":\"a\\u007f\"}"), FAULT_INVALID_VALUE, "name");
    expect(AUTH("{\"platform\":\"\\u009f\"}"), FAULT_INVALID_VALUE, "platform");
    expect(AUTH("{\"platform\":\"\\u00a0\"}"), FAULT_NONE, "");
}

static void expect_said(const char *member, int n_bytes, enum fault_code code) {
    char text[512];
    snprintf(text, sizeof(text), AUTH("{\"%s\":\"%0*d\"}"), member, n_bytes, 0);
    expect(text, code, code ? member : "");
}

static void test_what_a_device_says_is_bounded(void **state) {
    (void)state;
    expect_said("name", 255, FAULT_NONE);
    expect_said("name", 256, FAULT_INVALID_VALUE);
    expect_said("platform", 64, FAULT_NONE);
    expect_said("platform", 65, FAULT_INVALID_VALUE);
}

static enum fault_code parse_with_id(const char *character, int n, char ret_id[PROTOCOL_ID_CAP]) {
    char text[1024] = "{\"type\":\"ping\",\"id\":\"";
    for (int i = 0; i < n; i++)
        strcat(text, character);
    strcat(text, "\"}");
    struct protocol_message m;
    struct fault f = parse(text, &m);
    memcpy(ret_id, m.id, PROTOCOL_ID_CAP);
    protocol_message_done(&m);
    return f.code;
}

#define BROADCAST(members) "{\"type\":\"broadcast\",\"sessionId\":\"" ID "\"" members "}"

static void test_broadcast_keeps_its_message(void **state) {
    struct protocol_message m;
    (void)state;
    assert_int_equal(parse(BROADCAST(",\"message\":[1],\"echo\":true"), &m).code, FAULT_NONE);
    assert_int_equal(json_array_size(m.message), 1);
    assert_true(m.echo);
    protocol_message_done(&m);
    assert_int_equal(parse(BROADCAST(",\"message\":false"), &m).code, FAULT_NONE);
    assert_true(json_is_false(m.message));
    assert_false(m.echo);
    protocol_message_done(&m);
    expect(BROADCAST(""), FAULT_INVALID_REQUEST, "message");
    expect(BROADCAST(",\"message\":1,\"echo\":0"), FAULT_INVALID_REQUEST, "echo");
    expect("{\"type\":\"broadcast\",\"message\":1}", FAULT_INVALID_REQUEST, "sessionId");
}

static void test_id_may_have_64_characters_of_any_length(void **state) {
    char id[PROTOCOL_ID_CAP];
    (void)state;
    assert_int_equal(parse_with_id("x", 64, id), FAULT_NONE);
    assert_int_equal(strlen(id), 64);
    assert_int_equal(parse_with_id("\xf0\x9f\x98\x80", 64, id), FAULT_NONE);
    assert_int_equal(strlen(id), 256);
    assert_int_equal(parse_with_id("x", 65, id), FAULT_INVALID_REQUEST);
    assert_string_equal(id, "");
}

static void test_key_may_have_128_characters(void **state) {
    char text[512], key[130];
    (void)state;
    memset(key, 'k', sizeof(key));
    snprintf(text, sizeof(text), STATUS(",\"status\":\"active\",\"key\":\"%.*s\""), 128, key);
    expect(text, FAULT_NONE, "");
    snprintf(text, sizeof(text), STATUS(",\"status\":\"active\",\"key\":\"%.*s\""), 129, key);
    expect(text, FAULT_INVALID_REQUEST, "key");
}

static void test_failure_keeps_id_and_session_for_the_answer(void **state) {
    struct protocol_message m;
    (void)state;
    assert_int_equal(parse("{\"type\":\"patch\",\"id\":\"7\",\"sessionId\":\"" ID "\"}", &m).code,
                     FAULT_INVALID_REQUEST);
    assert_string_equal(m.id, "7");
    assert_string_equal(m.session_id, ID);
    protocol_message_done(&m);
}

static void expect_text(struct buf *out, const char *text) {
    assert_string_equal(out->data, text);
    buf_done(out);
}

static void test_server_messages_are_printed(void **state) {
    struct buf out = BUF_NULL;
    struct protocol_hello hello = {"c1", 0, 25, 65536};
    (void)state;
    protocol_print_hello("a\"b", &hello, &out);
    expect_text(&out, "{\"type\":\"hello\",\"id\":\"a\\\"b\",\"connectionId\":\"c1\","
                      "\"serverTime\":\"1970-01-01T00:00:00.000Z\",\"pingSeconds\":25,"
                      "\"maxMessageBytes\":65536}");
    protocol_print_pong("", 1, &out);
    expect_text(&out, "{\"type\":\"pong\",\"serverTime\":\"1970-01-01T00:00:00.001Z\"}");
    protocol_print_unsubscribed("3", ID, "", &out);
    expect_text(&out, "{\"type\":\"unsubscribed\",\"id\":\"3\",\"sessionId\":\"" ID "\"}");
    protocol_print_unsubscribed(NULL, ID, "not_found", &out);
    expect_text(&out,
                "{\"type\":\"unsubscribed\",\"sessionId\":\"" ID "\",\"code\":\"not_found\"}");
    protocol_print_subscribed("4", ID, (struct position){9, 2}, 3, &out);
    expect_text(&out, "{\"type\":\"subscribed\",\"id\":\"4\",\"sessionId\":\"" ID
                      "\",\"epoch\":2,\"version\":9,\"replayed\":3}");
    protocol_print_presence(ID, (const char *[]){"a", "b"}, 2, NULL, 0, &out);
    expect_text(&out, "{\"type\":\"presence\",\"sessionId\":\"" ID
                      "\",\"joined\":[\"a\",\"b\"],\"left\":[]}");
    protocol_print_token_expiring(1000, &out);
    expect_text(&out, "{\"type\":\"token_expiring\",\"expiresAt\":\"1970-01-01T00:00:01.000Z\"}");
    protocol_print_retry_after(150, &out);
    expect_text(&out, "{\"retryAfterMs\":150}");
}

static void test_state_sync_carries_the_resource_as_printed(void **state) {
    struct buf out = BUF_NULL, text = BUF_NULL;
    struct session s = {.id = ID, .position = {.version = 3, .epoch = 2}};
    (void)state;
    buf_puts(&text, "{\"data\":{}}");
    protocol_print_state_sync("s", &s, &text, "initial", &out);
    expect_text(&out, "{\"type\":\"state_sync\",\"id\":\"s\",\"sessionId\":\"" ID
                      "\",\"epoch\":2,\"version\":3,\"session\":{\"data\":{}},"
                      "\"reason\":\"initial\"}");
    buf_done(&text);
}

static void test_ack_says_replayed_only_when_it_was(void **state) {
    struct buf out = BUF_NULL;
    struct reply r = {.session_id = ID, .position = {.version = 4, .epoch = 1}, .checksum = SUM};
    (void)state;
    protocol_print_ack("1", &r, &out);
    expect_text(&out, "{\"type\":\"ack\",\"id\":\"1\",\"sessionId\":\"" ID
                      "\",\"epoch\":1,\"version\":4,\"checksum\":\"" SUM "\",\"rebased\":false}");
    r.replayed = r.rebased = true;
    r.checksum[0] = '\0';
    protocol_print_ack("", &r, &out);
    expect_text(&out, "{\"type\":\"ack\",\"sessionId\":\"" ID
                      "\",\"epoch\":1,\"version\":4,\"rebased\":true,\"replayed\":true}");
}

static void test_ack_of_a_broadcast_has_the_position_alone(void **state) {
    struct buf out = BUF_NULL;
    (void)state;
    protocol_print_broadcast_ack("b", ID, (struct position){.version = 4, .epoch = 2}, &out);
    expect_text(&out, "{\"type\":\"ack\",\"id\":\"b\",\"sessionId\":\"" ID
                      "\",\"epoch\":2,\"version\":4}");
}

static void test_error_carries_the_conflict_members(void **state) {
    struct buf out = BUF_NULL;
    struct fault f = {0};
    (void)state;
    fault_set(&f, FAULT_VERSION_CONFLICT, NULL, "moved");
    protocol_print_error("1", ID, &f, "{\"currentVersion\":9,\"epoch\":1,\"deltas\":[]}", &out);
    expect_text(&out, "{\"type\":\"error\",\"id\":\"1\",\"sessionId\":\"" ID
                      "\",\"code\":\"version_conflict\","
                      "\"detail\":\"moved\",\"temporary\":false,\"currentVersion\":9,\"epoch\":1,"
                      "\"deltas\":[]}");
    fault_set(&f, FAULT_PATCH_FAILED, NULL, "no");
    f.index = 0;
    strcpy(f.pointer, "/data/a");
    protocol_print_error("", "", &f, NULL, &out);
    expect_text(&out, "{\"type\":\"error\",\"code\":\"patch_failed\","
                      "\"detail\":\"no\","
                      "\"temporary\":false,\"pointer\":\"/data/a\",\"index\":0}");
    fault_set(&f, FAULT_RATE_LIMITED, NULL, "slower");
    f.retry_after_ms = 20;
    protocol_print_error("", "", &f, NULL, &out);
    expect_text(&out, "{\"type\":\"error\",\"code\":\"rate_limited\",\"detail\":\"slower\","
                      "\"temporary\":true,\"retryAfterMs\":20}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_type_is_parsed),
        cmocka_unit_test(test_patch_fills_its_command),
        cmocka_unit_test(test_switch_fills_its_command),
        cmocka_unit_test(test_epoch_is_one_unless_said),
        cmocka_unit_test(test_malformed_messages_are_refused_by_name),
        cmocka_unit_test(test_bad_members_are_refused_by_name),
        cmocka_unit_test(test_broadcast_keeps_its_message),
        cmocka_unit_test(test_subscribe_may_say_a_position),
        cmocka_unit_test(test_a_device_says_what_it_is),
        cmocka_unit_test(test_what_a_device_says_is_bounded),
        cmocka_unit_test(test_id_may_have_64_characters_of_any_length),
        cmocka_unit_test(test_key_may_have_128_characters),
        cmocka_unit_test(test_failure_keeps_id_and_session_for_the_answer),
        cmocka_unit_test(test_server_messages_are_printed),
        cmocka_unit_test(test_state_sync_carries_the_resource_as_printed),
        cmocka_unit_test(test_ack_says_replayed_only_when_it_was),
        cmocka_unit_test(test_ack_of_a_broadcast_has_the_position_alone),
        cmocka_unit_test(test_error_carries_the_conflict_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
