/* Devices that come and go: doubles, gathering, cancelling out, frames and their bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "services/ws_fanout/crowd.h"

static void expect_frame(struct crowd *c, const char *lists) {
    struct buf out = BUF_NULL;
    char text[512];
    snprintf(text, sizeof(text), "{\"type\":\"presence\",\"sessionId\":\"s\",%s}", lists);
    assert_true(crowd_print(c, "s", &out));
    assert_string_equal(out.data, text);
    buf_done(&out);
}

static void expect_none(struct crowd *c) {
    struct buf out = BUF_NULL;
    assert_int_equal(crowd_n_waiting(c), 0);
    assert_false(crowd_print(c, "s", &out));
    assert_int_equal(out.len, 0);
}

static void test_up_to_fifty_nothing_is_gathered(void **state) {
    _cleanup_(crowd_freep) struct crowd *c = crowd_new();
    (void)state;
    assert_false(crowd_gathers(c));
    crowd_set_n_devices(c, 50);
    assert_false(crowd_gathers(c));
    crowd_set_n_devices(c, 51);
    assert_true(crowd_gathers(c));
    crowd_add(c, "d", true);
    crowd_set_n_devices(c, 50);
    assert_true(crowd_gathers(c)); /* after those who wait, not before them */
    expect_frame(c, "\"joined\":[\"d\"],\"left\":[]");
    assert_false(crowd_gathers(c));
}

static void test_coming_and_going_between_two_frames_cancels_out(void **state) {
    _cleanup_(crowd_freep) struct crowd *c = crowd_new();
    (void)state;
    expect_none(c);
    crowd_add(c, "b", true);
    crowd_add(c, "a", true);
    crowd_add(c, "c", false);
    crowd_add(c, "d", false);
    crowd_add(c, "a", true);
    crowd_add(c, "b", false);
    crowd_add(c, "d", true);
    expect_frame(c, "\"joined\":[\"a\"],\"left\":[\"c\"]");
    expect_none(c);
    crowd_add(c, "a", false);
    expect_frame(c, "\"joined\":[],\"left\":[\"a\"]");
    crowd_add(c, "a", true);
    crowd_clear(c);
    expect_none(c);
}

static void add_many(struct crowd *c, int from, int to) {
    for (int i = from; i < to; i++) {
        char id[16];
        snprintf(id, sizeof(id), "d%05d", i);
        crowd_add(c, id, i % 2);
    }
}

/* Ids in one frame, whose first is noted. */
static size_t n_printed(struct crowd *c, char first[static 8]) {
    struct buf out = BUF_NULL;
    size_t n = 0;
    first[0] = '\0';
    if (crowd_print(c, "s", &out))
        for (const char *at = out.data; (at = strstr(at, "\"d")); at++)
            if (n++ == 0)
                snprintf(first, 8, "%.6s", at + 1);
    buf_done(&out);
    return n;
}

static void test_a_frame_has_a_thousand_and_all_have_their_turn(void **state) {
    _cleanup_(crowd_freep) struct crowd *c = crowd_new();
    char first[8];
    (void)state;
    add_many(c, 0, 2500);
    assert_int_equal(n_printed(c, first), 1000);
    assert_int_equal(crowd_n_waiting(c), 1500);
    add_many(c, 0, 900); /* they come again in front, and are not told in place of the others */
    assert_int_equal(n_printed(c, first), 1000);
    assert_string_equal(first, "d01001");
    assert_int_equal(n_printed(c, first), 500);
    assert_int_equal(n_printed(c, first), 900);
    expect_none(c);
}

static void test_an_event_that_comes_again_is_known(void **state) {
    _cleanup_(crowd_freep) struct crowd *c = crowd_new();
    char id[16];
    (void)state;
    for (int i = 0; i < 300; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        assert_false(crowd_is_double(c, id));
        assert_true(crowd_is_double(c, id));
    }
    assert_true(crowd_is_double(c, "m44"));
    assert_false(crowd_is_double(c, "m43")); /* 256 are known */
    assert_false(crowd_is_double(c, ""));
    assert_false(crowd_is_double(c, ""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_to_fifty_nothing_is_gathered),
        cmocka_unit_test(test_coming_and_going_between_two_frames_cancels_out),
        cmocka_unit_test(test_a_frame_has_a_thousand_and_all_have_their_turn),
        cmocka_unit_test(test_an_event_that_comes_again_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
