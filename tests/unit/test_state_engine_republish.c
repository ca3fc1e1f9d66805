/* Events made again from what the delta window keeps of them. (Snapshots, which Redis keeps, are in
 * tests/e2e/test_engine.py.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "base/buf.h"
#include "services/state_engine/republish.h"
#include "tests/unit/golden_session.h"

#define JOINED_ID "5b0f8ef0-0d3c-4c9b-8a53-8f5f7f9a0a11"
#define SNAPSHOT_ID "5b0f8ef0-0d3c-4c9b-8a53-8f5f7f9a0a12"

/* What a takeover makes: its event, a device that joined, a snapshot. */
static size_t make_events(const struct session *s, struct event *ret) {
    event_status_changed(s, s->user_id, "laptop", SESSION_PAUSED, "request", &ret[0]);
    event_presence(&(struct event_presence){.type = EVENT_DEVICE_JOINED,
                                            .session_id = s->id,
                                            .position = s->position,
                                            .moment = s->updated_at,
                                            .user_id = s->user_id,
                                            .device_id = "laptop",
                                            .active_device = "laptop",
                                            .name = "",
                                            .platform = "",
                                            .n_devices = 2},
                   &ret[1]);
    event_snapshot(s, SNAPSHOT_ID, &ret[2]);
    return 3;
}

static void done(struct event *events, size_t n) {
    for (size_t i = 0; i < n; i++)
        event_done(&events[i]);
}

static void assert_same(const struct event *a, const struct event *b) {
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->body_len, b->body_len);
    assert_string_equal(a->body, b->body);
    assert_string_equal(a->message_id, b->message_id);
    assert_string_equal(a->session_id, b->session_id);
    assert_string_equal(a->user_id, b->user_id);
    assert_string_equal(a->device_id, b->device_id);
    assert_true(position_equal(a->position, b->position));
    assert_int_equal(a->timestamp, b->timestamp);
}

static void test_a_version_comes_out_as_it_went_in(void **state) {
    (void)state;
    struct session s = golden_session();
    struct event made[CHANGE_MAX_EVENTS], again[CHANGE_MAX_EVENTS] = {0};
    make_events(&s, made);
    _cleanup_(buf_done) struct buf extra = BUF_NULL;
    republish_print_extra(made, 3, &extra);
    struct store_entry entry = {.version = s.position.version,
                                .event = made[0].body,
                                .event_len = made[0].body_len,
                                .extra = extra.data,
                                .command_id = JOINED_ID,
                                .key_hash = "the key",
                                .fingerprint = "the request",
                                .trace = {.is_set = true, .is_sampled = true, .span_id = {7}}};
    size_t n = 0;
    assert_int_equal(republish_entry(NULL, &s, &entry, again, &n), 0);
    assert_int_equal(n, 2);
    assert_string_equal(again[0].command_id, JOINED_ID);
    assert_string_equal(again[0].key_hash, "the key");
    assert_string_equal(again[0].fingerprint, "the request");
    assert_string_equal(again[1].command_id, "");
    for (size_t i = 0; i < n; i++)
        assert_memory_equal(&again[i].trace, &entry.trace, sizeof(entry.trace));
    assert_same(&made[0], &again[0]);
    assert_same(&made[1], &again[1]);
    done(made, 3);
    done(again, n);
    session_done(&s);
}

static void test_nothing_extra_is_nothing(void **state) {
    (void)state;
    struct session s = golden_session();
    struct event made[CHANGE_MAX_EVENTS];
    make_events(&s, made);
    struct event without_joined[2] = {made[0], made[2]};
    _cleanup_(buf_done) struct buf extra = BUF_NULL;
    republish_print_extra(made, 1, &extra);
    republish_print_extra(without_joined, 2, &extra);
    assert_null(extra.data);
    done(made, 3);
    session_done(&s);
}

static int republish(char *event, char *extra) {
    struct session s = golden_session();
    struct store_entry entry = {
        .version = 42, .event = event, .event_len = strlen(event), .extra = extra};
    struct event events[CHANGE_MAX_EVENTS];
    size_t n = 99;
    int r = republish_entry(NULL, &s, &entry, events, &n);
    if (r == 0)
        done(events, n);
    else
        assert_int_equal(n, 99);
    session_done(&s);
    return r;
}

/* Of two versions each has an entry: what is beside them is kept with the last. */
static void test_a_second_version_is_nothing_extra(void **state) {
    (void)state;
    struct session s = golden_session();
    struct event made[CHANGE_MAX_EVENTS];
    event_status_changed(&s, s.user_id, "", SESSION_PAUSED, "clock", &made[0]);
    make_events(&s, made + 1);
    _cleanup_(buf_done) struct buf extra = BUF_NULL, expected = BUF_NULL;
    republish_print_extra(made, 4, &extra);
    republish_print_extra(made + 1, 3, &expected);
    assert_string_equal(extra.data, expected.data);
    done(made, 4);
    session_done(&s);
}

static void test_a_damaged_entry_is_refused_whole(void **state) {
    (void)state;
    struct session s = golden_session();
    struct event made[CHANGE_MAX_EVENTS];
    make_events(&s, made);
    char *event = made[0].body;
    char texts[][256] = {
        "",
        "{",
        "{}",
        "[1]",
        "[{}]",
        "[{\"type\":\"device_joined\",\"body\":{}}]",
        ("[{\"type\":\"device_joined\",\"messageId\":\"" JOINED_ID "\",\"body\":{}}]"),
        "[{\"type\":\"device_joined\",\"messageId\":1,\"body\":1}]"};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        assert_int_equal(republish(event, texts[i]), -EBADMSG);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(republish(texts[i], NULL), -EBADMSG);
    _cleanup_(buf_done) struct buf long_id = BUF_NULL;
    buf_puts(&long_id, "[{\"messageId\":\"");
    for (size_t i = 0; i < EVENT_MESSAGE_ID_CAP; i++)
        buf_putc(&long_id, 'a');
    buf_printf(&long_id, "\",\"body\":%s}]", made[1].body);
    assert_int_equal(republish(event, long_id.data), -EBADMSG);
    done(made, 3);
    session_done(&s);
}

static void test_more_than_an_event_list_holds_is_left_out(void **state) {
    (void)state;
    struct session s = golden_session();
    struct event made[CHANGE_MAX_EVENTS];
    make_events(&s, made);
    _cleanup_(buf_done) struct buf extra = BUF_NULL;
    for (size_t i = 0; i < 5; i++)
        buf_printf(&extra, "%s{\"messageId\":\"" JOINED_ID "\",\"body\":%s}", i ? "," : "[",
                   made[1].body);
    buf_puts(&extra, "]");
    assert_int_equal(republish(made[0].body, extra.data), 0);
    done(made, 3);
    session_done(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_version_comes_out_as_it_went_in),
        cmocka_unit_test(test_nothing_extra_is_nothing),
        cmocka_unit_test(test_a_second_version_is_nothing_extra),
        cmocka_unit_test(test_a_damaged_entry_is_refused_whole),
        cmocka_unit_test(test_more_than_an_event_list_holds_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
