/* Commands: printed as the golden examples are, read back whole, and refused at each bound with the
 * member's name. */
#include "golden_command.h"

static char *print(const struct command *c) {
    struct buf out = BUF_NULL;
    command_print(c, &out);
    return buf_take(&out);
}

static void test_examples_are_printed_as_they_were_read(void **state) {
    (void)state;
    static const char *const examples[] = {
        "command.create",    "command.patch",       "command.merge_patch",
        "command.disjoint",  "command.status",      "command.delete",
        "command.heartbeat", "command.load",        "command.restore",
        "command.snapshot",  "command.participant", "command.participant_removed",
        "command.device",    "command.presence",    "command.create_clock",
        "command.switch",    "command.clock_set",   "command.clock_adjust"};
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        struct command c = golden_command(examples[i]);
        char *text = print(&c);
        golden_equal(text, examples[i]);
        free(text);
        command_done(&c);
    }
}

static void test_create_is_read_whole(void **state) {
    (void)state;
    struct command c = golden_command("command.create");
    assert_int_equal(c.kind, COMMAND_CREATE);
    assert_string_equal(c.session_id, GOLDEN_SESSION);
    assert_string_equal(c.user_id, GOLDEN_USER);
    assert_string_equal(c.device_id, "phone-1");
    assert_int_equal(c.rights, COMMAND_READ | COMMAND_WRITE);
    assert_string_equal(c.key, "create-1");
    assert_int_equal(c.deadline, GOLDEN_CREATED_MS + 305000);
    assert_string_equal(c.name, "Evening meditation");
    assert_string_equal(c.type, "meditation");
    assert_int_equal(c.status, SESSION_ACTIVE);
    assert_true(json_is_object(c.data));
    assert_int_equal(c.ttl_seconds, 3600);
    assert_int_equal(c.on_idle, SESSION_IDLE_PAUSE);
    assert_false(c.has_base || c.if_match_any || c.n_if_match || c.wants_session);
    command_done(&c);
}

static void test_patches_are_read_whole(void **state) {
    (void)state;
    struct command c = golden_command("command.patch");
    assert_int_equal(c.format, COMMAND_PATCH_OPERATIONS);
    assert_true(c.has_base && c.wants_session && !c.disjoint);
    assert_int_equal(c.sent_at, c.deadline - 5000);
    assert_int_equal(c.base.version, 41);
    assert_int_equal(c.base.epoch, 1);
    assert_int_equal(json_array_size(c.patch), 2);
    assert_int_equal(strlen(c.checksum), HASH_HEX_LEN);
    command_done(&c);

    c = golden_command("command.merge_patch");
    assert_int_equal(c.format, COMMAND_PATCH_MERGE);
    assert_int_equal(c.n_if_match, 2);
    assert_true(position_equal(c.if_match[1], (struct position){.version = 7, .epoch = 3}));
    assert_true(json_is_object(c.patch));
    assert_false(c.has_base);
    command_done(&c);

    c = golden_command("command.disjoint");
    assert_true(c.disjoint);
    command_done(&c);

    c = golden_command("command.delete");
    assert_true(c.if_match_any);
    assert_int_equal(c.rights, COMMAND_READ | COMMAND_WRITE | COMMAND_ADMIN);
    command_done(&c);
    command_done(&c);
    command_done(NULL);
}

static void test_sharing_is_read_whole(void **state) {
    (void)state;
    struct command c = golden_command("command.participant");
    assert_int_equal(c.kind, COMMAND_PARTICIPANT);
    assert_string_equal(c.participant_id, "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d");
    assert_int_equal(c.participant_role, SESSION_ROLE_EDITOR);
    command_done(&c);

    c = golden_command("command.participant_removed");
    assert_int_equal(c.participant_role, SESSION_ROLE_NONE);
    command_done(&c);

    c = golden_command("command.device");
    assert_int_equal(c.kind, COMMAND_DEVICE);
    assert_string_equal(c.device_id, "phone-1");
    assert_string_equal(c.target_device, "tablet-7");
    assert_true(c.device_removed);
    command_done(&c);

    c = golden_command("command.presence");
    assert_int_equal(c.kind, COMMAND_PRESENCE);
    assert_string_equal(c.device_id, "");
    command_done(&c);
}

