/* Publishing with confirms; see publisher.h. A message is in one of two places: in `waiting` until
 * it was sent on this connection, then in `sent`, which is indexed by the broker's sequence
 * numbers. */
#include "services/state_engine/publisher.h"

#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "proto/route.h"
#include "services/state_engine/publisher_private.h"

#define MAX_UNCONFIRMED 8192
#define MAX_UNCONFIRMED_BYTES (64u << 20)

void publisher_wait_for_sending(struct publisher *p, struct outgoing *o) {
    o->next = NULL;
    *p->waiting_end = o;
    p->waiting_end = &o->next;
}

/* ---- confirms ---- */

static void end_span(struct publisher *p, const struct event *e, struct span *span) {
    if (!span)
        return;
    span_text(span, SPAN_SYSTEM, "rabbitmq");
    span_text(span, SPAN_DESTINATION, ROUTE_UPDATES_EXCHANGE);
    span_text(span, SPAN_MESSAGE_ID, e->message_id);
    span_text(span, SPAN_COMMAND_ID, e->command_id);
    span_text(span, SPAN_EVENT_TYPE, event_type_name(e->type));
    span_text(span, SPAN_SESSION_ID, e->session_id);
    span_end(p->app->tracer, span);
}

static void finish(struct publisher *p, struct outgoing *o) {
    struct saved *saved = o->saved;
    uint64_t begun_ns = o->begun_ns;
    if (o->dead_queue)
        CRASH_LINK("engine.dead_letter.confirmed", CRASH_BROKER);
    p->n_unconfirmed--;
    p->n_bytes -= o->event.body_len;
    bool is_last = --saved->n_open == 0;
    if (is_last && saved->lease_until)
        p->callbacks.told(p->arg, saved->session_id, o->event.device_id, saved->lease_until);
    end_span(p, &o->event, o->span);
    event_done(&o->event);
    free(o);
    metric_add(p->n_confirmed, 1);
    metric_observe(p->confirm_seconds, (double)(uv_hrtime() - begun_ns) / 1e9);
    if (!is_last)
        return;
    if (saved->is_version)
        marks_add(&p->marks, saved->session_id, saved->position);
    CRASH_LINK("engine.confirm.noted", CRASH_BROKER);
    p->callbacks.confirmed(p->arg, saved->delivery);
    free(saved);
}

static void confirm_one(struct publisher *p, uint64_t seq, bool ok) {
    struct outgoing *o = TAKE_PTR(p->sent[seq % PUBLISHER_N_SENT]);
    if (!o)
        return;
    if (ok) {
        finish(p, o);
    } else {
        o->next = p->nacked;
        p->nacked = o;
    }
}

/* Not at once: what made the broker refuse (a full queue) is still there, and the two would keep
 * each other busy. */
void publisher_retry(struct publisher *p) {
    while (p->nacked) {
        struct outgoing *o = p->nacked;
        p->nacked = o->next;
        publisher_wait_for_sending(p, o);
    }
}

static void on_confirmed(void *arg, uint64_t seq, bool multiple, bool ok) {
    struct publisher *p = arg;
    if (seq < p->seq_first || seq >= p->seq_end)
        return;
    if (CRASH_POINT_CUT("engine.confirm.received", CRASH_BROKER))
        return;
    for (uint64_t i = multiple ? p->seq_first : seq; i <= seq; i++)
        confirm_one(p, i, ok);
    /* Barriers stand as NULL: nobody waits for their confirms, so they may be passed before. */
    while (p->seq_first != p->seq_end && !p->sent[p->seq_first % PUBLISHER_N_SENT])
        p->seq_first++;
}

/* ---- sending ---- */

static const char *text_or_null(const char *text) {
    return *text ? text : NULL;
}

static int send_event(struct publisher *p, const struct event *e, uint64_t *ret_seq) {
    char key[ROUTE_KEY_CAP];
    route_event_key(e->session_id, e->type, key);
    struct bus_publish m = {
        .exchange = ROUTE_UPDATES_EXCHANGE,
        .routing_key = key,
        .body = e->body,
        .body_len = e->body_len,
        .persistent = event_is_durable(e->type),
        .message_id = e->message_id,
        .type = event_type_name(e->type),
        .timestamp_ms = e->timestamp,
        .epoch = e->position.epoch,
        .version = e->position.version,
        .device_id = text_or_null(e->device_id),
        .command_id = text_or_null(e->command_id),
        .key_hash = text_or_null(e->key_hash),
        .fingerprint = text_or_null(e->fingerprint),
        .cloud_event_subject = p->app->config->cloudevents ? e->session_id : NULL,
        .trace = &e->trace,
    };
    return bus_publish(p->bus, &m, ret_seq);
}

