/* The orders of crowd_load; see crowd_phase.h. */
#include "tests/bench/crowd_phase.h"

#include <string.h>

#include "tests/bench/orders.h"
#include "tests/bench/samples.h"

#define SECOND_NS UINT64_C(1000000000)
#define PATIENCE_NS (10 * SECOND_NS)
#define N_WRITERS 16

/* One order under way. */
struct run {
    struct crowd_bench *b;
    struct writer writer;
    bool is_bare;
    struct source bare; /* the wire on which bare_send takes its rounds */
    uint64_t bare_value;
    uint64_t *bare_since_ns;

    size_t window; /* of a closed loop, else 0 */
    uint64_t interval_ns, begin_ns, measured_ns, end_ns, progress_ns;
    uint64_t n_due, n_with_all, n_before, n_in_window; /* the last two: deliveries */
    bool window_began, window_ended;
    struct samples samples;
    size_t next; /* session or viewer */
    const json_t *what;
};

static const char *token_of(const struct crowd_bench *b, size_t user) {
    return json_string_value(json_array_get(b->tokens, user));
}

static uint64_t seconds_ns(const json_t *what, const char *name, double otherwise) {
    return (uint64_t)(order_number(what, name, otherwise) * (double)SECOND_NS);
}

static double seconds_since(uint64_t begin_ns) {
    return (double)(now_ns() - begin_ns) / (double)SECOND_NS;
}

static void run_begin(struct run *r, struct crowd_bench *b, const json_t *what) {
    *r = (struct run){.b = b, .what = what};
    r->begin_ns = r->progress_ns = now_ns();
}

static void open_writer(struct run *r, size_t n_connections,
                        void (*answered)(struct writer *w, struct http_client *c, int status)) {
    writer_open(&r->writer, &r->b->sockets, r->b->api_port, n_connections);
    r->writer.answered = answered;
    r->writer.arg = r;
}

static void run_end(struct run *r) {
    if (r->writer.clients)
        writer_close(&r->writer, &r->b->sockets);
    samples_done(&r->samples);
    free(r->bare_since_ns);
}

static void expect_progress(const struct run *r, const char *doing) {
    if (now_ns() > r->progress_ns + PATIENCE_NS)
        die("%s: nothing for 10 s (%llu sent, %llu answered)", doing,
            (unsigned long long)r->writer.n_sent, (unsigned long long)r->writer.n_answered);
}

/* ---- create, patch ---- */

static void take_id(struct crowd_session *s, const struct buf *answer) {
    static const char before[] = "\"id\":\"";
    const char *id = memmem(answer->data, answer->len, before, strlen(before));
    if (!id)
        die("a session without an id: %.300s", answer->data);
    memcpy(s->id, id + strlen(before), 36);
    s->version = 1;
}

static void on_created(struct writer *w, struct http_client *c, int status) {
    struct run *r = w->arg;
    r->progress_ns = now_ns();
    if (status != 201)
        die("a create was answered with %d: %.300s", status, c->in.data);
    take_id(&r->b->sessions[c->tag], &c->in);
}

static json_t *run_create(struct crowd_bench *b, const json_t *what) {
    struct run r;
    size_t n = (size_t)order_number(what, "n", 1);
    const char *data = order_text(what, "data", "{}");
    run_begin(&r, b, what);
    open_writer(&r, N_WRITERS, on_created);
    for (size_t first = b->n_sessions; r.writer.n_answered < n - first;) {
        for (; r.writer.n_idle && b->n_sessions < n; b->n_sessions++)
            writer_create(&r.writer, token_of(b, b->n_sessions), data, NULL, b->n_sessions);
        expect_progress(&r, "creating");
        sockets_wait(&b->sockets, r.progress_ns + PATIENCE_NS);
    }
    json_t *result = json_pack("{sI sf}", "created", (json_int_t)r.writer.n_answered, "seconds",
                               seconds_since(r.begin_ns));
    run_end(&r);
    return result;
}

static void on_patched(struct writer *w, struct http_client *c, int status) {
    struct run *r = w->arg;
    r->progress_ns = now_ns();
    if (status != 200)
        die("a change was answered with %d: %.300s", status, c->in.data);
}

static void change(struct run *r, size_t session, uint64_t since_ns) {
    struct crowd_bench *b = r->b;
    writer_patch(&r->writer, b->sessions[session].id, token_of(b, session), since_ns);
    b->sessions[session].version++;
    b->n_changes++;
}

