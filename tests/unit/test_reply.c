/* Replies: printed from a struct as the golden examples are, read back whole, and refused when they
 * are none. */
#include "golden_session.h"

#include "proto/command.h"
#include "proto/reader.h"

#define COMMAND_ID "019c51bd-81e0-7000-9abc-def012345678"

static char *print(const struct reply *r) {
    struct buf out = BUF_NULL;
    reply_print(r, &out);
    return buf_take(&out);
}

static struct reply accepted(void) {
    struct session s = golden_session();
    struct reply r = {.id = COMMAND_ID,
                      .session_id = GOLDEN_SESSION,
                      .position = s.position,
                      .base_version = 41,
                      .last_modified = s.last_modified,
                      .expires_at = session_expires_at(&s)};
    memcpy(r.checksum, s.checksum, sizeof(r.checksum));
    session_done(&s);
    return r;
}

static void expect_equal_replies(const struct reply *a, const struct reply *b) {
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->session_id, b->session_id);
    assert_int_equal(a->fault.code, b->fault.code);
    assert_string_equal(a->fault.detail, b->fault.detail);
    assert_string_equal(a->fault.field, b->fault.field);
    assert_string_equal(a->fault.pointer, b->fault.pointer);
    if (a->fault.code)
        assert_int_equal(a->fault.index, b->fault.index);
    assert_true(position_equal(a->position, b->position));
    assert_int_equal(a->base_version, b->base_version);
    assert_string_equal(a->checksum, b->checksum);
    assert_int_equal(a->last_modified, b->last_modified);
    assert_int_equal(a->expires_at, b->expires_at);
    assert_int_equal(a->rebased, b->rebased);
    assert_int_equal(a->replayed, b->replayed);
    assert_string_equal(a->session ? a->session : "", b->session ? b->session : "");
    assert_string_equal(a->conflict ? a->conflict : "", b->conflict ? b->conflict : "");
}

static void expect_read(const struct reply *r) {
    char *text = print(r);
    struct reader reader = {text, strlen(text)}, before = reader;
    struct reply read = {0};
    bool is_plain = !r->fault.code;
    assert_int_equal(reply_read(&reader, &read), is_plain);
    if (is_plain)
        expect_equal_replies(&read, r);
    reply_done(&read);
    assert_ptr_equal(reader.at, is_plain ? before.at + before.left : before.at);
    free(text);
}

/* Prints as the example, which reads back as the same reply. */
static void expect_reply(const struct reply *r, const char *example) {
    char *text = print(r);
    golden_equal(text, example);
    free(text);
    json_t *object = golden_load(example);
    struct reply read;
    struct fault f = {0};
    assert_int_equal(reply_parse(object, &read, &f), 0);
    json_decref(object);
    expect_equal_replies(&read, r);
    reply_done(&read);
    expect_read(r);
}

static void test_accepted_replies_equal_their_examples(void **state) {
    (void)state;
    struct reply r = accepted();
    r.session = golden_text("session");
    expect_reply(&r, "reply.patch");
    reply_done(&r);

    r = accepted();
    r.rebased = r.replayed = true;
    expect_reply(&r, "reply.replayed");
    reply_done(&r);

    r = accepted(); /* of a snapshot: taken a minute after the last change */
    r.base_version = r.position.version;
    r.last_modified += 60000;
    r.expires_at += 60000;
    expect_reply(&r, "reply.snapshot");
    reply_done(&r);

    r = (struct reply){
        .id = COMMAND_ID, .session_id = GOLDEN_SESSION, .position = {.version = 43, .epoch = 1}};
    expect_reply(&r, "reply.deleted");
    reply_done(&r);
    reply_done(NULL);
}

static void test_plain_replies_are_read_without_parsing(void **state) {
    (void)state;
    for (unsigned bits = 0; bits < 64; bits++) {
        struct reply r = accepted();
        if (bits & 1)
            r.base_version = 0;
        if (bits & 2)
            r.checksum[0] = '\0';
        if (bits & 4)
            r.last_modified = 0;
        if (bits & 8)
            r.expires_at = 0;
        r.rebased = bits & 16;
        r.replayed = bits & 32;
        expect_read(&r);
    }
}

