/* common/http.h: requests that are refused for their framing or their size, and how large a body
 * may be. */
#include "tests/integration/http_world.h"

/* ---- framing ---- */

static void test_ambiguous_framing_is_refused_and_closed(void **state) {
    static const char *const heads[] = {
        HOST "Content-Length: 3" CRLF "Transfer-Encoding: chunked",
        HOST "Transfer-Encoding: chunked" CRLF "Content-Length: 3",
        HOST "Content-Length: 3" CRLF "Content-Length: 4",
        HOST "Content-Length: 3, 4",
        HOST "Content-Length: +3",
        HOST "Content-Length:" CRLF " 3",
        HOST "Host: other" CRLF "Content-Length: 3",
        "Host:" CRLF " test" CRLF "Content-Length: 3",
        HOST "Transfer-Encoding:" CRLF " chunked",
        HOST "Transfer-Encoding : chunked",
        HOST "Content-Length : 3",
        HOST "Transfer-Encoding: gzip, chunked",
        HOST "Transfer-Encoding: gzip",
        HOST "Transfer-Encoding: identity",
        HOST "Transfer-Encoding: chunked" CRLF "Transfer-Encoding: chunked",
        "X: no host",
        HOST ": no name" CRLF "Content-Length: 3",
        HOST "Content-Length: 3" CRLF ": no name",
        HOST "X: no carriage return\nContent-Length: 3",
        HOST "X: two\rContent-Length: 3",
        HOST "X: folded" CRLF " on" CRLF "Content-Length: 3",
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct client c = client_new(w);
        struct buf request = BUF_NULL;
        buf_printf(&request, "POST /in HTTP/1.1" CRLF "%s" CRLF CRLF "abc", heads[i]);
        client_send(&c, request.data);
        wait_for_end(&c);
        if (!c.in.data || strncmp(c.in.data, "HTTP/1.1 400", 12) != 0)
            fail_msg("for %s: %.300s", heads[i], c.in.data ? c.in.data : "nothing");
        assert_int_not_equal(w->last_problem == HTTP_FINE && w->n_handled > 0, true);
        buf_done(&request);
        client_done(&c);
    }
}

static void test_first_line_that_can_be_read_in_two_ways_is_refused(void **state) {
    static const char *const lines[] = {"GET  / HTTP/1.1", "GET /  HTTP/1.1",
                                        "GET / HTTP/1.1\nX: y"};
    static const char with_nul[] = "GET /a\0b HTTP/1.1" CRLF HOST CRLF;
    struct world *w = *state;
    for (size_t i = 0; i <= sizeof(lines) / sizeof(lines[0]); i++) {
        struct client c = client_new(w);
        unsigned n_handled = w->n_handled;
        if (i < sizeof(lines) / sizeof(lines[0])) {
            client_send(&c, lines[i]);
            client_send(&c, CRLF HOST CRLF);
        } else
            client_send_bytes(&c, with_nul, sizeof(with_nul) - 1);
        wait_for_end(&c); /* with an answer, or libmicrohttpd just closed */
        assert_true(!c.in.data || strncmp(c.in.data, "HTTP/1.1 400", 12) == 0);
        assert_true(w->n_handled == n_handled || w->last_problem == HTTP_BAD_FRAMING);
        client_done(&c);
    }
}

static void test_http_1_0_with_a_coding_is_refused(void **state) {
    struct client c = client_new(*state);
    client_send(&c,
                "POST / HTTP/1.0" CRLF HOST "Transfer-Encoding: chunked" CRLF CRLF "0" CRLF CRLF);
    wait_for_end(&c);
    assert_non_null(strstr(c.in.data, " 400 "));
    client_done(&c);
}

static void test_headers_that_are_too_large_are_refused(void **state) {
    struct client c = client_new(*state), d = client_new(*state);
    struct buf request = BUF_NULL;
    buf_puts(&request, "GET / HTTP/1.1" CRLF HOST "X-Long: ");
    for (int i = 0; i < 40000; i++)
        buf_putc(&request, 'x');
    buf_puts(&request, CRLF CRLF);
    client_send(&c, request.data);
    wait_for_end(&c);
    assert_non_null(strstr(c.in.data, " 431 "));
    buf_clear(&request);
    buf_puts(&request, "GET /");
    for (int i = 0; i < 40000; i++)
        buf_putc(&request, 'x');
    client_send(&d, request.data);
    wait_for_end(&d);
    assert_non_null(strstr(d.in.data, " 414 "));
    buf_done(&request);
    client_done(&c);
    client_done(&d);
}

