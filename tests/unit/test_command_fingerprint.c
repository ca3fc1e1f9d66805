/* What makes two commands the same request, and what does not. */
#include "golden_command.h"

#define OTHER_CLOCK                                                                                \
    "{\"mode\":\"per_cycle\",\"timePerCycleMs\":30000,\"participants\":[{\"participantId\":"       \
    "\"ada\"}]}"

static void fingerprint(const char *example, struct change a, char ret[static HASH_HEX_LEN + 1]) {
    struct command c;
    struct fault f = {0};
    if (parse_changed(example, a, no_change, &c, &f) != 0)
        fail_msg("%s: %s", a.member, f.detail);
    command_fingerprint(&c, ret);
    command_done(&c);
}

static void expect_same(const char *example, struct change a, bool same) {
    char was[HASH_HEX_LEN + 1], is[HASH_HEX_LEN + 1];
    fingerprint(example, no_change, was);
    fingerprint(example, a, is);
    if ((strcmp(was, is) == 0) != same)
        fail_msg("%s with %s = %s", example, a.member, a.value ? a.value : "nothing");
}

static void test_fingerprint_leaves_out_what_is_not_the_request(void **state) {
    (void)state;
    static const struct change others[] = {
        {"id", "\"019c51b8-ee00-7000-8000-000000000000\""},
        {"deviceId", "\"tablet-7\""},
        {"deadline", "1"},
        {"scope", "[\"admin\"]"},
        {"key", "\"another\""},
        {"wantsSession", "true"},
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        expect_same("command.create", others[i], true);
        expect_same("command.patch", others[i], true);
    }
    /* A create's id is the sender's choice; a default may be said or not. */
    expect_same("command.create",
                (struct change){"sessionId", "\"019c51b8-ee00-7000-8000-000000000000\""}, true);
    expect_same("command.create", (struct change){"ttlSeconds", NULL}, true);
    expect_same("command.create", (struct change){"status", NULL}, true);
    expect_same("command.create",
                (struct change){"data", "{\"progress\":0,\"preferences\":{\"theme\":\"dark\"}}"},
                true);
    expect_same("command.patch", (struct change){"epoch", NULL}, true);
}

static void test_fingerprint_sees_every_part_of_the_request(void **state) {
    (void)state;
    static const struct change creates[] = {
        {"name", "\"Morning\""}, {"type", "\"other\""}, {"status", "\"pending\""}, {"data", NULL},
        {"data", "null"},        {"ttlSeconds", "60"},  {"onIdle", "\"expire\""}};
    for (size_t i = 0; i < sizeof(creates) / sizeof(creates[0]); i++)
        expect_same("command.create", creates[i], false);
    static const struct change patches[] = {
        {"sessionId", "\"019c51b8-ee00-7000-8000-000000000000\""},
        {"baseVersion", "40"},
        {"epoch", "2"},
        {"checksum", NULL},
        {"operations", "[]"},
        {"ifMatch", "\"*\""},
        {"ifMatch", "[{\"version\":41,\"epoch\":1}]"},
    };
    for (size_t i = 0; i < sizeof(patches) / sizeof(patches[0]); i++)
        expect_same("command.patch", patches[i], false);
    expect_same("command.disjoint", (struct change){"merge", NULL}, false);
    expect_same("command.status", (struct change){"status", "\"paused\""}, false);
    expect_same("command.restore", (struct change){"restored", "{\"version\":41,\"epoch\":1}"},
                false);
    expect_same("command.restore", (struct change){"restored", "{\"version\":42,\"epoch\":2}"},
                false);
    expect_same("command.restore", (struct change){"ifMatch", NULL}, false);
    expect_same("command.snapshot", (struct change){"label", "\"another\""}, false);
    expect_same("command.snapshot", (struct change){"label", NULL}, false);
    expect_same("command.participant",
                (struct change){"participant", "\"019c51b8-ee00-7000-8000-000000000000\""}, false);
    expect_same("command.participant", (struct change){"role", "\"viewer\""}, false);
    expect_same("command.participant", (struct change){"role", "null"}, false);
    expect_same("command.device", (struct change){"device", "\"tablet-8\""}, false);
    expect_same("command.device", (struct change){"removed", "false"}, false);
    expect_same("command.switch", (struct change){"nextParticipantId", "\"white\""}, false);
    expect_same("command.switch", (struct change){"nextParticipantId", NULL}, false);
    expect_same("command.switch", (struct change){"currentParticipantId", NULL}, false);
    expect_same("command.switch", (struct change){"baseVersion", "41"}, false);
    expect_same("command.clock_set", (struct change){"clock", OTHER_CLOCK}, false);
    expect_same("command.create_clock", (struct change){"clock", OTHER_CLOCK}, false);
    expect_same("command.create_clock", (struct change){"clock", NULL}, false);
    expect_same("command.clock_adjust", (struct change){"participantId", "\"white\""}, false);
    expect_same("command.clock_adjust", (struct change){"adjustMs", "60000"}, false);
    expect_same("command.clock_adjust", (struct change){"reason", "\"another\""}, false);
    char heartbeat[HASH_HEX_LEN + 1], load[HASH_HEX_LEN + 1];
    fingerprint("command.heartbeat", no_change, heartbeat);
    fingerprint("command.load", no_change, load);
    assert_string_not_equal(heartbeat, load);
}

static void test_key_hash_is_over_user_and_key(void **state) {
    (void)state;
    struct command c = golden_command("command.create");
    char hex[HASH_HEX_LEN + 1], expected[HASH_HEX_LEN + 1];
    static const char text[] = GOLDEN_USER "\ncreate-1";
    hash_sha256_hex(text, sizeof(text) - 1, expected);
    command_key_hash(&c, hex);
    assert_string_equal(hex, expected);
    memset(c.key, 'k', COMMAND_KEY_MAX);
    c.key[COMMAND_KEY_MAX] = '\0';
    command_key_hash(&c, expected);
    c.key[COMMAND_KEY_MAX - 1] = 'x'; /* the longest key counts to its last character */
    command_key_hash(&c, hex);
    assert_string_not_equal(hex, expected);
    c.key[0] = '\0'; /* without one: over the command's id */
    hash_sha256_hex(c.id, UUID_LEN, expected);
    command_key_hash(&c, hex);
    assert_string_equal(hex, expected);
    command_done(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fingerprint_leaves_out_what_is_not_the_request),
        cmocka_unit_test(test_fingerprint_sees_every_part_of_the_request),
        cmocka_unit_test(test_key_hash_is_over_user_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
