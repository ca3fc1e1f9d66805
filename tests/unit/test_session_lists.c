/* Participants and removed devices: roles, bounds, copies, and what meta may hold of them. */
#include "golden_session.h"

#include <errno.h>

#define FRIEND "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define OTHER "9a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"

static const char *user_of(int i) {
    static char id[UUID_LEN + 1];
    snprintf(id, sizeof(id), "%08x-0000-4000-8000-000000000000", (unsigned)i);
    return id;
}

static const char *device_of(int i) {
    static char id[SESSION_DEVICE_MAX + 1];
    snprintf(id, sizeof(id), "%0*d", SESSION_DEVICE_MAX, i);
    return id;
}

static void put_participant(void *arg, const char *user_id, enum session_role role) {
    buf_printf(arg, "%s=%s;", user_id, session_role_name(role));
}

static void put_device(void *arg, const char *device_id) {
    buf_printf(arg, "%s;", device_id);
}

static void expect_participants(const struct session *s, const char *expected) {
    struct buf out = BUF_NULL;
    buf_puts(&out, "");
    session_each_participant(s, put_participant, &out);
    assert_string_equal(out.data ? out.data : "", expected);
    buf_done(&out);
}

static void expect_devices(const struct session *s, const char *expected) {
    struct buf out = BUF_NULL;
    session_each_removed_device(s, put_device, &out);
    assert_string_equal(out.data ? out.data : "", expected);
    buf_done(&out);
}

static void test_roles_are_given_changed_and_taken(void **state) {
    (void)state;
    struct session s = golden_session();
    assert_int_equal(session_role_of(&s, GOLDEN_USER), SESSION_ROLE_OWNER);
    assert_int_equal(session_role_of(&s, FRIEND), SESSION_ROLE_NONE);
    expect_participants(&s, "");
    assert_true(session_set_participant(&s, FRIEND, SESSION_ROLE_NONE));
    assert_null(s.participants);
    assert_true(session_set_participant(&s, FRIEND, SESSION_ROLE_VIEWER));
    assert_true(session_set_participant(&s, OTHER, SESSION_ROLE_VIEWER));
    assert_true(session_set_participant(&s, FRIEND, SESSION_ROLE_EDITOR));
    assert_int_equal(session_role_of(&s, FRIEND), SESSION_ROLE_EDITOR);
    assert_int_equal(session_role_of(&s, OTHER), SESSION_ROLE_VIEWER);
    expect_participants(&s, OTHER "=viewer;" FRIEND "=editor;");
    assert_true(session_set_participant(&s, OTHER, SESSION_ROLE_NONE));
    assert_int_equal(session_role_of(&s, OTHER), SESSION_ROLE_NONE);
    assert_string_equal(s.participants, "," FRIEND ":editor,");
    assert_true(session_set_participant(&s, FRIEND, SESSION_ROLE_NONE));
    assert_null(s.participants);
    session_done(&s);
}

/* A user id is found whole, and a role's text is no user. */
static void test_a_part_of_an_id_is_nobody(void **state) {
    (void)state;
    struct session s = golden_session();
    assert_true(session_set_participant(&s, FRIEND, SESSION_ROLE_EDITOR));
    static const char *const nobody[] = {
        "", ",", ":", "editor", "8a2b3c4d", FRIEND ":editor", FRIEND ":"};
    for (size_t i = 0; i < N_ELEMENTS(nobody); i++)
        assert_int_equal(session_role_of(&s, nobody[i]), SESSION_ROLE_NONE);
    session_done(&s);
}

