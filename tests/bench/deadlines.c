/* See deadlines.h. */
#include "tests/bench/deadlines.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/timestamp.h"
#include "tests/bench/orders.h"
#include "tests/bench/samples.h"
#include "tests/bench/watcher.h"
#include "tests/bench/writer.h"

#define PATIENCE_NS UINT64_C(10000000000)
#define N_WRITERS 64
#define BEFORE_US 500000

struct clocked {
    char id[37];
    int64_t total_ms, deadline; /* ms, wall clock */
    struct watcher watcher;
};

/* One order under way. */
struct deadlines_run {
    struct deadlines *d;
    struct writer writer;
    struct clocked *sessions; /* owned: those that expire */
    size_t n, first_user;
    int64_t first_deadline; /* ms, wall clock */
    uint64_t progress_ns;
    size_t n_expired, n_ended, n_early;
    struct samples lateness;
};

static int64_t wall_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static const char *token_of(const struct deadlines_run *r, size_t n) {
    const json_t *tokens = r->d->tokens;
    return json_string_value(json_array_get(tokens, (r->first_user + n) % json_array_size(tokens)));
}

static void expect_progress(const struct deadlines_run *r, const char *doing) {
    if (now_ns() > r->progress_ns + PATIENCE_NS)
        die("%s: nothing for 10 s", doing);
}

/* ---- create ---- */

static const char *behind(const struct buf *answer, const char *name) {
    const char *at = memmem(answer->data, answer->len, name, strlen(name));
    if (!at)
        die("a session without %s: %.300s", name, answer->data);
    return at + strlen(name);
}

static void take_created(struct clocked *s, const struct buf *answer) {
    int64_t started;
    memcpy(s->id, behind(answer, "\"id\":\""), sizeof(s->id) - 1);
    if (!timestamp_parse(behind(answer, "\"cycleStartedAt\":\""), TIMESTAMP_LEN, &started))
        die("a clock that does not run: %.600s", answer->data);
    s->deadline = started + s->total_ms;
}

static void on_created(struct writer *w, struct http_client *c, int status) {
    struct deadlines_run *r = w->arg;
    r->progress_ns = now_ns();
    if (status != 201)
        die("a create was answered with %d: %.300s", status, c->in.data);
    if (r->sessions)
        take_created(&r->sessions[c->tag], &c->in);
}

static void create_one(struct deadlines_run *r, size_t n, const json_t *what) {
    char clock[256];
    const char *text = order_text(what, "clock", NULL);
    if (r->sessions) {
        struct clocked *s = &r->sessions[n];
        int64_t within = (int64_t)order_number(what, "withinMs", 1000);
        s->total_ms = r->first_deadline + within * (int64_t)n / (int64_t)r->n - wall_us() / 1000;
        snprintf(clock, sizeof(clock),
                 "{\"mode\":\"per_participant\",\"totalTimeMs\":%lld,\"participants\":["
                 "{\"participantId\":\"white\"},{\"participantId\":\"black\"}]}",
                 (long long)s->total_ms);
        text = clock;
    }
    writer_create(&r->writer, token_of(r, n), order_text(what, "data", "{}"), text, n);
}

static void create_all(struct deadlines_run *r, const json_t *what) {
    size_t n = 0;
    writer_open(&r->writer, &r->d->sockets, r->d->api_port, N_WRITERS);
    r->writer.answered = on_created;
    r->writer.arg = r;
    while (r->writer.n_answered < r->n) {
        while (r->writer.n_idle && n < r->n)
            create_one(r, n++, what);
        expect_progress(r, "creating");
        sockets_wait(&r->d->sockets, r->progress_ns + PATIENCE_NS);
    }
    writer_close(&r->writer);
    r->d->n_created += r->n;
}

/* ---- watch ---- */

static void on_event(struct watcher *w, const struct watcher_event *event) {
    struct deadlines_run *r = w->arg;
    const struct clocked *s =
        (const struct clocked *)((const char *)w - offsetof(struct clocked, watcher));
    r->progress_ns = now_ns();
    r->n_ended += event->what == WATCHER_STATUS;
    if (event->what != WATCHER_EXPIRED)
        return;
    int64_t late_us = wall_us() - s->deadline * 1000;
    r->n_expired++;
    r->n_early += late_us < 0;
    samples_add(&r->lateness, late_us > 0 ? (uint64_t)late_us * 1000 : 0);
}

