/* See bench.h. Sessions of its own are made, changed by PATCH at a fixed rate whatever the answers
 * do (open loop: a change that waits for a free connection has its waiting counted), watched over
 * WebSockets, and deleted again, also when it is interrupted. */
#include "tools/handoff/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "proto/text.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/bench_private.h"

#define REQUEST_MS 10000
#define CONNECT_MS 10000 /* for all watchers to follow */
#define SETTLE_MS 3000
#define TICK_MS 1
#define MAX_WAITING 4096         /* changes without an answer */
#define MAX_WATCHERS_A_SESSION 9 /* a user has ten devices in a session */
#define MAX_FOLLOWED 64          /* sessions on a connection */

const char bench_usage[] =
    "handoff bench --url URL --token-file FILE [--ws-url URL] [--ca-file FILE]\n"
    "              [--sessions N] [--watchers N] [--writers N] [--rate N]\n"
    "              [--seconds N] [--progress] [--json]\n"
    "\n"
    "A self-test of an installation: makes sessions of its own, changes them by\n"
    "PATCH at a fixed rate, hears the changes over WebSockets, tells how long both\n"
    "took (and a change's waiting for a free connection), and deletes its sessions,\n"
    "also when it is interrupted.\n"
    "\n"
    "  --url         of session_api: https://handoff.example, http://localhost:8080\n"
    "  --ws-url      of ws_fanout: ws://localhost:8081; as --url unless it is given\n"
    "  --token-file  has the token; its user owns the sessions\n"
    "  --ca-file     who may have signed the server's certificate (PEM)\n"
    "  --sessions    10 (1 to 500)\n"
    "  --watchers    WebSockets, 10 (1 to 100): at most 9 a session, and 64 sessions\n"
    "                each\n"
    "  --writers     connections that send changes, 10 (1 to 200)\n"
    "  --rate        changes a second, 50 (1 to 2000)\n"
    "  --seconds     10 (1 to 300)\n"
    "  --progress    on stderr, also where that is no terminal\n"
    "  --json        an object: times in ms, what was not heard, errors by kind\n"
    "\n"
    "Ends with 0 when all changes were answered and heard, 1 when not, 2 for a\n"
    "mistake in the command.\n";

void bench_note_error(struct bench *b, const char *what) {
    b->n_errors++;
    for (size_t i = 0; i < BENCH_N_ERRORS; i++) {
        bool is_free = !b->errors[i].n, is_last = i == BENCH_N_ERRORS - 1;
        if (is_free)
            snprintf(b->errors[i].what, sizeof(b->errors[i].what), "%s", is_last ? "others" : what);
        if (is_free || is_last || strcmp(b->errors[i].what, what) == 0) {
            b->errors[i].n++;
            return;
        }
    }
}

/* An answer that is not what was wanted: by its code, where there is one. */
static void note_answer(struct bench *b, const struct web_answer *a) {
    json_auto_t *problem = NULL;
    const char *code = NULL;
    char status[24];
    snprintf(status, sizeof(status), "status %d", a->status);
    if (a->status && text_parse(a->body, a->body_len, &problem, NULL) == 0)
        code = json_string_value(json_object_get(problem, "code"));
    bench_note_error(b, !a->status ? a->why : code ? code : status);
}

static const char *device_of(const struct bench *b) {
    return b->device ? b->device : "handoff-bench";
}

/* ---- cleaning up ---- */

static void on_deleted(void *arg, const struct web_answer *a) {
    struct bench_session *s = arg;
    if (a->status == 204 || a->status == 404) {
        s->id[0] = '\0';
        return;
    }
    note_answer(s->bench, a);
    fprintf(stderr, "handoff: session %s could not be deleted\n", s->id);
    s->bench->has_failed = true;
}

/* What is under way goes first: a session that is just made is known then, too. */
static void clean_when_quiet(struct bench *b) {
    bool has_asked = false;
    if (web_n_waiting(b->web))
        return;
    for (size_t i = 0; i < (size_t)b->orders.sessions; i++) {
        struct bench_session *s = &b->sessions[i];
        char path[64];
        if (!s->id[0] || s->was_deleted)
            continue;
        snprintf(path, sizeof(path), "/sessions/%s", s->id);
        const struct web_request r = {.method = "DELETE", .path = path, .device = device_of(b)};
        web_ask(b->web, &r, on_deleted, s);
        has_asked = s->was_deleted = true;
    }
    if (!has_asked)
        b->phase = BENCH_OVER;
}

void bench_clean(struct bench *b) {
    if (b->phase < BENCH_CLEANING)
        b->phase = BENCH_CLEANING;
}

/* ---- changes ---- */