static void test_the_engines_own_kind_is_no_message(void **state) {
    (void)state;
    struct command c;
    struct fault f;
    assert_int_equal(
        parse_changed("command.load", (struct change){"kind", "\"due\""}, no_change, &c, &f),
        FAULT_INVALID_VALUE);
    assert_string_equal(f.field, "kind");
}

static void test_versions_are_read_whole(void **state) {
    (void)state;
    struct command c = golden_command("command.restore");
    assert_int_equal(c.kind, COMMAND_RESTORE);
    assert_true(position_equal(c.restored, (struct position){.version = 42, .epoch = 1}));
    assert_int_equal(strlen(c.checksum), HASH_HEX_LEN);
    assert_true(json_is_object(c.data));
    assert_int_equal(c.n_if_match, 1);
    assert_true(c.wants_session);
    command_done(&c);

    c = golden_command("command.snapshot");
    assert_int_equal(c.kind, COMMAND_SNAPSHOT);
    assert_string_equal(c.label, "Before the long sit");
    command_done(&c);

    struct fault f;
    assert_int_equal(
        parse_changed("command.snapshot", (struct change){"label", NULL}, no_change, &c, &f), 0);
    assert_null(c.label);
    command_done(&c);
    assert_int_equal(
        parse_changed("command.restore", (struct change){"data", "null"}, no_change, &c, &f), 0);
    assert_true(json_is_null(c.data));
    command_done(&c);
}

static void expect_refusal(const char *example, struct change a, int code, const char *field) {
    struct command c = {.deadline = 77};
    struct fault f = {0};
    int r = parse_changed(example, a, no_change, &c, &f);
    if (r != code || f.code != (enum fault_code)code || strcmp(f.field, field) != 0)
        fail_msg("%s with %s = %s: code %d, field %s, %s", example, a.member,
                 a.value ? a.value : "nothing", r, f.field, f.detail);
    assert_int_equal(c.deadline, 77); /* untouched */
}

static void test_missing_members_are_named(void **state) {
    (void)state;
    static const char *const required[][2] = {
        {"command.create", "id"},
        {"command.create", "kind"},
        {"command.create", "sessionId"},
        {"command.create", "userId"},
        {"command.create", "deviceId"},
        {"command.create", "scope"},
        {"command.create", "deadline"},
        {"command.create", "name"},
        {"command.create", "type"},
        {"command.status", "status"},
        {"command.patch", "operations"},
        {"command.heartbeat", "deviceId"},
        {"command.delete", "deviceId"},
        {"command.restore", "restored"},
        {"command.restore", "data"},
        {"command.restore", "checksum"},
        {"command.restore", "deviceId"},
        {"command.snapshot", "deviceId"},
        {"command.participant", "participant"},
        {"command.participant", "role"},
        {"command.participant", "deviceId"},
        {"command.device", "device"},
        {"command.device", "removed"},
        {"command.device", "deviceId"},
    };
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
        expect_refusal(required[i][0], (struct change){required[i][1], NULL}, FAULT_INVALID_REQUEST,
                       required[i][1]);
}

