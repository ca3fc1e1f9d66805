#include "tests/unit/client_c_fixture.h"

#include "clients/c/src/endpoint.h"
#include "proto/claim.h"

static void test_a_delay_doubles_up_to_half_a_minute_with_jitter(void **state) {
    struct delay d = {0};
    int64_t most = DELAY_FIRST_MS;
    (void)state;
    for (int n = 0; n < 40; n++, most *= 2) {
        int64_t bound = most < DELAY_MOST_MS ? most : DELAY_MOST_MS;
        int64_t ms = delay_next_ms(&d);
        assert_true(ms >= bound / 2 && ms <= bound);
        most = bound;
    }
    delay_reset(&d);
    assert_true(delay_next_ms(&d) <= DELAY_FIRST_MS);
}

static void test_endpoints_are_those_of_servers(void **state) {
    static const struct {
        const char *url, *host, *path;
        int port;
        bool is_secure;
    } good[] = {{"ws://localhost:8081", "localhost", "", 8081, false},
                {"wss://a.example", "a.example", "", 443, true},
                {"http://a.example/", "a.example", "", 80, false},
                {"HTTPS://a.example:444/api/v1/", "a.example", "/api/v1", 444, true},
                {"ws://127.0.0.1:8081/ws", "127.0.0.1", "", 8081, false},
                {"ws://[::1]:8081/x/ws", "::1", "/x", 8081, false}};
    static const char *const bad[] = {"",
                                      "localhost",
                                      "ftp://a",
                                      "ws://",
                                      "ws://a:0",
                                      "ws://a:65536",
                                      "ws://a:1x",
                                      "ws://u:p@a",
                                      "ws://a/?x=1",
                                      "ws://a/#x",
                                      "ws://a /",
                                      "ws://[::1",
                                      "ws://a/\r\n",
                                      "ws://a:99999999999999999999"};
    struct endpoint a;
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(good); i++) {
        assert_int_equal(endpoint_parse(good[i].url, &a), 0);
        assert_string_equal(a.host, good[i].host);
        assert_string_equal(a.path, good[i].path);
        assert_int_equal(a.port, good[i].port);
        assert_int_equal(a.is_secure, good[i].is_secure);
        endpoint_done(&a);
    }
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        assert_true(endpoint_parse(bad[i], &a) < 0);
    assert_true(endpoint_parse(NULL, &a) < 0);
}

static void test_a_tokens_device_is_read(void **state) {
    char device[129] = "";
    (void)state;
    /* {"sub":"a","device_id":"phone"} */
    assert_true(
        claim_device("x.eyJzdWIiOiJhIiwiZGV2aWNlX2lkIjoicGhvbmUifQ.y", sizeof(device), device));
    assert_string_equal(device, "phone");
    assert_false(claim_device("x.eyJzdWIiOiJhIn0.y", sizeof(device), device)); /* none */
    /* {"device_id":"a b"} */
    assert_false(claim_device("x.eyJkZXZpY2VfaWQiOiJhIGIifQ.y", sizeof(device), device));
    assert_false(claim_device("no token", sizeof(device), device));
    assert_false(claim_device("x..y", sizeof(device), device));
    assert_false(claim_device("x.!!!!.y", sizeof(device), device));
    assert_string_equal(device, "phone");
}

static void test_wrong_options_are_named(void **state) {
    struct handoff_error e;
    struct handoff_options o = {.url = "ws://a", .token = on_token};
    (void)state;
    assert_null(handoff_new(&o, &e));
    assert_string_equal(e.code, "invalid_value");
    o.size = sizeof(o);
    o.token = NULL;
    assert_null(handoff_new(&o, &e));
    o.token = on_token;
    o.device_id = "..";
    assert_null(handoff_new(&o, &e));
    o.device_id = NULL;
    o.url = "nowhere";
    assert_null(handoff_new(&o, &e));
    assert_non_null(strstr(e.reason, "url"));
}

