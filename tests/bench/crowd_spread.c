/* Changes to one session that all viewers watch, saturated or at a rate; see crowd_phase.h. */
#include "tests/bench/crowd_run.h"
#include "tests/bench/orders.h"

static uint64_t since_of(const struct crowd_run *r, uint64_t value) {
    return r->is_bare ? r->bare_since_ns[value % WRITER_RING] : writer_since_ns(&r->writer, value);
}

static void write_one(struct crowd_run *r, uint64_t since_ns) {
    r->n_due++;
    if (!r->is_bare) {
        crowd_run_change(r, 0, since_ns);
        return;
    }
    r->bare_since_ns[++r->bare_value % WRITER_RING] = since_ns;
    source_send(&r->bare, "r", 1);
}

static void pump(struct crowd_run *r) {
    uint64_t now = now_ns();
    while ((r->is_bare || r->writer.n_idle) && now < r->end_ns) {
        uint64_t due = r->window ? now : r->begin_ns + r->n_due * r->interval_ns;
        if (due > now || due >= r->end_ns || (r->window && r->n_due - r->n_with_all >= r->window))
            return;
        write_one(r, due);
    }
}

static void mark_window(struct crowd_run *r, uint64_t now) {
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
    struct crowd_run *r = c->arg;
    if (!r)
        return;
    uint64_t now = r->progress_ns = now_ns(), since = since_of(r, value);
    r->n_with_all++;
    if (since >= r->measured_ns)
        samples_add(&r->samples, now - since);
    pump(r);
}

static void on_change_answered(struct writer *w, struct http_client *c, int status) {
    crowd_run_patched(w, c, status);
    pump(w->arg);
}

static void on_bare_readable(struct source *s) {
    (void)s;
    die("bare_send ended");
}

/* To another server an event goes with its version: on one connection, which keeps their order. */
static size_t n_writers(const struct crowd_run *r) {
    return r->b->text_bytes ? 1 : r->window ? r->window : CROWD_N_WRITERS;
}

static void read_spread(struct crowd_run *r) {
    double rate = order_number(r->what, "rate", 0);
    uint16_t port = (uint16_t)order_number(r->what, "port", 0);
    r->window = (size_t)order_number(r->what, "window", 0);
    if ((rate > 0) == (r->window > 0))
        die("an order has either a rate or a window");
    if (rate > 0)
        r->interval_ns = (uint64_t)((double)CROWD_SECOND_NS / rate);
    r->is_bare = port != 0;
    if (r->is_bare) {
        r->bare_since_ns = must_alloc(WRITER_RING * sizeof(*r->bare_since_ns));
        r->bare_value = r->b->crowd.viewers[0].version;
        sockets_connect(&r->b->sockets, &r->bare, port, on_bare_readable);
    } else {
        crowd_run_open_writer(r, n_writers(r), on_change_answered);
    }
}

static bool is_over(const struct crowd_run *r, uint64_t now) {
    return now >= r->end_ns && r->n_with_all >= r->n_due &&
           (r->is_bare || r->writer.n_answered == r->writer.n_sent);
}

static void spread(struct crowd_run *r) {
    r->begin_ns = r->progress_ns = now_ns();
    r->measured_ns = r->begin_ns + crowd_run_seconds_ns(r->what, "warmUp", 0.5);
    r->end_ns = r->measured_ns + crowd_run_seconds_ns(r->what, "seconds", 5);
    for (;;) {
        pump(r);
        uint64_t now = now_ns();
        mark_window(r, now);
        if (is_over(r, now))
            return;
        crowd_run_expect_progress(r, "spreading");
        uint64_t due = r->interval_ns && (r->is_bare || r->writer.n_idle)
                           ? r->begin_ns + r->n_due * r->interval_ns
                           : r->end_ns;
        uint64_t edge = r->window_began ? r->end_ns : r->measured_ns;
        sockets_wait(&r->b->sockets, now >= r->end_ns ? r->progress_ns + CROWD_PATIENCE_NS
                                     : due < edge     ? due
                                                      : edge);
    }
}

json_t *crowd_spread_run(struct crowd_bench *b, const json_t *what) {
    struct crowd_run r;
    struct crowd *c = &b->crowd;
    if (!c->n || c->n_done - c->n_refused < c->n || !c->is_shared)
        die("an order to spread among viewers who are not there");
    crowd_run_begin(&r, b, what);
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
        "seconds", crowd_run_seconds_since(r.begin_ns), "latency", samples_summary(&r.samples),
        "textBytes", n_deliveries ? (double)(c->n_bytes - n_bytes) / (double)n_deliveries : 0.0,
        "missing", (json_int_t)(c->n_missing - missing), "stateSyncs",
        (json_int_t)(c->n_syncs - syncs));
    c->all_have = NULL;
    c->arg = NULL;
    if (r.is_bare)
        sockets_close(&b->sockets, &r.bare);
    crowd_run_end(&r);
    return result;
}