static json_t *run_patch(struct crowd_bench *b, const json_t *what) {
    struct run r;
    size_t n = (size_t)order_number(what, "n", 1);
    size_t n_changes = n * (size_t)order_number(what, "times", 1);
    run_begin(&r, b, what);
    open_writer(&r, N_WRITERS, on_patched);
    while (r.writer.n_answered < n_changes) {
        while (r.writer.n_idle && r.writer.n_sent < n_changes)
            change(&r, r.writer.n_sent % n, now_ns());
        expect_progress(&r, "changing");
        sockets_wait(&b->sockets, r.progress_ns + PATIENCE_NS);
    }
    json_t *result = json_pack("{sI sf}", "accepted", (json_int_t)r.writer.n_accepted, "seconds",
                               seconds_since(r.begin_ns));
    run_end(&r);
    return result;
}

/* ---- join ---- */

static void on_done(struct crowd *c, struct viewer *v) {
    struct run *r = c->arg;
    if (!r)
        return;
    r->progress_ns = now_ns();
    if (v->state == VIEWER_SYNCED)
        samples_add(&r->samples, r->progress_ns - v->since_ns);
}

static void connect_more(struct run *r, size_t at_once) {
    struct crowd_bench *b = r->b;
    struct crowd *c = &b->crowd;
    bool own = json_is_true(json_object_get(r->what, "own"));
    uint64_t behind = (uint64_t)order_number(r->what, "behind", 0);
    while (c->n_open < c->n && c->n_open - c->n_done < at_once) {
        size_t session = own ? c->n_open : 0;
        struct crowd_entry e = {.session = (uint32_t)session,
                                .session_id = b->sessions[session].id,
                                .token = token_of(b, c->n_open),
                                .by_message = json_is_true(json_object_get(r->what, "byMessage")),
                                .resumes = behind > 0,
                                .since = b->sessions[session].version - behind};
        crowd_connect(c, &e);
    }
}

static void write_what_is_due(struct run *r) {
    while (r->interval_ns && r->writer.n_idle) {
        uint64_t due = r->begin_ns + r->n_due * r->interval_ns;
        if (due > now_ns())
            return;
        r->n_due++;
        change(r, 0, due);
    }
}

/* Whether everybody has what was written to the session meanwhile. */
static bool all_are_level(const struct crowd_bench *b) {
    for (size_t i = 0; i < b->crowd.n_open; i++) {
        const struct viewer *v = &b->crowd.viewers[i];
        if (v->state == VIEWER_SYNCED && v->version < b->sessions[v->session].version)
            return false;
    }
    return true;
}

static void await_level(struct run *r) {
    struct crowd_bench *b = r->b;
    uint64_t deadline = now_ns() + PATIENCE_NS;
    while (r->writer.n_answered < r->writer.n_sent || !all_are_level(b)) {
        if (now_ns() > deadline)
            die("viewers do not get what was written while they joined");
        sockets_wait(&b->sockets, deadline);
    }
}

static json_t *summary_of_join(struct run *r, double seconds) {
    const struct crowd *c = &r->b->crowd;
    return json_pack("{sI sI sI ss sf so sI sI sI sI}", "wanted", (json_int_t)c->n, "synced",
                     (json_int_t)(c->n_done - c->n_refused), "refused", (json_int_t)c->n_refused,
                     "refusal", c->refusal, "throughput", (double)c->n_done / seconds, "latency",
                     samples_summary(&r->samples), "replayed", (json_int_t)c->n_replayed, "missing",
                     (json_int_t)c->n_missing, "stateSyncs", (json_int_t)c->n_syncs, "written",
                     (json_int_t)r->writer.n_accepted);
}

