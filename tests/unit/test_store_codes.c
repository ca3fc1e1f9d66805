/* What Redis has of a handoff code: printed and read back; what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/store_codes.h"

#define SESSION "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"
#define OWNER "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define OTHER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define HASH "1111111111111111111111111111111111111111111111111111111111111111"

static void expect_same(const struct store_code *a, const struct store_code *b) {
    assert_string_equal(a->session_id, b->session_id);
    assert_string_equal(a->owner_id, b->owner_id);
    assert_int_equal(a->role, b->role);
    assert_string_equal(a->device_id, b->device_id);
    assert_string_equal(a->claimant, b->claimant);
    assert_string_equal(a->user_id, b->user_id);
    assert_string_equal(a->user_device, b->user_device);
}

static void check_round_trip(const struct store_code *code, const char *expected) {
    struct buf out = BUF_NULL;
    struct store_code read;
    store_code_print(code, &out);
    assert_string_equal(out.data, expected);
    assert_int_equal(store_code_parse(out.data, out.len, &read), 0);
    expect_same(code, &read);
    buf_done(&out);
}

static void test_a_code_is_read_as_it_was_written(void **state) {
    (void)state;
    char longest[SESSION_DEVICE_MAX + 1];
    memset(longest, ':', SESSION_DEVICE_MAX);
    longest[SESSION_DEVICE_MAX] = '\0';
    struct store_code code = {SESSION, OWNER, SESSION_ROLE_OWNER, "phone", "", "", ""};
    check_round_trip(&code, SESSION " " OWNER " owner phone - - -");
    code = (struct store_code){SESSION, OWNER, SESSION_ROLE_EDITOR, "-", HASH, OTHER, "-"};
    check_round_trip(&code, SESSION " " OWNER " editor - " HASH " " OTHER " -");
    code.role = SESSION_ROLE_VIEWER;
    strcpy(code.device_id, longest);
    strcpy(code.user_device, longest);
    struct buf out = BUF_NULL;
    store_code_print(&code, &out);
    struct store_code read;
    assert_int_equal(store_code_parse(out.data, out.len, &read), 0);
    expect_same(&code, &read);
    buf_done(&out);
}

static void test_what_is_no_code(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        "- - - - - - -",
        SESSION,
        SESSION " " OWNER " owner phone - -",
        SESSION " " OWNER " owner phone - - - -",
        SESSION " " OWNER " owner phone - - - ",
        SESSION "  " OWNER " owner phone - - -",
        "x" SESSION " " OWNER " owner phone - - -",
        SESSION " x owner phone - - -",
        SESSION " " OWNER " admin phone - - -",
        SESSION " " OWNER " none phone - - -",
        SESSION " " OWNER " owner .. - - -",
        SESSION " " OWNER " owner phone " HASH " - -",
        SESSION " " OWNER " owner phone - " OTHER " tv",
        SESSION " " OWNER " owner phone " HASH " " OTHER " ..",
        SESSION " " OWNER " owner phone x" HASH " " OTHER " tv",
        SESSION " " OWNER " owner phone " HASH " x tv",
    };
    for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
        struct store_code code = {.session_id = "untouched"};
        if (store_code_parse(texts[i], strlen(texts[i]), &code) != -EBADMSG)
            fail_msg("taken: %s", texts[i]);
        assert_string_equal(code.session_id, "untouched");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_code_is_read_as_it_was_written),
        cmocka_unit_test(test_what_is_no_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
