/* Paths to resources, cursors, moments, devices of a session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "services/session_api/call.h"
#include "services/session_api/cursor.h"
#include "services/session_api/devices.h"
#include "services/session_api/parameters.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"

static void expect_resource(const char *path, enum resource expected) {
    char id[UUID_LEN + 1] = "", parameter[PATH_PARAMETER_CAP] = "";
    if (path_parse(path, id, parameter) != expected)
        fail_msg("%s is %s", path, path_pattern(path_parse(path, id, parameter)));
    bool has_id = strchr(path_pattern(expected), '{');
    assert_string_equal(id, has_id ? ID : "");
}

static void test_path_names_its_resource(void **state) {
    (void)state;
    expect_resource("/sessions", RESOURCE_SESSIONS);
    expect_resource("/sessions/" ID, RESOURCE_SESSION);
    expect_resource("/sessions/" ID "/heartbeat", RESOURCE_HEARTBEAT);
    expect_resource("/sessions/" ID "/deltas", RESOURCE_DELTAS);
    expect_resource("/sessions/" ID "/broadcast", RESOURCE_BROADCAST);
    expect_resource("/sessions/" ID "/history", RESOURCE_HISTORY);
    expect_resource("/sessions/" ID "/snapshots", RESOURCE_SNAPSHOTS);
    expect_resource("/sessions/" ID "/restore", RESOURCE_RESTORE);
    expect_resource("/sessions/" ID "/devices", RESOURCE_DEVICES);
    expect_resource("/sessions/" ID "/participants", RESOURCE_PARTICIPANTS);
    expect_resource("/sessions/" ID "/switch", RESOURCE_SWITCH);
    expect_resource("/sessions/" ID "/clock", RESOURCE_CLOCK);
    expect_resource("/sessions/" ID "/handoff-codes", RESOURCE_HANDOFF_CODES);
    expect_resource("/handoff", RESOURCE_HANDOFF);
    expect_resource("/time", RESOURCE_TIME);
    expect_resource("/health", RESOURCE_HEALTH);
    expect_resource("/ready", RESOURCE_READY);
    expect_resource("/", RESOURCE_CONSOLE);
    expect_resource("/console", RESOURCE_CONSOLE);
    expect_resource("/console/", RESOURCE_CONSOLE);
    expect_resource("/console/client/index.js", RESOURCE_CONSOLE);
    expect_resource("/docs", RESOURCE_DOCS);
    expect_resource("/docs/", RESOURCE_DOCS);
    expect_resource("/docs/errors/not_found", RESOURCE_DOCS);
}

static void test_path_that_names_nothing_is_none(void **state) {
    (void)state;
    static const char *const paths[] = {"",
                                        "//",
                                        "/consoles",
                                        "/docsx",
                                        "//docs",
                                        "/Console",
                                        "console",
                                        "//console",
                                        "/sessions/",
                                        "/Sessions",
                                        "sessions",
                                        "//sessions",
                                        "/sessions/x",
                                        "/sessions/{id}",
                                        "/sessions/{id}/deltas",
                                        "/sessions/0197A3B4-1C2D-7E3F-8A4B-5C6D7E8F9A0B",
                                        "/sessions/" ID "/",
                                        "/sessions/" ID "x",
                                        "/sessions/" ID "/deltas/",
                                        "/sessions/" ID "//deltas",
                                        "/sessions/" ID "/broadcast/1",
                                        "/sessions/" ID "/history/",
                                        "/sessions/" ID "/history/1",
                                        "/sessions/" ID "/restore/1",
                                        "/sessions/" ID "/switch/white",
                                        "/sessions/" ID "/clocks",
                                        "/sessions/" ID "/events",
                                        "/handoff/",
                                        "/handoff-codes",
                                        "/sessions/" ID "/handoff",
                                        "/time/",
                                        "/metrics",
                                        "/none",
                                        "none",
                                        ("/sessions%2f" ID)};
    for (size_t i = 0; i < N_ELEMENTS(paths); i++)
        expect_resource(paths[i], RESOURCE_NONE);
}

static void expect_parameter(const char *path, enum resource expected, const char *parameter) {
    char id[UUID_LEN + 1] = "", found[PATH_PARAMETER_CAP] = "";
    enum resource r = path_parse(path, id, found);
    if (r != expected)
        fail_msg("%s is %s", path, path_pattern(r));
    assert_string_equal(found, parameter);
}

static void test_last_segment_is_a_version_a_user_a_device_or_a_participant(void **state) {
    (void)state;
    char path[512], longest[SESSION_DEVICE_MAX + 1];
    expect_parameter("/sessions/" ID "/snapshots/1", RESOURCE_SNAPSHOT, "1");
    expect_parameter("/sessions/" ID "/snapshots/9007199254740991", RESOURCE_SNAPSHOT,
                     "9007199254740991");
    expect_parameter("/sessions/" ID "/participants/" ID, RESOURCE_PARTICIPANT, ID);
    expect_parameter("/sessions/" ID "/devices/a:b%3Ac%3a_.-", RESOURCE_DEVICE, "a:b:c:_.-");
    expect_parameter("/sessions/" ID "/clock/a:b%3Ac%3a_.-", RESOURCE_CLOCK_PARTICIPANT,
                     "a:b:c:_.-");
    expect_parameter("/sessions/" ID "/handoff-codes/ABCabc012-_ABCabc012-_", RESOURCE_HANDOFF_CODE,
                     "ABCabc012-_ABCabc012-_");
    memset(longest, ':', SESSION_DEVICE_MAX);
    longest[SESSION_DEVICE_MAX] = '\0';
    snprintf(path, sizeof(path), "/sessions/" ID "/devices/%s", longest);
    expect_parameter(path, RESOURCE_DEVICE, longest);
    strcat(path, "x");
    expect_resource(path, RESOURCE_NONE);
    strcpy(path, "/sessions/" ID "/devices/");
    for (size_t i = 0; i < SESSION_DEVICE_MAX; i++)
        strcat(path, "%3A");
    expect_parameter(path, RESOURCE_DEVICE, longest);
    strcat(path, "%3A");
    expect_resource(path, RESOURCE_NONE);
}

static void test_last_segment_of_another_shape_is_nothing(void **state) {
    (void)state;
    static const char *const ends[] = {"snapshots/0",
                                       "snapshots/",
                                       "snapshots/01",
                                       "snapshots/-1",
                                       "snapshots/1.5",
                                       "snapshots/1/",
                                       "snapshots/x",
                                       "snapshots/9007199254740992",
                                       "snapshots/18446744073709551617",
                                       "snapshots/99999999999999999999999",
                                       "participants/",
                                       "participants/x",
                                       "participants/0197A3B4-1C2D-7E3F-8A4B-5C6D7E8F9A0B",
                                       "handoff-codes/",
                                       "handoff-codes/ABCabc012-_ABCabc012-",
                                       "handoff-codes/ABCabc012-_ABCabc012-_A",
                                       "handoff-codes/ABCabc012-_ABCabc012%2D",
                                       "clock/",
                                       "clock/..",
                                       "clock/a/b",
                                       "clock/a%20b",
                                       "devices/",
                                       "devices/.",
                                       "devices/..",
                                       "devices/a/b",
                                       "devices/a%20b",
                                       "devices/a%2Fb",
                                       "devices/%00",
                                       "devices/%61",
                                       "devices/%3",
                                       "devices/a%",
                                       "devices/\xc3\xa9"};
    for (size_t i = 0; i < N_ELEMENTS(ends); i++) {
        char path[256];
        snprintf(path, sizeof(path), "/sessions/" ID "/%s", ends[i]);
        expect_resource(path, RESOURCE_NONE);
    }
    expect_resource("/sessions/" ID "/participants/" ID "/", RESOURCE_NONE);
}

static void test_methods_are_those_of_the_allow_header(void **state) {
    (void)state;
    static const char *const names[] = {"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT"};
    for (enum resource r = RESOURCE_SESSIONS; r < RESOURCE_N; r++)
        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
            bool is_allowed = path_methods(r) & path_method(names[i]);
            assert_int_equal(is_allowed, strstr(path_allow(r), names[i]) != NULL);
        }
    assert_int_equal(path_method("get"), METHOD_OTHER);
    assert_string_equal(path_method_name(path_method("BREW")), "other");
}

/* ---- cursors ---- */