static void test_it_comes_back_as_the_close_codes_ask(void **state) {
    static const struct {
        int code;
        const char *reason;
        int64_t least_ms, most_ms; /* -1: never */
    } cases[] = {{1001, "{\"retryAfterMs\":5000}", 4000, 5000},
                 {4029, "{\"retryAfterMs\":7000}", 6000, 7000},
                 {4029, "ten in a row", 0, 250},
                 {4002, "", 0, 100},
                 {4008, "", 0, 250},
                 {1006, "", 0, 250},
                 {1001, "{\"retryAfterMs\":0}", 0, 100},
                 {1001, "{\"retryAfterMs\":1e15}", 3599000, 3600000},
                 {1001, "{\"retryAfterMs\":-1}", 0, 250},
                 {4001, "", -1, -1},
                 {1003, "", -1, -1},
                 {1007, "", -1, -1},
                 {1009, "", -1, -1}};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct handoff *h = new_client(NULL);
        synced(h, 1, "{}");
        close_wire(cases[i].code, cases[i].reason);
        int64_t ms = wait_of(h);
        if (cases[i].least_ms < 0) {
            assert_int_equal(told.state, HANDOFF_STOPPED);
            assert_int_equal(h->open_at_ms, 0);
        } else {
            assert_int_equal(told.state, HANDOFF_WAITING);
            assert_true(ms >= cases[i].least_ms - 100 && ms <= cases[i].most_ms);
        }
        assert_int_equal(told.sync.state, HANDOFF_OFFLINE);
        handoff_free(h);
    }
}

static void test_waits_grow_while_nothing_answers(void **state) {
    struct handoff *h = new_client(NULL);
    int64_t before = 0;
    (void)state;
    open_session(h);
    turn(h);
    for (int n = 0; n < 7; n++) {
        turn(h);
        assert_true(wire.is_connected);
        close_wire(1006, "");
        assert_true(wait_of(h) >= before - 50);
        before = ((int64_t)DELAY_FIRST_MS << n) / 2;
        h->open_at_ms = 1;
        turn(h);
    }
    connect_client(h);
    close_wire(1006, "");
    assert_true(wait_of(h) <= DELAY_FIRST_MS);
    handoff_free(h);
}

static void test_a_token_refused_twice_in_a_row_stops_with_what_the_server_said(void **state) {
    struct handoff *h = new_client(NULL);
    (void)state;
    open_session(h);
    turn(h);
    for (int n = 0; n < 2; n++) {
        turn(h);
        wire_events.opened(h);
        sayf("{\"type\":\"error\",\"id\":\"%s\",\"code\":\"token_expired\",\"detail\":\"it is "
             "over\"}",
             expect_id("auth"));
        close_wire(4002, "");
        if (n == 0) {
            assert_int_equal(told.state, HANDOFF_WAITING); /* once with a fresh one */
            h->open_at_ms = 1;
            turn(h);
        }
    }
    assert_int_equal(told.state, HANDOFF_STOPPED);
    assert_string_equal(told.why.code, "token_expired");
    assert_string_equal(told.why.reason, "it is over");
    handoff_reconnect(h);
    connect_client(h);
    handoff_free(h);
}

static void test_a_token_may_come_late_and_its_lack_stops(void **state) {
    struct handoff *h = new_client(NULL);
    (void)state;
    told.gives_token = false;
    open_session(h);
    turn(h);
    turn(h);
    assert_int_equal(told.n_tokens, 1);
    assert_int_equal(wire.n_connects, 0);
    handoff_set_token(h, "line\nbreak");
    assert_string_equal(told.why.code, "no_token");
    handoff_reconnect(h);
    turn(h);
    handoff_set_token(h, "good");
    connect_client(h);
    handoff_free(h);
}

static void test_a_token_that_expires_is_replaced_once_however_often_it_is_said(void **state) {
    struct handoff *h = new_client(NULL);
    (void)state;
    synced(h, 1, "{}");
    for (int n = 0; n < 100; n++)
        say("{\"type\":\"token_expiring\",\"expiresAt\":\"2026-11-21T03:50:44.639Z\"}");
    assert_int_equal(told.n_tokens, 2);
    json_decref(expect_sent("auth"));
    assert_null(take_sent());
    handoff_free(h);
}

