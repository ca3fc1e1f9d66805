/* See spread.h. What is left is read from /metrics, which the instance serves until it ends; gone
 * is an instance whose admin port takes no connection any more. */
#include "tools/handoff/spread.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/metrics_text.h"
#include "tools/handoff/progress.h"
#include "tools/handoff/shown.h"
#include "tools/handoff/web.h"

#define LOOK_EVERY_MS 250
#define ANSWER_MS 5000
#define SECONDS_MAX 3600
#define PATIENCE_S 60 /* beyond those seconds */

struct spread {
    const struct spread_order *order;
    const char *url;
    int64_t seconds, timeout_s;
    bool waits, json;
    uv_loop_t loop;
    struct web *web;
    uv_timer_t timer;
    int64_t begun_ms;
    int64_t start;  /* of the process; another one: it was started again */
    int64_t n_left; /* connections, when they were told last; -1: never */
    struct progress progress;
    int code; /* the exit code, once is_over */
    bool is_over;
};

static void end(struct spread *s, int code) {
    s->code = code;
    s->is_over = true;
}

/* ---- what is left ---- */

static void tell_left(struct spread *s, int64_t n) {
    if (n < 0 || n == s->n_left)
        return;
    s->n_left = n;
    progress_step(&s->progress, "%" PRId64 " connections left", n);
}

/* It is under way; or over, after so long. */
static void tell_done(struct spread *s, bool is_over) {
    const struct spread_order *order = s->order;
    int64_t ms = timestamp_monotonic_ms() - s->begun_ms;
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    progress_clear(&s->progress);
    if (s->json) {
        buf_puts(&out, "{\"url\":");
        shown_text_json(&out, s->url);
        buf_printf(&out, ",\"state\":\"%s\",\"tookMs\":%" PRId64 "}\n",
                   is_over ? order->end_state : order->state, ms);
    } else if (is_over) {
        buf_printf(&out, "%s %s after %" PRId64 ".%" PRId64 " s\n", s->url, order->is_over,
                   ms / 1000, ms % 1000 / 100);
    } else {
        buf_printf(&out, "%s %s\n", s->url, order->is_under_way);
    }
    end(s, shown_flush(&out) ? 0 : 1);
}

__attribute__((format(printf, 2, 3))) static void give_up(struct spread *s, const char *format,
                                                          ...) {
    va_list args;
    va_start(args, format);
    progress_clear(&s->progress);
    fprintf(stderr, "handoff: %s", s->url);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    end(s, 1);
}

/* ---- the talk ---- */

static void look(uv_timer_t *timer);

/* The instance ends, or has: what a drain is for, and what cuts a rebalance short. */
static bool is_ended(struct spread *s, const struct web_answer *answer) {
    int64_t start = metrics_text_sum(answer->body, "handoff_process_start_time_seconds");
    bool is_gone = answer->is_nobody || (s->start > 0 && start > s->start);
    bool is_settled = s->order->end == SPREAD_IS_SETTLED;
    s->start = start > 0 ? start : s->start;
    if (is_settled && (is_gone || metrics_text_sum(answer->body, "handoff_draining") > 0))
        give_up(s, " ends before it is rebalanced");
    else if (is_gone || (is_settled && metrics_text_sum(answer->body, s->order->left) == 0))
        tell_done(s, true);
    return s->is_over;
}

static void on_metrics(void *arg, const struct web_answer *answer) {
    struct spread *s = arg;
    int64_t waited_s = (timestamp_monotonic_ms() - s->begun_ms) / 1000;
    if (is_ended(s, answer))
        return;
    tell_left(s, metrics_text_sum(answer->body, s->order->left));
    if (waited_s > s->seconds + s->timeout_s)
        give_up(s, " is not done after %" PRId64 " s (--timeout)", waited_s);
    else
        uv_timer_start(&s->timer, look, LOOK_EVERY_MS, 0);
}

static void look(uv_timer_t *timer) {
    struct spread *s = timer->data;
    const struct web_request r = {.method = "GET", .path = "/metrics"};
    web_ask(s->web, &r, on_metrics, s);
}

static void tell_refusal(struct spread *s, const struct web_answer *answer) {
    if (answer->status == 0)
        give_up(s, ": %s", answer->why);
    else if (answer->status == 404)
        give_up(s, " does not take it: is it the admin port%s, and HANDOFF_ADMIN_DRAIN=on there?",
                s->order->end == SPREAD_IS_SETTLED ? " of a ws_fanout" : "");
    else if (answer->status == 503)
        give_up(s, " does not take it now: does it drain already?");
    else
        give_up(s, " answers with status %d", answer->status);
}

static void on_answer(void *arg, const struct web_answer *answer) {
    struct spread *s = arg;
    if (answer->status != 202) {
        tell_refusal(s, answer);
    } else if (s->waits) {
        uv_timer_start(&s->timer, look, 0, 0);
    } else {
        tell_done(s, false);
    }
}

static int run(struct spread *s, const char *name) {
    const struct web_options options = {
        .url = s->url, .max_connections = 1, .timeout_ms = ANSWER_MS};
    char path[48];
    uv_loop_init(&s->loop);
    if (web_new(&s->web, &s->loop, &options)) {
        uv_loop_close(&s->loop);
        return arguments_mistake(name, "URL is that of the admin port: http://127.0.0.1:9102.");
    }
    uv_timer_init(&s->loop, &s->timer);
    s->timer.data = s;
    s->begun_ms = timestamp_monotonic_ms();
    snprintf(path, sizeof(path), "%s?seconds=%" PRId64, s->order->path, s->seconds);
    web_ask(s->web, &(struct web_request){.method = "POST", .path = path}, on_answer, s);
    while (!s->is_over)
        uv_run(&s->loop, UV_RUN_ONCE);
    web_free(s->web);
    uv_close((uv_handle_t *)&s->timer, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    return s->code;
}

int spread_run(const struct spread_order *order, int argc, char **argv) {
    struct spread s = {.order = order, .seconds = -1, .timeout_s = PATIENCE_S, .n_left = -1};
    const struct argument options[] = {
        {"--seconds", .number = &s.seconds, .least = order->seconds_least, .most = SECONDS_MAX},
        {"--wait", .flag = &s.waits},
        {"--progress", .flag = &s.progress.is_asked},
        {"--json", .flag = &s.json},
        {"--timeout", .number = &s.timeout_s, .least = 1, .most = SECONDS_MAX},
    };
    size_t n = 0;
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    if (n != 1)
        return arguments_mistake(argv[0], "Which one? Give the URL of one instance's admin port.");
    if (s.seconds < 0 && order->seconds_least > 0)
        return arguments_mistake(argv[0], "Over how long? Give --seconds.");
    s.seconds = s.seconds < 0 ? 0 : s.seconds;
    _cleanup_(freep) char *url = must_strdup(argv[1]);
    size_t len = strlen(url);
    if (len && url[len - 1] == '/')
        url[len - 1] = '\0';
    s.url = url;
    return run(&s, argv[0]);
}
