/* common/trace and common/trace_export, in a loop with a collector of their own on loopback: what
 * is sampled, what a step says, batches, tries, bounds, and an end at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "common/app.h"
#include "common/otlp.h"
#include "common/trace.h"
#include "common/trace_export.h"
#include "proto/text.h"

#define IDS "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
#define OK "200 OK\r\n"

struct client {
    uv_tcp_t tcp;
    uv_write_t write;
    struct buf in;
    char out[512];
};

static char no_text[] = "";
static char name[] = "test";

static struct {
    uv_loop_t loop;
    struct app app;
    struct config config;
    struct tracer *tracer;
    uv_tcp_t collector;
    const char *head, *body; /* of its answers; head NULL: it gives none */
    size_t n_requests;
    struct buf last; /* the body that came last */
    char url[64];
} world;

/* ---- the collector ---- */

static void free_client(uv_handle_t *handle) {
    struct client *c = (struct client *)handle;
    buf_done(&c->in);
    free(c);
}

static void close_client(struct client *c) {
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, free_client);
}

static void on_written(uv_write_t *write, int status) {
    (void)status;
    close_client((struct client *)write->handle);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret) {
    static char room[65536];
    (void)handle, (void)suggested;
    *ret = uv_buf_init(room, sizeof(room));
}

static void answer(struct client *c) {
    if (!world.head)
        return;
    snprintf(c->out, sizeof(c->out), "HTTP/1.1 %sContent-Length: %zu\r\n\r\n%s", world.head,
             strlen(world.body), world.body);
    uv_buf_t out = uv_buf_init(c->out, (unsigned)strlen(c->out));
    uv_write(&c->write, (uv_stream_t *)&c->tcp, &out, 1, on_written);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes) {
    struct client *c = (struct client *)stream;
    if (n < 0) {
        close_client(c);
        return;
    }
    buf_put(&c->in, bytes->base, (size_t)n);
    const char *end = strstr(c->in.data, "\r\n\r\n");
    const char *length = strcasestr(c->in.data, "Content-Length: ");
    if (!end || c->in.len < (size_t)(end + 4 - c->in.data) + strtoul(length + 16, NULL, 10))
        return;
    assert_memory_equal(c->in.data, "POST /v1/traces HTTP/1.1\r\n", 26);
    buf_clear(&world.last);
    buf_puts(&world.last, end + 4);
    world.n_requests++;
    answer(c);
}

static void on_connection(uv_stream_t *server, int status) {
    struct client *c = must_alloc(sizeof(*c));
    assert_int_equal(status, 0);
    uv_tcp_init(server->loop, &c->tcp);
    assert_int_equal(uv_accept(server, (uv_stream_t *)&c->tcp), 0);
    uv_read_start((uv_stream_t *)&c->tcp, give_room, on_read);
}

static void collector_start(void) {
    struct sockaddr_in address, bound;
    int len = sizeof(bound);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(&world.loop, &world.collector);
    assert_int_equal(uv_tcp_bind(&world.collector, (const struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&world.collector, 16, on_connection), 0);
    uv_tcp_getsockname(&world.collector, (struct sockaddr *)&bound, &len);
    snprintf(world.url, sizeof(world.url), "http://127.0.0.1:%d", ntohs(bound.sin_port));
}

/* ---- the world ---- */

static int begin(void **state) {
    (void)state;
    memset(&world, 0, sizeof(world));
    uv_loop_init(&world.loop);
    collector_start();
    world.head = OK;
    world.body = "{}";
    world.config = (struct config){.otlp_url = world.url,
                                   .otlp_authorization = no_text,
                                   .service_name = name,
                                   .instance = name,
                                   .trace_sample = CONFIG_RATIO_ONE,
                                   .trace_callers_per_second = 10};
    world.app = (struct app){.config = &world.config,
                             .loop = &world.loop,
                             .log = log_new("test", "test", LOG_LEVEL_ERROR, "json"),
                             .metrics = metrics_new()};
    return 0;
}

static void start(void) {
    assert_int_equal(tracer_new(&world.tracer, &world.app), 0);
}

static void start_without_collector(void) {
    world.config.otlp_url = no_text;
    start();
}

static void free_tracer(void) {
    world.tracer = tracer_free(world.tracer);
}

static void close_collector(void) {
    if (!uv_is_closing((uv_handle_t *)&world.collector))
        uv_close((uv_handle_t *)&world.collector, NULL);
}

static void close_clients(uv_handle_t *handle, void *arg) {
    (void)arg;
    if (handle->type == UV_TCP && handle != (uv_handle_t *)&world.collector)
        close_client((struct client *)handle);
}

/* That no handle is left is uv_loop_close's to say. */
static int end(void **state) {
    (void)state;
    free_tracer();
    close_collector();
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    metrics_free(world.app.metrics);
    log_free(world.app.log);
    buf_done(&world.last);
    return 0;
}

static bool metrics_say(const char *line) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    metrics_print(world.app.metrics, &out);
    return strstr(out.data, line) != NULL;
}