static void test_cursor_comes_back_as_it_was(void **state) {
    (void)state;
    const struct cursor c = {.created_at = 1770897600123, .id = ID};
    struct cursor back = {0};
    char text[CURSOR_CAP];
    cursor_print(&c, text);
    assert_int_equal(
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
        strlen(text));
    assert_true(cursor_parse(text, &back));
    assert_int_equal(back.created_at, c.created_at);
    assert_string_equal(back.id, ID);
}

static void test_cursor_that_was_changed_is_refused(void **state) {
    (void)state;
    const struct cursor c = {.created_at = 1770897600123, .id = ID};
    struct cursor back;
    char text[CURSOR_CAP + 1];
    assert_false(cursor_parse("", &back));
    assert_false(cursor_parse("x", &back));
    cursor_print(&c, text);
    size_t len = strlen(text);
    text[len - 1] = '\0';
    assert_false(cursor_parse(text, &back));
    cursor_print(&c, text);
    strcat(text, "A");
    assert_false(cursor_parse(text, &back));
    for (size_t i = 0; i < len; i++) {
        cursor_print(&c, text);
        text[i] = '+';
        assert_false(cursor_parse(text, &back));
    }
    cursor_print(&c, text);
    text[len - 1] = text[len - 1] == '_' ? '-' : '_'; /* bits that say nothing */
    assert_false(cursor_parse(text, &back));
}

