#include "tests/unit/client_c_fixture.h"

#include <errno.h>

#include "clients/c/src/diff.h"

#define SET_A(n) "[{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":" #n "}]"

static int patch(struct handoff_session *s, const char *operations, struct handoff_error *e) {
    return handoff_session_patch(s, operations, HANDOFF_REBASE, on_answer, NULL, e);
}

static void say_conflict(const char *id, const char *deltas) {
    sayf("{\"type\":\"error\",\"id\":\"%s\",\"sessionId\":\"" SESSION
         "\",\"code\":\"version_conflict\","
         "\"detail\":\"the session has moved "
         "on\",\"temporary\":false,\"currentVersion\":2,\"epoch\":1,"
         "\"deltas\":%s}",
         id, deltas);
}

static void say_refusal(const char *id, const char *code) {
    sayf("{\"type\":\"error\",\"id\":\"%s\",\"sessionId\":\"" SESSION "\",\"code\":\"%s\","
         "\"detail\":\"because\"}",
         id, code);
}

static void test_a_change_is_shown_at_once_and_settles_whichever_comes_first(void **state) {
    (void)state;
    for (int is_event_first = 0; is_event_first < 2; is_event_first++) {
        struct handoff *h = new_client(NULL);
        struct handoff_session *s = synced(h, 1, "{\"a\":0}");
        assert_int_equal(patch(s, SET_A(1), NULL), 0);
        assert_string_equal(handoff_session_data(s), "{\"a\":1}");
        assert_string_equal(handoff_session_confirmed_data(s), "{\"a\":0}");
        assert_int_equal(told.source, HANDOFF_LOCAL);
        assert_int_equal(told.sync.unsent, 1);
        const char *id = expect_id("patch");
        if (is_event_first)
            say_delta(2, "phone", SET_A(1), "{\"a\":1}");
        say_ack(id, 2);
        if (!is_event_first)
            say_delta(2, "phone", SET_A(1), "{\"a\":1}");
        assert_string_equal(handoff_session_data(s), "{\"a\":1}");
        assert_string_equal(handoff_session_confirmed_data(s), "{\"a\":1}");
        assert_int_equal(told.sync.unsent, 0);
        assert_int_equal(told.n_acks, 1);
        assert_null(s->unsent.first);
        handoff_free(h);
    }
}

static void test_values_come_as_jansson_has_them(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"n\":9007199254740991,\"x\":0.1}");
    json_auto_t *data = handoff_session_data_json(s);
    (void)state;
    assert_int_equal(json_integer_value(json_object_get(data, "n")), 9007199254740991);
    assert_true(json_is_real(json_object_get(data, "x")));
    handoff_free(h);
}

static void test_commands_go_one_after_the_other_and_again_with_their_keys(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    (void)state;
    patch(s, SET_A(1), NULL);
    patch(s, SET_A(2), NULL);
    json_auto_t *first = expect_sent("patch");
    assert_null(take_sent());
    close_wire(1006, "");
    assert_int_equal(told.n_answers, 0);
    come_back(h);
    json_auto_t *subscribe = expect_sent("subscribe");
    assert_int_equal(frame_number(subscribe, "since"), 1);
    sayf("{\"type\":\"subscribed\",\"id\":\"%s\",\"sessionId\":\"" SESSION
         "\",\"epoch\":1,\"version\":1,\"replayed\":0}",
         frame_string(subscribe, "id"));
    json_auto_t *again = expect_sent("patch");
    assert_string_equal(frame_string(again, "key"), frame_string(first, "key"));
    assert_true(
        text_equal(json_object_get(again, "operations"), json_object_get(first, "operations")));
    say_delta(2, "phone", SET_A(1), "{\"a\":1}");
    say_ack(frame_string(again, "id"), 2);
    json_auto_t *second = expect_sent("patch");
    assert_string_not_equal(frame_string(second, "key"), frame_string(first, "key"));
    assert_int_equal(frame_number(second, "baseVersion"), 2); /* it knows of the first */
    handoff_free(h);
}

static void test_a_temporary_refusal_is_tried_again_when_it_says(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    (void)state;
    patch(s, SET_A(1), NULL);
    sayf("{\"type\":\"error\",\"id\":\"%s\",\"sessionId\":\"" SESSION
         "\",\"code\":\"rate_limited\","
         "\"detail\":\"too much\",\"temporary\":true,\"retryAfterMs\":5000}",
         expect_id("patch"));
    int64_t ms = s->pump_at_ms - timestamp_monotonic_ms();
    assert_true(ms > 4000 && ms <= 5000);
    assert_null(take_sent());
    s->pump_at_ms = 1;
    turn(h);
    json_decref(expect_sent("patch"));
    assert_int_equal(told.n_answers, 0);
    handoff_free(h);
}

