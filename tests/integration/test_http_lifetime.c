/* common/http.h: addresses, a full server, and its end. */
#define REQUEST_TIMEOUT_MS 1000
#include "tests/integration/http_world.h"

static int try_connecting(uint16_t port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static struct http *make_closed(struct world *w, const char *listen) {
    const struct http_options options = {.listen = listen,
                                         .max_body_bytes = MAX_BODY,
                                         .request_timeout_ms = REQUEST_TIMEOUT_MS,
                                         .max_connections = 4,
                                         .opens_later = true};
    struct http *http = NULL;
    assert_int_equal(http_new(&http, &w->loop, &options, handle, w), 0);
    return http;
}

static void test_it_refuses_connections_until_it_is_opened(void **state) {
    struct world *w = *state;
    struct http *own = w->http;
    w->http = make_closed(w, "127.0.0.1:0");
    assert_int_equal(try_connecting(http_port(w->http)), -ECONNREFUSED);
    assert_int_equal(http_open(w->http), 0);
    assert_int_equal(http_open(w->http), 0);
    struct client c = client_new(w);
    expect(&c, GET("/x"), "HTTP/1.1 200", NULL);
    client_done(&c);
    http_free(w->http);
    w->http = own;
}

static void test_who_comes_second_to_an_address_is_told_at_the_opening(void **state) {
    struct world *w = *state;
    char address[32];
    struct http *first = make_closed(w, "127.0.0.1:0");
    snprintf(address, sizeof(address), "127.0.0.1:%u", http_port(first));
    struct http *second = make_closed(w, address);
    assert_int_equal(http_open(first), 0);
    assert_int_equal(http_open(second), -EADDRINUSE);
    http_free(second);
    http_free(first);
}

static void test_one_that_was_never_opened_ends_quietly(void **state) {
    struct world *w = *state;
    struct http *http = make_closed(w, "127.0.0.1:0");
    http_quiesce(http, count_quiet, w);
    assert_int_equal(w->n_quiet, 1);
    assert_int_equal(http_open(http), 0);
    http_free(http);
}

static void test_quiesced_server_finishes_and_takes_no_more(void **state) {
    struct world *w = *state;
    struct client c = client_new(w);
    client_send(&c, GET("/later"));
    wait_until_later(&c);
    http_quiesce(w->http, count_quiet, w);
    http_quiesce(w->http, count_quiet, w);
    assert_int_equal(try_connecting(http_port(w->http)), -ECONNREFUSED);
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
    assert_int_equal(try_address(w, "localhost[]:0"), -EINVAL);
    assert_int_equal(try_address(w, "[[::1]]:0"), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_it_refuses_connections_until_it_is_opened),
        TEST(test_who_comes_second_to_an_address_is_told_at_the_opening),
        TEST(test_one_that_was_never_opened_ends_quietly),
        TEST(test_quiesced_server_finishes_and_takes_no_more),
        TEST(test_quiesced_server_answers_whom_it_let_in),
        TEST(test_quiesced_server_does_not_wait_for_idle_connections),
        TEST(test_freed_server_answers_what_is_in_hand),
        TEST(test_a_full_server_listens_again_when_all_left),
        TEST(test_addresses_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
