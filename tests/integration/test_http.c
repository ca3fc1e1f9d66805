/* common/http.h on real sockets: server and clients share this process, its loop is turned while a
 * client waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "common/http.h"

#define GUARD_MS 20000 /* a wait that takes longer has failed */
#define MAX_CONNECTIONS 64
#define MAX_BODY (1u << 20)
#define REQUEST_TIMEOUT_MS 300
#define CRLF "\r\n"

struct world {
    uv_loop_t loop;
    struct http *http;
    struct http_request *later; /* a request to /later, until answer_later */
    unsigned n_handled;
    enum http_problem last_problem;
    unsigned n_freed; /* requests whose data was freed */
    unsigned n_quiet;
};

struct client {
    struct world *world;
    int fd;
    struct buf in; /* read and not yet taken */
    bool at_end;
};

/* ---- the server's handler ---- */

static void answer_text(struct http_request *r, int status, struct buf *body) {
    static const char *const headers[] = {"Content-Type", "text/plain", NULL};
    struct http_answer answer = {.status = status, .headers = headers, .body_len = body->len};
    answer.body = buf_take(body);
    http_answer(r, &answer);
}

static void count_freed(void *data) {
    struct world *w = data;
    w->n_freed++;
}

static void count_quiet(void *arg) {
    struct world *w = arg;
    w->n_quiet++;
}

static void describe(struct http_request *r, struct buf *out) {
    size_t len = 0;
    bool is_twice = false;
    const char *body = http_body(r, &len);
    const char *a = http_query(r, "a", &is_twice);
    const char *x = http_header(r, "x-test");
    buf_printf(out, "%s %s body:%zu a:%s%s", http_method(r), http_path(r), len, a ? a : "-",
               is_twice ? " twice" : "");
    if (x)
        buf_printf(out, " x:%s n:%zu", x, http_n_headers(r, "X-TEST"));
    buf_printf(out, " peer:%s %.16s", http_peer(r), body);
}

static void handle(void *arg, struct http_request *r, enum http_problem problem) {
    struct world *w = arg;
    struct buf out = BUF_NULL;
    w->n_handled++;
    w->last_problem = problem;
    http_set_data(r, w, count_freed);
    if (problem != HTTP_FINE) {
        buf_printf(&out, "problem %d", problem);
        answer_text(r, problem == HTTP_BODY_TOO_LARGE ? 413 : 400, &out);
    } else if (strcmp(http_path(r), "/later") == 0) {
        w->later = r;
    } else if (strcmp(http_path(r), "/big") == 0) {
        buf_reserve(&out, 4u << 20);
        memset(out.data, 'b', 4u << 20);
        out.len = 4u << 20;
        answer_text(r, 200, &out);
    } else {
        describe(r, &out);
        answer_text(r, strcmp(http_path(r), "/304") == 0 ? 304 : 200, &out);
    }
}

static void answer_later(struct world *w, const char *text) {
    struct buf out = BUF_NULL;
    buf_puts(&out, text);
    answer_text(TAKE_PTR(w->later), 200, &out);
}

/* ---- world and clients ---- */

static int set_up(void **state) {
    struct world *w = must_alloc(sizeof(*w));
    const struct http_options options = {.listen = "127.0.0.1:0",
                                         .max_body_bytes = MAX_BODY,
                                         .request_timeout_ms = REQUEST_TIMEOUT_MS,
                                         .max_connections = MAX_CONNECTIONS};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(http_new(&w->http, &w->loop, &options, handle, w), 0);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    http_free(w->http);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    assert_int_equal(w->n_freed, w->n_handled);
    free(w);
    return 0;
}