static void test_a_session_is_taken_as_it_stands(void **state) {
    static const char *const texts[] = {"{}", "{\"data\":{\"a\":[1,{\"b\":null}]}}",
                                        "{\"name\":\"a } ] \\\" \\\\\",\"data\":[]}",
                                        "{\"data\":\"\\\\\\\"{[\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct reply r = accepted();
        r.session = must_strdup(texts[i]);
        expect_read(&r);
        reply_done(&r);
    }
}

/* Whatever byte is another or missing: never read beyond the end, never taken for more than it is.
 */
static void expect_no_damage_is_read(struct reply *r, size_t n_checked) {
    char *text = print(r);
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        struct reply read;
        char *cut = must_memdup(text, i), *other = must_memdup(text, len);
        struct reader cut_reader = {cut, i}, other_reader = {other, len};
        assert_false(reply_read(&cut_reader, &read));
        other[i] = '!';
        if (i < n_checked)
            assert_false(reply_read(&other_reader, &read));
        free(cut);
        free(other);
    }
    free(text);
}

static void test_damaged_plain_replies_are_left_to_the_parser(void **state) {
    struct reply r = accepted();
    (void)state;
    expect_no_damage_is_read(&r, SIZE_MAX);
    r.session = must_strdup("{\"data\":{\"a\":[1,{\"b\":\"}\"}]}}");
    expect_no_damage_is_read(&r, 0); /* within the session no byte is looked at but for its end */
    reply_done(&r);
}

static void test_refusals_equal_their_examples(void **state) {
    (void)state;
    struct reply r = {.id = COMMAND_ID, .session_id = GOLDEN_SESSION};
    fault_set(&r.fault, FAULT_PATCH_FAILED, NULL, "Nothing is at /data/missing.");
    snprintf(r.fault.pointer, sizeof(r.fault.pointer), "/data/missing");
    r.fault.index = 1;
    expect_reply(&r, "reply.patch_failed");

    struct reply removed = {.id = COMMAND_ID, .session_id = GOLDEN_SESSION};
    fault_set(&removed.fault, FAULT_DEVICE_REMOVED, NULL,
              "the owner keeps this device out of the session");
    expect_reply(&removed, "reply.device_removed");

    fault_set(&r.fault, FAULT_VERSION_CONFLICT, "baseVersion",
              "The session is at version 42, epoch 1; the base is version 41, epoch 1.");
    json_t *example = golden_load("reply.conflict");
    struct buf conflict = BUF_NULL;
    text_print(json_object_get(json_object_get(example, "error"), "conflict"), &conflict);
    json_decref(example);
    r.conflict = buf_take(&conflict);
    expect_reply(&r, "reply.conflict");
    reply_done(&r);
}

static void test_every_fault_is_read_back(void **state) {
    (void)state;
    for (enum fault_code code = FAULT_NONE + 1; code < FAULT_N_CODES; code++) {
        struct reply r = {.id = COMMAND_ID, .session_id = GOLDEN_SESSION}, read;
        struct fault f = {0};
        fault_set(&r.fault, code, "name", "say \"why\"");
        r.fault.index = (int)code - 1;
        char *text = print(&r);
        json_t *object = golden_value(text);
        assert_int_equal(reply_parse(object, &read, &f), 0);
        assert_int_equal(read.fault.code, code);
        expect_equal_replies(&read, &r);
        json_decref(object);
        free(text);
        reply_done(&read);
    }
}

static void test_a_cut_character_does_not_spoil_the_reply(void **state) {
    (void)state;
    struct reply r = {.id = COMMAND_ID, .session_id = GOLDEN_SESSION}, read;
    struct fault f = {0};
    fault_set(&r.fault, FAULT_PATCH_FAILED, NULL, "why");
    memset(r.fault.pointer, 'p', sizeof(r.fault.pointer) - 1);
    memcpy(r.fault.pointer + sizeof(r.fault.pointer) - 4, "\xf0\x9f\x98", 3);
    char *text = print(&r);
    json_t *object = golden_value(text);
    assert_int_equal(reply_parse(object, &read, &f), 0);
    assert_int_equal(strlen(read.fault.pointer), sizeof(r.fault.pointer) - 4);
    json_decref(object);
    free(text);
    reply_done(&read);
}

