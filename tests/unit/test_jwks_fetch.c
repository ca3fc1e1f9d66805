/* common/jwks_fetch, in a loop with a provider of its own on loopback: that the hourly fetch comes
 * (the hour is 5 ms here), the bounds to the byte, and an end at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "common/jwks_fetch.h"

#define KEY                                                                                        \
    "{\"keys\":[{\"kid\":\"k\",\"kty\":\"EC\",\"crv\":\"P-256\","                                  \
    "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","                                       \
    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}]}"
#define REFRESH_MS 5
#define HOUR_MS 3600000

struct provider {
    uv_tcp_t server;
    struct buf answer;    /* without: none is given */
    int n_requests, most; /* after the most the loop stops */
};

struct client {
    uv_tcp_t tcp;
    uv_write_t write;
    char text[4096];
};

static struct {
    uv_loop_t loop;
    struct app app;
    struct config config;
    struct provider provider;
    struct jwks *jwks;
    struct jwks_fetch *fetch;
    char url[64];
} world;

/* ---- the provider ---- */

static void free_client(uv_handle_t *handle) {
    free(handle);
}

static void close_client(uv_handle_t *handle) {
    if (!uv_is_closing(handle))
        uv_close(handle, free_client);
}

static void on_written(uv_write_t *write, int status) {
    (void)status;
    close_client((uv_handle_t *)write->handle);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret) {
    struct client *c = (struct client *)handle;
    (void)suggested;
    *ret = uv_buf_init(c->text, sizeof(c->text));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes) {
    struct client *c = (struct client *)stream;
    struct provider *p = stream->data;
    if (n < 0) {
        close_client((uv_handle_t *)stream);
        return;
    }
    if (!memmem(bytes->base, (size_t)n, "\r\n\r\n", 4))
        return;
    p->n_requests++;
    if (p->answer.len) {
        uv_buf_t out = uv_buf_init(p->answer.data, (unsigned)p->answer.len);
        uv_write(&c->write, stream, &out, 1, on_written);
    }
    if (p->n_requests == p->most)
        uv_stop(stream->loop);
}

static void on_connection(uv_stream_t *server, int status) {
    struct client *c = must_alloc(sizeof(*c));
    assert_int_equal(status, 0);
    uv_tcp_init(server->loop, &c->tcp);
    c->tcp.data = server->data;
    assert_int_equal(uv_accept(server, (uv_stream_t *)&c->tcp), 0);
    uv_read_start((uv_stream_t *)&c->tcp, give_room, on_read);
}

static void provider_start(struct provider *p) {
    struct sockaddr_in address;
    struct sockaddr_in bound;
    int len = sizeof(bound);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(&world.loop, &p->server);
    p->server.data = p;
    assert_int_equal(uv_tcp_bind(&p->server, (const struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->server, 16, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&p->server, (struct sockaddr *)&bound, &len), 0);
    snprintf(world.url, sizeof(world.url), "http://127.0.0.1:%d/keys", ntohs(bound.sin_port));
}

static void answer_with(const char *body, size_t n_spaces) {
    struct buf *out = &world.provider.answer;
    buf_clear(out);
    buf_printf(out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body) + n_spaces,
               body);
    while (n_spaces--)
        buf_putc(out, ' ');
}

/* ---- the world ---- */

static char no_text[] = "";

static int begin(void **state) {
    (void)state;
    memset(&world, 0, sizeof(world));
    uv_loop_init(&world.loop);
    provider_start(&world.provider);
    world.config = (struct config){.jwks_url = world.url,
                                   .jwks_ca_file = no_text,
                                   .jwt_issuer = no_text,
                                   .jwt_audience = no_text};
    world.app = (struct app){.config = &world.config,
                             .loop = &world.loop,
                             .log = log_new("test", "test", LOG_LEVEL_ERROR, "json"),
                             .metrics = metrics_new(),
                             .health = health_new()};
    return 0;
}

static void start(int64_t refresh_ms) {
    world.jwks = jwks_new(refresh_ms);
    assert_int_equal(jwks_fetch_new(&world.fetch, &world.app, world.jwks), 0);
}

/* That no handle is left is uv_loop_close's to say. */
static int end(void **state) {
    (void)state;
    jwks_fetch_free(world.fetch);
    uv_close((uv_handle_t *)&world.provider.server, NULL);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    jwks_free(world.jwks);
    buf_done(&world.provider.answer);
    health_free(world.app.health);
    metrics_free(world.app.metrics);
    log_free(world.app.log);
    return 0;
}

static void run_until_requests(int n) {
    world.provider.most = n;
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(world.provider.n_requests, n);
}

