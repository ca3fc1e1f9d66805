/* Deliveries, connections, the batch's clock; see writer.h. What is delivered waits in order; a
 * batch is taken when there is enough or the oldest has waited long enough, and is acknowledged as
 * a whole, all before it included. */
#include "services/audit_writer/writer.h"

#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "proto/route.h"
#include "services/audit_writer/writer_private.h"

#define STATEMENT_TIMEOUT_MS 10000
#define ENOUGH_BYTES (4u << 20)    /* a batch of large bodies need not be full */
#define MAX_KEPT_BYTES (16u << 20) /* of what a connection brought that was lost */

/* ---- The batch's clock ---- */

void writer_count_pending(struct writer *w) {
    metric_set(w->pending, (double)(w->n_waiting + w->n_batch));
}

static int64_t wait_left_ms(const struct writer *w) {
    int64_t age = timestamp_monotonic_ms() - w->first->arrived_at;
    return w->app->config->audit_wait_ms - age;
}

static bool is_enough(const struct writer *w) {
    return w->n_waiting >= (size_t)w->app->config->max_batch ||
           w->n_waiting_bytes >= ENOUGH_BYTES || w->n_waiting_barriers || w->draining;
}

static void on_age(uv_timer_t *timer);

static void maybe_begin(struct writer *w) {
    writer_count_pending(w);
    if (w->closed || w->state != WRITER_COLLECTING)
        return;
    if (w->draining && (!w->first || !w->db_ready)) {
        app_drained(w->app); /* what is not acknowledged comes again, to whoever consumes next */
        return;
    }
    if (!w->first || !w->db_ready)
        return;
    int64_t left = is_enough(w) ? 0 : wait_left_ms(w);
    if (left > 0) {
        uv_timer_start(&w->age, on_age, (uint64_t)left, 0);
        return;
    }
    uv_timer_stop(&w->age);
    writer_begin(w);
}

static void on_age(uv_timer_t *timer) {
    maybe_begin(timer->data);
}

static void free_batch(struct writer *w) {
    for (size_t i = 0; i < w->n_batch; i++)
        entry_free(w->batch[i]);
    w->n_batch = w->from = w->to = 0;
}

/* All that was delivered up to the batch's end. */
static void acknowledge(struct writer *w) {
    size_t n = w->n_batch;
    while (n && !w->batch[n - 1]->tag)
        n--;
    if (n)
        bus_ack(w->consumer, w->batch[n - 1]->generation, w->batch[n - 1]->tag, true);
}

static void end_span(struct writer *w, struct entry *e) {
    struct span *span = TAKE_PTR(e->span);
    if (!span)
        return;
    span_text(span, SPAN_SYSTEM, "rabbitmq");
    span_text(span, SPAN_DESTINATION, ROUTE_AUDIT_QUEUE);
    span_text(span, SPAN_MESSAGE_ID, e->message_id);
    span_text(span, SPAN_COMMAND_ID, e->event.command_id);
    span_text(span, SPAN_EVENT_TYPE, e->type);
    span_text(span, SPAN_SESSION_ID, e->event.session_id);
    span_text(span, SPAN_ERROR, e->reason[0] ? "dead_letter" : NULL);
    span->has_failed = e->reason[0] != '\0';
    span_end(w->app->tracer, span);
}

void writer_finish(struct writer *w) {
    writer_answer_barriers(w);
    CRASH_LINK("audit.acknowledgement.sending", CRASH_BROKER);
    acknowledge(w);
    CRASH_LINK("audit.acknowledgement.sent", CRASH_BROKER);
    for (size_t i = 0; i < w->n_batch; i++)
        end_span(w, w->batch[i]);
    metric_add(w->batches, 1);
    metric_observe(w->batch_seconds, (double)(timestamp_monotonic_ms() - w->began_at) / 1000.0);
    free_batch(w);
    backoff_reset(&w->backoff);
    w->n_refusals = 0;
    metric_set(w->refused, 0);
    if (w->trouble)
        log_info(w->app->log, "audit_goes_on", "Batches are written again.");
    free(TAKE_PTR(w->trouble));
    w->state = WRITER_COLLECTING;
    maybe_begin(w);
}

/* ---- RabbitMQ ---- */

static bool all_buses_are_up(const struct writer *w) {
    return bus_is_up(w->publisher) && (!w->consumer || bus_is_up(w->consumer));
}

static void judge_broker(struct writer *w, const char *why) {
    bool up = all_buses_are_up(w);
    health_report(w->rabbitmq, w->app->log, up, why);
}

static void on_bus_up(void *arg) {
    struct writer *w = arg;
    if (all_buses_are_up(w)) /* one of the two says nothing new */
        judge_broker(w, "");
}

static void on_connect_failed(void *arg, const char *why) {
    judge_broker(arg, why);
}

static void on_publisher_down(void *arg, const char *why) {
    writer_on_publisher_lost(arg);
    judge_broker(arg, why);
}