static int parse_changed(const char *example, const char *member, const char *value,
                         struct fault *f) {
    json_t *object = golden_load(example);
    if (value)
        json_object_set_new(object, member, golden_value(value));
    else
        json_object_del(object, member);
    struct reply r = {.base_version = 77};
    int code = reply_parse(object, &r, f);
    json_decref(object);
    if (code)
        assert_int_equal(r.base_version, 77); /* untouched */
    else
        reply_done(&r);
    return code;
}

static void test_what_is_no_reply_is_refused_by_name(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"id", NULL},
        {"id", "\"x\""},
        {"sessionId", NULL},
        {"sessionId", "\"019C51B8-ee00-7a3b-8f21-5b6c7d8e9f01\""},
        {"version", NULL},
        {"version", "0"},
        {"epoch", "\"1\""},
        {"baseVersion", "-1"},
        {"checksum", "\"12\""},
        {"lastModified", "\"today\""},
        {"expiresAt", "7"},
        {"rebased", "1"},
        {"replayed", "null"},
        {"session", "[]"},
        {"error", "\"no\""},
        {"error", "{}"},
        {"error", "{\"code\":\"not_found\"}"},
        {"error", "{\"code\":\"not_found\",\"status\":\"404\"}"},
        {"error", "{\"code\":\"not_found\",\"status\":404,\"index\":-1}"},
        {"error", "{\"code\":\"not_found\",\"status\":404,\"conflict\":[]}"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct fault f = {0};
        if (parse_changed("reply.patch", wrong[i][0], wrong[i][1], &f) != FAULT_INVALID_REQUEST)
            fail_msg("%s = %s was taken", wrong[i][0], wrong[i][1] ? wrong[i][1] : "nothing");
        assert_string_equal(f.field, wrong[i][0]);
    }
    struct fault f = {0};
    assert_int_equal(
        parse_changed("reply.patch", "error", "{\"code\":\"unheard_of\",\"status\":418}", &f),
        FAULT_INVALID_REQUEST);
    assert_int_equal(parse_changed("reply.patch", "someLaterMember", "1", &f), 0);
}

static void test_what_is_no_object_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"[]", "null", "1", "\"reply\""};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        json_t *value = golden_value(wrong[i]);
        struct reply r;
        struct fault f = {0};
        assert_int_equal(reply_parse(value, &r, &f), FAULT_INVALID_REQUEST);
        json_decref(value);
    }
}

static void test_texts_of_a_fault_are_bounded(void **state) {
    (void)state;
    static const struct {
        const char *member;
        size_t most;
    } bounds[] = {{"detail", 255}, {"field", 63}, {"pointer", 255}};
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        for (size_t over = 0; over < 2; over++) {
            struct fault f = {0};
            struct buf error = BUF_NULL;
            buf_printf(&error, "{\"code\":\"internal\",\"status\":500,\"%s\":\"%0*d\"}",
                       bounds[i].member, (int)(bounds[i].most + over), 0);
            assert_int_equal(parse_changed("reply.patch", "error", error.data, &f),
                             over ? FAULT_INVALID_REQUEST : 0);
            buf_done(&error);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted_replies_equal_their_examples),
        cmocka_unit_test(test_plain_replies_are_read_without_parsing),
        cmocka_unit_test(test_a_session_is_taken_as_it_stands),
        cmocka_unit_test(test_damaged_plain_replies_are_left_to_the_parser),
        cmocka_unit_test(test_refusals_equal_their_examples),
        cmocka_unit_test(test_every_fault_is_read_back),
        cmocka_unit_test(test_a_cut_character_does_not_spoil_the_reply),
        cmocka_unit_test(test_what_is_no_reply_is_refused_by_name),
        cmocka_unit_test(test_what_is_no_object_is_refused),
        cmocka_unit_test(test_texts_of_a_fault_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