static void test_no_answer_in_time_is_asked_again_with_the_key(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    (void)state;
    patch(s, SET_A(1), NULL);
    json_auto_t *first = expect_sent("patch");
    h->asked->until_ms = 1;
    turn(h);
    s->pump_at_ms = 1;
    turn(h);
    json_auto_t *again = expect_sent("patch");
    assert_string_equal(frame_string(again, "key"), frame_string(first, "key"));
    say_ack(frame_string(first, "id"), 2); /* too late: nobody waits for that id */
    assert_int_equal(told.n_answers, 0);
    say_ack(frame_string(again, "id"), 2);
    assert_int_equal(told.n_acks, 1);
    handoff_free(h);
}

static void test_a_conflict_is_made_anew_on_what_was_missed(void **state) {
    char delta[1024], deltas[1100];
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    (void)state;
    patch(s, SET_A(1), NULL);
    delta_text(2, "laptop", SET_A(7), "{\"a\":7}", delta, sizeof(delta));
    snprintf(deltas, sizeof(deltas), "[%s]", delta);
    json_auto_t *first = expect_sent("patch");
    say_conflict(frame_string(first, "id"), deltas);
    assert_true(told.is_resolved);
    assert_string_equal(told.conflict.code, "version_conflict");
    assert_string_equal(handoff_session_confirmed_data(s), "{\"a\":7}");
    assert_string_equal(handoff_session_data(s), "{\"a\":1}");
    json_auto_t *again = expect_sent("patch");
    assert_int_equal(frame_number(again, "baseVersion"), 2);
    assert_string_equal(frame_string(again, "key"), frame_string(first, "key"));
    say(delta); /* the connection brings it as well */
    assert_int_equal(handoff_session_position(s).version, 2);
    handoff_free(h);
}

static void test_what_no_longer_fits_is_taken_back(void **state) {
    char delta[1024], deltas[1100];
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    (void)state;
    patch(s, SET_A(1), NULL);
    delta_text(2, "laptop", "[{\"op\":\"remove\",\"path\":\"/data/a\"}]", "{}", delta,
               sizeof(delta));
    snprintf(deltas, sizeof(deltas), "[%s]", delta);
    say_conflict(expect_id("patch"), deltas);
    assert_false(told.is_resolved);
    assert_string_equal(handoff_session_data(s), "{}");
    assert_string_equal(told.answered.code, "version_conflict");
    assert_int_equal(told.source, HANDOFF_ROLLBACK);
    assert_int_equal(handoff_unsent(h), 0);
    handoff_free(h);
}

static json_t *add_ten(void *user, json_t *data) {
    (void)user;
    json_int_t n = json_integer_value(json_object_get(data, "a"));
    json_object_set_new(data, "a", json_integer(n + 10));
    return data;
}

static void test_a_function_is_called_again_with_what_there_is(void **state) {
    char delta[1024], deltas[1100];
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    (void)state;
    handoff_session_change(s, add_ten, on_answer, NULL, NULL);
    delta_text(2, "laptop", SET_A(7), "{\"a\":7}", delta, sizeof(delta));
    snprintf(deltas, sizeof(deltas), "[%s]", delta);
    say_conflict(expect_id("patch"), deltas);
    assert_string_equal(handoff_session_data(s), "{\"a\":17}");
    json_auto_t *again = expect_sent("patch");
    json_t *operation = json_array_get(json_object_get(again, "operations"), 0);
    assert_int_equal(frame_number(operation, "value"), 17);
    handoff_free(h);
}

static void test_conflicts_without_an_end_end(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    (void)state;
    patch(s, SET_A(1), NULL);
    for (int n = 0; n < 101; n++) {
        assert_int_equal(told.n_answers, 0);
        say_conflict(expect_id("patch"), "[]");
    }
    assert_int_equal(told.n_answers, 1);
    assert_string_equal(told.answered.code, "version_conflict");
    handoff_free(h);
}