static void on_patched(void *arg, const struct web_answer *a) {
    struct bench_change *c = arg;
    struct bench *b = c->bench;
    size_t n_watchers = b->sessions[c->session].n_watchers;
    uint64_t now = uv_hrtime();
    b->n_answered++;
    b->ended_ns = now;
    if (a->status == 200) {
        b->n_applied++;
        b->n_events_awaited += n_watchers;
        bench_samples_add(&b->answers, (now - c->due_ns) / 1000);
        return;
    }
    note_answer(b, a);
    b->n_events_awaited += n_watchers - c->n_awaited; /* it may have taken effect */
    c->n_awaited = 0;
}

static void begin_change(struct bench *b) {
    size_t n = b->n_due++, session = n % (size_t)b->orders.sessions;
    struct bench_change *c = &b->changes[n];
    char path[64], body[80];
    if (web_n_waiting(b->web) >= MAX_WAITING) {
        bench_note_error(b, "not begun: too many wait for an answer");
        b->n_answered++;
        return;
    }
    snprintf(path, sizeof(path), "/sessions/%s", b->sessions[session].id);
    snprintf(body, sizeof(body), "[{\"op\":\"replace\",\"path\":\"/data/n\",\"value\":%zu}]", n);
    *c = (struct bench_change){b, uv_hrtime(), session, b->sessions[session].n_watchers};
    const struct web_request r = {.method = "PATCH",
                                  .path = path,
                                  .type = "application/json-patch+json",
                                  .body = body,
                                  .device = device_of(b)};
    web_ask(b->web, &r, on_patched, c);
}

static void write_due(struct bench *b) {
    uint64_t since_ns = uv_hrtime() - b->begun_ns;
    while (b->n_due < b->n_changes &&
           (uint64_t)b->n_due * 1000000000 / (uint64_t)b->orders.rate <= since_ns)
        begin_change(b);
    if (b->n_due == b->n_changes) {
        b->phase = BENCH_SETTLING;
        b->until_ms = uv_now(&b->loop) + SETTLE_MS;
    }
}

static void settle(struct bench *b) {
    bool is_all = b->n_answered == b->n_due && b->n_events == b->n_events_awaited;
    bool is_late = uv_now(&b->loop) >= b->until_ms && !web_n_waiting(b->web);
    if (is_all || is_late)
        bench_clean(b);
}

/* ---- the beginning ---- */

static void on_created(void *arg, const struct web_answer *a) {
    struct bench_session *s = arg;
    struct bench *b = s->bench;
    json_auto_t *session = NULL;
    const char *id = NULL;
    if (a->status == 201 && text_parse(a->body, a->body_len, &session, NULL) == 0)
        id = json_string_value(json_object_get(session, "id"));
    if (!id || !uuid_is(id, strlen(id))) {
        note_answer(b, a);
        if (!b->has_failed)
            fprintf(stderr, "handoff: %s: no session could be made: %s\n", b->orders.url,
                    b->errors[0].what);
        b->has_failed = true;
        bench_clean(b);
        return;
    }
    memcpy(s->id, id, sizeof(s->id));
    if (++b->n_created < (size_t)b->orders.sessions || b->phase != BENCH_CREATING)
        return;
    b->phase = BENCH_CONNECTING;
    b->until_ms = uv_now(&b->loop) + CONNECT_MS;
    if (bench_watch(b)) {
        b->has_failed = true;
        bench_clean(b);
    }
}

static void create_all(struct bench *b) {
    static const struct web_request r = {
        .method = "POST",
        .path = "/sessions",
        .type = "application/json",
        .body = "{\"name\":\"handoff bench\",\"type\":\"bench\",\"data\":{\"n\":0}}"};
    struct web_request own = r;
    own.device = device_of(b);
    for (size_t i = 0; i < (size_t)b->orders.sessions; i++) {
        b->sessions[i].bench = b;
        web_ask(b->web, &own, on_created, &b->sessions[i]);
    }
}

void bench_begin(struct bench *b) {
    b->phase = BENCH_WRITING;
    b->begun_ns = b->ended_ns = uv_hrtime();
}

static void check_connected(struct bench *b) {
    if (uv_now(&b->loop) < b->until_ms)
        return;
    fprintf(stderr, "handoff: %s: not all watchers hear their sessions: %zu of %zu\n",
            b->orders.ws_url, b->n_synced, b->n_follows);
    b->has_failed = true;
    bench_clean(b);
}

/* ---- the loop ---- */

static void tell_progress(struct bench *b) {
    uint64_t second = b->begun_ns ? (uv_hrtime() - b->begun_ns) / 1000000000 : 0;
    if (b->phase == BENCH_WRITING)
        progress_tell(&b->progress, "%" PRIu64 " s, %zu changes, %" PRIu64 " errors", second,
                      b->n_applied, b->n_errors);
    else
        progress_clear(&b->progress);
}