static void test_there_are_at_most_100_participants(void **state) {
    (void)state;
    struct session s = golden_session();
    for (int i = 0; i < SESSION_MAX_PARTICIPANTS; i++)
        assert_true(session_set_participant(&s, user_of(i), SESSION_ROLE_VIEWER));
    char *full = must_strdup(s.participants);
    assert_false(session_set_participant(&s, user_of(100), SESSION_ROLE_VIEWER));
    assert_string_equal(s.participants, full); /* refused: unchanged */
    assert_true(session_set_participant(&s, user_of(50), SESSION_ROLE_EDITOR));
    assert_int_equal(session_role_of(&s, user_of(50)), SESSION_ROLE_EDITOR);
    assert_true(session_participants_are_valid(s.participants, strlen(s.participants)));
    assert_true(session_set_participant(&s, user_of(0), SESSION_ROLE_NONE));
    assert_true(session_set_participant(&s, user_of(100), SESSION_ROLE_VIEWER));
    assert_false(session_set_participant(&s, user_of(0), SESSION_ROLE_VIEWER));
    free(full);
    session_done(&s);
}

static void test_devices_are_kept_out_and_let_in(void **state) {
    (void)state;
    struct session s = golden_session();
    assert_false(session_device_is_removed(&s, "tablet"));
    expect_devices(&s, "");
    assert_true(session_set_device_removed(&s, "tablet", false));
    assert_null(s.removed_devices);
    assert_true(session_set_device_removed(&s, "tablet-7", true));
    assert_true(session_set_device_removed(&s, "phone", true));
    assert_true(session_set_device_removed(&s, "phone", true));
    expect_devices(&s, "tablet-7;phone;");
    static const char *const others[] = {"", "tablet", "7", "phone-1", "hone", ","};
    for (size_t i = 0; i < N_ELEMENTS(others); i++)
        assert_false(session_device_is_removed(&s, others[i]));
    assert_true(session_set_device_removed(&s, "tablet-7", false));
    assert_false(session_device_is_removed(&s, "tablet-7"));
    assert_true(session_device_is_removed(&s, "phone"));
    assert_true(session_set_device_removed(&s, "phone", false));
    assert_null(s.removed_devices);
    session_done(&s);
}

/* As somebody else may have written it into the store. */
static void test_what_is_there_twice_goes_at_once(void **state) {
    (void)state;
    struct session s = golden_session();
    s.removed_devices = must_strdup(",phone,tv,phone,");
    assert_true(session_set_device_removed(&s, "phone", false));
    assert_string_equal(s.removed_devices, ",tv,");
    free(s.participants);
    s.participants = must_strdup("," FRIEND ":viewer," FRIEND ":editor,");
    assert_true(session_set_participant(&s, FRIEND, SESSION_ROLE_NONE));
    assert_null(s.participants);
    session_done(&s);
}

static void test_at_most_100_devices_are_kept_out(void **state) {
    (void)state;
    struct session s = golden_session();
    for (int i = 0; i < SESSION_MAX_REMOVED_DEVICES; i++)
        assert_true(session_set_device_removed(&s, device_of(i), true));
    assert_false(session_set_device_removed(&s, device_of(100), true));
    assert_false(session_device_is_removed(&s, device_of(100)));
    assert_true(session_set_device_removed(&s, device_of(7), true)); /* is so already */
    assert_true(session_device_is_removed(&s, device_of(99)));
    assert_true(session_removed_devices_are_valid(s.removed_devices, strlen(s.removed_devices)));
    assert_true(session_set_device_removed(&s, device_of(0), false));
    assert_true(session_set_device_removed(&s, device_of(100), true));
    session_done(&s);
}

static void test_a_copy_has_lists_of_its_own(void **state) {
    (void)state;
    struct session s = golden_session(), copy;
    assert_true(session_set_participant(&s, FRIEND, SESSION_ROLE_VIEWER));
    assert_true(session_set_device_removed(&s, "tablet-7", true));
    session_copy(&s, &copy);
    assert_true(session_set_participant(&copy, FRIEND, SESSION_ROLE_EDITOR));
    assert_true(session_set_device_removed(&copy, "tablet-7", false));
    assert_int_equal(session_role_of(&s, FRIEND), SESSION_ROLE_VIEWER);
    assert_true(session_device_is_removed(&s, "tablet-7"));
    session_done(&copy);
    session_done(&s);
}

static void take_meta(void *arg, const char *field, const char *value, size_t len) {
    assert_int_equal(session_take_meta(arg, field, value, len), 0);
}

