/* proto/trace_context: which traceparent is one, as W3C Trace Context has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "proto/trace_context.h"

#define IDS "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"

static bool parse(const char *text, struct trace_context *ret) {
    return trace_context_parse(text, strlen(text), ret);
}

static void test_what_is_one_is_passed_on_as_version_00(void **state) {
    (void)state;
    static const struct {
        const char *text, *printed;
    } cases[] = {
        {"00-" IDS "-01", "00-" IDS "-01"},
        {"00-" IDS "-00", "00-" IDS "-00"},
        {"00-" IDS "-ff", "00-" IDS "-01"}, /* flags that nobody knows are not passed on */
        {"00-" IDS "-fe", "00-" IDS "-00"},
        {"01-" IDS "-01", "00-" IDS "-01"}, /* of a later version what is known */
        {"fe-" IDS "-01-and more", "00-" IDS "-01"},
        {"01-" IDS "-01-", "00-" IDS "-01"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct trace_context c;
        char printed[TRACE_PARENT_LEN + 1], trace_id[TRACE_ID_LEN + 1];
        assert_true(parse(cases[i].text, &c));
        assert_true(c.is_set);
        trace_context_print(&c, printed);
        assert_string_equal(printed, cases[i].printed);
        trace_id_print(&c, trace_id);
        assert_memory_equal(trace_id, IDS, TRACE_ID_LEN);
        assert_int_equal(c.span_id[1], 0xf0);
    }
}

static void test_what_is_none_is_no_trace(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "00",
        "00-" IDS,
        "00-" IDS "-0",
        "00-" IDS "-01-", /* of version 00 every byte is known */
        "00-" IDS "-01 ",
        "00-" IDS "-0G",
        "00-" IDS "-0A",
        "ff-" IDS "-01",
        "0F-" IDS "-01",
        "0x-" IDS "-01",
        "01-" IDS "-01.more",
        "00_" IDS "-01",
        "00-" IDS "_01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902-b7-01",
        "00-" IDS "-01, 00-" IDS "-01", /* two headers */
        "01-" IDS "-01, 01-" IDS "-01",
    };
    for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
        struct trace_context c = {.is_set = true, .is_sampled = true};
        assert_false(parse(texts[i], &c));
        assert_memory_equal(&c, &(struct trace_context){0}, sizeof(c));
    }
}

static void test_every_shorter_text_is_none(void **state) {
    (void)state;
    static const char text[] = "00-" IDS "-01";
    for (size_t len = 0; len < TRACE_PARENT_LEN; len++) {
        struct trace_context c;
        _cleanup_(freep) char *cut = must_malloc(len + 1);
        memcpy(cut, text, len);
        assert_false(trace_context_parse(cut, len, &c));
    }
}

static void test_blanks_around_a_header_do_not_count(void **state) {
    (void)state;
    struct trace_context c;
    trace_context_take(" \t00-" IDS "-01\t ", &c);
    assert_true(c.is_sampled);
    trace_context_take("00- " IDS "-01", &c);
    assert_false(c.is_set);
    trace_context_take(" \t ", &c);
    assert_false(c.is_set);
    trace_context_take(NULL, &c);
    assert_false(c.is_set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_one_is_passed_on_as_version_00),
        cmocka_unit_test(test_what_is_none_is_no_trace),
        cmocka_unit_test(test_every_shorter_text_is_none),
        cmocka_unit_test(test_blanks_around_a_header_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
