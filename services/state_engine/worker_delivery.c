/* The broker's messages with commands: taken apart, acknowledged, or set aside as dead letters. */
#include <string.h>

#include "base/buf.h"
#include "base/crash_point.h"
#include "proto/route.h"
#include "services/state_engine/worker_private.h"

#define MAX_TRIES 5

void worker_begin(struct worker *w) {
    if (w->n_begun++ > 0)
        return;
    bus_cork(w->bus);
    publisher_cork(w->publisher);
}

void worker_end(struct worker *w) {
    if (--w->n_begun > 0)
        return;
    bus_uncork(w->bus);
    publisher_uncork(w->publisher);
}

/* ---- acknowledging ---- */

static void link_delivery(struct worker *w, struct delivery *d) {
    d->next = w->deliveries;
    d->link = &w->deliveries;
    if (d->next)
        d->next->link = &d->next;
    w->deliveries = d;
    w->n_deliveries++;
}

static void unlink_delivery(struct worker *w, struct delivery *d) {
    *d->link = d->next;
    if (d->next)
        d->next->link = d->link;
    w->n_deliveries--;
}

struct delivery *worker_own_delivery(struct worker *w) {
    struct delivery *d = must_alloc(sizeof(*d));
    d->n_open = 1;
    link_delivery(w, d);
    w->n_given++;
    return d;
}

/* Of a connection that is gone the message comes again: whoever takes it then judges it anew, so
 * that a refusal of now would not hold. */
static void acknowledge(struct worker *w, struct delivery *d) {
    bool counts = bus_is_up(w->bus) && bus_generation(w->bus) == d->generation;
    CRASH_LINK("engine.acknowledgement.sending", CRASH_BROKER);
    bus_ack(w->bus, d->generation, d->tag, false);
    CRASH_LINK("engine.acknowledgement.queued", CRASH_BROKER);
    if (d->n_held > 0)
        CRASH_LINK("engine.refusal.acknowledged", CRASH_BROKER);
    for (size_t i = 0; counts && i < d->n_held; i++)
        publisher_reply(w->publisher, d, &d->held[i]);
    w->n_given -= d->generation == 0;
    unlink_delivery(w, d);
    delivery_free(d);
}

void worker_close_one(struct worker *w, struct delivery *d) {
    if (d && --d->n_open == 0)
        acknowledge(w, d);
}

/* ---- refusing ---- */

static void hold(struct delivery *d, struct reply *reply) {
    d->held = must_realloc(d->held, (d->n_held + 1) * sizeof(*d->held));
    d->held[d->n_held++] = *reply;
    *reply = (struct reply){0};
}

struct span *worker_begin_span(struct worker *w, const struct job *j, struct trace_context *trace) {
    *trace = j->command.trace;
    return span_begin(w->app->tracer, trace, SPAN_CONSUMER, "process " ROUTE_COMMANDS_QUEUE,
                      j->taken_ns);
}

void worker_end_span(struct worker *w, struct span *span, const struct job *j,
                     enum fault_code code) {
    if (!span)
        return;
    span_text(span, SPAN_SYSTEM, "rabbitmq");
    span_text(span, SPAN_DESTINATION, ROUTE_COMMANDS_QUEUE);
    span_text(span, SPAN_COMMAND_ID, j->command.id);
    span_text(span, SPAN_COMMAND_KIND, command_kind_name(j->command.kind));
    span_text(span, SPAN_SESSION_ID, j->command.session_id);
    if (code != FAULT_NONE)
        span_text(span, SPAN_ERROR, fault_wire_code(code));
    span->has_failed = code != FAULT_NONE && fault_http_status(code) >= 500;
    span_end(w->app->tracer, span);
}

void worker_refuse(struct worker *w, struct job *j, struct reply *reply) {
    struct delivery *d = j->delivery;
    struct trace_context trace;
    worker_end_span(w, worker_begin_span(w, j, &trace), j, reply->fault.code);
    metric_add(w->n_commands[reply->fault.code], 1);
    worker_due_refused(w, &j->command, reply->fault.code);
    hold(d, reply);
    CRASH_LINK("engine.refusal.held", CRASH_BROKER);
    job_free(j);
    worker_close_one(w, d);
}

void worker_refuse_with(struct worker *w, struct job *j, enum fault_code code, const char *detail) {
    struct reply reply = {0};
    memcpy(reply.id, j->command.id, sizeof(reply.id));
    memcpy(reply.session_id, j->command.session_id, sizeof(reply.session_id));
    fault_set(&reply.fault, code, NULL, "%s", detail);
    worker_refuse(w, j, &reply);
}

/* ---- dead letters ---- */

/* c: one of its commands; NULL where they are not known. */
static void log_dead(const struct worker *w, const struct command *c, const char *reason) {
    static const struct command unknown;
    if (!c)
        c = &unknown;
    log_error(w->app->log, "command_dead", "A message with commands was set aside.",
              LOG_TEXT("err", reason), LOG_KNOWN("sessionId", c->session_id),
              LOG_KNOWN("commandId", c->id), LOG_TRACE(&c->trace),
              LOG_TEXT("hint", "see the queue state_engine.dead"));
}

static void to_dead_letters(struct worker *w, struct delivery *d, const char *body, size_t len,
                            const char *reason) {
    metric_add(w->n_dead, 1);
    d->n_open = 1;
    worker_begin(w);
    CRASH_LINK("engine.dead_letter.publishing", CRASH_BROKER);
    publisher_dead(w->publisher, ROUTE_COMMANDS_DEAD_QUEUE, body, len, reason, d);
    worker_end(w);
}

/* Redis refuses to count when its memory is full: then the message is run uncounted. */
int worker_count_try(struct worker *w) {
    struct delivery *d = w->jobs.first->delivery;
    const struct command *c = &w->jobs.first->command;
    if (!d->redelivered || d->is_counted)
        return 0;
    unsigned n = 0;
    CRASH_LINK("engine.redelivery.counting", CRASH_REDIS);
    int r = store_batch_count_try(w->store, c->session_id, c->id, &n);
    if (r != 0 && !store_batch_is_connected(w->store))
        return r;
    CRASH_LINK("engine.redelivery.counted", CRASH_REDIS);
    d->is_counted = true;
    if (n < MAX_TRIES)
        return 0;
    static const char why[] = "delivered again and again without an outcome";
    while (w->jobs.first && w->jobs.first->delivery == d) {
        log_dead(w, &w->jobs.first->command, why);
        job_free(queue_pop(&w->jobs));
    }
    to_dead_letters(w, d, d->body, d->body_len, why);
    return 0;
}

/* ---- taking ---- */

static void take_malformed(struct worker *w, const struct bus_message *m, const char *reason) {
    struct delivery *d = must_alloc(sizeof(*d));
    d->generation = bus_generation(w->bus);
    d->tag = m->tag;
    link_delivery(w, d);
    log_dead(w, NULL, reason);
    to_dead_letters(w, d, m->body, m->body_len, reason);
}

void worker_on_message(void *arg, const struct bus_message *m) {
    struct worker *w = arg;
    struct delivery *d = NULL;
    struct fault f;
    CRASH_LINK("engine.delivery.received", CRASH_BROKER);
    if (delivery_read(m, bus_generation(w->bus), &d, &w->jobs, &f) != 0)
        take_malformed(w, m, f.detail);
    else
        link_delivery(w, d);
}
