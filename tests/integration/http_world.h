/* What the tests of common/http.h share: server and clients on real sockets in this process, whose
 * loop is turned while a client waits. */
#pragma once

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

#define GUARD_MS 60000 /* a wait that takes longer has failed */
#define MAX_CONNECTIONS 64
#define MAX_BODY (1u << 20)
#define BIG_BYTES (4u << 20) /* the answer of /big */
#define MAX_BUFFERS (8 * BIG_BYTES)
#ifndef IDLE_TIMEOUT_MS
#define IDLE_TIMEOUT_MS 0
#endif
#ifndef KEEPS_BODY
#define KEEPS_BODY NULL
#endif
#ifndef REQUEST_TIMEOUT_MS /* shorter where a test waits for it */
#define REQUEST_TIMEOUT_MS 15000
#endif
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

static inline void answer_text(struct http_request *r, int status, struct buf *body) {
    static const char *const headers[] = {"Content-Type", "text/plain", NULL};
    struct http_answer answer = {.status = status, .headers = headers, .body_len = body->len};
    answer.body = buf_take(body);
    http_answer(r, &answer);
}

static inline void count_freed(void *data) {
    struct world *w = data;
    w->n_freed++;
}

static inline void count_quiet(void *arg) {
    struct world *w = arg;
    w->n_quiet++;
}

static inline void describe(struct http_request *r, struct buf *out) {
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

static inline void handle(void *arg, struct http_request *r, enum http_problem problem) {
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
        buf_reserve(&out, BIG_BYTES);
        memset(out.data, 'b', BIG_BYTES);
        out.len = BIG_BYTES;
        answer_text(r, 200, &out);
    } else {
        describe(r, &out);
        answer_text(r, strcmp(http_path(r), "/304") == 0 ? 304 : 200, &out);
    }
}

static inline void answer_later(struct world *w, const char *text) {
    struct buf out = BUF_NULL;
    buf_puts(&out, text);
    answer_text(TAKE_PTR(w->later), 200, &out);
}

/* ---- world and clients ---- */

static inline int set_up(void **state) {
    struct world *w = must_alloc(sizeof(*w));
    const struct http_options options = {.listen = "127.0.0.1:0",
                                         .max_body_bytes = MAX_BODY,
                                         .request_timeout_ms = REQUEST_TIMEOUT_MS,
                                         .max_connections = MAX_CONNECTIONS,
                                         .idle_timeout_ms = IDLE_TIMEOUT_MS,
                                         .max_buffer_bytes = MAX_BUFFERS,
                                         .keeps_body = KEEPS_BODY};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(http_new(&w->http, &w->loop, &options, handle, w), 0);
    *state = w;
    return 0;
}

static inline int tear_down(void **state) {
    struct world *w = *state;
    http_free(w->http);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    assert_int_equal(w->n_freed, w->n_handled);
    free(w);
    return 0;
}

static inline struct client client_new(struct world *w) {
    struct client c = {.world = w, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_port(w->http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(c.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return c;
}

static inline void client_done(struct client *c) {
    close(c->fd);
    buf_done(&c->in);
}

/* One turn of the loop, and what came for the client; waits a little when there is nothing to do.
 */
static inline void turn(struct client *c, int64_t guard_at) {
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

static inline void client_send_bytes(struct client *c, const char *bytes, size_t len) {
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

static inline void client_send(struct client *c, const char *text) {
    client_send_bytes(c, text, strlen(text));
}

static inline void wait_for_end(struct client *c) {
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    while (!c->at_end)
        turn(c, guard_at);
}

/* Whether all of one answer is there; *ret_len its length. */
static inline bool has_answer(const struct client *c, bool is_head, size_t *ret_len) {
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
static inline char *read_answer(struct client *c, bool is_head) {
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

static inline void wait_until_later(struct client *c) {
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    while (!c->world->later)
        turn(c, guard_at);
}

/* Sends, and expects an answer that has all of the pieces (NULL ends them). */
static inline void expect(struct client *c, const char *request, ...) {
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