static void run_until_metrics(const char *line) {
    while (!metrics_say(line))
        uv_run(&world.loop, UV_RUN_ONCE);
}

static void step(void) {
    struct trace_context trace;
    trace_accept(world.tracer, NULL, &trace);
    span_end(world.tracer, span_begin(world.tracer, &trace, SPAN_SERVER, "step", 0));
}

static void steps(size_t n) {
    while (n--)
        step();
}

static size_t n_spans_of_last(void) {
    size_t n = 0;
    for (const char *at = world.last.data; (at = strstr(at, "\"spanId\"")); at++)
        n++;
    return n;
}

/* ---- what is sampled ---- */

static void test_of_new_traces_as_many_as_asked_for(void **state) {
    (void)state;
    static const struct {
        int64_t sample;
        int least, most;
    } cases[] = {{0, 0, 0}, {CONFIG_RATIO_ONE, 4000, 4000}, {CONFIG_RATIO_ONE / 4, 800, 1200}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        int n = 0;
        world.config.trace_sample = cases[i].sample;
        start_without_collector();
        for (int k = 0; k < 4000; k++) {
            struct trace_context trace;
            trace_accept(world.tracer, k % 2 ? NULL : "none that is one", &trace);
            assert_int_equal(trace.is_set, trace.is_sampled);
            n += trace.is_sampled;
        }
        assert_in_range(n, cases[i].least, cases[i].most);
        free_tracer();
    }
}

static void test_callers_get_so_many_a_second_and_all_go_on(void **state) {
    (void)state;
    static const char sampled[] = "00-" IDS "-01", quiet[] = "00-" IDS "-00";
    for (int64_t most = 0; most < 20; most += 7) {
        struct trace_context trace;
        int64_t n = 0;
        world.config.trace_callers_per_second = most;
        start_without_collector();
        for (int k = 0; k < 100; k++) {
            trace_accept(world.tracer, sampled, &trace);
            assert_true(trace.is_set);
            n += trace.is_sampled;
        }
        assert_int_equal(n, most);
        trace_accept(world.tracer, quiet, &trace);
        assert_true(trace.is_set && !trace.is_sampled);
        free_tracer();
    }
}

static void test_without_a_tracer_traces_go_on_and_no_step_is_made(void **state) {
    (void)state;
    struct trace_context trace;
    trace_accept(NULL, "00-" IDS "-01", &trace);
    assert_true(trace.is_set && !trace.is_sampled);
    trace_accept(NULL, NULL, &trace);
    assert_false(trace.is_set);
    trace.is_sampled = true;
    struct span *span = span_begin(NULL, &trace, SPAN_SERVER, "step", 0);
    assert_null(span);
    span_text(span, SPAN_ROUTE, "/");
    span_number(span, SPAN_STATUS, 1);
    span_end(NULL, span);
    span_free(span);
}

/* ---- steps ---- */

static void test_a_record_names_the_trace_sampled_or_not_and_no_trace_not_at_all(void **state) {
    (void)state;
    static const char *const flags[] = {"-00", "-01"};
    for (size_t i = 0; i < N_ELEMENTS(flags); i++) {
        char parent[TRACE_PARENT_LEN + 1];
        struct trace_context trace;
        snprintf(parent, sizeof(parent), "00-" IDS "%s", flags[i]);
        trace_context_take(parent, &trace);
        struct log_field field = LOG_TRACE(&trace);
        assert_string_equal(field.name, "trace_id");
        assert_memory_equal(field.text, IDS, TRACE_ID_LEN);
        assert_int_equal(strlen(field.text), TRACE_ID_LEN);
    }
    struct trace_context none = {0};
    struct log_field field = LOG_TRACE(&none);
    assert_string_equal(field.name, "");
}

