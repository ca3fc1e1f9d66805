/* Patches as the services print them, read without a tree. */
#include "golden_command.h"
#include "proto/reader.h"

/* NULL: it is left to command_parse. */
static char *read_quickly(const char *text) {
    struct reader r = {text, strlen(text)};
    struct buf printed = BUF_NULL;
    struct command c;
    if (!command_read_quickly(&r, &c)) {
        assert_ptr_equal(r.at, text);
        return NULL;
    }
    assert_int_equal(r.left, 0);
    command_print(&c, &printed);
    command_done(&c);
    return buf_take(&printed);
}

static void test_patches_are_read_quickly(void **state) {
    (void)state;
    static const char *const examples[] = {"command.patch", "command.merge_patch",
                                           "command.disjoint"};
    for (size_t i = 0; i < N_ELEMENTS(examples); i++) {
        struct command c = golden_command(examples[i]);
        _cleanup_(buf_done) struct buf text = BUF_NULL, again = BUF_NULL;
        c.n_if_match = 0;
        c.if_match_any = i == 1;
        c.wants_session = i == 2;
        trace_context_take("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &c.trace);
        command_print(&c, &text);
        _cleanup_(freep) char *quick = read_quickly(text.data);
        assert_non_null(quick);
        assert_string_equal(quick, text.data);
        command_done(&c);
        for (size_t len = 0; len < text.len; len++) {
            _cleanup_(freep) char *cut = must_malloc(len); /* nothing lies behind it */
            memcpy(cut, text.data, len);
            struct reader r = {cut, len};
            assert_false(command_read_quickly(&r, &c));
        }
    }
}

#define QUICK_HEAD                                                                                 \
    "{\"id\":\"0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b\",\"kind\":\"patch\",\"sessionId\":"           \
    "\"0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b\",\"userId\":"                                         \
    "\"0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b\",\"deviceId\":\"d\""
#define SUMMED(checksum)                                                                           \
    (",\"scope\":[],\"deadline\":1,\"operations\":[],\"checksum\":\"" checksum "\"}")
#define CHECKSUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"

static void test_what_is_not_plainly_a_patch_is_left_to_the_tree(void **state) {
    (void)state;
    static const char *const texts[] = {
        ",\"scope\":[\"write\"],\"deadline\":1,\"operations\":[]}",
        ",\"scope\":[],\"key\":\"k\",\"deadline\":0,\"sentAt\":1,\"operations\":[{\"op\":1}]}",
        ",\"scope\":[\"read\",\"admin\"],\"deadline\":1,\"baseVersion\":1,\"epoch\":2,"
        "\"operations\":[],\"checksum\":\"" CHECKSUM "f\"}",
    };
    static const char *const others[] = {
        ",\"scope\":[\"write\",\"read\"],\"deadline\":1,\"operations\":[]}",
        ",\"scope\":[\"write\",],\"deadline\":1,\"operations\":[]}",
        ",\"scope\":[\"owner\"],\"deadline\":1,\"operations\":[]}",
        ",\"scope\":[],\"key\":\"\",\"deadline\":1,\"operations\":[]}",
        ",\"scope\":[],\"key\":\"\\\"\",\"deadline\":1,\"operations\":[]}",
        ",\"scope\":[],\"deadline\":-1,\"operations\":[]}",
        ",\"scope\":[],\"deadline\":1e3,\"operations\":[]}",
        ",\"scope\":[],\"deadline\":9007199254740992,\"operations\":[]}",
        ",\"scope\":[],\"deadline\":1,\"baseVersion\":0,\"epoch\":1,\"operations\":[]}",
        ",\"scope\":[],\"deadline\":1,\"baseVersion\":1,\"epoch\":0,\"operations\":[]}",
        ",\"scope\":[],\"deadline\":1,\"epoch\":1,\"operations\":[]}",
        ",\"scope\":[],\"deadline\":1,\"operations\":{}}",
        ",\"scope\":[],\"deadline\":1,\"mergePatch\":[]}",
        ",\"scope\":[],\"deadline\":1,\"operations\":[],\"operations\":[]}",
        ",\"scope\":[],\"deadline\":1,\"operations\":[],\"merge\":\"reject\"}",
        SUMMED(CHECKSUM),
        SUMMED(CHECKSUM "F"),
        ",\"scope\":[],\"deadline\":1,\"operations\":[],\"other\":1}",
    };
    for (size_t i = 0; i < N_ELEMENTS(texts) + N_ELEMENTS(others); i++) {
        bool is_quick = i < N_ELEMENTS(texts);
        _cleanup_(buf_done) struct buf text = BUF_NULL;
        buf_puts(&text, QUICK_HEAD);
        buf_puts(&text, is_quick ? texts[i] : others[i - N_ELEMENTS(texts)]);
        _cleanup_(freep) char *quick = read_quickly(text.data);
        if (is_quick != (quick != NULL))
            fail_msg("%s", text.data);
        if (is_quick)
            assert_string_equal(quick, text.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patches_are_read_quickly),
        cmocka_unit_test(test_what_is_not_plainly_a_patch_is_left_to_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