static int send_dead(struct publisher *p, const struct outgoing *o, uint64_t *ret_seq) {
    struct bus_publish m = {
        .exchange = "",
        .routing_key = o->dead_queue,
        .body = o->event.body,
        .body_len = o->event.body_len,
        .persistent = true,
        .timestamp_ms = timestamp_wall_ms(),
        .reason = o->reason,
    };
    return bus_publish(p->bus, &m, ret_seq);
}

static int send_one(struct publisher *p, const struct outgoing *o, uint64_t *ret_seq) {
    if (o->barrier[0])
        return publisher_send_barrier(p, o->barrier, ret_seq);
    return o->dead_queue ? send_dead(p, o, ret_seq) : send_event(p, &o->event, ret_seq);
}

static void note_sent(struct publisher *p, uint64_t seq, struct outgoing *o) {
    p->sent[seq % PUBLISHER_N_SENT] = o;
    p->seq_end = seq + 1;
    metric_add(p->n_published, 1);
}

static bool may_send(const struct publisher *p) {
    return p->seq_end - p->seq_first < PUBLISHER_N_SENT;
}

void publisher_send_waiting(struct publisher *p) {
    while (p->waiting && may_send(p)) {
        struct outgoing *o = p->waiting;
        uint64_t seq;
        if (send_one(p, o, &seq) != 0)
            return;
        p->waiting = o->next;
        if (!p->waiting)
            p->waiting_end = &p->waiting;
        note_sent(p, seq, o->barrier[0] ? NULL : o);
        CRASH_LINK("engine.publish.put", CRASH_BROKER);
        if (o->barrier[0])
            free(o);
    }
}

/* ---- the connection ---- */

static void on_up(void *arg) {
    struct publisher *p = arg;
    p->seq_first = p->seq_end = 1;
    health_report(p->health, p->app->log, true, "");
    bus_cork(p->bus);
    publisher_send_waiting(p);
    bus_uncork(p->bus);
    p->callbacks.up(p->arg);
}

static void on_connect_failed(void *arg, const char *why) {
    struct publisher *p = arg;
    health_report(p->health, p->app->log, false, why);
}

/* What was sent and not confirmed goes out again, before what waits. */
static void on_down(void *arg, const char *why) {
    struct publisher *p = arg;
    struct outgoing *again = NULL, **end = &again;
    for (uint64_t seq = p->seq_first; seq != p->seq_end; seq++) {
        struct outgoing *o = TAKE_PTR(p->sent[seq % PUBLISHER_N_SENT]);
        if (!o)
            continue;
        *end = o;
        end = &o->next;
    }
    *end = p->waiting;
    if (!p->waiting)
        p->waiting_end = end;
    p->waiting = again;
    if (!p->waiting)
        p->waiting_end = &p->waiting;
    p->seq_first = p->seq_end = 1;
    publisher_lose_barriers(p);
    on_connect_failed(p, why);
}

static void on_blocked(void *arg, bool blocked) {
    struct publisher *p = arg;
    if (blocked) {
        log_warn(p->app->log, "broker_blocked", "The broker takes no publications for now.",
                 LOG_TEXT("hint", "look at its memory and disk alarms"));
        return;
    }
    log_info(p->app->log, "broker_unblocked", "The broker takes publications again.");
    publisher_send_waiting(p);
    p->callbacks.up(p->arg);
}

static void on_turn(void *arg) {
    struct publisher *p = arg;
    publisher_send_waiting(p);
    metric_set(p->unconfirmed, (double)p->n_unconfirmed);
    p->callbacks.turn(p->arg);
}

int publisher_new(struct publisher **ret, struct app *app,
                  const struct publisher_callbacks *callbacks, void *arg) {
    struct publisher *p = must_alloc(sizeof(*p));
    *p = (struct publisher){.app = app, .callbacks = *callbacks, .arg = arg};
    p->seq_first = p->seq_end = 1;
    p->waiting_end = &p->waiting;
    p->health = health_add(app->health, "rabbitmq_publish");
    p->n_published = metrics_counter(app->metrics, "handoff_published_total", NULL,
                                     "Messages handed to the broker (events, dead letters).");
    p->n_confirmed = metrics_counter(app->metrics, "handoff_confirmed_total", NULL,
                                     "Messages that the broker confirmed.");
    p->unconfirmed =
        metrics_gauge(app->metrics, "handoff_unconfirmed", NULL, "Messages not confirmed yet.");
    metric_set(metrics_gauge(app->metrics, "handoff_unconfirmed_limit", NULL,
                             "Messages not confirmed from which on no command is begun."),
               MAX_UNCONFIRMED);
    p->confirm_seconds = metrics_histogram(app->metrics, "handoff_confirm_seconds", NULL,
                                           "Time from an event's save to the broker's confirm.");
    p->n_dropped_replies = metrics_counter(app->metrics, "handoff_replies_dropped_total", NULL,
                                           "Replies that could not be sent.");
    struct bus_options options = {
        .url = app->config->amqp_url,
        .quorum_queues = config_wants_quorum(app->config),
        .connection_name = "state_engine publish",
        .confirms = true,
        .queue = ROUTE_REPLY_TO, /* answers to barriers */
        .callbacks = {.up = on_up,
                      .down = on_down,
                      .connect_failed = on_connect_failed,
                      .confirmed = on_confirmed,
                      .blocked = on_blocked,
                      .message = publisher_on_message,
                      .turn = on_turn},
        .arg = p,
    };
    int r = bus_new(&p->bus, app->loop, &options);
    if (r == 0) {
        bus_follow_url(p->bus, &app->config->amqp_url);
        r = publisher_open_replies(p);
    }
    if (r != 0)
        p = publisher_free(p);
    *ret = p;
    return r;
}