static void test_a_step_says_who_began_it_and_what_it_was(void **state) {
    (void)state;
    struct trace_context trace;
    char long_text[4 * SPAN_TEXT_MAX];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    start_without_collector();
    trace_accept(world.tracer, "00-" IDS "-01", &trace);
    _cleanup_(span_freep) struct span *s =
        span_begin(world.tracer, &trace, SPAN_SERVER, long_text, uv_hrtime() - 5000000);
    assert_memory_equal(&s->context, &trace, sizeof(trace));
    assert_int_equal(s->parent_id[1], 0xf0);
    assert_int_equal(strlen(s->name), SPAN_NAME_CAP - 1);
    span_text(s, SPAN_ROUTE, NULL);
    span_text(s, SPAN_ROUTE, "");
    assert_int_equal(s->n_attributes, 0);
    span_text(s, SPAN_REQUEST_ID, "\xff\"");
    span_text(s, SPAN_ROUTE, long_text);
    assert_int_equal(strlen(s->attributes[1].text), SPAN_TEXT_MAX);
    for (int i = 0; i < 3 * SPAN_MAX_ATTRIBUTES; i++)
        span_number(s, SPAN_STATUS, i);
    assert_int_equal(s->n_attributes, SPAN_MAX_ATTRIBUTES);

    _cleanup_(buf_done) struct buf text = BUF_NULL;
    json_t *json = NULL;
    otlp_print_span(s, &text);
    assert_int_equal(text_parse(text.data, text.len, &json, NULL), 0);
    assert_string_equal(json_string_value(json_object_get(json, "parentSpanId")),
                        "00f067aa0ba902b7");
    json_decref(json);
}

static void test_what_a_collector_rejects_is_read(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        int64_t n;
        const char *why;
    } cases[] = {
        {"{}", 0, NULL},
        {"", 0, NULL},
        {"[1]", 0, NULL},
        {"{\"partialSuccess\":7}", 0, NULL},
        {"{\"partialSuccess\":{\"errorMessage\":\"well\"}}", 0, NULL},
        {"{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"why\"}}", 3, "why"},
        {"{\"partialSuccess\":{\"rejectedSpans\":2}}", 2, NULL},
        {"{\"partialSuccess\":{\"rejectedSpans\":-2}}", 0, NULL},
        {"{\"partialSuccess\":{\"rejectedSpans\":-1e300}}", 0, NULL},
        {"{\"partialSuccess\":{\"rejectedSpans\":1e300}}", 0, NULL},
        {"{\"partialSuccess\":{\"rejectedSpans\":\"many\"}}", 0, NULL},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        _cleanup_(freep) char *why = NULL;
        assert_int_equal(otlp_read_rejected(cases[i].answer, strlen(cases[i].answer), &why),
                         cases[i].n);
        assert_true(cases[i].why ? why && strcmp(why, cases[i].why) == 0 : !why);
    }
}

/* ---- the way to the collector ---- */

static void test_steps_travel_together(void **state) {
    (void)state;
    start();
    steps(7);
    run_until_metrics("handoff_spans_total{result=\"exported\"} 7\n");
    assert_int_equal(world.n_requests, 1);
    assert_int_equal(n_spans_of_last(), 7);
    steps(512); /* at once: no second is waited for */
    steps(3);
    run_until_metrics("handoff_spans_total{result=\"exported\"} 519\n");
    run_until_metrics("handoff_spans_total{result=\"exported\"} 522\n");
    assert_int_equal(world.n_requests, 3);
    assert_true(metrics_say("handoff_spans_waiting 0\n"));
}

static void test_past_the_bound_steps_are_dropped(void **state) {
    (void)state;
    world.head = NULL; /* it takes them, and says nothing */
    start();
    steps(512 + 4096);
    assert_true(metrics_say("handoff_spans_total{result=\"dropped\"} 0\n"));
    steps(3);
    assert_true(metrics_say("handoff_spans_total{result=\"dropped\"} 3\n"));
    assert_true(metrics_say("handoff_spans_waiting 4608\n"));
    while (world.n_requests == 0)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(n_spans_of_last(), 512);
    free_tracer();
    uv_walk(&world.loop, close_clients, NULL);
}