static void test_cursors_of_other_lists_come_back_as_they_were(void **state) {
    (void)state;
    struct event_cursor e = {{INT32_MAX, 2}, 1770897600123, ""}, event;
    struct position p = {7, INT32_MAX}, position;
    struct cursor session;
    char text[CURSOR_CAP];
    memset(e.message_id, ',', CURSOR_MESSAGE_ID_MAX);
    cursor_print_event(&e, text);
    assert_true(cursor_parse_event(text, &event));
    assert_int_equal(event.position.version, INT32_MAX);
    assert_int_equal(event.position.epoch, 2);
    assert_int_equal(event.moment, e.moment);
    assert_string_equal(event.message_id, e.message_id);
    assert_false(cursor_parse_position(text, &position));
    assert_false(cursor_parse(text, &session));
    cursor_print_position(p, text);
    assert_true(cursor_parse_position(text, &position));
    assert_true(position_equal(position, p));
    assert_false(cursor_parse_event(text, &event));
    p.version = 1ull + INT32_MAX; /* no column holds it */
    cursor_print_position(p, text);
    assert_false(cursor_parse_position(text, &position));
    e.message_id[0] = '\n';
    cursor_print_event(&e, text);
    assert_false(cursor_parse_event(text, &event));
    e.message_id[0] = '\0';
    cursor_print_event(&e, text);
    assert_false(cursor_parse_event(text, &event));
    static const char *const bad[] = {"",     "A",      "AA",   "AAA",  "MSw",
                                      "MCwx", "MSwxLA", "====", "MSwx "};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_false(cursor_parse_position(bad[i], &position));
        assert_false(cursor_parse_event(bad[i], &event));
    }
    assert_true(cursor_parse_position("MSwx", &position)); /* 1,1 */
    char endless[2 * CURSOR_CAP];
    memset(endless, 'M', sizeof(endless));
    endless[sizeof(endless) - 1] = '\0';
    assert_false(cursor_parse_event(endless, &event));
}

/* ---- moments ---- */

static void test_moments_of_rfc_3339_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t moment;
    } good[] = {
        {"2026-02-12T12:00:00Z", 1770897600000},
        {"2026-02-12t12:00:00z", 1770897600000},
        {"2026-02-12T12:00:00.1Z", 1770897600100},
        {"2026-02-12T12:00:00.123456789Z", 1770897600123},
        {"2026-02-12T13:30:00+01:30", 1770897600000},
        {"2026-02-12T00:00:00.5-12:00", 1770897600500},
    };
    static const char *const bad[] = {
        "",
        "2026-02-12",
        "2026-02-12T12:00:00",
        "2026-02-12T12:00:00.Z",
        "2026-02-12T12:00:00Zx",
        "2026-02-12T12:00:00+0100",
        "2026-02-12T12:00:00+24:00",
        "2026-02-12T12:00:00+01:60",
        "2026-02-12T12:00:00 01:00",
        "2026-02-30T12:00:00Z",
        "2026-02-12 12:00:00Z",
        "1770897600000",
    };
    for (size_t i = 0; i < N_ELEMENTS(good); i++) {
        int64_t moment = 0;
        assert_true(parameters_parse_moment(good[i].text, &moment));
        assert_int_equal(moment, good[i].moment);
    }
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        int64_t moment;
        if (parameters_parse_moment(bad[i], &moment))
            fail_msg("%s is a moment", bad[i]);
    }
}

