/* What the delta window keeps is read as it was, and is short for what most entries are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "proto/event.h"
#include "proto/packed.h"
#include "proto/text.h"

#define SESSION "01a200dc-dcb4-7db2-9e55-b02b7ca137a0"
#define USER "9186ed16-57dd-4067-885f-ab422fbadb39"
#define HASH "a5ca8a3f7bcc3c72601cb5f2fb2cf6af7b61a9a91dec1d16496386b53877ad47"

static size_t packed_len(const char *text, size_t len) {
    _cleanup_(buf_done) struct buf packed = BUF_NULL, read = BUF_NULL;
    packed_print(text, len, SESSION, &packed);
    assert_int_equal(packed_read(packed.data, packed.len, SESSION, &read), 0);
    assert_int_equal(read.len, len);
    assert_memory_equal(read.data, text, len);
    return packed.len;
}

static void assert_packed(const char *text, size_t len) {
    assert_int_equal(packed_len(text, strlen(text)), len);
}

static struct session sample(void) {
    struct session s = {.id = SESSION,
                        .user_id = USER,
                        .name = must_strdup("Evening meditation"),
                        .type = "meditation",
                        .status = SESSION_ACTIVE,
                        .position = {1, 1},
                        .created_at = 1770897600000,
                        .updated_at = 1770897600000,
                        .last_modified = 1770897600000,
                        .touched_at = 1770897600000,
                        .ttl_seconds = 3600,
                        .active_device = "phone",
                        .modified_by = "phone"};
    json_auto_t *data = json_pack("{s:i}", "progress", 0);
    session_set_data(&s, data);
    return s;
}

static void test_a_delta_takes_a_third(void **state) {
    (void)state;
    struct session s = sample();
    struct event e;
    json_auto_t *operations = NULL;
    static const char text[] = "[{\"op\":\"replace\",\"path\":\"/data/progress\",\"value\":75}]";
    assert_int_equal(text_parse(text, strlen(text), &operations, NULL), 0);
    s.position.version = 2;
    event_state_delta(&s, USER, "phone", 1, operations, false, &e);
    assert_int_equal(e.body_len, 362);
    assert_int_equal(packed_len(e.body, e.body_len), 105);
    event_done(&e);
    session_done(&s);
}

static void test_a_creation_takes_little_but_its_data(void **state) {
    (void)state;
    struct session s = sample();
    struct event e;
    event_session_created(&s, "phone", &e);
    assert_int_equal(e.body_len, 771);
    assert_int_equal(packed_len(e.body, e.body_len), 223);
    event_done(&e);
    session_done(&s);
}

static void test_values_are_told_by_their_form(void **state) {
    (void)state;
    assert_packed(SESSION, 1);
    assert_packed(USER, 23);
    assert_packed(HASH, 44);
    assert_packed("2026-02-12T12:00:00.000Z", 9);
    assert_packed("{\"a\":\"" USER "\"}", 6 + 23 + 2);
    assert_packed("{\"a\":\"" USER "x\"}", 6 + 37 + 2);
    assert_packed("{\"a\":\"" HASH "0\"}", 6 + 65 + 2);
    assert_packed("{\"a\":\"9186ED16-57DD-4067-885F-AB422FBADB39\"}", 6 + 36 + 2);
    assert_packed("{\"a\":\"2026-02-12T12:00:00.000Z\"}", 6 + 9 + 2);
    assert_packed("{\"a\":\"2026-02-30T12:00:00.000Z\"}", 6 + 24 + 2);
    assert_packed("{\"a\":\"1969-12-31T23:59:59.999Z\"}", 6 + 24 + 2);
    assert_packed("{\"a\":\"9999-12-31T23:59:59.999Z\"}", 6 + 9 + 2);
    assert_packed("", 0);
    assert_packed("x", 1);
}

static void test_bytes_that_are_codes_are_kept(void **state) {
    (void)state;
    char text[512];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)i;
    assert_int_equal(packed_len(text, sizeof(text)), sizeof(text) + 2 * 32);
    assert_true(packed_is("a\x01", 2));
    assert_false(packed_is("{\"a\":\"\xc3\xa9 \x7f\"}", 12));
    assert_false(packed_is("", 0));
}

/* Also each beginning of a good one. */
static void test_what_was_not_packed_so_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *packed;
        size_t len;
    } cases[] = {{"", 1}, /* a literal without its byte */
                 {"\x02", 1},
                 {"\x02"
                  "AAAAAAAAAAAAAAAAAAAAA",
                  22},
                 {"\x02"
                  "AAAAAAAAAAAAAAAAAAAAA!",
                  23},
                 {"\x02"
                  "AAAAAAAAAAAAAAAAAAAAAB",
                  23}, /* bits that belong to nothing */
                 {"\x03"
                  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                  43},
                 {"\x04"
                  "AAAAAAA",
                  8},
                 {"\x04"
                  "AAAAAAA\x01",
                  9}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        _cleanup_(buf_done) struct buf read = BUF_NULL;
        assert_int_equal(packed_read(cases[i].packed, cases[i].len, SESSION, &read), -EBADMSG);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_delta_takes_a_third),
        cmocka_unit_test(test_a_creation_takes_little_but_its_data),
        cmocka_unit_test(test_values_are_told_by_their_form),
        cmocka_unit_test(test_bytes_that_are_codes_are_kept),
        cmocka_unit_test(test_what_was_not_packed_so_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