static void test_what_is_acknowledged_is_not_shown_twice_after_a_conflict_told_it(void **state) {
    char own[1024], deltas[1100];
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"l\":[]}");
    static const char add[] = "[{\"op\":\"add\",\"path\":\"/data/l/-\",\"value\":1}]";
    (void)state;
    patch(s, add, NULL);
    say_ack(expect_id("patch"), 2);
    patch(s, "[{\"op\":\"add\",\"path\":\"/data/b\",\"value\":1}]", NULL);
    delta_text(2, "phone", add, "{\"l\":[1]}", own, sizeof(own));
    snprintf(deltas, sizeof(deltas), "[%s]", own);
    say_conflict(expect_id("patch"), deltas);
    assert_string_equal(handoff_session_data(s), "{\"l\":[1],\"b\":1}");
    handoff_free(h);
}

static void test_a_checksum_that_differs_and_a_gap_ask_for_the_whole(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    (void)state;
    say_delta(2, "laptop", SET_A(1), "{\"a\":2}");
    assert_int_equal(told.sync.state, HANDOFF_SYNC_CONNECTING);
    json_auto_t *subscribe = expect_sent("subscribe");
    assert_null(json_object_get(subscribe, "since"));
    say_delta(3, "laptop", SET_A(3), "{\"a\":3}"); /* comes with the whole */
    say_sync(frame_string(subscribe, "id"), 3, "{\"a\":3}");
    assert_string_equal(handoff_session_data(s), "{\"a\":3}");
    say_delta(4, "laptop", SET_A(4), "{\"a\":4}");
    assert_string_equal(handoff_session_data(s), "{\"a\":4}");
    say_delta(6, "laptop", SET_A(6), "{\"a\":6}"); /* 5 is missing */
    say_sync(expect_id("subscribe"), 6, "{\"a\":6}");
    assert_string_equal(handoff_session_data(s), "{\"a\":6}");
    say_delta(6, "laptop", SET_A(9), "{\"a\":9}"); /* seen already */
    assert_string_equal(handoff_session_data(s), "{\"a\":6}");
    handoff_free(h);
}

static void test_a_server_that_never_fits_is_not_asked_in_circles(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    (void)state;
    for (int n = 0; n < 100; n++) {
        say_delta(9, "laptop", SET_A(1), "{\"a\":1}");
        say_sync("", 1, "{\"a\":0}");
    }
    assert_true(json_array_size(wire.sent) <= 2);
    assert_true(s->subscribe_at_ms > 0);
    handoff_free(h);
}

static void test_a_new_epoch_takes_what_was_lost_with_the_old_one(void **state) {
    char session[2048];
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 5, "{\"a\":0}");
    (void)state;
    patch(s, SET_A(1), NULL);
    say_ack(expect_id("patch"), 6);
    session_text(4, "{\"a\":-1}", session, sizeof(session));
    *strstr(session, "\"epoch\":1") = ' '; /* spoilt: it is none */
    sayf("{\"type\":\"state_sync\",\"sessionId\":\"" SESSION "\",\"session\":%s}", session);
    session_text(4, "{\"a\":-1}", session, sizeof(session));
    strstr(session, "\"epoch\":1")[8] = '2';
    sayf("{\"type\":\"state_sync\",\"sessionId\":\"" SESSION "\",\"epoch\":2,\"version\":4,"
         "\"session\":%s,\"reason\":\"rebuilt\"}",
         session);
    assert_string_equal(handoff_session_data(s), "{\"a\":-1}");
    assert_int_equal(handoff_session_position(s).epoch, 2);
    handoff_free(h);
}

static void test_refusals_and_bounds_of_what_is_asked(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = open_session(h);
    struct handoff_error e;
    (void)state;
    assert_int_equal(patch(s, SET_A(1), &e), -1);
    assert_string_equal(e.code, "not_ready");
    assert_null(handoff_session_data(s));
    assert_null(handoff_session_data_json(s));
    connect_client(h);
    say_sync(expect_id("subscribe"), 1, "{\"a\":0}");
    assert_int_equal(patch(s, NULL, &e), -1);
    assert_int_equal(patch(s, "[{\"op\":\"remove\",\"path\":\"/data/b\"}]", &e), -1);
    assert_string_equal(e.code, "patch_failed");
    assert_int_equal(patch(s, "[]", &e), 0); /* nothing to do */
    assert_int_equal(told.n_acks, 1);
    for (int n = 0; n < 5; n++)
        assert_int_equal(patch(s, SET_A(1), &e), 0);
    assert_int_equal(patch(s, SET_A(1), &e), -1);
    assert_string_equal(e.code, "outbox_full");
    assert_int_equal(handoff_unsent(h), 5);
    handoff_free(h);
    assert_int_equal(told.n_answers, 6); /* each once: those that waited as closed */
    assert_string_equal(told.answered.code, "closed");
}

