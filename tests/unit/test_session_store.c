/* A session in Redis: both parts read back as they were written, refused when they cannot be. */
#include "golden_session.h"

#include <errno.h>

/* ---- State ---- */

static char *print_state(const struct session *s, size_t *ret_len) {
    struct buf out = BUF_NULL;
    session_print_state(s, &out);
    *ret_len = out.len;
    return buf_take(&out);
}

static void test_state_is_read_back(void **state) {
    (void)state;
    struct session s = golden_session(), read = {0};
    size_t len;
    char *text = print_state(&s, &len);
    golden_equal(text, "session_state");
    for (int round = 0; round < 2; round++) { /* what was there before is let go */
        assert_int_equal(session_parse_state(&read, text, len), 0);
        assert_int_equal(read.position.version, 42);
        assert_int_equal(read.last_modified, s.last_modified);
        assert_string_equal(read.modified_by, "phone-1");
        assert_string_equal(read.data_text, s.data_text);
        assert_int_equal(read.data_len, s.data_len);
        assert_int_equal(session_verify(&read), 0);
    }
    free(text);
    session_done(&s);
    session_done(&read);
}

static void test_data_may_look_like_the_frame(void **state) {
    (void)state;
    struct session s = golden_session(), read = {0};
    char text[256];
    snprintf(text, sizeof(text), "{\"a\":\"\\\",\\\"checksum\\\":\",\"checksum\":\"%s\"}",
             s.checksum);
    json_t *value = golden_value(text);
    session_set_data(&s, value);
    json_decref(value);
    size_t len;
    char *printed = print_state(&s, &len);
    assert_int_equal(session_parse_state(&read, printed, len), 0);
    assert_string_equal(read.data_text, s.data_text);
    assert_int_equal(session_verify(&read), 0);
    free(printed);
    session_done(&s);
    session_done(&read);
}

static void test_truncated_or_longer_state_is_refused(void **state) {
    (void)state;
    struct session s = golden_session(), read = {0};
    size_t len;
    char *text = print_state(&s, &len);
    for (size_t n = 0; n < len; n++) {
        char *exact = must_realloc(NULL, n); /* the sanitizer sees a read past it */
        memcpy(exact, text, n);
        assert_int_equal(session_parse_state(&read, exact, n), -EBADMSG);
        free(exact);
    }
    struct buf more = BUF_NULL;
    buf_printf(&more, "%s ", text);
    assert_int_equal(session_parse_state(&read, more.data, more.len), -EBADMSG);
    assert_null(read.data_text); /* untouched by all of that */
    assert_int_equal(read.position.version, 0);
    buf_done(&more);
    free(text);
    session_done(&s);
}

