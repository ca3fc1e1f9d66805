/* common/http.h: what all requests together may hold, bodies and answers; what is over it is
 * refused, and served again once it has gone. Who is idle too long is closed. */
#define IDLE_TIMEOUT_MS 700
#define KEEPS_BODY has_x_token
#include <dirent.h>
#include <stdbool.h>

struct http_request;
static bool has_x_token(void *arg, struct http_request *r);
#include "tests/integration/http_world.h"

#define N_FULL (MAX_BUFFERS / MAX_BODY) /* bodies that fill the bound */
#define UNASKED_MAX_BYTES 16384u
#define N_LINGERS 128
#define HEAD_MAX_BYTES 16384u

static unsigned n_asked;

static bool has_x_token(void *arg, struct http_request *r) {
    (void)arg;
    n_asked++;
    return http_header(r, "X-Token") != NULL;
}

static void send_body(struct client *c, const char *headers, size_t announced, size_t len) {
    _cleanup_(buf_done) struct buf request = BUF_NULL;
    buf_printf(&request, "POST /in HTTP/1.1" CRLF HOST "%sContent-Length: %zu" CRLF CRLF, headers,
               announced);
    buf_reserve(&request, len);
    memset(request.data + request.len, 'x', len);
    client_send_bytes(c, request.data, request.len + len);
}

/* Asks until the answer has that piece. */
static void ask_until(struct world *w, const char *piece) {
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    for (bool is_there = false; !is_there;) {
        struct client c = client_new(w);
        send_body(&c, "", 100, 100);
        _cleanup_(freep) char *answer = read_answer(&c, false);
        is_there = strstr(answer, piece) != NULL;
        assert_true(timestamp_monotonic_ms() < guard_at);
        client_done(&c);
    }
}

static void expect_problem(struct client *c, enum http_problem problem) {
    char text[16];
    snprintf(text, sizeof(text), "problem %d", problem);
    expect(c, "", text, NULL);
}

static bool is_busy(struct client *c) {
    _cleanup_(freep) char *answer = read_answer(c, false);
    return strstr(answer, "problem 3") != NULL;
}

/* Of one body more than fit, all but their last byte there, one is refused: the others are whole.
 */
static void test_bodies_together_are_bounded(void **state) {
    struct world *w = *state;
    struct client full[N_FULL + 1], other = client_new(w);
    unsigned n_busy = 0;
    for (size_t i = 0; i < N_ELEMENTS(full); i++) {
        full[i] = client_new(w);
        send_body(&full[i], "X-Token: t" CRLF, MAX_BODY, MAX_BODY - 1);
    }
    expect(&other, GET("/"), "200 OK", "GET /", NULL); /* what has none is served */
    for (size_t i = N_ELEMENTS(full); i-- > 0;) {      /* those that are over it first */
        client_send(&full[i], "x");
        n_busy += is_busy(&full[i]);
        client_done(&full[i]);
    }
    assert_in_range(n_busy, 1, N_FULL);
    assert_in_range((N_ELEMENTS(full) - n_busy) * MAX_BODY, MAX_BODY, MAX_BUFFERS + MAX_BODY);
    ask_until(w, "POST /in body:100");
    client_done(&other);
}

#define N_GREEDY (MAX_BUFFERS / BIG_BYTES + 2)

/* Whether one of those that ask for more than may wait was refused; on a busy machine the first may
 * be given up before the last has asked. */
static bool is_refused_at_last(struct world *w, struct client *other) {
    struct client greedy[N_GREEDY];
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    unsigned n_before = w->n_handled;
    for (size_t i = 0; i < N_GREEDY; i++) {
        greedy[i] = client_new(w);
        (void)!send(greedy[i].fd, GET("/big"), strlen(GET("/big")), MSG_NOSIGNAL);
    }
    while (w->n_handled < n_before + N_GREEDY)
        turn(other, guard_at);
    bool is_busy = w->last_problem == HTTP_BUSY;
    for (size_t i = 0; i < N_GREEDY; i++)
        client_done(&greedy[i]);
    while (http_n_in_hand(w->http) > 0)
        turn(other, guard_at);
    return is_busy;
}