static void drop(struct outgoing *o) {
    if (!o)
        return;
    if (o->saved && --o->saved->n_open == 0)
        free(o->saved);
    span_free(o->span);
    event_done(&o->event);
    free(o);
}

static void drop_all(struct outgoing *o) {
    while (o) {
        struct outgoing *next = o->next;
        drop(o);
        o = next;
    }
}

struct publisher *publisher_free(struct publisher *p) {
    if (!p)
        return NULL;
    bus_free(p->bus);
    bus_free(p->replies);
    for (uint64_t seq = p->seq_first; seq != p->seq_end; seq++)
        drop(p->sent[seq % PUBLISHER_N_SENT]);
    drop_all(p->waiting);
    drop_all(p->nacked);
    publisher_drop_answers(p);
    marks_done(&p->marks);
    free(p);
    return NULL;
}

bool publisher_has_room(const struct publisher *p) {
    return bus_is_up(p->bus) && !bus_is_blocked(p->bus) && p->n_unconfirmed < MAX_UNCONFIRMED &&
           p->n_bytes < MAX_UNCONFIRMED_BYTES;
}

bool publisher_is_ready(const struct publisher *p) {
    return !p->waiting && publisher_has_room(p);
}

/* ---- events and dead letters ---- */

static struct outgoing *outgoing_new(struct publisher *p, struct saved *saved) {
    struct outgoing *o = must_alloc(sizeof(*o));
    o->saved = saved;
    o->begun_ns = uv_hrtime();
    saved->n_open++;
    p->n_unconfirmed++;
    return o;
}

/* What has an entry in the delta window, over which the published mark moves. */
static bool stands_in_window(enum event_type type) {
    return event_is_versioned(type) || type == EVENT_SESSION_REBUILT;
}

void publisher_publish_presence(struct publisher *p, struct event *events, size_t n_events,
                                struct delivery *delivery, int64_t lease_until) {
    struct saved *saved = must_alloc(sizeof(*saved));
    saved->delivery = delivery;
    saved->lease_until = lease_until;
    saved->position = events[0].position;
    memcpy(saved->session_id, events[0].session_id, sizeof(saved->session_id));
    for (size_t i = 0; i < n_events; i++) {
        struct outgoing *o = outgoing_new(p, saved);
        o->event = events[i];
        events[i] = (struct event){0};
        o->span = span_begin(p->app->tracer, &o->event.trace, SPAN_PRODUCER,
                             "send " ROUTE_UPDATES_EXCHANGE, o->begun_ns);
        saved->is_version |= stands_in_window(o->event.type);
        p->n_bytes += o->event.body_len;
        publisher_wait_for_sending(p, o);
    }
}

void publisher_publish(struct publisher *p, struct event *events, size_t n_events,
                       struct delivery *delivery) {
    publisher_publish_presence(p, events, n_events, delivery, 0);
}

void publisher_dead(struct publisher *p, const char *queue, const void *body, size_t body_len,
                    const char *reason, struct delivery *delivery) {
    struct saved *saved = must_alloc(sizeof(*saved));
    saved->delivery = delivery;
    struct outgoing *o = outgoing_new(p, saved);
    o->dead_queue = queue;
    o->event.body = must_memdup(body, body_len);
    o->event.body_len = body_len;
    strncpy(o->reason, reason, sizeof(o->reason) - 1);
    p->n_bytes += body_len;
    publisher_wait_for_sending(p, o);
}

void publisher_cork(struct publisher *p) {
    bus_cork(p->replies);
    bus_cork(p->bus);
}

void publisher_uncork(struct publisher *p) {
    publisher_send_answers(p);
    bus_uncork(p->replies);
    publisher_send_waiting(p);
    bus_uncork(p->bus);
    if (p->n_unconfirmed > 0)
        CRASH_LINK("engine.publish.sent", CRASH_BROKER);
}

/* ---- marks ---- */

bool publisher_has_urgent_marks(const struct publisher *p) {
    return p->marks.is_urgent;
}

struct store_mark *publisher_marks(struct publisher *p, size_t *ret_n) {
    *ret_n = p->marks.n;
    return p->marks.items;
}

void publisher_marks_done(struct publisher *p) {
    marks_drop_settled(&p->marks);
}