static void test_a_busy_collector_gets_the_same_again(void **state) {
    (void)state;
    static const char *const heads[] = {"429 Busy\r\nRetry-After: 1\r\n", "503 Away\r\n"};
    start();
    for (size_t i = 0; i < N_ELEMENTS(heads); i++) {
        _cleanup_(buf_done) struct buf first = BUF_NULL;
        char line[64];
        world.n_requests = 0;
        world.head = heads[i];
        steps(512);
        while (world.n_requests == 0)
            uv_run(&world.loop, UV_RUN_ONCE);
        buf_put(&first, world.last.data, world.last.len);
        world.head = OK;
        snprintf(line, sizeof(line), "handoff_spans_total{result=\"exported\"} %zu\n",
                 512 * (i + 1));
        run_until_metrics(line);
        assert_int_equal(world.n_requests, 2);
        assert_string_equal(world.last.data, first.data);
    }
}

static void test_a_request_that_is_refused_is_not_repeated(void **state) {
    (void)state;
    world.head = "400 Bad\r\n";
    start();
    steps(512);
    run_until_metrics("handoff_spans_total{result=\"refused\"} 512\n");
    assert_int_equal(world.n_requests, 1);
    world.head = OK;
    world.body = "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"no\"}}";
    steps(512);
    run_until_metrics("handoff_spans_total{result=\"exported\"} 510\n");
    assert_true(metrics_say("handoff_spans_total{result=\"refused\"} 514\n"));
}

/* ---- its end ---- */

static void test_it_ends_before_anything_began(void **state) {
    (void)state;
    start();
}

static void test_what_waits_is_sent_at_the_end(void **state) {
    (void)state;
    start();
    steps(3);
    free_tracer();
    while (world.n_requests == 0)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(n_spans_of_last(), 3);
}

static void test_what_came_while_one_was_under_way_is_sent_at_the_end(void **state) {
    (void)state;
    start();
    steps(512);
    steps(3);
    free_tracer();
    while (world.n_requests < 2)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(n_spans_of_last(), 3);
}

static void test_a_silent_collector_does_not_hold_the_end_up(void **state) {
    (void)state;
    world.head = NULL;
    start();
    steps(3);
    free_tracer();
    while (world.n_requests == 0)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(n_spans_of_last(), 3);
}

static void test_nobody_there_does_not_hold_the_end_up(void **state) {
    (void)state;
    snprintf(world.url, sizeof(world.url), "http://127.0.0.1:1");
    start();
    steps(3);
}

static void test_a_url_that_is_none_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *url, *whole;
    } cases[] = {
        {"http://collector:4318", "http://collector:4318/v1/traces"},
        {"http://collector:4318/", "http://collector:4318/v1/traces"},
        {"https://u:p@host/otlp?x=1", "https://u:p@host/otlp?x=1"},
        {"ftp://host/", NULL},
        {"http://", NULL},
        {"http://host:port/", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        _cleanup_(freep) char *whole = NULL;
        int r = trace_export_url(cases[i].url, &whole);
        assert_int_equal(r, cases[i].whole ? 0 : -22);
        assert_true(cases[i].whole ? strcmp(whole, cases[i].whole) == 0 : !whole);
    }
}

#define IN_THE_WORLD(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_THE_WORLD(test_of_new_traces_as_many_as_asked_for),
        IN_THE_WORLD(test_callers_get_so_many_a_second_and_all_go_on),
        IN_THE_WORLD(test_without_a_tracer_traces_go_on_and_no_step_is_made),
        IN_THE_WORLD(test_a_step_says_who_began_it_and_what_it_was),
        cmocka_unit_test(test_a_record_names_the_trace_sampled_or_not_and_no_trace_not_at_all),
        cmocka_unit_test(test_what_a_collector_rejects_is_read),
        IN_THE_WORLD(test_steps_travel_together),
        IN_THE_WORLD(test_past_the_bound_steps_are_dropped),
        IN_THE_WORLD(test_a_busy_collector_gets_the_same_again),
        IN_THE_WORLD(test_a_request_that_is_refused_is_not_repeated),
        IN_THE_WORLD(test_it_ends_before_anything_began),
        IN_THE_WORLD(test_what_waits_is_sent_at_the_end),
        IN_THE_WORLD(test_what_came_while_one_was_under_way_is_sent_at_the_end),
        IN_THE_WORLD(test_a_silent_collector_does_not_hold_the_end_up),
        IN_THE_WORLD(test_nobody_there_does_not_hold_the_end_up),
        cmocka_unit_test(test_a_url_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
