/* A message and its twin, the Server-Sent Event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "services/ws_fanout/events.h"
#include "services/ws_fanout/frame.h"

static void expect_event(const char *text, struct position position, const char *event) {
    struct frame *f = frame_new(text, strlen(text));
    f->position = position;
    const struct frame *twin = frame_as_event(f);
    assert_int_equal(twin->len, strlen(event));
    assert_memory_equal(twin->bytes + FRAME_HEADROOM, event, twin->len);
    frame_unref(f);
}

static void test_the_event_has_the_message_as_data(void **state) {
    (void)state;
    expect_event("{\"type\":\"hello\"}", (struct position){0}, "data: {\"type\":\"hello\"}\n\n");
    expect_event("{}", (struct position){.version = 42, .epoch = 1}, "id: 1:42\ndata: {}\n\n");
    expect_event("{}", (struct position){.version = UINT64_MAX, .epoch = UINT64_MAX},
                 "id: 18446744073709551615:18446744073709551615\ndata: {}\n\n");
    expect_event("{}", (struct position){.version = 0, .epoch = 3}, "data: {}\n\n");
}

static void test_line_breaks_do_not_end_the_data(void **state) {
    (void)state;
    expect_event("{\n \"a\":1\r\n}", (struct position){0}, "data: {\ndata:  \"a\":1\ndata: }\n\n");
    expect_event("a\rb", (struct position){0}, "data: a\ndata: b\n\n");
    expect_event("a\n\nid: 9:9", (struct position){0}, "data: a\ndata: \ndata: id: 9:9\n\n");
    expect_event("a\n", (struct position){0}, "data: a\ndata: \n\n");
    expect_event("\r", (struct position){0}, "data: \ndata: \n\n");
    expect_event("", (struct position){0}, "data: \n\n");
}

static void test_the_twin_is_made_once_and_outlives_what_it_was_made_of(void **state) {
    (void)state;
    struct frame *f = frame_new("{}", 2);
    struct frame *twin = frame_as_event(f);
    assert_ptr_equal(frame_as_event(f), twin);
    assert_int_equal(twin->n_refs, 1);
    frame_ref(twin);
    frame_unref(f);
    assert_int_equal(twin->n_refs, 1);
    assert_memory_equal(twin->bytes + FRAME_HEADROOM, "data: {}\n\n", 10);
    frame_unref(twin);
}

static void test_an_id_is_read_as_it_is_written(void **state) {
    static const struct {
        const char *text;
        bool is_good;
        struct position position;
    } rows[] = {
        {"1:1", true, {.version = 1, .epoch = 1}},
        {"12:345", true, {.version = 345, .epoch = 12}},
        {"1:0", true, {.version = 0, .epoch = 1}},
        {"9007199254740991:9007199254740991",
         true,
         {.version = 9007199254740991, .epoch = 9007199254740991}},
        {"9007199254740992:1", false, {0}},
        {"1:9007199254740992", false, {0}},
        {"0:1", false, {0}},
        {"", false, {0}},
        {":", false, {0}},
        {"1", false, {0}},
        {"1:", false, {0}},
        {":1", false, {0}},
        {"1:01", false, {0}},
        {"1:1 ", false, {0}},
        {"1:1:1", false, {0}},
        {"-1:1", false, {0}},
        {"1:+1", false, {0}},
        {"11111111111111111:1", false, {0}},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct position got = {0};
        struct fault f = {0};
        assert_int_equal(events_parse_id(rows[i].text, &got, &f),
                         rows[i].is_good ? 0 : FAULT_INVALID_REQUEST);
        if (rows[i].is_good)
            assert_true(position_equal(got, rows[i].position));
        else
            assert_string_equal(f.field, "Last-Event-ID");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_event_has_the_message_as_data),
        cmocka_unit_test(test_line_breaks_do_not_end_the_data),
        cmocka_unit_test(test_the_twin_is_made_once_and_outlives_what_it_was_made_of),
        cmocka_unit_test(test_an_id_is_read_as_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
