/* Sessions: rules and validity at their bounds, and the resource held against the golden examples.
 */
#include "golden_session.h"

#include <errno.h>

static char *print(const struct session *s) {
    struct buf out = BUF_NULL;
    session_print(s, SESSION_ROLE_OWNER, &out);
    return buf_take(&out);
}

static void expect_resource(const struct session *s, const char *example) {
    char *text = print(s);
    golden_equal(text, example);
    free(text);
}

/* ---- The resource ---- */

static void test_resource_equals_its_examples(void **state) {
    (void)state;
    struct session s = golden_session();
    expect_resource(&s, "session");

    s.status = SESSION_PAUSED;
    s.position.version = 43;
    expect_resource(&s, "session.paused"); /* even while the struct still names a device */

    s.status = SESSION_COMPLETED;
    s.position = (struct position){.version = 7, .epoch = 3};
    s.completed_at = GOLDEN_UPDATED_MS;
    s.on_idle = SESSION_IDLE_EXPIRE;
    s.ttl_seconds = 60;
    expect_resource(&s, "session.completed");
    session_done(&s);
}

static void test_summary_is_the_resource_without_data(void **state) {
    (void)state;
    struct session s = golden_session();
    struct buf out = BUF_NULL;
    session_print_summary(&s, SESSION_ROLE_OWNER, &out);
    golden_equal(out.data, "session_summary");
    buf_done(&out);
    session_done(&s);
}

static void test_json_equals_the_printed_resource(void **state) {
    (void)state;
    struct session s = golden_session();
    json_t *json = NULL;
    assert_int_equal(session_to_json(&s, SESSION_ROLE_VIEWER, &json), 0);
    assert_string_equal(json_string_value(json_object_get(json, "role")), "viewer");
    json_object_set_new(json, "role", json_string("owner"));
    struct buf out = BUF_NULL;
    text_print(json, &out);
    golden_equal(out.data, "session");
    buf_done(&out);
    json_decref(json);

    s.data_text[0] = '[';
    json = NULL;
    assert_int_equal(session_to_json(&s, SESSION_ROLE_OWNER, &json), -EBADMSG);
    assert_null(json);
    session_done(&s);
}

static void test_name_is_escaped(void **state) {
    (void)state;
    struct session s = golden_session();
    free(s.name);
    s.name = must_strdup("a \"b\"\n\\");
    char *text = print(&s);
    assert_non_null(strstr(text, "\"name\":\"a \\\"b\\\"\\n\\\\\""));
    free(text);
    session_done(&s);
}

static void test_set_data_keeps_canonical_text_and_checksum(void **state) {
    (void)state;
    struct session s = golden_session();
    json_t *value = golden_value("{ \"b\" : 1.50, \"a\" : [ ] }");
    session_set_data(&s, value);
    json_decref(value);
    assert_string_equal(s.data_text, "{\"a\":[],\"b\":1.5}");
    assert_int_equal(s.data_len, strlen(s.data_text));
    assert_int_equal(session_verify(&s), 0);
    s.data_text[7] = ' ';
    assert_int_equal(session_verify(&s), -EBADMSG);
    session_done(&s);
    assert_int_equal(session_verify(&s), -EBADMSG);
}

static void test_copy_owns_its_own(void **state) {
    (void)state;
    struct session s = golden_session(), copy;
    session_copy(&s, &copy);
    s.name[0] = s.data_text[0] = 'X';
    expect_resource(&copy, "session");
    session_done(&s);
    session_done(&copy);
    session_done(&copy);
    session_done(NULL);
    struct session empty = {0};
    session_copy(&empty, &copy);
    assert_null(copy.name);
    assert_null(copy.data_text);
    session_done(&copy);
}

/* ---- Rules ---- */

static void test_transitions_are_those_of_the_contract(void **state) {
    (void)state;
    static const char *const allowed[SESSION_N_STATUSES] = {
        [SESSION_PENDING] = "active cancelled expired",
        [SESSION_ACTIVE] = "paused completed cancelled expired",
        [SESSION_PAUSED] = "active completed cancelled expired",
        [SESSION_COMPLETED] = "",
        [SESSION_CANCELLED] = "",
        [SESSION_EXPIRED] = ""};
    for (unsigned from = 0; from < SESSION_N_STATUSES; from++) {
        for (unsigned to = 0; to < SESSION_N_STATUSES; to++)
            assert_int_equal(session_may_become(from, to),
                             strstr(allowed[from], session_status_name(to)) != NULL);
        assert_int_equal(session_is_final(from), allowed[from][0] == '\0');
    }
}

static void test_expiry_follows_status(void **state) {
    (void)state;
    struct session s = golden_session();
    s.touched_at = 5000;
    s.updated_at = 7000;
    s.ttl_seconds = 60;
    assert_int_equal(session_expires_at(&s), 65000);
    s.status = SESSION_PAUSED;
    assert_int_equal(session_expires_at(&s), 7000 + SESSION_PAUSED_TTL_MS);
    s.status = SESSION_PENDING;
    s.touched_at = 9000;
    assert_int_equal(session_expires_at(&s), 9000 + SESSION_PAUSED_TTL_MS);
    for (unsigned final = SESSION_COMPLETED; final < SESSION_N_STATUSES; final++) {
        s.status = final;
        assert_int_equal(session_expires_at(&s), 0);
    }
    s.status = SESSION_ACTIVE;
    s.deleted = true;
    assert_int_equal(session_expires_at(&s), 0);
    session_done(&s);
}