static void test_wrong_types_are_invalid_requests(void **state) {
    (void)state;
    static const struct change wrong[] = {
        {"id", "1"},           {"kind", "null"},
        {"sessionId", "[]"},   {"userId", "{}"},
        {"deviceId", "false"}, {"scope", "\"read\""},
        {"key", "1"},          {"deadline", "\"1\""},
        {"deadline", "1.5"},   {"sentAt", "1.5"},
        {"wantsSession", "1"}, {"ifMatch", "\"42\""},
        {"ifMatch", "[]"},     {"ifMatch", "null"},
        {"ifMatch", "[42]"},   {"baseVersion", "null"},
        {"epoch", "\"1\""},    {"operations", "{}"},
        {"merge", "true"},     {"checksum", "null"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        expect_refusal("command.patch", wrong[i], FAULT_INVALID_REQUEST, wrong[i].member);
    static const struct change wrong_create[] = {{"name", "7"},
                                                 {"type", "null"},
                                                 {"status", "1"},
                                                 {"ttlSeconds", "\"60\""},
                                                 {"onIdle", "{}"}};
    for (size_t i = 0; i < sizeof(wrong_create) / sizeof(wrong_create[0]); i++)
        expect_refusal("command.create", wrong_create[i], FAULT_INVALID_REQUEST,
                       wrong_create[i].member);
    expect_refusal("command.merge_patch", (struct change){"mergePatch", "[]"},
                   FAULT_INVALID_REQUEST, "mergePatch");
}

struct wrong {
    const char *example;
    struct change change;
    int code;
    const char *field;
};

static void expect_refusals(const struct wrong *wrong, size_t n) {
    for (size_t i = 0; i < n; i++)
        expect_refusal(wrong[i].example, wrong[i].change, wrong[i].code, wrong[i].field);
}

static void test_wrong_sharing_is_refused_by_name(void **state) {
    (void)state;
    static const struct wrong wrong[] = {
        {"command.participant", {"participant", "7"}, FAULT_INVALID_REQUEST, "participant"},
        {"command.participant", {"participant", "\"ada\""}, FAULT_INVALID_VALUE, "participant"},
        {"command.participant", {"role", "1"}, FAULT_INVALID_REQUEST, "role"},
        {"command.participant", {"role", "\"owner\""}, FAULT_INVALID_VALUE, "role"},
        {"command.participant", {"role", "\"none\""}, FAULT_INVALID_VALUE, "role"},
        {"command.participant", {"role", "\"\""}, FAULT_INVALID_VALUE, "role"},
        {"command.device", {"device", "null"}, FAULT_INVALID_REQUEST, "device"},
        {"command.device", {"device", "\"\""}, FAULT_INVALID_VALUE, "device"},
        {"command.device", {"device", "\"a,b\""}, FAULT_INVALID_VALUE, "device"},
        {"command.device", {"removed", "1"}, FAULT_INVALID_REQUEST, "removed"},
    };
    expect_refusals(wrong, N_ELEMENTS(wrong));
}

static void test_wrong_versions_are_refused_by_name(void **state) {
    (void)state;
    static const struct wrong wrong[] = {
        {"command.restore", {"restored", "7"}, FAULT_INVALID_REQUEST, "restored"},
        {"command.restore", {"restored", "{\"epoch\":1}"}, FAULT_INVALID_REQUEST, "version"},
        {"command.restore", {"restored", "{\"version\":1}"}, FAULT_INVALID_REQUEST, "epoch"},
        {"command.restore",
         {"restored", "{\"version\":0,\"epoch\":1}"},
         FAULT_INVALID_VALUE,
         "version"},
        {"command.restore", {"checksum", "\"0123\""}, FAULT_INVALID_VALUE, "checksum"},
        {"command.restore", {"checksum", "null"}, FAULT_INVALID_REQUEST, "checksum"},
        {"command.snapshot", {"label", "7"}, FAULT_INVALID_REQUEST, "label"},
        {"command.snapshot", {"label", "\"\""}, FAULT_INVALID_VALUE, "label"},
    };
    expect_refusals(wrong, N_ELEMENTS(wrong));
}

static void test_values_out_of_range_are_invalid_values(void **state) {
    (void)state;
    static const struct change wrong[] = {
        {"id", "\"\""},
        {"id", "\"019C51B8-ee00-7a3b-8f21-5b6c7d8e9f01\""},
        {"sessionId", "\"not a uuid\""},
        {"userId", "\"ada\""},
        {"deviceId", "\"\""},
        {"deviceId", "\"..\""},
        {"deviceId", "\"a b\""},
        {"kind", "\"explode\""},
        {"kind", "\"\""},
        {"scope", "[\"read\",\"everything\"]"},
        {"scope", "[\"read\",1]"},
        {"scope", "[\"read\",\"write\",\"admin\",\"read\"]"},
        {"key", "\"\""},
        {"key", "\"\xc3\xa4\""},
        {"key", "\"a\\tb\""},
        {"deadline", "-1"},
        {"deadline", "9007199254740992"},
        {"sentAt", "-1"},
        {"sentAt", "9007199254740992"},
        {"baseVersion", "0"},
        {"baseVersion", "9007199254740992"},
        {"epoch", "0"},
        {"merge", "\"join\""},
        {"checksum", "\"\""},
        {"checksum", "\"0123\""},
        {"checksum", "\"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\""},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        expect_refusal("command.patch", wrong[i], FAULT_INVALID_VALUE, wrong[i].member);
    static const struct change wrong_create[] = {
        {"sessionId", "\"019c51b8-ee00-4a3b-8f21-5b6c7d8e9f01\""},
        {"name", "\"\""},
        {"type", "\"Meditation\""},
        {"type", "\"\""},
        {"status", "\"paused\""},
        {"status", "\"\""},
        {"ttlSeconds", "59"},
        {"ttlSeconds", "2592001"},
        {"onIdle", "\"sleep\""},
    };
    for (size_t i = 0; i < sizeof(wrong_create) / sizeof(wrong_create[0]); i++)
        expect_refusal("command.create", wrong_create[i], FAULT_INVALID_VALUE,
                       wrong_create[i].member);
    static const char *const no_targets[] = {"\"pending\"", "\"expired\"", "\"Active\"", "\"\""};
    for (size_t i = 0; i < sizeof(no_targets) / sizeof(no_targets[0]); i++)
        expect_refusal("command.status", (struct change){"status", no_targets[i]},
                       FAULT_INVALID_VALUE, "status");
}

/* A quoted string of n times the character. */
static char *quoted(char c, size_t n) {
    struct buf out = BUF_NULL;
    buf_putc(&out, '"');
    for (size_t i = 0; i < n; i++)
        buf_putc(&out, c);
    buf_putc(&out, '"');
    return buf_take(&out);
}

static void test_strings_are_taken_up_to_their_bounds(void **state) {
    (void)state;
    static const struct {
        const char *member;
        size_t most;
    } bounds[] = {{"key", COMMAND_KEY_MAX},
                  {"deviceId", SESSION_DEVICE_MAX},
                  {"type", SESSION_TYPE_MAX},
                  {"name", SESSION_NAME_MAX_CHARACTERS}};
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        char *fits = quoted('x', bounds[i].most), *longer = quoted('x', bounds[i].most + 1);
        struct command c;
        struct fault f;
        assert_int_equal(parse_changed("command.create", (struct change){bounds[i].member, fits},
                                       no_change, &c, &f),
                         0);
        command_done(&c);
        expect_refusal("command.create", (struct change){bounds[i].member, longer},
                       FAULT_INVALID_VALUE, bounds[i].member);
        free(fits);
        free(longer);
    }
}

static void test_a_label_is_taken_up_to_its_bound(void **state) {
    (void)state;
    char *fits = quoted('x', SESSION_LABEL_MAX_CHARACTERS);
    char *longer = quoted('x', SESSION_LABEL_MAX_CHARACTERS + 1);
    struct command c;
    struct fault f;
    assert_int_equal(
        parse_changed("command.snapshot", (struct change){"label", fits}, no_change, &c, &f), 0);
    assert_int_equal(strlen(c.label), SESSION_LABEL_MAX_CHARACTERS);
    command_done(&c);
    expect_refusal("command.snapshot", (struct change){"label", longer}, FAULT_INVALID_VALUE,
                   "label");
    free(fits);
    free(longer);
}

static char *tags(size_t n) {
    struct buf out = BUF_NULL;
    for (size_t i = 0; i < n; i++)
        buf_puts(&out, i ? ",{\"version\":1,\"epoch\":1}" : "[{\"version\":1,\"epoch\":1}");
    buf_putc(&out, ']');
    return buf_take(&out);
}

static void test_if_match_has_at_most_16_tags(void **state) {
    (void)state;
    char *most = tags(COMMAND_MAX_IF_MATCH), *more = tags(COMMAND_MAX_IF_MATCH + 1);
    struct command c;
    struct fault f;
    assert_int_equal(
        parse_changed("command.patch", (struct change){"ifMatch", most}, no_change, &c, &f), 0);
    assert_int_equal(c.n_if_match, COMMAND_MAX_IF_MATCH);
    command_done(&c);
    expect_refusal("command.patch", (struct change){"ifMatch", more}, FAULT_INVALID_VALUE,
                   "ifMatch");
    expect_refusal("command.patch", (struct change){"ifMatch", "[{\"version\":1}]"},
                   FAULT_INVALID_REQUEST, "epoch");
    expect_refusal("command.patch", (struct change){"ifMatch", "[{\"version\":0,\"epoch\":1}]"},
                   FAULT_INVALID_VALUE, "version");
    free(most);
    free(more);
}

static void test_members_that_exclude_each_other_are_refused(void **state) {
    (void)state;
    expect_refusal("command.patch", (struct change){"mergePatch", "{}"}, FAULT_INVALID_REQUEST,
                   "operations");
    expect_refusal("command.patch", (struct change){"merge", "\"disjoint\""}, FAULT_INVALID_REQUEST,
                   "checksum");
    expect_refusal("command.patch", (struct change){"baseVersion", NULL}, FAULT_INVALID_REQUEST,
                   "epoch");
}

static void test_defaults_and_later_members(void **state) {
    (void)state;
    struct command c;
    struct fault f;
    assert_int_equal(parse_changed("command.create", (struct change){"status", NULL},
                                   (struct change){"onIdle", NULL}, &c, &f),
                     0);
    assert_int_equal(c.status, SESSION_ACTIVE);
    assert_int_equal(c.on_idle, SESSION_IDLE_PAUSE);
    command_done(&c);
    assert_int_equal(parse_changed("command.create", (struct change){"data", NULL},
                                   (struct change){"ttlSeconds", NULL}, &c, &f),
                     0);
    assert_null(c.data);
    assert_int_equal(c.ttl_seconds, 0);
    command_done(&c);
    assert_int_equal(parse_changed("command.create", (struct change){"data", "null"},
                                   (struct change){"someLaterMember", "[1]"}, &c, &f),
                     0);
    assert_true(json_is_null(c.data)); /* null is a value of its own */
    command_done(&c);
    assert_int_equal(parse_changed("command.patch", (struct change){"epoch", NULL},
                                   (struct change){"merge", "\"reject\""}, &c, &f),
                     0);
    assert_int_equal(c.base.epoch, 1);
    assert_false(c.disjoint);
    command_done(&c);
}

static void test_what_is_no_object_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"[]", "null", "1", "\"create\""};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        json_t *value = golden_value(wrong[i]);
        struct command c;
        struct fault f;
        assert_int_equal(command_parse(value, &c, &f), FAULT_INVALID_REQUEST);
        json_decref(value);
    }
}