static void wait_last(struct writer *w, struct entry *e) {
    *w->last = e;
    w->last = &e->next;
    w->n_waiting++;
    w->n_waiting_barriers += e->barrier != NULL;
    w->n_waiting_bytes += e->body_len;
}

static void take(struct writer *w, struct entry *e) {
    wait_last(w, e);
    e->span =
        span_begin(w->app->tracer, &e->event.trace, SPAN_CONSUMER, "process " ROUTE_AUDIT_QUEUE, 0);
}

/* What the lost connection brought comes again, unless the broker lost it, too: written twice it
 * changes nothing, dropped it could be gone. What is kept has a bound, since all of the prefetch
 * comes beside it; what an earlier connection brought came again on this one. A barrier asks again
 * by itself, a dead letter is one. */
static bool is_kept(const struct writer *w, const struct entry *e) {
    bool is_older = e->tag && e->generation != bus_generation(w->consumer);
    bool has_room = w->n_waiting_bytes + e->body_len <= MAX_KEPT_BYTES;
    return !e->barrier && !e->reason[0] && !is_older && has_room;
}

static void on_consumer_down(void *arg, const char *why) {
    struct writer *w = arg;
    struct entry *next = w->first;
    w->last = &w->first;
    w->first = NULL;
    w->n_waiting = w->n_waiting_bytes = w->n_waiting_barriers = 0;
    while (next) {
        struct entry *e = next;
        next = e->next;
        e->next = NULL;
        if (is_kept(w, e))
            wait_last(w, e);
        else
            entry_free(e);
    }
    uv_timer_stop(&w->age);
    judge_broker(w, why);
    maybe_begin(w);
}

/* While it drains it takes no more, but stays the queue's consumer: would it cancel, the next one
 * had the queue, and answered a barrier, before what is in hand here is committed. What is not
 * acknowledged the broker puts back into its place when the connection ends. */
static void on_message(void *arg, const struct bus_message *m) {
    struct writer *w = arg;
    CRASH_LINK("audit.delivery.received", CRASH_BROKER);
    if (!w->draining)
        take(w, entry_new(m, bus_generation(w->consumer), timestamp_monotonic_ms()));
}

static void on_turn(void *arg) {
    maybe_begin(arg);
}

static int open_bus(struct writer *w, struct bus **ret, const struct bus_options *options) {
    int err = bus_new(ret, w->app->loop, options);
    if (!err)
        bus_follow_url(*ret, &w->app->config->amqp_url);
    return err;
}

static int open_publisher(struct writer *w) {
    const struct bus_options options = {
        .url = w->app->config->amqp_url,
        .quorum_queues = config_wants_quorum(w->app->config),
        .connection_name = "audit_writer publishes",
        .confirms = true,
        .callbacks = {.up = on_bus_up,
                      .down = on_publisher_down,
                      .connect_failed = on_connect_failed,
                      .confirmed = writer_on_confirmed},
        .arg = w,
    };
    return open_bus(w, &w->publisher, &options);
}

/* The prefetch (8192 at most) bounds the memory: RabbitMQ counts messages, not bytes. */
static int open_consumer(struct writer *w) {
    const struct bus_options options = {
        .url = w->app->config->amqp_url,
        .quorum_queues = config_wants_quorum(w->app->config),
        .connection_name = "audit_writer consumes",
        .queue = ROUTE_AUDIT_QUEUE,
        .prefetch = (uint16_t)(2 * w->app->config->max_batch),
        .callbacks = {.up = on_bus_up,
                      .down = on_consumer_down,
                      .connect_failed = on_connect_failed,
                      .message = on_message,
                      .turn = on_turn},
        .arg = w,
    };
    return open_bus(w, &w->consumer, &options);
}

/* ---- What did not come, and Redis still has ---- */

static bool has_room(void *arg) {
    const struct writer *w = arg;
    return w->n_waiting < (size_t)w->app->config->max_batch && w->n_waiting_bytes < ENOUGH_BYTES;
}

static void on_refill(void *arg, const struct bus_message *m) {
    struct writer *w = arg;
    take(w, entry_new(m, 0, timestamp_monotonic_ms()));
    maybe_begin(w);
}

static int open_gaps(struct writer *w) {
    static const struct gaps_callbacks callbacks = {has_room, on_refill};
    return gaps_new(&w->gaps, w->app, w->db, &callbacks, w);
}

/* ---- PostgreSQL ---- */

static void judge_database(struct writer *w, const char *why) {
    health_report(w->postgresql, w->app->log, w->db_ready, why);
}

static void on_db_up(void *arg) {
    struct writer *w = arg;
    schema_connected(w->schema, w->db);
}

static void on_db_down(void *arg, const char *why) {
    struct writer *w = arg;
    if (w->closed)
        return;
    schema_disconnected(w->schema);
    written_forget(w->written); /* after a failover what was committed last may be gone */
    w->db_ready = false;
    judge_database(w, why);
}