static void test_a_lost_session_answers_all_and_takes_no_more(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    struct handoff_error e;
    (void)state;
    patch(s, SET_A(1), NULL);
    patch(s, SET_A(2), NULL);
    say_refusal(expect_id("patch"), "device_removed");
    json_decref(expect_sent("patch"));
    say("{\"type\":\"unsubscribed\",\"sessionId\":\"" SESSION "\",\"code\":\"device_removed\"}");
    assert_int_equal(told.n_lost, 1);
    assert_string_equal(told.lost.code, "device_removed");
    assert_int_equal(told.n_answers, 2);
    assert_int_equal(told.sync.state, HANDOFF_CLOSED);
    assert_int_equal(patch(s, SET_A(1), &e), -1);
    assert_string_equal(e.code, "closed");
    handoff_session_close(s);
    turn(h);
    assert_null(h->sessions);
    handoff_free(h);
}

static void test_a_subscription_that_is_refused_for_now_is_asked_for_later(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = open_session(h);
    (void)state;
    connect_client(h);
    say_refusal(expect_id("subscribe"), "unavailable");
    say("{\"type\":\"unsubscribed\",\"sessionId\":\"" SESSION "\",\"code\":\"unavailable\"}");
    assert_int_equal(told.n_lost, 0);
    s->subscribe_at_ms = 1;
    turn(h);
    say_refusal(expect_id("subscribe"), "not_found");
    assert_string_equal(told.lost.code, "not_found");
    handoff_free(h);
}

/* ---- a store ---- */

static struct kept { char key[64], text[2048]; } kept[8];

static int load(void *user, const char *session_id,
                void (*each)(void *, const char *, const char *), void *arg) {
    (void)user, (void)session_id;
    for (size_t i = 0; i < N_ELEMENTS(kept); i++)
        if (kept[i].key[0])
            each(arg, kept[i].key, kept[i].text);
    return 0;
}

static int put(void *user, const char *session_id, const char *key, const char *text) {
    (void)user, (void)session_id;
    size_t place = N_ELEMENTS(kept);
    for (size_t i = N_ELEMENTS(kept); i > 0; i--)
        if (!kept[i - 1].key[0])
            place = i - 1;
    for (size_t i = 0; i < N_ELEMENTS(kept); i++)
        if (strcmp(kept[i].key, key) == 0)
            place = i;
    if (place == N_ELEMENTS(kept))
        return -ENOSPC;
    snprintf(kept[place].key, sizeof(kept[place].key), "%s", key);
    snprintf(kept[place].text, sizeof(kept[place].text), "%s", text);
    return 0;
}

static int take_away(void *user, const char *session_id, const char *key) {
    (void)user, (void)session_id;
    for (size_t i = 0; i < N_ELEMENTS(kept); i++)
        if (strcmp(kept[i].key, key) == 0)
            kept[i] = (struct kept){0};
    return 0;
}

static const struct handoff_store store = {NULL, load, put, take_away};

static void test_what_was_kept_is_sent_by_the_next_with_its_key_as_it_was(void **state) {
    (void)state;
    memset(kept, 0, sizeof(kept));
    struct handoff *h = new_client(&store);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    handoff_session_change(s, add_ten, NULL, NULL, NULL);
    patch(s, SET_A(3), NULL);
    json_auto_t *sent = expect_sent("patch");
    handoff_free(h);
    h = new_client(&store);
    s = open_session(h);
    assert_int_equal(handoff_unsent(h), 2);
    connect_client(h);
    say_sync(expect_id("subscribe"), 1, "{\"a\":0}");
    assert_string_equal(handoff_session_data(s), "{\"a\":3}");
    json_auto_t *again = expect_sent("patch");
    assert_string_equal(frame_string(again, "key"), frame_string(sent, "key"));
    assert_true(
        text_equal(json_object_get(again, "operations"), json_object_get(sent, "operations")));
    say_ack(frame_string(again, "id"), 2);
    assert_int_equal(kept[0].key[0], 0);
    handoff_free(h);
}

static void test_a_sent_command_whose_key_is_forgotten_is_given_up(void **state) {
    (void)state;
    memset(kept, 0, sizeof(kept));
    snprintf(kept[0].key, sizeof(kept[0].key), "k");
    snprintf(kept[0].text, sizeof(kept[0].text),
             "{\"command\":{\"type\":\"patch\",\"sessionId\":\"" SESSION "\",\"key\":\"k\","
             "\"operations\":" SET_A(1) "},\"createdAt\":%lld,\"isSent\":true}",
             (long long)(timestamp_wall_ms() - UNSENT_KEY_LIFETIME_MS - 1000));
    struct handoff *h = new_client(&store);
    struct handoff_session *s = synced(h, 1, "{\"a\":0}");
    assert_string_equal(told.conflict.code, "key_expired");
    assert_string_equal(handoff_session_data(s), "{\"a\":0}");
    assert_null(take_sent());
    assert_int_equal(kept[0].key[0], 0);
    handoff_free(h);
}