static json_t *run_join(struct crowd_bench *b, const json_t *what) {
    struct run r;
    size_t n = (size_t)order_number(what, "n", 1);
    size_t at_once = (size_t)order_number(what, "atOnce", 500);
    double rate = order_number(what, "rate", 0);
    if (n > b->n_users || (json_is_true(json_object_get(what, "own")) && n > b->n_sessions))
        die("more viewers than users or sessions");
    crowd_init(&b->crowd, &b->sockets, b->ws_port, n, !json_is_true(json_object_get(what, "own")));
    run_begin(&r, b, what);
    b->crowd.done = on_done;
    b->crowd.arg = &r;
    if (rate > 0) {
        r.interval_ns = (uint64_t)((double)SECOND_NS / rate);
        open_writer(&r, N_WRITERS, on_patched);
    }
    while (b->crowd.n_done < n) {
        connect_more(&r, at_once);
        write_what_is_due(&r);
        expect_progress(&r, "joining");
        sockets_wait(&b->sockets,
                     r.interval_ns ? now_ns() + r.interval_ns / 4 : r.progress_ns + PATIENCE_NS);
    }
    double seconds = seconds_since(r.begin_ns);
    await_level(&r);
    json_t *result = summary_of_join(&r, seconds);
    b->crowd.arg = NULL;
    run_end(&r);
    return result;
}

static json_t *run_bare(struct crowd_bench *b, const json_t *what) {
    size_t n = (size_t)order_number(what, "n", 1);
    crowd_init(&b->crowd, &b->sockets, (uint16_t)order_number(what, "port", 0), n, true);
    b->crowd.done = on_done;
    for (struct crowd_entry e = {.is_bare = true}; b->crowd.n_open < n;)
        crowd_connect(&b->crowd, &e);
    return json_pack("{sI}", "wanted", (json_int_t)n);
}

/* ---- spread ---- */

static uint64_t since_of(const struct run *r, uint64_t value) {
    return r->is_bare ? r->bare_since_ns[value % WRITER_RING] : writer_since_ns(&r->writer, value);
}

static void write_one(struct run *r, uint64_t since_ns) {
    r->n_due++;
    if (!r->is_bare) {
        change(r, 0, since_ns);
        return;
    }
    r->bare_since_ns[++r->bare_value % WRITER_RING] = since_ns;
    source_send(&r->bare, "r", 1);
}

static void pump(struct run *r) {
    uint64_t now = now_ns();
    while ((r->is_bare || r->writer.n_idle) && now < r->end_ns) {
        uint64_t due = r->window ? now : r->begin_ns + r->n_due * r->interval_ns;
        if (due > now || due >= r->end_ns || (r->window && r->n_due - r->n_with_all >= r->window))
            return;
        write_one(r, due);
    }
}

static void mark_window(struct run *r, uint64_t now) {
    const struct crowd *c = &r->b->crowd;
    if (!r->window_began && now >= r->measured_ns) {
        r->window_began = true;
        r->n_before = c->n_deliveries;
    }
    if (!r->window_ended && now >= r->end_ns) {
        r->window_ended = true;
        r->n_in_window = c->n_deliveries - r->n_before;
    }
}

static void on_all_have(struct crowd *c, uint64_t value) {
    struct run *r = c->arg;
    if (!r)
        return;
    uint64_t now = r->progress_ns = now_ns(), since = since_of(r, value);
    r->n_with_all++;
    if (since >= r->measured_ns)
        samples_add(&r->samples, now - since);
    pump(r);
}

static void on_change_answered(struct writer *w, struct http_client *c, int status) {
    on_patched(w, c, status);
    pump(w->arg);
}

static void on_bare_readable(struct source *s) {
    (void)s;
    die("bare_send ended");
}

static void read_spread(struct run *r) {
    double rate = order_number(r->what, "rate", 0);
    uint16_t port = (uint16_t)order_number(r->what, "port", 0);
    r->window = (size_t)order_number(r->what, "window", 0);
    if ((rate > 0) == (r->window > 0))
        die("an order has either a rate or a window");
    if (rate > 0)
        r->interval_ns = (uint64_t)((double)SECOND_NS / rate);
    r->is_bare = port != 0;
    if (r->is_bare) {
        r->bare_since_ns = must_alloc(WRITER_RING * sizeof(*r->bare_since_ns));
        r->bare_value = r->b->crowd.viewers[0].version;
        sockets_connect(&r->b->sockets, &r->bare, port, on_bare_readable);
    } else {
        open_writer(r, r->window ? r->window : N_WRITERS, on_change_answered);
    }
}

static bool is_over(const struct run *r, uint64_t now) {
    return now >= r->end_ns && r->n_with_all >= r->n_due &&
           (r->is_bare || r->writer.n_answered == r->writer.n_sent);
}

