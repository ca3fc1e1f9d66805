/* common/http.h: what a handler sees of a request, and how its answers are sent. */
#include "tests/integration/http_world.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
