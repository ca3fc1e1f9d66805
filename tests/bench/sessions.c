/* The orders of sessions_load; see sessions.h. */
#include "tests/bench/sessions.h"

#include <string.h>

#include "tests/bench/orders.h"
#include "tests/bench/samples.h"
#include "tests/bench/writer.h"

#define SECOND_NS UINT64_C(1000000000)
#define PATIENCE_NS (30 * SECOND_NS) /* half a megabyte each, on a busy machine */
#define N_WRITERS 64

/* One order under way. */
struct sessions_run {
    struct sessions_bench *b;
    struct writer writer;
    uint64_t begin_ns, measured_ns, end_ns, progress_ns;
    uint64_t n_in_window;
    struct samples samples;
};

static const char *token_of(const struct sessions_bench *b, size_t session) {
    return json_string_value(json_array_get(b->tokens, session % json_array_size(b->tokens)));
}

static uint64_t next_random(struct sessions_bench *b) {
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

static void run_begin(struct sessions_run *r, struct sessions_bench *b, size_t n_connections,
                      void (*answered)(struct writer *w, struct http_client *c, int status)) {
    *r = (struct sessions_run){.b = b};
    r->begin_ns = r->progress_ns = now_ns();
    writer_open(&r->writer, &b->sockets, b->api_port, n_connections);
    r->writer.next_value = b->next_value;
    r->writer.answered = answered;
    r->writer.arg = r;
}

static void run_end(struct sessions_run *r) {
    r->b->next_value = r->writer.next_value;
    writer_close(&r->writer);
    samples_done(&r->samples);
}

static void wait_until(const struct sessions_run *r, uint64_t until_ns) {
    if (now_ns() > r->progress_ns + PATIENCE_NS)
        die("nothing for 30 s (%llu sent, %llu answered)", (unsigned long long)r->writer.n_sent,
            (unsigned long long)r->writer.n_answered);
    uint64_t patience = r->progress_ns + PATIENCE_NS;
    sockets_wait(&r->b->sockets, until_ns < patience ? until_ns : patience);
}

static void change(struct sessions_run *r, size_t session) {
    writer_patch(&r->writer, r->b->sessions[session].id, token_of(r->b, session), now_ns());
}

static json_t *count_and_end(struct sessions_run *r) {
    json_t *result = json_pack("{sI sf}", "accepted", (json_int_t)r->writer.n_accepted, "seconds",
                               (double)(now_ns() - r->begin_ns) / (double)SECOND_NS);
    run_end(r);
    return result;
}

/* ---- create, patch, ids ---- */

static void on_created(struct writer *w, struct http_client *c, int status) {
    static const char before[] = "\"id\":\"";
    struct sessions_run *r = w->arg;
    const char *id = memmem(c->in.data, c->in.len, before, strlen(before));
    r->progress_ns = now_ns();
    if (status != 201 || !id)
        die("a create was answered with %d: %.300s", status, c->in.data);
    memcpy(r->b->sessions[c->tag].id, id + strlen(before), sizeof(r->b->sessions->id) - 1);
}

static json_t *run_create(struct sessions_bench *b, const json_t *what) {
    struct sessions_run r;
    size_t n = (size_t)order_number(what, "n", 1), first = b->n_sessions;
    const char *data = order_text(what, "data", "{}");
    if (n > b->cap) {
        b->sessions = must_realloc(b->sessions, n * sizeof(*b->sessions));
        memset(b->sessions + b->cap, 0, (n - b->cap) * sizeof(*b->sessions));
        b->cap = n;
    }
    run_begin(&r, b, (size_t)order_number(what, "connections", N_WRITERS), on_created);
    while (n > first && r.writer.n_answered < n - first) {
        for (; r.writer.n_idle && b->n_sessions < n; b->n_sessions++)
            writer_create(&r.writer, token_of(b, b->n_sessions), data, NULL, b->n_sessions);
        wait_until(&r, UINT64_MAX);
    }
    return count_and_end(&r);
}

static void on_patched(struct writer *w, struct http_client *c, int status) {
    struct sessions_run *r = w->arg;
    r->progress_ns = now_ns();
    if (status != 200)
        die("a change was answered with %d: %.300s", status, c->in.data);
}

static json_t *run_patch(struct sessions_bench *b, const json_t *what) {
    struct sessions_run r;
    size_t n = (size_t)order_number(what, "n", 1);
    uint64_t n_changes = n * (uint64_t)order_number(what, "times", 1);
    if (n > b->n_sessions)
        die("more sessions than there are");
    run_begin(&r, b, N_WRITERS, on_patched);
    while (r.writer.n_answered < n_changes) {
        while (r.writer.n_idle && r.writer.n_sent < n_changes)
            change(&r, r.writer.n_sent % n);
        wait_until(&r, UINT64_MAX);
    }
    return count_and_end(&r);
}

static json_t *run_ids(struct sessions_bench *b, const json_t *what) {
    size_t n = (size_t)order_number(what, "n", 1);
    json_t *ids = json_array();
    for (size_t i = 0; i < n && i < b->n_sessions; i++)
        json_array_append_new(ids, json_string(b->sessions[i].id));
    return json_pack("{so}", "ids", ids);
}

/* ---- load ---- */

static void on_answer(struct writer *w, struct http_client *c, int status) {
    struct sessions_run *r = w->arg;
    uint64_t now = r->progress_ns = now_ns();
    if (status != 200)
        die("a request was answered with %d: %.300s", status, c->in.data);
    r->n_in_window += now >= r->measured_ns && now < r->end_ns;
    if (c->since_ns >= r->measured_ns)
        samples_add(&r->samples, now - c->since_ns);
}

static void send_one(struct sessions_run *r, bool is_get, size_t n) {
    size_t session = next_random(r->b) % n;
    if (is_get)
        writer_get(&r->writer, r->b->sessions[session].id, token_of(r->b, session));
    else
        change(r, session);
}

static void keep_busy(struct sessions_run *r, bool is_get, size_t n) {
    for (;;) {
        uint64_t now = now_ns();
        while (r->writer.n_idle && now < r->end_ns)
            send_one(r, is_get, n);
        if (now >= r->end_ns && r->writer.n_answered == r->writer.n_sent)
            return;
        wait_until(r, now < r->end_ns ? r->end_ns : UINT64_MAX);
    }
}

static json_t *run_load(struct sessions_bench *b, const json_t *what) {
    struct sessions_run r;
    const char *kind = order_text(what, "kind", "");
    bool is_get = strcmp(kind, "get") == 0;
    size_t n = (size_t)order_number(what, "n", (double)b->n_sessions);
    double seconds = order_number(what, "seconds", 5);
    if (n == 0 || n > b->n_sessions || (!is_get && strcmp(kind, "patch") != 0))
        die("an order that makes no sense");
    run_begin(&r, b, (size_t)order_number(what, "connections", N_WRITERS), on_answer);
    r.measured_ns = r.begin_ns + (uint64_t)(order_number(what, "warmUp", 0.5) * (double)SECOND_NS);
    r.end_ns = r.measured_ns + (uint64_t)(seconds * (double)SECOND_NS);
    keep_busy(&r, is_get, n);
    json_t *result =
        json_pack("{sI sI sf so}", "requests", (json_int_t)r.writer.n_answered, "accepted",
                  (json_int_t)(is_get ? 0 : r.writer.n_accepted), "throughput",
                  (double)r.n_in_window / seconds, "latency", samples_summary(&r.samples));
    run_end(&r);
    return result;
}

/* ---- orders ---- */

json_t *sessions_bench_run(struct sessions_bench *b, const json_t *what) {
    static const struct {
        const char *name;
        json_t *(*run)(struct sessions_bench *b, const json_t *what);
    } orders[] = {
        {"create", run_create}, {"patch", run_patch}, {"ids", run_ids}, {"load", run_load}};
    const char *name = order_text(what, "do", "");
    for (size_t i = 0; i < N_ELEMENTS(orders); i++)
        if (strcmp(orders[i].name, name) == 0)
            return orders[i].run(b, what);
    die("an order that nobody knows: %s", name);
}

void sessions_bench_init(struct sessions_bench *b, const json_t *setup) {
    b->api_port = (uint16_t)order_number(setup, "apiPort", 0);
    b->tokens = json_incref(json_object_get(setup, "tokens"));
    b->random = UINT64_C(0x9e3779b97f4a7c15);
    b->next_value = 1;
    if (json_array_size(b->tokens) == 0)
        die("the set-up has no tokens");
}

void sessions_bench_done(struct sessions_bench *b) {
    json_decref(b->tokens);
    free(b->sessions);
}