/* ---- differences ---- */

static void assert_diff(const char *before, const char *after, const char *operations) {
    json_t *a = NULL, *b = NULL;
    assert_int_equal(text_parse(before, strlen(before), &a, NULL), 0);
    assert_int_equal(text_parse(after, strlen(after), &b, NULL), 0);
    json_t *diff = diff_values(a, b, "/data");
    char *text = text_of(diff);
    assert_string_equal(text, operations);
    free(text);
    json_decref(diff);
    json_decref(a);
    json_decref(b);
}

static void test_differences_are_small(void **state) {
    (void)state;
    assert_diff("{\"a\":1}", "{\"a\":1}", "[]");
    assert_diff("1", "2", "[{\"op\":\"replace\",\"path\":\"/data\",\"value\":2}]");
    assert_diff("{\"a\":1,\"b\":2}", "{\"b\":3,\"c/~\":4}",
                "[{\"op\":\"remove\",\"path\":\"/data/a\"},"
                "{\"op\":\"replace\",\"path\":\"/data/b\",\"value\":3},"
                "{\"op\":\"add\",\"path\":\"/data/c~1~0\",\"value\":4}]");
    assert_diff("[1,2,3]", "[2,3]", "[{\"op\":\"remove\",\"path\":\"/data/0\"}]");
    assert_diff("[1,3]", "[1,2,3]", "[{\"op\":\"add\",\"path\":\"/data/1\",\"value\":2}]");
    assert_diff("[1]", "[1,2]", "[{\"op\":\"add\",\"path\":\"/data/-\",\"value\":2}]");
    assert_diff("[1,2]", "[3,2,5]",
                "[{\"op\":\"replace\",\"path\":\"/data/0\",\"value\":3},"
                "{\"op\":\"add\",\"path\":\"/data/-\",\"value\":5}]");
}

static void test_a_difference_too_long_for_a_patch_is_one_replace(void **state) {
    json_auto_t *before = json_array(), *after = json_array();
    (void)state;
    for (int n = 0; n < 1002; n++) {
        json_array_append_new(before, json_real(n));
        json_array_append_new(after, json_real(n + 0.5));
    }
    json_auto_t *diff = diff_values(before, after, "/data");
    assert_int_equal(json_array_size(diff), 1);
    assert_string_equal(frame_string(json_array_get(diff, 0), "path"), "/data");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_is_shown_at_once_and_settles_whichever_comes_first),
        cmocka_unit_test(test_values_come_as_jansson_has_them),
        cmocka_unit_test(test_commands_go_one_after_the_other_and_again_with_their_keys),
        cmocka_unit_test(test_a_temporary_refusal_is_tried_again_when_it_says),
        cmocka_unit_test(test_no_answer_in_time_is_asked_again_with_the_key),
        cmocka_unit_test(test_a_conflict_is_made_anew_on_what_was_missed),
        cmocka_unit_test(test_what_no_longer_fits_is_taken_back),
        cmocka_unit_test(test_a_function_is_called_again_with_what_there_is),
        cmocka_unit_test(test_conflicts_without_an_end_end),
        cmocka_unit_test(test_what_is_acknowledged_is_not_shown_twice_after_a_conflict_told_it),
        cmocka_unit_test(test_a_checksum_that_differs_and_a_gap_ask_for_the_whole),
        cmocka_unit_test(test_a_server_that_never_fits_is_not_asked_in_circles),
        cmocka_unit_test(test_a_new_epoch_takes_what_was_lost_with_the_old_one),
        cmocka_unit_test(test_refusals_and_bounds_of_what_is_asked),
        cmocka_unit_test(test_a_lost_session_answers_all_and_takes_no_more),
        cmocka_unit_test(test_a_subscription_that_is_refused_for_now_is_asked_for_later),
        cmocka_unit_test(test_what_was_kept_is_sent_by_the_next_with_its_key_as_it_was),
        cmocka_unit_test(test_a_sent_command_whose_key_is_forgotten_is_given_up),
        cmocka_unit_test(test_differences_are_small),
        cmocka_unit_test(test_a_difference_too_long_for_a_patch_is_one_replace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