static void test_only_the_owner_has_a_role(void **state) {
    (void)state;
    struct session s = golden_session();
    assert_int_equal(session_role_of(&s, GOLDEN_USER), SESSION_ROLE_OWNER);
    assert_int_equal(session_role_of(&s, "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f8"),
                     SESSION_ROLE_NONE);
    assert_int_equal(session_role_of(&s, ""), SESSION_ROLE_NONE);
    session_done(&s);
}

static void test_names_of_enums_are_read_back(void **state) {
    (void)state;
    for (unsigned i = 0; i < SESSION_N_STATUSES; i++) {
        enum session_status status = SESSION_N_STATUSES;
        assert_true(session_status_parse(session_status_name(i), &status));
        assert_int_equal(status, i);
    }
    enum session_on_idle on_idle = SESSION_IDLE_PAUSE;
    assert_true(session_on_idle_parse("expire", &on_idle));
    assert_int_equal(on_idle, SESSION_IDLE_EXPIRE);
    assert_false(session_on_idle_parse("Expire", &on_idle));
    enum session_status status = SESSION_PAUSED;
    assert_false(session_status_parse("", &status));
    assert_false(session_status_parse("activ", &status));
    assert_false(session_status_parse("active ", &status));
    assert_int_equal(status, SESSION_PAUSED);
}

/* ---- Validity ---- */

static bool name_of(const char *character, size_t n) {
    struct buf name = BUF_NULL;
    for (size_t i = 0; i < n; i++)
        buf_puts(&name, character);
    bool valid = session_name_is_valid(name.data ? name.data : "", name.len);
    buf_done(&name);
    return valid;
}

static void test_name_has_1_to_255_characters(void **state) {
    (void)state;
    static const char *const characters[] = {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < 4; i++) {
        assert_false(name_of(characters[i], 0));
        assert_true(name_of(characters[i], 1));
        assert_true(name_of(characters[i], 255));
        assert_false(name_of(characters[i], 256));
    }
    assert_false(session_name_is_valid("a\0b", 3));
    assert_false(session_name_is_valid("\xff", 1));
    assert_false(session_name_is_valid("\xc3", 1));
    assert_true(session_name_is_valid("\n", 1));
}

static void test_type_and_device_have_their_characters_and_lengths(void **state) {
    (void)state;
    char longest[SESSION_DEVICE_MAX + 1];
    memset(longest, 'a', sizeof(longest));
    assert_true(session_type_is_valid(longest, 50));
    assert_false(session_type_is_valid(longest, 51));
    assert_false(session_type_is_valid("", 0));
    assert_true(session_type_is_valid("a_z-09", 6));
    assert_true(session_device_is_valid(longest, 128));
    assert_false(session_device_is_valid(longest, 129));
    assert_false(session_device_is_valid("", 0));
    assert_true(session_device_is_valid("aZ09._:-", 8));
    assert_false(session_device_is_valid(".", 1));
    assert_false(session_device_is_valid("..", 2));
    assert_true(session_device_is_valid("...", 3));
    assert_true(session_device_is_valid(".a", 2));
    for (int c = 0; c < 256; c++) {
        char text = (char)c;
        bool lower = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        assert_int_equal(session_type_is_valid(&text, 1), lower);
        bool device = lower || (c >= 'A' && c <= 'Z') || c == ':';
        assert_int_equal(session_device_is_valid(&text, 1), device);
    }
}

/* ---- Positions ---- */

static void test_tag_names_the_epoch_from_2_on(void **state) {
    (void)state;
    char tag[POSITION_TAG_CAP];
    position_print_tag((struct position){.version = 42, .epoch = 1}, tag);
    assert_string_equal(tag, "\"42\"");
    position_print_tag((struct position){.version = 42, .epoch = 3}, tag);
    assert_string_equal(tag, "\"42.3\"");
    position_print_tag((struct position){.version = UINT64_MAX, .epoch = UINT64_MAX}, tag);
    assert_string_equal(tag, "\"18446744073709551615.18446744073709551615\"");
    struct position a = {.version = 1, .epoch = 2};
    assert_true(position_equal(a, a));
    assert_false(position_equal(a, (struct position){.version = 1, .epoch = 1}));
    assert_false(position_equal(a, (struct position){.version = 2, .epoch = 2}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resource_equals_its_examples),
        cmocka_unit_test(test_summary_is_the_resource_without_data),
        cmocka_unit_test(test_json_equals_the_printed_resource),
        cmocka_unit_test(test_name_is_escaped),
        cmocka_unit_test(test_set_data_keeps_canonical_text_and_checksum),
        cmocka_unit_test(test_copy_owns_its_own),
        cmocka_unit_test(test_transitions_are_those_of_the_contract),
        cmocka_unit_test(test_expiry_follows_status),
        cmocka_unit_test(test_only_the_owner_has_a_role),
        cmocka_unit_test(test_names_of_enums_are_read_back),
        cmocka_unit_test(test_name_has_1_to_255_characters),
        cmocka_unit_test(test_type_and_device_have_their_characters_and_lengths),
        cmocka_unit_test(test_tag_names_the_epoch_from_2_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