static void test_lists_go_through_meta(void **state) {
    (void)state;
    struct session s = golden_session(), read = {0};
    for (int i = 0; i < SESSION_MAX_PARTICIPANTS; i++) {
        assert_true(session_set_participant(&s, user_of(i), SESSION_ROLE_VIEWER));
        assert_true(session_set_device_removed(&s, device_of(i), true));
    }
    session_each_meta(&s, NULL, take_meta, &read);
    assert_string_equal(read.participants, s.participants);
    assert_string_equal(read.removed_devices, s.removed_devices);
    session_done(&s);
    s = golden_session();
    session_each_meta(&s, NULL, take_meta, &read); /* what is empty now is written, too */
    assert_null(read.participants);
    assert_null(read.removed_devices);
    session_done(&s);
    session_done(&read);
}

static void expect_corrupt(const char *field, const char *value, size_t len) {
    struct session s = golden_session();
    assert_true(session_set_participant(&s, FRIEND, SESSION_ROLE_VIEWER));
    assert_true(session_set_device_removed(&s, "tablet-7", true));
    if (session_take_meta(&s, field, value, len) != -EBADMSG)
        fail_msg("%s = \"%s\" was taken", field, value);
    expect_participants(&s, FRIEND "=viewer;"); /* refused values change nothing */
    expect_devices(&s, "tablet-7;");
    session_done(&s);
}

static void test_corrupt_lists_are_refused(void **state) {
    (void)state;
    static const char *const participants[] = {
        ",",
        ",,",
        "x",
        FRIEND ":viewer",
        "," FRIEND ":viewer",
        FRIEND ":viewer,",
        "," FRIEND ",",
        "," FRIEND ":,",
        "," FRIEND ":owner,",
        "," FRIEND ":none,",
        "," FRIEND ":viewerviewerviewer,",
        "," FRIEND ":viewer,,",
        "," FRIEND ";viewer,",
        "," FRIEND ":viewer, " OTHER ":viewer,",
        ",8A2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d:viewer,",
        ",ada:viewer,",
    };
    for (size_t i = 0; i < N_ELEMENTS(participants); i++)
        expect_corrupt("participants", participants[i], strlen(participants[i]));
    expect_corrupt("participants", "," FRIEND ":viewer\0,", UUID_LEN + 10);
    static const char *const devices[] = {",",        ",,",    "phone", ",phone",    "phone,",
                                          ",phone,,", ",a b,", ",..,",  ",\xc3\xa4,"};
    for (size_t i = 0; i < N_ELEMENTS(devices); i++)
        expect_corrupt("removedDevices", devices[i], strlen(devices[i]));
    expect_corrupt("removedDevices", ",pho\0ne,", 8);
}

static void test_longer_lists_than_there_can_be_are_refused(void **state) {
    (void)state;
    struct buf participants = BUF_NULL, devices = BUF_NULL;
    buf_putc(&participants, ',');
    buf_putc(&devices, ',');
    for (int i = 0; i < 101; i++) {
        buf_printf(&participants, "%s:viewer,", user_of(i));
        buf_printf(&devices, "%s,", device_of(i));
    }
    expect_corrupt("participants", participants.data, participants.len);
    expect_corrupt("removedDevices", devices.data, devices.len);
    buf_clear(&devices);
    buf_printf(&devices, ",%sx,", device_of(0)); /* an id of 129 characters */
    expect_corrupt("removedDevices", devices.data, devices.len);
    buf_done(&participants);
    buf_done(&devices);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles_are_given_changed_and_taken),
        cmocka_unit_test(test_a_part_of_an_id_is_nobody),
        cmocka_unit_test(test_there_are_at_most_100_participants),
        cmocka_unit_test(test_devices_are_kept_out_and_let_in),
        cmocka_unit_test(test_what_is_there_twice_goes_at_once),
        cmocka_unit_test(test_at_most_100_devices_are_kept_out),
        cmocka_unit_test(test_a_copy_has_lists_of_its_own),
        cmocka_unit_test(test_lists_go_through_meta),
        cmocka_unit_test(test_corrupt_lists_are_refused),
        cmocka_unit_test(test_longer_lists_than_there_can_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