static void spread(struct run *r) {
    r->begin_ns = r->progress_ns = now_ns();
    r->measured_ns = r->begin_ns + seconds_ns(r->what, "warmUp", 0.5);
    r->end_ns = r->measured_ns + seconds_ns(r->what, "seconds", 5);
    for (;;) {
        pump(r);
        uint64_t now = now_ns();
        mark_window(r, now);
        if (is_over(r, now))
            return;
        expect_progress(r, "spreading");
        uint64_t due = r->interval_ns && (r->is_bare || r->writer.n_idle)
                           ? r->begin_ns + r->n_due * r->interval_ns
                           : r->end_ns;
        uint64_t edge = r->window_began ? r->end_ns : r->measured_ns;
        sockets_wait(&r->b->sockets, now >= r->end_ns ? r->progress_ns + PATIENCE_NS
                                     : due < edge     ? due
                                                      : edge);
    }
}

static json_t *run_spread(struct crowd_bench *b, const json_t *what) {
    struct run r;
    struct crowd *c = &b->crowd;
    if (!c->n || c->n_done - c->n_refused < c->n || !c->is_shared)
        die("an order to spread among viewers who are not there");
    run_begin(&r, b, what);
    read_spread(&r);
    c->all_have = on_all_have;
    c->arg = &r;
    uint64_t n_deliveries = c->n_deliveries, n_bytes = c->n_bytes, missing = c->n_missing,
             syncs = c->n_syncs;
    spread(&r);
    double seconds = order_number(what, "seconds", 5);
    n_deliveries = c->n_deliveries - n_deliveries;
    json_t *result = json_pack(
        "{sI sI sI sf sf so sf sI sI}", "changes", (json_int_t)r.n_due, "viewers", (json_int_t)c->n,
        "deliveries", (json_int_t)n_deliveries, "throughput", (double)r.n_in_window / seconds,
        "seconds", seconds_since(r.begin_ns), "latency", samples_summary(&r.samples), "textBytes",
        n_deliveries ? (double)(c->n_bytes - n_bytes) / (double)n_deliveries : 0.0, "missing",
        (json_int_t)(c->n_missing - missing), "stateSyncs", (json_int_t)(c->n_syncs - syncs));
    c->all_have = NULL;
    c->arg = NULL;
    if (r.is_bare)
        sockets_close(&b->sockets, &r.bare);
    run_end(&r);
    return result;
}

/* ---- idle, leave ---- */

static json_t *run_idle(struct crowd_bench *b, const json_t *what) {
    uint64_t end = now_ns() + seconds_ns(what, "seconds", 10);
    while (now_ns() < end)
        sockets_wait(&b->sockets, end);
    return json_pack("{sI}", "viewers", (json_int_t)(b->crowd.n_done - b->crowd.n_refused));
}

static json_t *run_leave(struct crowd_bench *b, const json_t *what) {
    (void)what;
    crowd_done(&b->crowd);
    return json_pack("{sI}", "changes", (json_int_t)b->n_changes);
}

/* ---- orders ---- */

json_t *crowd_phase_run(struct crowd_bench *b, const json_t *what) {
    static const struct {
        const char *name;
        json_t *(*run)(struct crowd_bench *b, const json_t *what);
    } orders[] = {{"create", run_create}, {"patch", run_patch},   {"join", run_join},
                  {"bare", run_bare},     {"spread", run_spread}, {"idle", run_idle},
                  {"leave", run_leave}};
    const char *name = order_text(what, "do", "");
    for (size_t i = 0; i < N_ELEMENTS(orders); i++)
        if (strcmp(orders[i].name, name) == 0)
            return orders[i].run(b, what);
    die("an order that nobody knows: %s", name);
}

void crowd_bench_init(struct crowd_bench *b, json_t *setup) {
    b->api_port = (uint16_t)order_number(setup, "apiPort", 0);
    b->ws_port = (uint16_t)order_number(setup, "wsPort", 0);
    b->tokens = json_incref(json_object_get(setup, "tokens"));
    b->n_users = json_array_size(b->tokens);
    if (!b->n_users)
        die("the set-up has no tokens");
    b->sessions = must_alloc(b->n_users * sizeof(*b->sessions));
}

void crowd_bench_done(struct crowd_bench *b) {
    crowd_done(&b->crowd);
    json_decref(b->tokens);
    free(b->sessions);
}
