/* What the orders of crowd_load have in common; see crowd_run.h. */
#include "tests/bench/crowd_run.h"

#include "tests/bench/orders.h"

const char *crowd_run_token(const struct crowd_bench *b, size_t user) {
    return json_string_value(json_array_get(b->tokens, user));
}

uint64_t crowd_run_seconds_ns(const json_t *what, const char *name, double otherwise) {
    return (uint64_t)(order_number(what, name, otherwise) * (double)CROWD_SECOND_NS);
}

double crowd_run_seconds_since(uint64_t begin_ns) {
    return (double)(now_ns() - begin_ns) / (double)CROWD_SECOND_NS;
}

void crowd_run_begin(struct crowd_run *r, struct crowd_bench *b, const json_t *what) {
    *r = (struct crowd_run){.b = b, .what = what};
    r->begin_ns = r->progress_ns = now_ns();
}

void crowd_run_open_writer(struct crowd_run *r, size_t n_connections,
                           void (*answered)(struct writer *w, struct http_client *c, int status)) {
    writer_open(&r->writer, &r->b->sockets, r->b->api_port, n_connections);
    r->writer.answered = answered;
    r->writer.arg = r;
}

void crowd_run_end(struct crowd_run *r) {
    if (r->writer.clients)
        writer_close(&r->writer);
    samples_done(&r->samples);
    free(r->bare_since_ns);
}

void crowd_run_expect_progress(const struct crowd_run *r, const char *doing) {
    if (now_ns() > r->progress_ns + CROWD_PATIENCE_NS)
        die("%s: nothing for 10 s (%llu sent, %llu answered)", doing,
            (unsigned long long)r->writer.n_sent, (unsigned long long)r->writer.n_answered);
}

void crowd_run_patched(struct writer *w, struct http_client *c, int status) {
    struct crowd_run *r = w->arg;
    r->progress_ns = now_ns();
    if (status != 200 && !(r->b->text_bytes && (status == 201 || status == 202)))
        die("a change was answered with %d: %.300s", status, c->in.data);
}

void crowd_run_change(struct crowd_run *r, size_t session, uint64_t since_ns) {
    struct crowd_bench *b = r->b;
    struct crowd_session *s = &b->sessions[session];
    s->version++;
    if (b->text_bytes)
        writer_publish(&r->writer, s->id, s->version, b->text_bytes, since_ns);
    else
        writer_patch(&r->writer, s->id, crowd_run_token(b, session), since_ns);
    b->n_changes++;
}