static bool health_says(const char *text) {
    struct buf out = BUF_NULL;
    health_print(world.app.health, &out);
    bool says = strstr(out.data, text) != NULL;
    buf_done(&out);
    return says;
}

static void run_until_health(const char *text) {
    while (!health_says(text))
        uv_run(&world.loop, UV_RUN_ONCE);
}

/* ---- tests ---- */

static void test_without_a_provider_nothing_begins(void **state) {
    (void)state;
    assert_int_equal(jwks_fetch_new(&world.fetch, &world.app, NULL), 0);
    assert_null(world.fetch);
    assert_int_equal(health_ready_status(world.app.health), 200);
}

static void test_keys_are_fetched_again_and_again(void **state) {
    (void)state;
    answer_with(KEY, 0);
    start(REFRESH_MS);
    assert_int_equal(health_ready_status(world.app.health), 503);
    run_until_requests(5);
    assert_non_null(jwks_find(world.jwks, "k"));
    assert_int_equal(health_ready_status(world.app.health), 200);
}

static void test_an_hour_is_not_over_at_once(void **state) {
    (void)state;
    answer_with(KEY, 0);
    start(HOUR_MS);
    run_until_health("\"up\":true");
    for (int i = 0; i < 20; i++)
        uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(world.provider.n_requests, 1);
    assert_true(jwks_due_ms(world.jwks) - (int64_t)uv_now(&world.loop) > HOUR_MS - 60000);
}

static void test_a_miss_fetches_once(void **state) {
    (void)state;
    answer_with("{\"keys\":[]}", 0);
    start(HOUR_MS);
    run_until_health("\"up\":true");
    answer_with(KEY, 0);
    assert_true(jwks_miss(world.jwks) > 0);
    assert_true(jwks_miss(world.jwks) > 0);
    while (!jwks_find(world.jwks, "k"))
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(jwks_miss(world.jwks), 0);
    assert_int_equal(world.provider.n_requests, 2);
}

static void test_256_kib_are_the_most(void **state) {
    (void)state;
    answer_with(KEY, JWKS_BYTES_MAX - strlen(KEY));
    start(REFRESH_MS);
    run_until_health("\"up\":true");
    assert_non_null(jwks_find(world.jwks, "k"));
    answer_with(KEY, JWKS_BYTES_MAX - strlen(KEY) + 1);
    run_until_health("over 256 KiB");
    assert_non_null(jwks_find(world.jwks, "k"));
}

static void test_nobody_there_is_a_failure(void **state) {
    (void)state;
    snprintf(world.url, sizeof(world.url), "http://127.0.0.1:1/keys");
    start(HOUR_MS);
    run_until_health("connect");
    assert_int_equal(health_ready_status(world.app.health), 503);
    assert_true(jwks_miss(world.jwks) > 0);
}

static void test_a_name_that_is_none_is_a_failure(void **state) {
    (void)state;
    snprintf(world.url, sizeof(world.url), "https://handoff.invalid/keys");
    start(HOUR_MS);
    run_until_health(
        "esolv"); /* "Could not resolve host" or, of a silent server, "Resolving timed out" */
}

static void test_it_ends_before_anything_began(void **state) {
    (void)state;
    start(HOUR_MS);
}

static void test_it_ends_while_it_waits_for_an_answer(void **state) {
    (void)state;
    start(HOUR_MS);
    run_until_requests(1);
}

static void test_it_ends_while_a_name_is_resolved(void **state) {
    (void)state;
    snprintf(world.url, sizeof(world.url), "https://handoff.invalid/keys");
    start(HOUR_MS);
    uv_run(&world.loop, UV_RUN_NOWAIT);
}

int main(void) {
    static const char *const proxies[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < N_ELEMENTS(proxies); i++)
        unsetenv(proxies[i]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_without_a_provider_nothing_begins, begin, end),
        cmocka_unit_test_setup_teardown(test_keys_are_fetched_again_and_again, begin, end),
        cmocka_unit_test_setup_teardown(test_an_hour_is_not_over_at_once, begin, end),
        cmocka_unit_test_setup_teardown(test_a_miss_fetches_once, begin, end),
        cmocka_unit_test_setup_teardown(test_256_kib_are_the_most, begin, end),
        cmocka_unit_test_setup_teardown(test_nobody_there_is_a_failure, begin, end),
        cmocka_unit_test_setup_teardown(test_a_name_that_is_none_is_a_failure, begin, end),
        cmocka_unit_test_setup_teardown(test_it_ends_before_anything_began, begin, end),
        cmocka_unit_test_setup_teardown(test_it_ends_while_it_waits_for_an_answer, begin, end),
        cmocka_unit_test_setup_teardown(test_it_ends_while_a_name_is_resolved, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