static struct client client_new(struct world *w) {
    struct client c = {.world = w, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_port(w->http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(c.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return c;
}

static void client_done(struct client *c) {
    close(c->fd);
    buf_done(&c->in);
}

/* One turn of the loop, and what came for the client; waits a little when there is nothing to do.
 */
static void turn(struct client *c, int64_t guard_at) {
    char piece[65536];
    assert_true(timestamp_monotonic_ms() < guard_at);
    struct pollfd wait[2] = {{.fd = c->fd, .events = POLLIN},
                             {.fd = uv_backend_fd(&c->world->loop), .events = POLLIN}};
    poll(wait, 2, uv_backend_timeout(&c->world->loop) == 0 ? 0 : 5);
    uv_run(&c->world->loop, UV_RUN_NOWAIT);
    ssize_t n = recv(c->fd, piece, sizeof(piece), MSG_DONTWAIT);
    if (n > 0)
        buf_put(&c->in, piece, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
        c->at_end = true;
}

static void client_send_bytes(struct client *c, const char *bytes, size_t len) {
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    while (len > 0 && !c->at_end) {
        ssize_t n = send(c->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
            return; /* the other side does not want it: what it answered is still to be read */
        }
        turn(c, guard_at);
    }
}

static void client_send(struct client *c, const char *text) {
    client_send_bytes(c, text, strlen(text));
}

static void wait_for_end(struct client *c) {
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    while (!c->at_end)
        turn(c, guard_at);
}

/* Whether all of one answer is there; *ret_len its length. */
static bool has_answer(const struct client *c, bool is_head, size_t *ret_len) {
    const char *end = c->in.data ? strstr(c->in.data, CRLF CRLF) : NULL;
    if (!end)
        return false;
    size_t head_len = (size_t)(end + 4 - c->in.data);
    const char *length = strcasestr(c->in.data, CRLF "Content-Length: ");
    bool has_body = !is_head && length && length < end && strncmp(c->in.data + 9, "304", 3) != 0;
    *ret_len = head_len + (has_body ? strtoul(length + 18, NULL, 10) : 0);
    return c->in.len >= *ret_len;
}

/* Takes one answer, head and body: the caller's. Fails when none comes. */
static char *read_answer(struct client *c, bool is_head) {
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    size_t len = 0;
    while (!has_answer(c, is_head, &len)) {
        assert_false(c->at_end);
        turn(c, guard_at);
    }
    char *answer = must_memdup(c->in.data, len);
    memmove(c->in.data, c->in.data + len, c->in.len - len + 1);
    c->in.len -= len;
    return answer;
}

static void wait_until_later(struct client *c) {
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    while (!c->world->later)
        turn(c, guard_at);
}

/* Sends, and expects an answer that has all of the pieces (NULL ends them). */
static void expect(struct client *c, const char *request, ...) {
    client_send(c, request);
    _cleanup_(freep) char *answer = read_answer(c, strncmp(request, "HEAD", 4) == 0);
    va_list pieces;
    va_start(pieces, request);
    const char *piece;
    do
        piece = va_arg(pieces, const char *);
    while (piece && strstr(answer, piece));
    va_end(pieces);
    if (piece)
        fail_msg("no \"%s\" in: %.600s", piece, answer);
}

#define HOST "Host: test" CRLF
#define GET(path) "GET " path " HTTP/1.1" CRLF HOST CRLF

/* ---- what a handler sees ---- */

static void test_path_stays_as_it_was_sent(void **state) {
    struct client c = client_new(*state);
    expect(&c, GET("/a%2fb%00c/../d"), "GET /a%2fb%00c/../d body:0 a:-", NULL);
    client_done(&c);
}

static void test_query_is_unescaped(void **state) {
    struct client c = client_new(*state);
    expect(&c, GET("/q?a=x%20y+z&b&%63=1"), "/q body:0 a:x y z", NULL);
    expect(&c, GET("/q?a=1&a=2"), "a:1 twice", NULL);
    expect(&c, GET("/q?a"), "a:", NULL);
    expect(&c, GET("/q?a=%00%zz%4"), "a:%00%zz%4", NULL);
    client_done(&c);
}

static void test_headers_are_joined_and_counted(void **state) {
    struct client c = client_new(*state);
    expect(&c, "GET / HTTP/1.1" CRLF HOST "X-Test: 1" CRLF "x-tEST: 2" CRLF CRLF, "x:1, 2 n:2",
           NULL);
    client_done(&c);
}

static void test_body_comes_whole(void **state) {
    struct client c = client_new(*state);
    client_send(&c, "POST /b HTTP/1.1" CRLF HOST "Content-Length: 6" CRLF CRLF "abc");
    expect(&c, "def", "body:6", "abcdef", "peer:127.0.0.1", NULL);
    expect(&c,
           "POST /b HTTP/1.1" CRLF HOST "Transfer-Encoding: chunked" CRLF CRLF "3" CRLF "abc" CRLF
           "2" CRLF "de" CRLF "0" CRLF CRLF,
           "body:5", "abcde", NULL);
    client_done(&c);
}

/* ---- answers ---- */

static void test_answer_may_come_later(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    client_send(&c, GET("/later"));
    wait_until_later(&c);
    assert_int_equal(http_n_in_hand(w->http), 1);
    answer_later(w, "at last");
    expect(&c, "", "200 OK", "at last", NULL);
    client_done(&c);
}

static void test_pipelined_requests_are_answered_in_order(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    client_send(&c, GET("/1") GET("/later") GET("/3"));
    wait_until_later(&c);
    expect(&c, "", "GET /1", NULL);
    assert_int_equal(w->n_handled, 2);
    answer_later(w, "second");
    expect(&c, "", "second", NULL);
    expect(&c, "", "GET /3", NULL);
    client_done(&c);
}

static void test_head_is_measured_not_sent(void **state) {
    struct client c = client_new(*state);
    expect(&c, "HEAD /big HTTP/1.1" CRLF HOST CRLF, "Content-Length: 4194304", NULL);
    expect(&c, GET("/next"), "GET /next", NULL);
    client_done(&c);
}

static void test_not_modified_is_measured_not_sent(void **state) {
    struct client c = client_new(*state);
    client_send(&c, GET("/304"));
    _cleanup_(freep) char *answer = read_answer(&c, true);
    assert_non_null(strstr(answer, "HTTP/1.1 304"));
    assert_null(strstr(answer, "Content-Length: 0"));
    expect(&c, GET("/next"), "HTTP/1.1 200", "GET /next", NULL);
    client_done(&c);
}

static void test_large_answer_arrives_whole(void **state) {
    struct client c = client_new(*state);
    client_send(&c, GET("/big"));
    _cleanup_(freep) char *answer = read_answer(&c, false);
    assert_int_equal(strlen(strstr(answer, CRLF CRLF) + 4), 4u << 20);
    client_done(&c);
}

static void test_client_that_left_is_answered_without_harm(void **state) {
    struct world *w = *state;
    struct client c = client_new(w), other = client_new(w);
    client_send(&c, GET("/later"));
    wait_until_later(&c);
    client_done(&c);
    answer_later(w, "nobody");
    expect(&other, GET("/other"), "GET /other", NULL);
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    while (http_n_in_hand(w->http) > 0)
        turn(&other, guard_at);
    client_done(&other);
}

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

/* ---- deadlines ---- */

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

/* ---- start and end ---- */

static void test_quiesced_server_finishes_and_takes_no_more(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    uint16_t port = http_port(w->http);
    client_send(&c, GET("/later"));
    wait_until_later(&c);
    http_quiesce(w->http, count_quiet, w);
    http_quiesce(w->http, count_quiet, w);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
    close(fd);
    answer_later(w, "the last");
    assert_int_equal(w->n_quiet, 0);
    expect(&c, "", "the last", "Connection: close", NULL);
    wait_for_end(&c);
    assert_int_equal(http_n_in_hand(w->http), 0);
    assert_int_equal(w->n_quiet, 1);
    client_done(&c);
}

/* Who got a connection may have sent a request already, and must not lose it. */
static void test_quiesced_server_answers_whom_it_let_in(void **state) {
    struct world *w = *state;
    struct client in_time = client_new(w), silent = client_new(w);
    http_quiesce(w->http, count_quiet, w);
    assert_int_equal(w->n_quiet, 0);
    expect(&in_time, GET("/in-time"), "GET /in-time", "Connection: close", NULL);
    wait_for_end(&in_time);
    assert_int_equal(w->n_quiet, 0);
    wait_for_end(&silent);
    assert_int_equal(w->n_quiet, 1);
    client_done(&in_time);
    client_done(&silent);
}

static void test_quiesced_server_does_not_wait_for_idle_connections(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    expect(&c, GET("/"), "GET /", NULL);
    http_quiesce(w->http, count_quiet, w);
    assert_int_equal(w->n_quiet, 1);
    client_done(&c);
}

static void test_freed_server_answers_what_is_in_hand(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    client_send(&c, GET("/later"));
    wait_until_later(&c);
    w->http = http_free(w->http);
    expect(&c, "", "HTTP/1.1 503", NULL);
    wait_for_end(&c);
    client_done(&c);
}

/* At its limit libmicrohttpd stops listening; when all its clients then leave at once, nothing but
 * the server's own timer makes it listen again. */
static void test_a_full_server_listens_again_when_all_left(void **state) {
    struct world *w = *state;
    struct client clients[MAX_CONNECTIONS + 6];
    for (size_t i = 0; i < N_ELEMENTS(clients); i++)
        clients[i] = client_new(w);
    for (int i = 0; i < 20; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    for (size_t i = 0; i < N_ELEMENTS(clients); i++)
        client_done(&clients[i]);
    struct client c = client_new(w);
    expect(&c, GET("/x"), "HTTP/1.1 200", NULL);
    client_done(&c);
}

static int try_address(struct world *w, const char *listen) {
    const struct http_options options = {.listen = listen,
                                         .max_body_bytes = MAX_BODY,
                                         .request_timeout_ms = REQUEST_TIMEOUT_MS,
                                         .max_connections = 4};
    struct http *http = NULL;
    int r = http_new(&http, &w->loop, &options, handle, w);
    http_free(http);
    return r;
}

static void test_addresses_are_read(void **state) {
    struct world *w = *state;
    char taken[32];
    snprintf(taken, sizeof(taken), "127.0.0.1:%u", http_port(w->http));
    assert_int_equal(try_address(w, taken), -EADDRINUSE);
    assert_int_equal(try_address(w, "localhost:0"), 0);
    assert_int_equal(try_address(w, ":0"), 0);
    assert_int_equal(try_address(w, "*:0"), 0);
    int v6 = try_address(w, "[::1]:0");
    assert_true(v6 == 0 || v6 == -EADDRNOTAVAIL || v6 == -EAFNOSUPPORT);
    assert_int_equal(try_address(w, "127.0.0.1"), -EINVAL);
    assert_int_equal(try_address(w, "127.0.0.1:"), -EINVAL);
    assert_int_equal(try_address(w, "127.0.0.1:http"), -EINVAL);
    assert_int_equal(try_address(w, "127.0.0.1:65536"), -EINVAL);
    assert_int_equal(try_address(w, "::1:80"), -EINVAL);
    assert_int_equal(try_address(w, "[::1:80"), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_path_stays_as_it_was_sent),
        TEST(test_query_is_unescaped),
        TEST(test_headers_are_joined_and_counted),
        TEST(test_body_comes_whole),
        TEST(test_answer_may_come_later),
        TEST(test_pipelined_requests_are_answered_in_order),
        TEST(test_head_is_measured_not_sent),
        TEST(test_not_modified_is_measured_not_sent),
        TEST(test_large_answer_arrives_whole),
        TEST(test_client_that_left_is_answered_without_harm),
        TEST(test_ambiguous_framing_is_refused_and_closed),
        TEST(test_http_1_0_with_a_coding_is_refused),
        TEST(test_headers_that_are_too_large_are_refused),
        TEST(test_body_at_the_limit_is_taken),
        TEST(test_body_over_the_limit_is_read_and_refused),
        TEST(test_sender_of_9_mib_sees_the_answer),
        TEST(test_chunked_body_over_the_limit_is_refused),
        TEST(test_expecting_client_is_refused_before_it_sends),
        TEST(test_slow_sender_of_headers_is_closed),
        TEST(test_slow_sender_of_a_body_is_closed),
        TEST(test_slow_sender_of_a_second_request_is_closed),
        TEST(test_silent_connection_is_closed),
        TEST(test_request_in_hand_has_no_deadline_here),
        TEST(test_quiesced_server_finishes_and_takes_no_more),
        TEST(test_quiesced_server_answers_whom_it_let_in),
        TEST(test_quiesced_server_does_not_wait_for_idle_connections),
        TEST(test_freed_server_answers_what_is_in_hand),
        TEST(test_a_full_server_listens_again_when_all_left),
        TEST(test_addresses_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
