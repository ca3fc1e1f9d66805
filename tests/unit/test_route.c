/* Names on the broker: built as the contract has them, and only those are read. */
#include "golden.h"

#include "proto/route.h"

#define ID "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"

static void test_keys_are_built_as_the_contract_has_them(void **state) {
    (void)state;
    char key[ROUTE_KEY_CAP];
    route_event_key(ID, EVENT_STATE_DELTA, key);
    assert_string_equal(key, "session." ID ".update");
    route_session_binding(ID, key);
    assert_string_equal(key, "session." ID ".*");
    route_kind_binding(EVENT_STATUS_CHANGED, key);
    assert_string_equal(key, "session.*.status");
}

static void test_every_event_key_is_read_back(void **state) {
    (void)state;
    for (unsigned type = 0; type < EVENT_N_TYPES; type++) {
        char key[ROUTE_KEY_CAP], id[UUID_LEN + 1] = "";
        const char *kind = NULL;
        size_t kind_len = 0;
        route_event_key(ID, type, key);
        assert_true(route_parse_key(key, strlen(key), id, &kind, &kind_len));
        assert_string_equal(id, ID);
        assert_int_equal(kind_len, strlen(event_kind(type)));
        assert_memory_equal(kind, event_kind(type), kind_len);
    }
}

static bool reads(const char *key, size_t len) {
    char id[UUID_LEN + 1] = "untouched";
    const char *kind = NULL;
    size_t kind_len = 0;
    bool read = route_parse_key(key, len, id, &kind, &kind_len);
    if (!read) {
        assert_string_equal(id, "untouched");
        assert_null(kind);
    }
    return read;
}

static void test_other_keys_are_not_read(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "session.",
        "session." ID,
        "session." ID ".",
        "session." ID ".update.more",
        "session." ID ".Update",
        "session." ID ".*",
        "session." ID ".#",
        "session.*.update",
        "Session." ID ".update",
        "session-" ID ".update",
        "session." ID "-update",
        "session.019C51B8-ee00-7a3b-8f21-5b6c7d8e9f01.update",
        "session.019c51b8-ee00-7a3b-8f21-5b6c7d8e9f0.update",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (reads(wrong[i], strlen(wrong[i])))
            fail_msg("%s was read", wrong[i]);
    assert_false(reads("session." ID ".up\0date", 8 + 36 + 1 + 7));
}

static void test_key_fits_its_cap(void **state) {
    (void)state;
    struct buf key = BUF_NULL;
    buf_puts(&key, "session." ID ".");
    while (key.len < ROUTE_KEY_CAP - 1)
        buf_putc(&key, 'k');
    assert_true(reads(key.data, key.len));
    buf_putc(&key, 'k');
    assert_false(reads(key.data, key.len));
    buf_done(&key);
}

static bool is_reply_to(const char *name) {
    return route_is_reply_to(name, strlen(name));
}

static void test_only_direct_reply_to_is_answered(void **state) {
    (void)state;
    assert_true(is_reply_to("amq.rabbitmq.reply-to.g1h2AA5yZXBseUA0Mz==.x/y+z"));
    assert_false(is_reply_to("amq.rabbitmq.reply-to"));
    assert_false(is_reply_to("amq.rabbitmq.reply-to."));
    assert_false(is_reply_to("amq.rabbitmq.reply-tox"));
    assert_false(is_reply_to("audit_writer.events"));
    assert_false(is_reply_to(""));
    assert_false(is_reply_to("amq.rabbitmq.reply-to.a b"));
    assert_false(is_reply_to("amq.rabbitmq.reply-to.\xc3\xa4"));
    assert_false(route_is_reply_to("amq.rabbitmq.reply-to.a\0b", 25));
    struct buf name = BUF_NULL;
    buf_puts(&name, "amq.rabbitmq.reply-to.");
    while (name.len < 255)
        buf_putc(&name, 'a');
    assert_true(is_reply_to(name.data));
    buf_putc(&name, 'a');
    assert_false(is_reply_to(name.data));
    buf_done(&name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_built_as_the_contract_has_them),
        cmocka_unit_test(test_every_event_key_is_read_back),
        cmocka_unit_test(test_other_keys_are_not_read),
        cmocka_unit_test(test_key_fits_its_cap),
        cmocka_unit_test(test_only_direct_reply_to_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