/* ---- bodies ---- */

static void send_body(struct client *c, size_t length) {
    struct buf request = BUF_NULL;
    buf_printf(&request, "POST /in HTTP/1.1" CRLF HOST "Content-Length: %zu" CRLF CRLF, length);
    buf_reserve(&request, length);
    memset(request.data + request.len, 'x', length);
    client_send_bytes(c, request.data, request.len + length);
    buf_done(&request);
}

static void test_body_at_the_limit_is_taken(void **state) {
    struct client c = client_new(*state);
    send_body(&c, MAX_BODY);
    expect(&c, "", "200 OK", "body:1048576", NULL);
    client_done(&c);
}

static void test_body_over_the_limit_is_read_and_refused(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    send_body(&c, MAX_BODY + 1);
    expect(&c, "", "413", NULL);
    assert_int_equal(w->last_problem, HTTP_BODY_TOO_LARGE);
    send_body(&c, 8u << 20);
    expect(&c, "", "413", NULL);
    expect(&c, GET("/next"), "GET /next",
           NULL); /* it was read to its end: the connection goes on */
    client_done(&c);
}

static void test_sender_of_9_mib_sees_the_answer(void **state) {
    struct client c = client_new(*state);
    send_body(&c, 9u << 20);
    expect(&c, "", "413", "Connection: close", NULL);
    wait_for_end(&c);
    client_done(&c);
}

static void test_chunked_body_over_the_limit_is_refused(void **state) {
    struct client c = client_new(*state);
    client_send(&c, "POST / HTTP/1.1" CRLF HOST "Transfer-Encoding: chunked" CRLF CRLF);
    struct buf chunk = BUF_NULL;
    buf_puts(&chunk, "10000" CRLF);
    for (int i = 0; i < 0x10000; i++)
        buf_putc(&chunk, 'x');
    buf_puts(&chunk, CRLF);
    for (int i = 0; i < 17; i++)
        client_send_bytes(&c, chunk.data, chunk.len);
    buf_done(&chunk);
    expect(&c, "0" CRLF CRLF, "413", NULL);
    client_done(&c);
}

static void test_expecting_client_is_refused_before_it_sends(void **state) {
    struct client c = client_new(*state);
    client_send(&c, "POST / HTTP/1.1" CRLF HOST "Content-Length: 2000000" CRLF
                    "Expect: 100-continue" CRLF CRLF);
    expect(&c, "", "HTTP/1.1 413", NULL);
    client_done(&c);
}

/* ---- answers that nobody takes ---- */

static void turn_until_handled(struct client *c, unsigned n) {
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    while (c->world->n_handled < n)
        turn(c, guard_at);
}

/* More than may wait: who takes nothing is shut, which is soon, and the others are served. */
static void test_answers_that_nobody_takes_are_bounded(void **state) {
    struct world *w = *state;
    struct client greedy[MAX_BUFFERS / BIG_BYTES + 1], other = client_new(w);
    const size_t n = sizeof(greedy) / sizeof(greedy[0]);
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    for (size_t i = 0; i < n; i++) {
        greedy[i] = client_new(w);
        assert_true(send(greedy[i].fd, GET("/big"), strlen(GET("/big")), MSG_NOSIGNAL) > 0);
        turn_until_handled(&other, (unsigned)i + 1);
    }
    while (http_n_in_hand(w->http) * BIG_BYTES > MAX_BUFFERS / 4)
        turn(&other, guard_at);
    expect(&other, GET("/"), "200 OK", "GET /", NULL);
    for (size_t i = 0; i < n; i++)
        client_done(&greedy[i]);
    client_done(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_ambiguous_framing_is_refused_and_closed),
        TEST(test_answers_that_nobody_takes_are_bounded),
        TEST(test_first_line_that_can_be_read_in_two_ways_is_refused),
        TEST(test_http_1_0_with_a_coding_is_refused),
        TEST(test_headers_that_are_too_large_are_refused),
        TEST(test_body_at_the_limit_is_taken),
        TEST(test_body_over_the_limit_is_read_and_refused),
        TEST(test_sender_of_9_mib_sees_the_answer),
        TEST(test_chunked_body_over_the_limit_is_refused),
        TEST(test_expecting_client_is_refused_before_it_sends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