static void test_state_of_another_shape_is_refused(void **state) {
    (void)state;
    static const char moment[] = "2026-02-12T12:05:00.000Z";
    static const char sum[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const struct {
        const char *version, *moment, *by, *sum;
        int expected;
    } cases[] = {
        {"1", moment, "phone-1", sum, 0},
        {"9007199254740991", moment, "", sum, 0},
        {"9007199254740992", moment, "phone-1", sum, -EBADMSG},
        {"99999999999999999999", moment, "phone-1", sum, -EBADMSG},
        {"01", moment, "phone-1", sum, -EBADMSG},
        {"-1", moment, "phone-1", sum, -EBADMSG},
        {"", moment, "phone-1", sum, -EBADMSG},
        {"1", "2026-02-30T12:05:00.000Z", "phone-1", sum, -EBADMSG},
        {"1", "2026-02-12T12:05:00Z", "phone-1", sum, -EBADMSG},
        {"1", moment, "phone 1", sum, -EBADMSG},
        {"1", moment, "..", sum, -EBADMSG},
        {"1", moment, "phone-1", "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
         -EBADMSG},
        {"1", moment, "phone-1", "0123", -EBADMSG},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct session read = {0};
        struct buf text = BUF_NULL;
        buf_printf(&text,
                   "{\"version\":%s,\"lastModified\":\"%s\",\"modifiedBy\":\"%s\",\"data\":{},"
                   "\"checksum\":\"%s\"}",
                   cases[i].version, cases[i].moment, cases[i].by, cases[i].sum);
        assert_int_equal(session_parse_state(&read, text.data, text.len), cases[i].expected);
        buf_done(&text);
        session_done(&read);
    }
}

/* ---- Meta ---- */

static char *print(const struct session *s) {
    struct buf out = BUF_NULL;
    session_print(s, SESSION_ROLE_OWNER, &out);
    return buf_take(&out);
}

static void put_into_object(void *arg, const char *field, const char *value, size_t len) {
    assert_int_equal(strlen(value), len);
    assert_int_equal(json_object_set_new(arg, field, json_stringn(value, len)), 0);
}

static void take_all(struct session *s, json_t *fields) {
    const char *field;
    json_t *value;
    json_object_foreach(fields, field, value) assert_int_equal(
        session_take_meta(s, field, json_string_value(value), json_string_length(value)), 0);
}

static void test_meta_and_state_are_the_whole_session(void **state) {
    (void)state;
    struct session s = golden_session(), read = {0};
    s.position.epoch = 3;
    s.on_idle = SESSION_IDLE_EXPIRE;
    s.touched_at += 77;
    s.published = 40;
    snprintf(s.snapshots, sizeof(s.snapshots), "1,25,40");
    snprintf(s.run_id, sizeof(s.run_id), "%040d", 7);
    snprintf(s.cooling, sizeof(s.cooling), "3:42");
    json_t *fields = json_object();
    session_each_meta(&s, NULL, put_into_object, fields);
    size_t len;
    char *text = print_state(&s, &len);
    memcpy(read.id, s.id, sizeof(s.id));
    take_all(&read, fields);
    assert_int_equal(session_parse_state(&read, text, len), 0);

    char *was = print(&s), *is = print(&read);
    assert_string_equal(is, was);
    assert_int_equal(read.touched_at, s.touched_at);
    assert_int_equal(read.published, 40);
    assert_string_equal(read.snapshots, "1,25,40");
    assert_string_equal(read.run_id, s.run_id);
    assert_string_equal(read.cooling, "3:42");
    assert_string_equal(read.last_active_device, "phone-1");
    assert_false(read.deleted);
    free(was);
    free(is);
    free(text);
    json_decref(fields);
    session_done(&s);
    session_done(&read);
}

/* Every save overwrites all fields: what a session lost must not stay in the hash. */
static void test_meta_writes_what_is_empty_too(void **state) {
    (void)state;
    struct session s = {.deleted = true};
    json_t *fields = json_object();
    session_each_meta(&s, NULL, put_into_object, fields);
    static const char *const empty[] = {
        "name", "activeDeviceId", "lastActiveDeviceId", "snapshots", "run_id", "cooling", "saver"};
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
        assert_string_equal(json_string_value(json_object_get(fields, empty[i])), "");
    assert_string_equal(json_string_value(json_object_get(fields, "completedAt")), "0");
    assert_string_equal(json_string_value(json_object_get(fields, "deleted")), "1");
    struct session read = golden_session();
    assert_int_equal(session_take_meta(&read, "deleted", "1", 1), 0);
    assert_int_equal(session_take_meta(&read, "name", "", 0), 0);
    assert_true(read.deleted);
    assert_string_equal(read.name, "");
    json_decref(fields);
    session_done(&read);
}

static void test_impossible_meta_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *field, *value;
        int expected;
    } cases[] = {
        {"version", "9007199254740991", 0},
        {"version", "9007199254740992", -EBADMSG},
        {"version", "", -EBADMSG},
        {"version", "1x", -EBADMSG},
        {"version", "01", -EBADMSG},
        {"epoch", "-1", -EBADMSG},
        {"createdAt", "1770897600000", 0},
        {"createdAt", "2026-02-12T12:00:00.000Z", -EBADMSG},
        {"ttlSeconds", "2592000", 0},
        {"ttlSeconds", "2592001", -EBADMSG},
        {"userId", "6F1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9", -EBADMSG},
        {"userId", "", -EBADMSG},
        {"type", "Meditation", -EBADMSG},
        {"status", "resting", -EBADMSG},
        {"status", "a word that is longer than any status", -EBADMSG},
        {"onIdle", "", -EBADMSG},
        {"activeDeviceId", "a b", -EBADMSG},
        {"snapshots", "1,,2", -EBADMSG},
        {"snapshots", ",1", -EBADMSG},
        {"snapshots", "1,", -EBADMSG},
        {"snapshots", "1;2", -EBADMSG},
        {"run_id", "0123456789012345678901234567890123456789", 0},
        {"run_id", "01234567890123456789012345678901234567890", -EBADMSG},
        {"cooling", "a\nb", -EBADMSG},
        {"saver", "00000000-0000-4000-8000-0000000000000", -EBADMSG},
        {"saverSince", "-1", -EBADMSG},
        {"deleted", "2", -EBADMSG},
        {"deleted", "", -EBADMSG},
        {"someLaterField", "anything", 0},
    };
    struct session s = golden_session();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *value = cases[i].value;
        if (session_take_meta(&s, cases[i].field, value, strlen(value)) != cases[i].expected)
            fail_msg("%s = \"%s\"", cases[i].field, value);
    }
    assert_string_equal(s.user_id, GOLDEN_USER); /* refused values change nothing */
    assert_int_equal(s.status, SESSION_ACTIVE);
    assert_int_equal(session_take_meta(&s, "status", "paused\0", 7), -EBADMSG);
    session_done(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_is_read_back),
        cmocka_unit_test(test_data_may_look_like_the_frame),
        cmocka_unit_test(test_truncated_or_longer_state_is_refused),
        cmocka_unit_test(test_state_of_another_shape_is_refused),
        cmocka_unit_test(test_meta_and_state_are_the_whole_session),
        cmocka_unit_test(test_meta_writes_what_is_empty_too),
        cmocka_unit_test(test_impossible_meta_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