/* ---- devices ---- */

static struct device *add(struct devices *d, const char *id, int64_t first, int64_t last) {
    struct device *device = devices_add(d, id);
    device->first_seen = first;
    device->last_seen = last;
    return device;
}

static void expect_devices(struct devices *d, const char *expected) {
    struct buf out = BUF_NULL;
    devices_settle(d);
    devices_print(d, &out);
    assert_string_equal(out.data, expected);
    buf_done(&out);
    devices_done(d);
}

static void test_devices_of_all_places_are_one_list(void **state) {
    (void)state;
    struct devices d = {0};
    expect_devices(&d, "{\"items\":[]}");
    devices_add(&d, "lost")->is_removed = true;
    devices_add(&d, "tab")->is_active = true;
    struct device *there = add(&d, "tab", 2000, 9000);
    there->is_connected = true;
    there->name = must_strdup("Tab \"2\"");
    memcpy(there->user_id, ID, sizeof(ID));
    struct device *kept = add(&d, "tab", 1000, 3000);
    kept->name = must_strdup("Old");
    kept->platform = must_strdup("ios");
    add(&d, "phone", 4000, 8000);
    expect_devices(&d, "{\"items\":["
                       "{\"deviceId\":\"tab\",\"userId\":\"" ID
                       "\",\"name\":\"Tab \\\"2\\\"\",\"platform\":\"ios\","
                       "\"firstSeen\":\"1970-01-01T00:00:01.000Z\",\"lastSeen\":"
                       "\"1970-01-01T00:00:09.000Z\",\"connected\":true,\"active\":true,"
                       "\"removed\":false},"
                       "{\"deviceId\":\"phone\",\"userId\":null,\"name\":null,\"platform\":null,"
                       "\"firstSeen\":\"1970-01-01T00:00:04.000Z\",\"lastSeen\":"
                       "\"1970-01-01T00:00:08.000Z\",\"connected\":false,\"active\":false,"
                       "\"removed\":false},"
                       "{\"deviceId\":\"lost\",\"userId\":null,\"name\":null,\"platform\":null,"
                       "\"firstSeen\":null,\"lastSeen\":null,\"connected\":false,"
                       "\"active\":false,\"removed\":true}]}");
}

static void test_at_most_a_thousand_devices_are_listed(void **state) {
    (void)state;
    struct devices d = {0};
    for (int i = 0; i < 20000; i++) {
        char id[16];
        snprintf(id, sizeof(id), "d%d", i);
        add(&d, id, 1, i + 1)->name = must_strdup(id);
        add(&d, id, 1, 1)->is_connected = i == 7;
    }
    devices_settle(&d);
    assert_int_equal(d.n, DEVICES_MAX_LISTED);
    assert_string_equal(d.items[0].id, "d7");
    assert_string_equal(d.items[1].id, "d19999");
    assert_string_equal(d.items[999].id, "d19001");
    devices_done(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_names_its_resource),
        cmocka_unit_test(test_path_that_names_nothing_is_none),
        cmocka_unit_test(test_last_segment_is_a_version_a_user_a_device_or_a_participant),
        cmocka_unit_test(test_last_segment_of_another_shape_is_nothing),
        cmocka_unit_test(test_cursors_of_other_lists_come_back_as_they_were),
        cmocka_unit_test(test_moments_of_rfc_3339_are_read),
        cmocka_unit_test(test_devices_of_all_places_are_one_list),
        cmocka_unit_test(test_at_most_a_thousand_devices_are_listed),
        cmocka_unit_test(test_methods_are_those_of_the_allow_header),
        cmocka_unit_test(test_cursor_comes_back_as_it_was),
        cmocka_unit_test(test_cursor_that_was_changed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