/* ---- Bodies of REST and WebSocket ---- */

static void test_bodies_are_taken_like_commands(void **state) {
    (void)state;
    struct command c = {0};
    struct fault f = {0};
    json_t *body = golden_load("request_create");
    assert_int_equal(command_take_create(body, &c, &f), 0);
    assert_string_equal(c.name, "Evening meditation");
    assert_int_equal(command_take_create(body, &c, &f), 0); /* lets go what it had */
    json_decref(body);
    command_done(&c);

    body = golden_load("ws_patch");
    assert_int_equal(command_take_patch(body, &c, &f), 0);
    assert_int_equal(c.base.version, 41);
    assert_int_equal(json_array_size(c.patch), 1);
    json_decref(body);
    command_done(&c);

    body = golden_value("{\"mergePatch\":{}}"); /* has a media type of its own */
    assert_int_equal(command_take_patch(body, &c, &f), FAULT_INVALID_REQUEST);
    assert_string_equal(f.field, "operations");
    json_decref(body);
    command_done(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_are_printed_as_they_were_read),
        cmocka_unit_test(test_create_is_read_whole),
        cmocka_unit_test(test_patches_are_read_whole),
        cmocka_unit_test(test_sharing_is_read_whole),
        cmocka_unit_test(test_the_engines_own_kind_is_no_message),
        cmocka_unit_test(test_versions_are_read_whole),
        cmocka_unit_test(test_missing_members_are_named),
        cmocka_unit_test(test_wrong_types_are_invalid_requests),
        cmocka_unit_test(test_wrong_sharing_is_refused_by_name),
        cmocka_unit_test(test_wrong_versions_are_refused_by_name),
        cmocka_unit_test(test_values_out_of_range_are_invalid_values),
        cmocka_unit_test(test_a_label_is_taken_up_to_its_bound),
        cmocka_unit_test(test_strings_are_taken_up_to_their_bounds),
        cmocka_unit_test(test_if_match_has_at_most_16_tags),
        cmocka_unit_test(test_members_that_exclude_each_other_are_refused),
        cmocka_unit_test(test_defaults_and_later_members),
        cmocka_unit_test(test_what_is_no_object_is_refused),
        cmocka_unit_test(test_bodies_are_taken_like_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