static void test_a_silent_server_is_asked_and_then_left(void **state) {
    struct handoff *h = new_client(NULL);
    (void)state;
    synced(h, 1, "{}");
    h->silent_at_ms = 1;
    turn(h);
    json_decref(expect_sent("ping"));
    say("{\"type\":\"pong\",\"serverTime\":\"2026-11-21T03:50:44.639Z\"}");
    h->silent_at_ms = 1;
    turn(h);
    json_decref(expect_sent("ping"));
    h->silent_at_ms = 1;
    turn(h);
    assert_int_equal(told.state, HANDOFF_WAITING);
    assert_false(wire.is_connected);
    handoff_free(h);
}

static void test_what_is_no_message_ends_the_connection(void **state) {
    static const char *const bad[] = {"", "{", "[]", "{}", "{\"type\":1}", "\"type\"", "\xff"};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct handoff *h = new_client(NULL);
        synced(h, 1, "{}");
        say(bad[i]);
        assert_int_equal(told.state, HANDOFF_WAITING);
        assert_false(wire.is_connected);
        handoff_free(h);
    }
}

static void test_sessions_are_bounded(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_error e;
    char id[UUID_LEN + 1];
    (void)state;
    for (int n = 0; n < HAND_MAX_SESSIONS; n++) {
        snprintf(id, sizeof(id), "0197a1b2-0000-7000-8000-%012d", n);
        assert_non_null(handoff_open(h, id, NULL, NULL, &e));
    }
    assert_null(handoff_open(h, id, NULL, NULL, &e));
    assert_string_equal(e.code, "invalid_value");
    assert_null(handoff_open(h, "0197a1b2-0000-7000-8000-999999999999", NULL, NULL, &e));
    assert_string_equal(e.code, "too_many_sessions");
    connect_client(h);
    assert_int_equal(json_array_size(wire.sent), HAND_MAX_SESSIONS);
    handoff_free(h);
}

static void test_messages_without_an_answer_are_bounded(void **state) {
    struct handoff *h = new_client(NULL);
    struct handoff_session *s = synced(h, 1, "{}");
    struct handoff_error e;
    (void)state;
    for (int n = 0; n < HAND_MAX_MESSAGES; n++)
        assert_int_equal(handoff_session_heartbeat(s, on_answer, NULL, &e), 0);
    assert_int_equal(handoff_session_heartbeat(s, on_answer, NULL, &e), -1);
    assert_string_equal(e.code, "rate_limited");
    close_wire(1006, "");
    assert_int_equal(told.n_answers, HAND_MAX_MESSAGES);
    assert_string_equal(told.answered.code, "connection_lost");
    assert_int_equal(handoff_session_heartbeat(s, on_answer, NULL, &e), -1);
    assert_string_equal(e.code, "connection_lost");
    handoff_free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_delay_doubles_up_to_half_a_minute_with_jitter),
        cmocka_unit_test(test_endpoints_are_those_of_servers),
        cmocka_unit_test(test_a_tokens_device_is_read),
        cmocka_unit_test(test_wrong_options_are_named),
        cmocka_unit_test(test_it_comes_back_as_the_close_codes_ask),
        cmocka_unit_test(test_waits_grow_while_nothing_answers),
        cmocka_unit_test(test_a_token_refused_twice_in_a_row_stops_with_what_the_server_said),
        cmocka_unit_test(test_a_token_may_come_late_and_its_lack_stops),
        cmocka_unit_test(test_a_token_that_expires_is_replaced_once_however_often_it_is_said),
        cmocka_unit_test(test_a_silent_server_is_asked_and_then_left),
        cmocka_unit_test(test_what_is_no_message_ends_the_connection),
        cmocka_unit_test(test_sessions_are_bounded),
        cmocka_unit_test(test_messages_without_an_answer_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