static void test_answers_together_are_bounded(void **state) {
    struct world *w = *state;
    struct client other = client_new(w);
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    while (!is_refused_at_last(w, &other))
        assert_true(timestamp_monotonic_ms() < guard_at);
    ask_until(w, "POST /in body:100");
    client_done(&other);
}

static void test_a_large_body_of_nobody_is_dropped(void **state) {
    struct client c = client_new(*state);
    n_asked = 0;
    send_body(&c, "", UNASKED_MAX_BYTES, UNASKED_MAX_BYTES);
    expect(&c, "", "POST /in body:16384", NULL);
    assert_int_equal(n_asked, 0);
    send_body(&c, "", UNASKED_MAX_BYTES + 1, UNASKED_MAX_BYTES + 1);
    expect_problem(&c, HTTP_BODY_DROPPED);
    assert_int_equal(n_asked, 1);
    send_body(&c, "X-Token: t" CRLF, MAX_BODY, MAX_BODY);
    expect(&c, "", "POST /in body:1048576", NULL);
    assert_int_equal(n_asked, 2);
    client_done(&c);
}

static void test_bodies_of_nobody_fill_no_bound(void **state) {
    struct world *w = *state;
    struct client nobody[N_FULL + 1], other = client_new(w);
    for (size_t i = 0; i < N_ELEMENTS(nobody); i++) {
        nobody[i] = client_new(w);
        send_body(&nobody[i], "", MAX_BODY, MAX_BODY - 1);
    }
    send_body(&other, "X-Token: t" CRLF, MAX_BODY, MAX_BODY);
    expect(&other, "", "POST /in body:1048576", NULL);
    for (size_t i = 0; i < N_ELEMENTS(nobody); i++)
        client_done(&nobody[i]);
    client_done(&other);
}

static size_t n_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    size_t n = 0;
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

/* Those who are refused before they have sent all: their descriptors stay a while, so that they see
 * the answer. */
static void test_lingering_is_bounded(void **state) {
    struct world *w = *state;
    struct client refused[N_LINGERS + 12], other = client_new(w);
    expect(&other, GET("/"), "200 OK", NULL);
    size_t n_before = n_descriptors();
    for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
        refused[i] = client_new(w);
        send_body(&refused[i], "", 9u << 20, 1000);
        expect_problem(&refused[i], HTTP_BODY_TOO_LARGE);
    }
    int64_t guard_at = timestamp_monotonic_ms() + GUARD_MS;
    for (int i = 0; i < 100; i++) /* in much less than the 5 s that they may stay */
        turn(&other, guard_at);
    assert_in_range(n_descriptors() - n_before, N_ELEMENTS(refused) + 1,
                    N_ELEMENTS(refused) + N_LINGERS);
    for (size_t i = 0; i < N_ELEMENTS(refused); i++)
        client_done(&refused[i]);
    while (n_descriptors() > n_before)
        turn(&other, guard_at);
    client_done(&other);
}

/* At the bound and over it: the first line and the headers, with what libmicrohttpd makes of them.
 */
static void test_heads_are_bounded(void **state) {
    static const struct {
        size_t n_bytes;
        const char *status;
    } cases[] = {{12000, "200 OK"}, {HEAD_MAX_BYTES, " 431 "}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct client c = client_new(*state);
        struct buf request = BUF_NULL;
        buf_puts(&request, "GET / HTTP/1.1" CRLF HOST "X-Long: ");
        while (request.len < cases[i].n_bytes)
            buf_putc(&request, 'x');
        buf_puts(&request, CRLF CRLF);
        expect(&c, request.data, cases[i].status, NULL);
        buf_done(&request);
        client_done(&c);
    }
}

static void test_an_idle_connection_is_closed(void **state) {
    struct client c = client_new(*state);
    expect(&c, GET("/"), "200 OK", NULL);
    int64_t since = timestamp_monotonic_ms();
    wait_for_end(&c);
    assert_true(timestamp_monotonic_ms() - since >= IDLE_TIMEOUT_MS);
    client_done(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_bodies_together_are_bounded),
        TEST(test_answers_together_are_bounded),
        TEST(test_a_large_body_of_nobody_is_dropped),
        TEST(test_bodies_of_nobody_fill_no_bound),
        TEST(test_lingering_is_bounded),
        TEST(test_heads_are_bounded),
        TEST(test_an_idle_connection_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
