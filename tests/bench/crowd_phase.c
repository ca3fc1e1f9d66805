/* The orders of crowd_load; see crowd_phase.h. */
#include "tests/bench/crowd_phase.h"

#include <stdio.h>
#include <string.h>

#include "tests/bench/crowd_run.h"
#include "tests/bench/orders.h"

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
    struct crowd_run *r = w->arg;
    r->progress_ns = now_ns();
    if (status != 201)
        die("a create was answered with %d: %.300s", status, c->in.data);
    take_id(&r->b->sessions[c->tag], &c->in);
}

static json_t *run_create(struct crowd_bench *b, const json_t *what) {
    struct crowd_run r;
    size_t n = (size_t)order_number(what, "n", 1);
    const char *data = order_text(what, "data", "{}");
    crowd_run_begin(&r, b, what);
    crowd_run_open_writer(&r, CROWD_N_WRITERS, on_created);
    for (size_t first = b->n_sessions; r.writer.n_answered < n - first;) {
        for (; r.writer.n_idle && b->n_sessions < n; b->n_sessions++)
            writer_create(&r.writer, crowd_run_token(b, b->n_sessions), data, NULL, b->n_sessions);
        crowd_run_expect_progress(&r, "creating");
        sockets_wait(&b->sockets, r.progress_ns + CROWD_PATIENCE_NS);
    }
    json_t *result = json_pack("{sI sf}", "created", (json_int_t)r.writer.n_answered, "seconds",
                               crowd_run_seconds_since(r.begin_ns));
    crowd_run_end(&r);
    return result;
}

static json_t *run_patch(struct crowd_bench *b, const json_t *what) {
    struct crowd_run r;
    size_t n = (size_t)order_number(what, "n", 1);
    size_t n_changes = n * (size_t)order_number(what, "times", 1);
    crowd_run_begin(&r, b, what);
    crowd_run_open_writer(&r, CROWD_N_WRITERS, crowd_run_patched);
    while (r.writer.n_answered < n_changes) {
        while (r.writer.n_idle && r.writer.n_sent < n_changes)
            crowd_run_change(&r, r.writer.n_sent % n, now_ns());
        crowd_run_expect_progress(&r, "changing");
        sockets_wait(&b->sockets, r.progress_ns + CROWD_PATIENCE_NS);
    }
    json_t *result = json_pack("{sI sf}", "accepted", (json_int_t)r.writer.n_accepted, "seconds",
                               crowd_run_seconds_since(r.begin_ns));
    crowd_run_end(&r);
    return result;
}

/* ---- join ---- */

static void on_done(struct crowd *c, struct viewer *v) {
    struct crowd_run *r = c->arg;
    if (!r)
        return;
    r->progress_ns = now_ns();
    if (v->state == VIEWER_SYNCED)
        samples_add(&r->samples, r->progress_ns - v->since_ns);
}

static void connect_more(struct crowd_run *r, size_t at_once) {
    struct crowd_bench *b = r->b;
    struct crowd *c = &b->crowd;
    bool own = json_is_true(json_object_get(r->what, "own"));
    uint64_t behind = (uint64_t)order_number(r->what, "behind", 0);
    while (c->n_open < c->n && c->n_open - c->n_done < at_once) {
        size_t session = own ? c->n_open : 0;
        struct crowd_entry e = {.session = (uint32_t)session,
                                .session_id = b->sessions[session].id,
                                .token = crowd_run_token(b, c->n_open),
                                .by_message = json_is_true(json_object_get(r->what, "byMessage")),
                                .resumes = behind > 0,
                                .is_foreign = b->text_bytes > 0,
                                .since = b->sessions[session].version - behind};
        crowd_connect(c, &e);
    }
}

static void write_what_is_due(struct crowd_run *r) {
    while (r->interval_ns && r->writer.n_idle) {
        uint64_t due = r->begin_ns + r->n_due * r->interval_ns;
        if (due > now_ns())
            return;
        r->n_due++;
        crowd_run_change(r, 0, due);
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

static void await_level(struct crowd_run *r) {
    struct crowd_bench *b = r->b;
    uint64_t deadline = now_ns() + CROWD_PATIENCE_NS;
    while (r->writer.n_answered < r->writer.n_sent || !all_are_level(b)) {
        if (now_ns() > deadline)
            die("viewers do not get what was written while they joined");
        sockets_wait(&b->sockets, deadline);
    }
}

static json_t *summary_of_join(struct crowd_run *r, double seconds) {
    const struct crowd *c = &r->b->crowd;
    return json_pack("{sI sI sI ss sf so sI sI sI sI}", "wanted", (json_int_t)c->n, "synced",
                     (json_int_t)(c->n_done - c->n_refused), "refused", (json_int_t)c->n_refused,
                     "refusal", c->refusal, "throughput", (double)c->n_done / seconds, "latency",
                     samples_summary(&r->samples), "replayed", (json_int_t)c->n_replayed, "missing",
                     (json_int_t)c->n_missing, "stateSyncs", (json_int_t)c->n_syncs, "written",
                     (json_int_t)r->writer.n_accepted);
}

static json_t *run_join(struct crowd_bench *b, const json_t *what) {
    struct crowd_run r;
    size_t n = (size_t)order_number(what, "n", 1);
    size_t at_once = (size_t)order_number(what, "atOnce", 500);
    double rate = order_number(what, "rate", 0);
    if (n > b->n_users || (json_is_true(json_object_get(what, "own")) && n > b->n_sessions))
        die("more viewers than users or sessions");
    crowd_init(&b->crowd, &b->sockets, b->ws_port, n, !json_is_true(json_object_get(what, "own")));
    crowd_run_begin(&r, b, what);
    b->crowd.done = on_done;
    b->crowd.arg = &r;
    if (rate > 0) {
        r.interval_ns = (uint64_t)((double)CROWD_SECOND_NS / rate);
        crowd_run_open_writer(&r, CROWD_N_WRITERS, crowd_run_patched);
    }
    while (b->crowd.n_done < n) {
        connect_more(&r, at_once);
        write_what_is_due(&r);
        crowd_run_expect_progress(&r, "joining");
        sockets_wait(&b->sockets, r.interval_ns ? now_ns() + r.interval_ns / 4
                                                : r.progress_ns + CROWD_PATIENCE_NS);
    }
    double seconds = crowd_run_seconds_since(r.begin_ns);
    await_level(&r);
    json_t *result = summary_of_join(&r, seconds);
    b->crowd.arg = NULL;
    crowd_run_end(&r);
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

/* ---- idle, leave ---- */

static json_t *run_idle(struct crowd_bench *b, const json_t *what) {
    uint64_t end = now_ns() + crowd_run_seconds_ns(what, "seconds", 10);
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
    } orders[] = {{"create", run_create}, {"patch", run_patch},         {"join", run_join},
                  {"bare", run_bare},     {"spread", crowd_spread_run}, {"idle", run_idle},
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
    b->text_bytes = (size_t)order_number(setup, "textBytes", 0);
    if (b->text_bytes) {
        snprintf(b->sessions[0].id, sizeof(b->sessions[0].id), "bench");
        b->n_sessions = 1;
    }
}

void crowd_bench_done(struct crowd_bench *b) {
    crowd_done(&b->crowd);
    json_decref(b->tokens);
    free(b->sessions);
}