static void on_schema_ready(void *arg) {
    struct writer *w = arg;
    w->db_ready = true;
    judge_database(w, "");
    purge_begin(w->purge);
    gaps_begin(w->gaps);
    if (!w->consumer && !w->draining && open_consumer(w))
        log_error(w->app->log, "consumer_failed", "The broker's address cannot be used.");
    if (w->state == WRITER_RESTING)
        writer_resume(w);
    else
        maybe_begin(w);
}

static void on_schema_failed(void *arg, const char *why) {
    judge_database(arg, why);
}

static int open_database(struct writer *w) {
    static const struct db_callbacks callbacks = {on_db_up, on_db_down};
    int err = db_new(&w->db, w->app->loop, w->app->config->database_url, "audit_writer",
                     STATEMENT_TIMEOUT_MS, &callbacks, w);
    if (err)
        return err;
    db_follow_url(w->db, &w->app->config->database_url);
    db_measure(w->db, metrics_answers(w->app->metrics, "postgresql"));
    w->purge = purge_new(w->app, w->db);
    return 0;
}

/* ---- Life ---- */

static void make_metrics(struct writer *w) {
    struct metrics *m = w->app->metrics;
    w->rows = metrics_counter(m, "handoff_audit_rows_total", NULL, "Events written as rows.");
    w->barriers =
        metrics_counter(m, "handoff_audit_barriers_total", NULL, "Barriers that were answered.");
    w->batches = metrics_counter(m, "handoff_audit_batches_total", NULL, "Batches written.");
    w->batch_seconds = metrics_histogram(m, "handoff_audit_batch_seconds", NULL,
                                         "From a batch's begin to its acknowledgement.");
    w->lag_seconds = metrics_gauge(m, "handoff_audit_lag_seconds", NULL,
                                   "Age of the last written event at its commit.");
    w->two_contents = metrics_counter(m, "handoff_audit_two_contents_total", NULL,
                                      "Events whose message id has a row with another content.");
    w->pending = metrics_gauge(m, "handoff_audit_pending", NULL, "Events in hand, not committed.");
    w->dead = metrics_counter(m, "handoff_audit_dead_letters_total", NULL,
                              "Messages that can never be written.");
    w->failures = metrics_counter(m, "handoff_audit_failures_total", NULL,
                                  "Tries to write or publish that failed and are repeated.");
    w->refused = metrics_gauge(m, "handoff_audit_refused", NULL,
                               "1 while PostgreSQL is there and refuses what is to be written.");
}

static void init_timer(struct writer *w, uv_timer_t *timer) {
    uv_timer_init(w->app->loop, timer);
    timer->data = w;
    w->n_open++;
}

int writer_start(struct app *app, void **ret_self) {
    static const struct schema_callbacks schema_callbacks = {on_schema_ready, on_schema_failed};
    struct writer *w = must_alloc(sizeof(*w));
    w->app = app;
    w->last = &w->first;
    w->batch = must_alloc((size_t)app->config->max_batch * sizeof(struct entry *));
    w->written = written_new();
    init_timer(w, &w->age);
    init_timer(w, &w->retry);
    make_metrics(w);
    w->rabbitmq = health_add(app->health, "rabbitmq");
    w->postgresql = health_add(app->health, "postgresql");
    w->schema = schema_new(app, &schema_callbacks, w);
    int err = open_publisher(w);
    if (!err)
        err = open_database(w);
    if (!err)
        err = open_gaps(w);
    if (err) {
        log_error(
            app->log, "start_failed", "An address cannot be used.",
            LOG_TEXT("hint",
                     "Look at HANDOFF_AMQP_URL, HANDOFF_DATABASE_URL and HANDOFF_REDIS_URL."));
        writer_stop(w);
        return err;
    }
    *ret_self = w;
    return 0;
}

void writer_drain(void *self) {
    struct writer *w = self;
    w->draining = true;
    gaps_stop(w->gaps);
    purge_stop(w->purge);
    if (w->state == WRITER_RESTING)
        app_drained(w->app);
    else
        maybe_begin(w);
}

static void on_closed(uv_handle_t *handle) {
    struct writer *w = handle->data;
    if (--w->n_open)
        return;
    free(w->trouble);
    free(w->batch);
    written_free(w->written);
    free(w);
}

void writer_stop(void *self) {
    struct writer *w = self;
    w->closed = true;
    w->consumer = bus_free(w->consumer);
    w->publisher = bus_free(w->publisher);
    w->schema = schema_free(w->schema);
    w->db = db_free(w->db);
    w->gaps = gaps_free(w->gaps);
    w->purge = purge_free(w->purge);
    while (w->first) {
        struct entry *next = w->first->next;
        entry_free(w->first);
        w->first = next;
    }
    free_batch(w);
    uv_close((uv_handle_t *)&w->age, on_closed);
    uv_close((uv_handle_t *)&w->retry, on_closed);
}