static size_t count_subscribed(const struct deadlines_run *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        n += r->sessions[i].watcher.is_subscribed;
    return n;
}

static void watch_all(struct deadlines_run *r) {
    for (size_t i = 0; i < r->n; i++) {
        struct clocked *s = &r->sessions[i];
        watcher_open(&s->watcher, &r->d->sockets, r->d->ws_port, s->id, token_of(r, i), on_event,
                     r);
    }
    r->progress_ns = now_ns();
    while (count_subscribed(r) < r->n) {
        expect_progress(r, "subscribing");
        sockets_wait(&r->d->sockets, r->progress_ns + PATIENCE_NS);
    }
    if (wall_us() / 1000 > r->first_deadline - 1000)
        die("the lead was too short: the first clocks ran out before all were watched");
}

/* Until shortly before the first of them. */
static void wait_for_moment(const struct deadlines_run *r) {
    for (int64_t left_us; (left_us = r->first_deadline * 1000 - wall_us() - BEFORE_US) > 0;)
        sockets_wait(&r->d->sockets, now_ns() + (uint64_t)left_us * 1000);
}

static void wait_until_told(struct deadlines_run *r) {
    r->progress_ns = now_ns();
    while (r->n_expired + r->n_ended < 2 * r->n && now_ns() < r->progress_ns + PATIENCE_NS)
        sockets_wait(&r->d->sockets, r->progress_ns + PATIENCE_NS);
}

static uint64_t sum_of_missing(const struct deadlines_run *r) {
    uint64_t sum = 0;
    for (size_t i = 0; i < r->n; i++)
        sum += r->sessions[i].watcher.n_missing + r->sessions[i].watcher.n_syncs;
    return sum;
}

static struct deadlines_run *run_free(struct deadlines_run *r) {
    for (size_t i = 0; i < r->n && r->sessions; i++)
        watcher_close(&r->sessions[i].watcher, &r->d->sockets);
    free(r->sessions);
    samples_done(&r->lateness);
    free(r);
    return NULL;
}

static struct deadlines_run *run_new(struct deadlines *d, const json_t *what) {
    struct deadlines_run *r = must_alloc(sizeof(*r));
    *r = (struct deadlines_run){.d = d, .first_user = d->n_created, .progress_ns = now_ns()};
    r->n = (size_t)order_number(what, "n", 1);
    return r;
}

/* ---- orders ---- */

static json_t *start(struct deadlines *d, const json_t *what) {
    struct deadlines_run *r = run_new(d, what);
    create_all(r, what);
    run_free(r);
    return json_pack("{sI}", "created", (json_int_t)d->n_created);
}

static json_t *prepare(struct deadlines *d, const json_t *what) {
    struct deadlines_run *r = d->run = run_new(d, what);
    r->first_deadline = wall_us() / 1000 + (int64_t)order_number(what, "leadMs", 20000);
    r->sessions = must_alloc(r->n * sizeof(*r->sessions));
    create_all(r, what);
    watch_all(r);
    wait_for_moment(r);
    return json_pack("{sI}", "watched", (json_int_t)r->n);
}

static json_t *expire(struct deadlines *d) {
    struct deadlines_run *r = d->run;
    if (!r)
        die("clocks have to be prepared before they expire");
    wait_until_told(r);
    json_t *result = json_pack("{sI sI sI sI sI so}", "clocks", (json_int_t)r->n, "expired",
                               (json_int_t)r->n_expired, "ended", (json_int_t)r->n_ended, "early",
                               (json_int_t)r->n_early, "missing", (json_int_t)sum_of_missing(r),
                               "latency", samples_summary(&r->lateness));
    d->run = run_free(r);
    return result;
}

void deadlines_init(struct deadlines *d, const json_t *setup) {
    d->api_port = (uint16_t)order_number(setup, "apiPort", 0);
    d->ws_port = (uint16_t)order_number(setup, "wsPort", 0);
    d->tokens = json_object_get(setup, "tokens");
    if (json_array_size(d->tokens) == 0)
        die("the set-up has no tokens");
}

json_t *deadlines_run(struct deadlines *d, const json_t *what) {
    const char *todo = order_text(what, "do", "");
    if (strcmp(todo, "start") == 0)
        return start(d, what);
    if (strcmp(todo, "expire") == 0)
        return expire(d);
    if (strcmp(todo, "prepare") == 0)
        return prepare(d, what);
    die("an order that makes no sense: %s", todo);
}
