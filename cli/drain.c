/* See drain.h. What is left is read from /metrics, which the instance serves until it ends; gone is
 * an instance whose admin port takes no connection any more. */
#include "cli/drain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "cli/metrics_text.h"
#include "cli/web.h"
#include "cli/words.h"

#define LOOK_EVERY_MS 250
#define ANSWER_MS 5000
#define SECONDS_MAX 3600
#define PATIENCE_S 60 /* beyond those seconds */

const char drain_usage[] =
    "handoff drain URL [--seconds N] [--wait] [--timeout N]\n"
    "\n"
    "Asks an instance to end as SIGTERM would: it is not ready any more, takes no new work, "
    "finishes\n"
    "what it has in hand. It has to run with HANDOFF_ADMIN_DRAIN=on.\n"
    "\n"
    "  URL        its admin port: http://127.0.0.1:9102\n"
    "  --seconds  ws_fanout sends its clients elsewhere little by little over so long (0 to 3600;\n"
    "             0: all at once, each to come back at a moment of its own)\n"
    "  --wait     until it is gone, with what is left of its connections\n"
    "  --timeout  how long --wait waits beyond --seconds (60, in seconds; up to 3600)\n"
    "\n"
    "Ends with 0 when it drains (--wait: when it is gone), 1 when not, 2 for a mistake.\n";

struct drain {
    const char *url;
    int64_t seconds, timeout_s;
    bool waits;
    uv_loop_t loop;
    struct web *web;
    uv_timer_t timer;
    int64_t begun_ms;
    int64_t start;  /* of the process; another one: it was started again */
    int64_t n_told; /* connections, when they were told last; -1: never */
    int code;       /* the exit code, once is_over */
    bool is_over;
};

static void end(struct drain *d, int code) {
    d->code = code;
    d->is_over = true;
}

/* ---- what is left ---- */

static void tell_left(struct drain *d, int64_t n) {
    if (n < 0 || n == d->n_told)
        return;
    d->n_told = n;
    fprintf(stderr, "%shandoff: %" PRId64 " connections left%s",
            isatty(STDERR_FILENO) ? "\r\033[K" : "", n, isatty(STDERR_FILENO) ? "" : "\n");
}

static void tell_gone(struct drain *d) {
    int64_t ms = timestamp_monotonic_ms() - d->begun_ms;
    if (d->n_told >= 0 && isatty(STDERR_FILENO))
        fputc('\n', stderr);
    printf("%s is gone after %" PRId64 ".%" PRId64 " s\n", d->url, ms / 1000, ms % 1000 / 100);
    end(d, fflush(stdout) == 0 ? 0 : 1);
}

/* ---- the talk ---- */

static void look(uv_timer_t *timer);

static void on_metrics(void *arg, const struct web_answer *answer) {
    struct drain *d = arg;
    int64_t waited_s = (timestamp_monotonic_ms() - d->begun_ms) / 1000;
    int64_t start = metrics_text_sum(answer->body, "handoff_process_start_time_seconds");
    if (answer->is_nobody || (d->start > 0 && start > d->start)) {
        tell_gone(d);
        return;
    }
    d->start = start > 0 ? start : d->start;
    tell_left(d, metrics_text_sum(answer->body, "handoff_ws_connections"));
    if (waited_s > d->seconds + d->timeout_s) {
        fprintf(stderr, "handoff: %s is still there\n", d->url);
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
        printf("%s drains\n", d->url);
        end(d, fflush(stdout) == 0 ? 0 : 1);
    }
}

static int run(struct drain *d) {
    const struct web_options options = {
        .url = d->url, .max_connections = 1, .timeout_ms = ANSWER_MS};
    char path[48];
    uv_loop_init(&d->loop);
    if (web_new(&d->web, &d->loop, &options)) {
        uv_loop_close(&d->loop);
        return words_refuse("drain", "URL is that of the admin port: http://127.0.0.1:9102.");
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
    struct drain d = {.timeout_s = PATIENCE_S, .n_told = -1};
    const struct words_option options[] = {
        {"--seconds", WORDS_NUMBER, &d.seconds, 0, SECONDS_MAX},
        {"--wait", WORDS_FLAG, &d.waits, 0, 0},
        {"--timeout", WORDS_NUMBER, &d.timeout_s, 1, SECONDS_MAX},
    };
    struct words w;
    bool is_fine = words_parse(&w, argc, argv, options, N_ELEMENTS(options));
    if (!is_fine)
        return words_refuse("drain", w.mistake);
    if (w.n != 1)
        return words_refuse("drain", "Which one? Give the URL of one instance's admin port.");
    _cleanup_(freep) char *url = must_strdup(w.items[0]);
    size_t len = strlen(url);
    if (len && url[len - 1] == '/')
        url[len - 1] = '\0';
    d.url = url;
    return run(&d);
}