static void on_tick(uv_timer_t *timer) {
    struct bench *b = timer->data;
    tell_progress(b);
    if (b->phase == BENCH_CONNECTING)
        check_connected(b);
    else if (b->phase == BENCH_WRITING)
        write_due(b);
    else if (b->phase == BENCH_SETTLING)
        settle(b);
    else if (b->phase == BENCH_CLEANING)
        clean_when_quiet(b);
}

static void on_signal(uv_signal_t *handle, int number) {
    struct bench *b = handle->data;
    (void)number;
    if (b->was_interrupted && b->phase == BENCH_CLEANING) {
        fprintf(stderr, "handoff: sessions of it are left\n");
        b->phase = BENCH_OVER;
    }
    b->was_interrupted = true;
    bench_clean(b);
}

static void run_loop(struct bench *b) {
    uv_timer_init(&b->loop, &b->timer);
    uv_signal_init(&b->loop, &b->sigint);
    uv_signal_init(&b->loop, &b->sigterm);
    b->timer.data = b->sigint.data = b->sigterm.data = b;
    uv_signal_start(&b->sigint, on_signal, SIGINT);
    uv_signal_start(&b->sigterm, on_signal, SIGTERM);
    uv_timer_start(&b->timer, on_tick, TICK_MS, TICK_MS);
    create_all(b);
    while (b->phase != BENCH_OVER)
        uv_run(&b->loop, UV_RUN_ONCE);
    bench_unwatch(b);
    web_free(b->web);
    uv_close((uv_handle_t *)&b->timer, NULL);
    uv_close((uv_handle_t *)&b->sigint, NULL);
    uv_close((uv_handle_t *)&b->sigterm, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
}

static int run(struct bench *b) {
    const struct web_options options = {.url = b->orders.url,
                                        .token = b->token,
                                        .ca_file = b->orders.ca_file,
                                        .max_connections = (long)b->orders.writers,
                                        .timeout_ms = REQUEST_MS};
    uv_loop_init(&b->loop);
    if (web_new(&b->web, &b->loop, &options)) {
        uv_loop_close(&b->loop);
        return arguments_mistake("bench", "--url takes http://host:port or https://host.");
    }
    signal(SIGPIPE, SIG_IGN);
    b->n_changes = (size_t)(b->orders.rate * b->orders.seconds);
    b->changes = must_alloc(b->n_changes * sizeof(*b->changes));
    b->sessions = must_alloc((size_t)b->orders.sessions * sizeof(*b->sessions));
    b->watchers = must_alloc((size_t)b->orders.watchers * sizeof(*b->watchers));
    run_loop(b);
    uv_loop_close(&b->loop);
    progress_clear(&b->progress);
    bool is_told = !b->begun_ns || bench_report(b);
    bool is_well = is_told && b->begun_ns && !b->n_errors && !b->has_failed &&
                   !b->was_interrupted && b->n_events == b->n_events_awaited;
    return is_well ? 0 : 1;
}

static void bench_done(struct bench *b) {
    free(b->token);
    free(b->device);
    free(b->changes);
    free(b->sessions);
    free(b->watchers);
    free(b->answers.items);
    free(b->events.items);
}

static const char *check(const struct bench_orders *o, size_t n_words) {
    if (n_words)
        return "bench takes options alone.";
    if (!o->url || !o->token_file)
        return "bench needs --url and --token-file.";
    if (o->watchers > MAX_WATCHERS_A_SESSION * o->sessions)
        return "At most 9 watchers a session: a user has ten devices in one.";
    return o->sessions > MAX_FOLLOWED * o->watchers ? "At most 64 sessions a watcher." : NULL;
}

int bench_run(int argc, char **argv) {
    struct bench b = {
        .orders = {.sessions = 10, .watchers = 10, .writers = 10, .rate = 50, .seconds = 10}};
    struct bench_orders *o = &b.orders;
    const struct argument options[] = {
        {"--url", .text = &o->url},
        {"--ws-url", .text = &o->ws_url},
        {"--token-file", .text = &o->token_file},
        {"--ca-file", .text = &o->ca_file},
        {"--sessions", .number = &o->sessions, .least = 1, .most = BENCH_MAX_SESSIONS},
        {"--watchers", .number = &o->watchers, .least = 1, .most = BENCH_MAX_WATCHERS},
        {"--writers", .number = &o->writers, .least = 1, .most = BENCH_MAX_WRITERS},
        {"--rate", .number = &o->rate, .least = 1, .most = BENCH_MAX_RATE},
        {"--seconds", .number = &o->seconds, .least = 1, .most = BENCH_MAX_SECONDS},
        {"--progress", .flag = &b.progress.is_asked},
        {"--json", .flag = &o->json},
    };
    size_t n = 0;
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    const char *mistake = check(o, n);
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    o->ws_url = o->ws_url ? o->ws_url : o->url;
    int code = bench_read_token(&b) ? 1 : run(&b);
    bench_done(&b);
    return code;
}
