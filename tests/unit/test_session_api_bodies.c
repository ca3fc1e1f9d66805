/* Request bodies into commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "services/session_api/bodies.h"

#define HEX_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int read_create(const char *body, struct command *c, struct fault *f) {
    return bodies_read_create(MEDIA_JSON, body, strlen(body), c, f);
}

static void expect_create_refused(const char *body, enum fault_code code, const char *field) {
    struct command c = {0};
    struct fault f = {0};
    int r = read_create(body, &c, &f);
    if (r != (int)code || f.code != code || strcmp(f.field, field) != 0)
        fail_msg("%.80s: %s, field %s", body, fault_wire_code((enum fault_code)r), f.field);
    command_done(&c);
}

static void test_create_fills_the_command_and_its_defaults(void **state) {
    (void)state;
    struct command c = {0}, d = {0};
    struct fault f;
    assert_int_equal(
        read_create("{\"name\":\"Yoga\",\"type\":\"y_1\",\"data\":[1],\"status\":\"pending\","
                    "\"ttlSeconds\":60,\"onIdle\":\"expire\"}",
                    &c, &f),
        0);
    assert_string_equal(c.name, "Yoga");
    assert_string_equal(c.type, "y_1");
    assert_int_equal(json_array_size(c.data), 1);
    assert_int_equal(c.status, SESSION_PENDING);
    assert_int_equal(c.ttl_seconds, 60);
    assert_int_equal(c.on_idle, SESSION_IDLE_EXPIRE);
    assert_int_equal(read_create("{\"name\":\"Y\",\"type\":\"y\"}", &d, &f), 0);
    assert_null(d.data);
    assert_int_equal(d.status, SESSION_ACTIVE);
    assert_int_equal(d.ttl_seconds, SESSION_TTL_DEFAULT_S);
    assert_int_equal(d.on_idle, SESSION_IDLE_PAUSE);
    command_done(&c);
    command_done(&d);
}

static void test_create_takes_any_value_as_data(void **state) {
    (void)state;
    struct command c = {0};
    struct fault f;
    assert_int_equal(read_create("{\"name\":\"Y\",\"type\":\"y\",\"data\":null}", &c, &f), 0);
    assert_true(json_is_null(c.data));
    command_done(&c);
}

static void test_create_refuses_wrong_shapes(void **state) {
    (void)state;
    expect_create_refused("", FAULT_INVALID_JSON, "");
    expect_create_refused("{\"name\":", FAULT_INVALID_JSON, "");
    expect_create_refused("[]", FAULT_INVALID_REQUEST, "");
    expect_create_refused("{}", FAULT_INVALID_REQUEST, "name");
    expect_create_refused("{\"name\":\"a\"}", FAULT_INVALID_REQUEST, "type");
    expect_create_refused("{\"name\":null,\"type\":\"t\"}", FAULT_INVALID_REQUEST, "name");
    expect_create_refused("{\"name\":\"a\",\"type\":1}", FAULT_INVALID_REQUEST, "type");
    expect_create_refused("{\"name\":\"a\",\"type\":\"t\",\"status\":1}", FAULT_INVALID_REQUEST,
                          "status");
    expect_create_refused("{\"name\":\"a\",\"type\":\"t\",\"ttlSeconds\":\"60\"}",
                          FAULT_INVALID_REQUEST, "ttlSeconds");
    expect_create_refused("{\"name\":\"a\",\"type\":\"t\",\"onIdle\":true}", FAULT_INVALID_REQUEST,
                          "onIdle");
    expect_create_refused("{\"name\":\"a\",\"type\":\"t\",\"dat\":{}}", FAULT_INVALID_REQUEST,
                          "dat");
}

static void test_create_refuses_values_out_of_range(void **state) {
    (void)state;
    expect_create_refused("{\"name\":\"\",\"type\":\"t\"}", FAULT_INVALID_VALUE, "name");
    expect_create_refused("{\"name\":\"a\",\"type\":\"\"}", FAULT_INVALID_VALUE, "type");
    expect_create_refused("{\"name\":\"a\",\"type\":\"T\"}", FAULT_INVALID_VALUE, "type");
    expect_create_refused("{\"name\":\"a\",\"type\":\"t\",\"ttlSeconds\":59}", FAULT_INVALID_VALUE,
                          "ttlSeconds");
    expect_create_refused("{\"name\":\"a\",\"type\":\"t\",\"ttlSeconds\":2592001}",
                          FAULT_INVALID_VALUE, "ttlSeconds");
    expect_create_refused("{\"name\":\"a\",\"type\":\"t\",\"status\":\"paused\"}",
                          FAULT_INVALID_VALUE, "status");
    expect_create_refused("{\"name\":\"a\",\"type\":\"t\",\"onIdle\":\"stop\"}",
                          FAULT_INVALID_VALUE, "onIdle");
}

static int create_with_data(size_t n, char open, char close, char fill) {
    struct command c = {0};
    struct fault f;
    struct buf body = BUF_NULL;
    buf_puts(&body, "{\"name\":\"a\",\"type\":\"t\",\"data\":");
    for (size_t i = 0; i < (fill ? 1 : n); i++)
        buf_putc(&body, open);
    for (size_t i = 0; fill && i < n; i++)
        buf_putc(&body, fill);
    for (size_t i = 0; i < (fill ? 1 : n); i++)
        buf_putc(&body, close);
    buf_putc(&body, '}');
    int r = bodies_read_create(MEDIA_JSON, body.data, body.len, &c, &f);
    command_done(&c);
    buf_done(&body);
    return r;
}

static void test_create_bounds_data_in_size_and_depth(void **state) {
    (void)state;
    assert_int_equal(create_with_data(SESSION_DATA_MAX_BYTES - 2, '"', '"', 'x'), 0);
    assert_int_equal(create_with_data(SESSION_DATA_MAX_BYTES - 1, '"', '"', 'x'),
                     FAULT_STATE_TOO_LARGE);
    assert_int_equal(create_with_data(64, '[', ']', 0), 0);
    assert_int_equal(create_with_data(65, '[', ']', 0), FAULT_STATE_TOO_LARGE);
}

static void test_create_takes_json_only(void **state) {
    (void)state;
    struct command c = {0};
    struct fault f;
    assert_int_equal(bodies_read_create(MEDIA_MERGE_PATCH, "{}", 2, &c, &f),
                     FAULT_UNSUPPORTED_MEDIA_TYPE);
    assert_int_equal(bodies_read_create(MEDIA_OTHER, "{}", 2, &c, &f),
                     FAULT_UNSUPPORTED_MEDIA_TYPE);
}

/* ---- patch ---- */

