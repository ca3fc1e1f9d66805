/* common/http.h: who is slow or silent is closed; a request in hand is not. */
#define REQUEST_TIMEOUT_MS 300
#include "tests/integration/http_world.h"

/* Sends `text` over and over, a byte a turn, until the server closes. */
static void trickle_until_closed(struct client *c, const char *text) {
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    for (size_t i = 0; !c->at_end; i = text[i + 1] ? i + 1 : 0) {
        (void)!send(c->fd, text + i, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        turn(c, guard_at);
    }
}

static void test_slow_sender_of_headers_is_closed(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    client_send(&c, "GET / HTTP/1.1" CRLF HOST);
    trickle_until_closed(&c, "X: y" CRLF);
    assert_int_equal(w->n_handled, 0);
    client_done(&c);
}

static void test_slow_sender_of_a_body_is_closed(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    client_send(&c, "POST / HTTP/1.1" CRLF HOST "Content-Length: 1000000" CRLF CRLF);
    trickle_until_closed(&c, "x");
    assert_int_equal(w->n_handled, 0);
    client_done(&c);
}

static void test_slow_sender_of_a_second_request_is_closed(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    expect(&c, GET("/first"), "GET /first", NULL);
    trickle_until_closed(&c, "G");
    assert_int_equal(w->n_handled, 1);
    client_done(&c);
}

static void test_silent_connection_is_closed(void **state) {
    struct client c = client_new(*state);
    wait_for_end(&c);
    client_done(&c);
}

static void on_timer(uv_timer_t *timer) {
    *(bool *)timer->data = true;
}

static void test_request_in_hand_has_no_deadline_here(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    bool is_over = false;
    uv_timer_t timer;
    client_send(&c, GET("/later"));
    wait_until_later(&c);
    uv_timer_init(&w->loop, &timer);
    timer.data = &is_over;
    uv_timer_start(&timer, on_timer, 4 * REQUEST_TIMEOUT_MS, 0);
    while (!is_over)
        turn(&c, timestamp_monotonic_ms() + GUARD_MS);
    uv_close((uv_handle_t *)&timer, NULL);
    assert_false(c.at_end);
    answer_later(w, "patience");
    expect(&c, "", "patience", NULL);
    client_done(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_slow_sender_of_headers_is_closed),
        TEST(test_slow_sender_of_a_body_is_closed),
        TEST(test_slow_sender_of_a_second_request_is_closed),
        TEST(test_silent_connection_is_closed),
        TEST(test_request_in_hand_has_no_deadline_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
