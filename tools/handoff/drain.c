/* See drain.h. What is left is read from /metrics, which the instance serves until it ends; gone is
 * an instance whose admin port takes no connection any more. */
#include "tools/handoff/drain.h"

#include <inttypes.h>
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

const char drain_usage[] =
    "handoff drain URL [--seconds N] [--wait] [--timeout N] [--progress]\n"
    "              [--json]\n"
    "\n"
    "Asks an instance to end as SIGTERM would: it is not ready any more, takes no\n"
    "new work, finishes what it has in hand. It has to run with\n"
    "HANDOFF_ADMIN_DRAIN=on.\n"
    "\n"
    "  URL         its admin port: http://127.0.0.1:9102\n"
    "  --seconds   ws_fanout sends its clients elsewhere little by little over so\n"
    "              long (0 to 3600; 0: all at once, each to come back at a moment of\n"
    "              its own)\n"
    "  --wait      until it is gone, with what is left of its connections\n"
    "  --timeout   how long --wait waits beyond --seconds (60, in seconds; up to\n"
    "              3600)\n"
    "  --progress  on stderr, also where that is no terminal\n"
    "  --json      an object: url, state (draining, gone), tookMs\n"
    "\n"
    "Ends with 0 when it drains (--wait: when it is gone), 1 when not, 2 for a\n"
    "mistake in the command.\n";

struct drain {
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

static void end(struct drain *d, int code) {
    d->code = code;
    d->is_over = true;
}

/* ---- what is left ---- */

static void tell_left(struct drain *d, int64_t n) {
    if (n < 0 || n == d->n_left)
        return;
    d->n_left = n;
    progress_step(&d->progress, "%" PRId64 " connections left", n);
}

/* It drains; or it is gone, after so long. */
static void tell_done(struct drain *d, bool is_gone) {
    int64_t ms = timestamp_monotonic_ms() - d->begun_ms;
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    progress_clear(&d->progress);
    if (d->json) {
        buf_puts(&out, "{\"url\":");
        shown_text_json(&out, d->url);
        buf_printf(&out, ",\"state\":\"%s\",\"tookMs\":%" PRId64 "}\n",
                   is_gone ? "gone" : "draining", ms);
    } else if (is_gone) {
        buf_printf(&out, "%s is gone after %" PRId64 ".%" PRId64 " s\n", d->url, ms / 1000,
                   ms % 1000 / 100);
    } else {
        buf_printf(&out, "%s drains\n", d->url);
    }
    end(d, shown_flush(&out) ? 0 : 1);
}

/* ---- the talk ---- */

static void look(uv_timer_t *timer);

static void on_metrics(void *arg, const struct web_answer *answer) {
    struct drain *d = arg;
    int64_t waited_s = (timestamp_monotonic_ms() - d->begun_ms) / 1000;
    int64_t start = metrics_text_sum(answer->body, "handoff_process_start_time_seconds");
    if (answer->is_nobody || (d->start > 0 && start > d->start)) {
        tell_done(d, true);
        return;
    }
    d->start = start > 0 ? start : d->start;
    tell_left(d, metrics_text_sum(answer->body, "handoff_ws_connections"));
    if (waited_s > d->seconds + d->timeout_s) {
        progress_clear(&d->progress);
        fprintf(stderr, "handoff: %s is still there after %" PRId64 " s (--timeout)\n", d->url,
                waited_s);
        end(d, 1);
        return;
    }
    uv_timer_start(&d->timer, look, LOOK_EVERY_MS, 0);
}

static void look(uv_timer_t *timer) {
    struct drain *d = timer->data;
    const struct web_request r = {.method = "GET", .path = "/metrics"};
    web_ask(d->web, &r, on_metrics, d);
}

static void tell_refusal(const struct drain *d, const struct web_answer *answer) {
    if (answer->status == 0)
        fprintf(stderr, "handoff: %s: %s\n", d->url, answer->why);
    else if (answer->status == 404)
        fprintf(stderr,
                "handoff: %s does not take it: is it the admin port, and HANDOFF_ADMIN_DRAIN=on "
                "there?\n",
                d->url);
    else
        fprintf(stderr, "handoff: %s answers with status %d\n", d->url, answer->status);
}

static void on_drained(void *arg, const struct web_answer *answer) {
    struct drain *d = arg;
    if (answer->status != 202) {
        tell_refusal(d, answer);
        end(d, 1);
    } else if (d->waits) {
        uv_timer_start(&d->timer, look, 0, 0);
    } else {
        tell_done(d, false);
    }
}

static int run(struct drain *d) {
    const struct web_options options = {
        .url = d->url, .max_connections = 1, .timeout_ms = ANSWER_MS};
    char path[48];
    uv_loop_init(&d->loop);
    if (web_new(&d->web, &d->loop, &options)) {
        uv_loop_close(&d->loop);
        return arguments_mistake("drain", "URL is that of the admin port: http://127.0.0.1:9102.");
    }
    uv_timer_init(&d->loop, &d->timer);
    d->timer.data = d;
    d->begun_ms = timestamp_monotonic_ms();
    snprintf(path, sizeof(path), "/drain?seconds=%" PRId64, d->seconds);
    web_ask(d->web, &(struct web_request){.method = "POST", .path = path}, on_drained, d);
    while (!d->is_over)
        uv_run(&d->loop, UV_RUN_ONCE);
    web_free(d->web);
    uv_close((uv_handle_t *)&d->timer, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    uv_loop_close(&d->loop);
    return d->code;
}

int drain_run(int argc, char **argv) {
    struct drain d = {.timeout_s = PATIENCE_S, .n_left = -1};
    const struct argument options[] = {
        {"--seconds", .number = &d.seconds, .least = 0, .most = SECONDS_MAX},
        {"--wait", .flag = &d.waits},
        {"--progress", .flag = &d.progress.is_asked},
        {"--json", .flag = &d.json},
        {"--timeout", .number = &d.timeout_s, .least = 1, .most = SECONDS_MAX},
    };
    size_t n = 0;
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    if (n != 1)
        return arguments_mistake(argv[0], "Which one? Give the URL of one instance's admin port.");
    _cleanup_(freep) char *url = must_strdup(argv[1]);
    size_t len = strlen(url);
    if (len && url[len - 1] == '/')
        url[len - 1] = '\0';
    d.url = url;
    return run(&d);
}