#define OPERATION "[{\"op\":\"add\",\"path\":\"/data/a\",\"value\":1}]"

static int read_patch(enum media_type type, const char *body, struct command *c, struct fault *f) {
    return bodies_read_patch(type, body, strlen(body), c, f);
}

static void expect_patch_refused(enum media_type type, const char *body, enum fault_code code,
                                 const char *field) {
    struct command c = {0};
    struct fault f = {0};
    int r = read_patch(type, body, &c, &f);
    if (r != (int)code || (field && strcmp(f.field, field) != 0))
        fail_msg("%.80s: %s, field %s", body, fault_wire_code((enum fault_code)r), f.field);
    command_done(&c);
}

static void test_patch_is_read_in_three_media_types(void **state) {
    (void)state;
    struct command a = {0}, b = {0}, c = {0};
    struct fault f;
    assert_int_equal(read_patch(MEDIA_JSON_PATCH, OPERATION, &a, &f), 0);
    assert_int_equal(a.format, COMMAND_PATCH_OPERATIONS);
    assert_int_equal(json_array_size(a.patch), 1);
    assert_false(a.has_base);
    assert_int_equal(read_patch(MEDIA_MERGE_PATCH, "{\"data\":{\"a\":null}}", &b, &f), 0);
    assert_int_equal(b.format, COMMAND_PATCH_MERGE);
    assert_true(json_is_object(b.patch));
    assert_int_equal(read_patch(MEDIA_JSON,
                                "{\"baseVersion\":7,\"epoch\":2,\"operations\":" OPERATION
                                ",\"checksum\":\"" HEX_64 "\",\"merge\":\"reject\"}",
                                &c, &f),
                     0);
    assert_true(c.has_base);
    assert_int_equal(c.base.version, 7);
    assert_int_equal(c.base.epoch, 2);
    assert_string_equal(c.checksum, HEX_64);
    assert_false(c.disjoint);
    command_done(&a);
    command_done(&b);
    command_done(&c);
}

static void test_patch_refuses_what_cannot_be(void **state) {
    (void)state;
    expect_patch_refused(MEDIA_OTHER, "[]", FAULT_UNSUPPORTED_MEDIA_TYPE, "Content-Type");
    expect_patch_refused(MEDIA_JSON_PATCH, "[", FAULT_INVALID_JSON, NULL);
    expect_patch_refused(MEDIA_JSON_PATCH, "{}", FAULT_INVALID_REQUEST, NULL);
    expect_patch_refused(MEDIA_JSON_PATCH, "[{\"op\":\"remove\",\"path\":\"/version\"}]",
                         FAULT_PATH_NOT_WRITABLE, NULL);
    expect_patch_refused(MEDIA_MERGE_PATCH, "[]", FAULT_INVALID_REQUEST, NULL);
    expect_patch_refused(MEDIA_MERGE_PATCH, "{\"status\":\"paused\"}", FAULT_PATH_NOT_WRITABLE,
                         NULL);
    expect_patch_refused(MEDIA_JSON, "[]", FAULT_INVALID_REQUEST, NULL);
    expect_patch_refused(MEDIA_JSON, "{}", FAULT_INVALID_REQUEST, "operations");
    expect_patch_refused(MEDIA_JSON, "{\"operations\":{}}", FAULT_INVALID_REQUEST, "operations");
    expect_patch_refused(MEDIA_JSON, "{\"operations\":[],\"base\":1}", FAULT_INVALID_REQUEST,
                         "base");
    expect_patch_refused(MEDIA_JSON, "{\"operations\":[],\"baseVersion\":\"1\"}",
                         FAULT_INVALID_REQUEST, "baseVersion");
    expect_patch_refused(MEDIA_JSON, "{\"operations\":[],\"baseVersion\":0}", FAULT_INVALID_VALUE,
                         "baseVersion");
    expect_patch_refused(MEDIA_JSON, "{\"operations\":[],\"baseVersion\":1.5}",
                         FAULT_INVALID_REQUEST, "baseVersion");
    expect_patch_refused(MEDIA_JSON, "{\"operations\":[],\"epoch\":1}", FAULT_INVALID_REQUEST,
                         "epoch");
    expect_patch_refused(MEDIA_JSON, "{\"operations\":[],\"merge\":\"theirs\"}",
                         FAULT_INVALID_VALUE, "merge");
    expect_patch_refused(MEDIA_JSON, "{\"operations\":[],\"checksum\":\"abc\"}",
                         FAULT_INVALID_VALUE, "checksum");
    expect_patch_refused(MEDIA_JSON,
                         "{\"operations\":[],\"merge\":\"disjoint\",\"checksum\":\"" HEX_64 "\"}",
                         FAULT_INVALID_REQUEST, "checksum");
}

static void expect_broadcast(enum media_type type, const char *body, int code, const char *field) {
    json_t *message = NULL;
    bool echo = false;
    struct fault f = {0};
    int r = bodies_read_broadcast(type, body, strlen(body), &message, &echo, &f);
    if (r != code || strcmp(f.field, field) != 0)
        fail_msg("%.80s: %s, field %s", body, fault_wire_code((enum fault_code)r), f.field);
    assert_true((message != NULL) == (code == 0));
    json_decref(message);
}

static void test_broadcast_is_read_or_refused_by_member(void **state) {
    (void)state;
    expect_broadcast(MEDIA_JSON, "{\"message\":null}", 0, "");
    expect_broadcast(MEDIA_JSON, "{\"echo\":false,\"message\":{\"a\":[]}}", 0, "");
    expect_broadcast(MEDIA_MERGE_PATCH, "{\"message\":1}", FAULT_UNSUPPORTED_MEDIA_TYPE,
                     "Content-Type");
    expect_broadcast(MEDIA_JSON, "{\"message\":", FAULT_INVALID_JSON, "");
    expect_broadcast(MEDIA_JSON, "[]", FAULT_INVALID_REQUEST, "");
    expect_broadcast(MEDIA_JSON, "{}", FAULT_INVALID_REQUEST, "message");
    expect_broadcast(MEDIA_JSON, "{\"message\":1,\"echo\":null}", FAULT_INVALID_REQUEST, "echo");
    expect_broadcast(MEDIA_JSON, "{\"message\":1,\"to\":1}", FAULT_INVALID_REQUEST, "to");
}

static char *broadcast_of(size_t n_levels, size_t n_text) {
    struct buf out = BUF_NULL;
    buf_puts(&out, "{\"message\":");
    for (size_t i = 0; i < n_levels; i++)
        buf_putc(&out, '[');
    for (size_t i = 0; i < n_text; i++)
        buf_puts(&out, i == 0 || i == n_text - 1 ? "\"" : "x");
    for (size_t i = 0; i < n_levels; i++)
        buf_putc(&out, ']');
    buf_putc(&out, '}');
    return buf_take(&out);
}

static void test_broadcast_bounds_its_message(void **state) {
    (void)state;
    static const struct {
        size_t n_levels, n_text;
        int code;
    } rows[] = {{0, 60 << 10, 0},
                {0, (60 << 10) + 1, FAULT_BODY_TOO_LARGE},
                {64, 0, 0},
                {65, 0, FAULT_INVALID_VALUE}};
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        _cleanup_(freep) char *body = broadcast_of(rows[i].n_levels, rows[i].n_text);
        expect_broadcast(MEDIA_JSON, body, rows[i].code, rows[i].code ? "message" : "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_fills_the_command_and_its_defaults),
        cmocka_unit_test(test_create_takes_any_value_as_data),
        cmocka_unit_test(test_create_refuses_wrong_shapes),
        cmocka_unit_test(test_create_refuses_values_out_of_range),
        cmocka_unit_test(test_create_bounds_data_in_size_and_depth),
        cmocka_unit_test(test_create_takes_json_only),
        cmocka_unit_test(test_patch_is_read_in_three_media_types),
        cmocka_unit_test(test_patch_refuses_what_cannot_be),
        cmocka_unit_test(test_broadcast_is_read_or_refused_by_member),
        cmocka_unit_test(test_broadcast_bounds_its_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
