/* Commands and their replies over the bus; see commander.h. Direct reply-to has to publish and
 * consume on one channel, so there is one bus for both. A command is queued when it is sent, in
 * flight when its message was taken by the bus; what a lost connection leaves in flight waits for
 * its deadline, since nobody can say what became of it. */
#include "common/commander.h"

#include <string.h>

#include "base/timestamp.h"
#include "common/bus.h"
#include "common/pending.h"
#include "common/replies.h"
#include "proto/route.h"

#define MESSAGE_MAX_BYTES (256u << 10) /* unless one command alone is larger */
#define RETRY_DETAIL "nothing was applied; the same request may succeed in a moment"
#define N_HANDLES 4
#define BODY_BEGIN "{\"commands\":["

struct commander {
    struct bus *bus;
    const struct store *store;
    struct log *log;
    struct health_dependency *health;
    int64_t deadline_ms;
    size_t max_in_flight;
    size_t n_in_flight;
    struct pending_table table;
    struct buf body; /* what is queued: the message, without its end */
    size_t n_queued;
    uv_prepare_t prepare; /* sends what timers and idle handles queued, before the loop sleeps */
    uv_check_t check;     /* sends what the sockets' callbacks queued */
    uv_idle_t awake;      /* keeps the loop from sleeping while something is queued or failed */
    uv_timer_t timer;     /* the oldest deadline */
    unsigned n_open_handles;
    void (*drained)(void *arg);
    void *drained_arg;
    struct metric *in_flight, *duration, *n_messages, *n_ok, *n_refused, *n_timeout, *n_unavailable;
};

/* ---- ends of a command ---- */

static void on_awake(uv_idle_t *handle) {
    (void)handle;
}

static struct metric *counter_of(struct commander *c, enum fault_code code) {
    switch (code) {
    case FAULT_NONE:
        return c->n_ok;
    case FAULT_TIMEOUT:
        return c->n_timeout;
    case FAULT_UNAVAILABLE:
        return c->n_unavailable;
    default:
        return c->n_refused;
    }
}

static void finish(struct commander *c, struct pending *p, struct reply *reply) {
    pending_remove(&c->table, p);
    c->n_in_flight--;
    metric_set(c->in_flight, (double)c->n_in_flight);
    metric_add(counter_of(c, reply->fault.code), 1);
    metric_observe(c->duration, (double)(uv_hrtime() - p->sent_at_ns) / 1e9);
    p->done(p->arg, reply);
    free(p);
}

static void finish_with_fault(struct commander *c, struct pending *p, enum fault_code code,
                              const char *detail) {
    struct reply reply = {0};
    memcpy(reply.id, p->id, sizeof(reply.id));
    memcpy(reply.session_id, p->session_id, sizeof(reply.session_id));
    (void)fault_set(&reply.fault, code, NULL, "%s", detail);
    finish(c, p, &reply);
    reply_done(&reply);
}

static void fail_later(struct commander *c, struct pending *p, const char *why) {
    p->why = why;
    pending_enter(&c->table, p, PENDING_FAILED);
    uv_idle_start(&c->awake, on_awake);
}

static void finish_failed(struct commander *c) {
    for (struct pending *p = pending_first(&c->table, PENDING_FAILED), *next; p; p = next) {
        next = p->next;
        finish_with_fault(c, p, FAULT_UNAVAILABLE, p->why);
    }
}

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *handle);

static void arm_timer(struct commander *c) {
    struct pending *oldest = pending_first(&c->table, PENDING_FLIGHT);
    if (!oldest) {
        uv_timer_stop(&c->timer);
        return;
    }
    int64_t left = oldest->sent_at + c->deadline_ms - timestamp_monotonic_ms();
    uv_timer_start(&c->timer, on_timer, left > 0 ? (uint64_t)left + 1 : 0, 0);
}

static void on_timer(uv_timer_t *handle) {
    struct commander *c = handle->data;
    int64_t now = timestamp_monotonic_ms();
    struct pending *p;
    while ((p = pending_first(&c->table, PENDING_FLIGHT)) && now - p->sent_at >= c->deadline_ms)
        finish_with_fault(
            c, p, FAULT_TIMEOUT,
            "no answer came in time; the outcome is unknown, repeat with the same key");
    arm_timer(c);
}

/* ---- sending ---- */

/* Publishes what is queued as one message. */
static void publish_queued(struct commander *c) {
    if (c->n_queued == 0)
        return;
    struct pending *first = pending_first(&c->table, PENDING_QUEUED);
    buf_puts(&c->body, "]}");
    struct bus_publish message = {.exchange = ROUTE_COMMANDS_EXCHANGE,
                                  .routing_key = ROUTE_COMMANDS_KEY,
                                  .body = c->body.data,
                                  .body_len = c->body.len,
                                  .expiration_ms = c->deadline_ms,
                                  .correlation_id = first->id,
                                  .reply_to = ROUTE_REPLY_TO};
    int err = bus_publish(c->bus, &message, NULL);
    metric_add(c->n_messages, err ? 0 : 1);
    bool was_idle = !pending_first(&c->table, PENDING_FLIGHT);
    for (struct pending *p; (p = pending_first(&c->table, PENDING_QUEUED));) {
        if (err)
            fail_later(c, p, "the broker does not take commands now; " RETRY_DETAIL);
        else
            pending_enter(&c->table, p, PENDING_FLIGHT);
    }
    c->n_queued = 0;
    buf_clear(&c->body);
    if (c->body.cap > 2 * MESSAGE_MAX_BYTES)
        buf_done(&c->body);
    if (was_idle)
        arm_timer(c);
}

static void queue_text(struct commander *c, struct pending *p, const struct command *command) {
    struct buf text = BUF_NULL;
    command_print(command, &text);
    if (c->n_queued == COMMAND_MAX_PER_MESSAGE ||
        (c->n_queued > 0 && c->body.len + text.len > MESSAGE_MAX_BYTES))
        publish_queued(c);
    if (c->n_queued == 0)
        buf_puts(&c->body, BODY_BEGIN);
    else
        buf_putc(&c->body, ',');
    buf_put(&c->body, text.data, text.len);
    buf_done(&text);
    c->n_queued++;
    pending_enter(&c->table, p, PENDING_QUEUED);
    uv_idle_start(&c->awake, on_awake);
}

void commander_send(struct commander *c, struct command *command, commander_done_fn *done,
                    void *arg) {
    int64_t now = store_now(c->store);
    if (!command->id[0])
        uuid_v7(now, command->id);
    command->deadline = now + c->deadline_ms;
    command->sent_at = store_has_time(c->store) ? now : 0;
    struct pending *p = must_alloc(sizeof(*p));
    memcpy(p->id, command->id, sizeof(p->id));
    memcpy(p->session_id, command->session_id, sizeof(p->session_id));
    p->sent_at = timestamp_monotonic_ms();
    p->sent_at_ns = uv_hrtime();
    p->done = done;
    p->arg = arg;
    pending_add(&c->table, p);
    bool is_full = c->n_in_flight >= c->max_in_flight;
    metric_set(c->in_flight, (double)++c->n_in_flight);
    if (is_full)
        fail_later(c, p, "too many commands are in flight; " RETRY_DETAIL);
    else if (!commander_is_up(c))
        fail_later(c, p, "the broker cannot be reached; " RETRY_DETAIL);
    else
        queue_text(c, p, command);
}

int commander_publish(struct commander *c, const struct bus_publish *m) {
    return bus_publish(c->bus, m, NULL);
}

static void end_turn(struct commander *c) {
    publish_queued(c);
    finish_failed(c);
    if (c->n_queued == 0 && !pending_first(&c->table, PENDING_FAILED))
        uv_idle_stop(&c->awake);
    if (c->n_in_flight == 0 && c->drained) {
        void (*drained)(void *arg) = TAKE_PTR(c->drained);
        drained(c->drained_arg);
    }
}

static void on_prepare(uv_prepare_t *handle) {
    end_turn(handle->data);
}

static void on_check(uv_check_t *handle) {
    end_turn(handle->data);
}

/* ---- the bus ---- */

static void take_reply(void *arg, struct reply *reply) {
    struct commander *c = arg;
    struct pending *p = pending_find(&c->table, reply->id);
    if (p && p->state == PENDING_FLIGHT)
        finish(c, p, reply);
}

static void on_message(void *arg, const struct bus_message *m) {
    struct commander *c = arg;
    replies_read(m->body, m->body_len, c->log, take_reply, c);
}

static void tell_health(struct commander *c, bool up, const char *why) {
    if (c->health)
        health_report(c->health, c->log, up, why);
}

static void on_up(void *arg) {
    tell_health(arg, true, "");
}

static void on_down(void *arg, const char *why) {
    tell_health(arg, false, why);
}

static void on_blocked(void *arg, bool blocked) {
    struct commander *c = arg;
    tell_health(c, !blocked, blocked ? "blocked by its memory or disk alarm" : "");
    log_warn(c->log, blocked ? "broker_blocked" : "broker_unblocked",
             blocked ? "RabbitMQ takes no messages; commands are refused."
                     : "RabbitMQ takes messages again.");
}

bool commander_is_up(const struct commander *c) {
    return bus_is_up(c->bus) && !bus_is_blocked(c->bus);
}

bool commander_may_load(const struct commander *c) {
    return 2 * c->n_in_flight < c->max_in_flight;
}

size_t commander_n_in_flight(const struct commander *c) {
    return c->n_in_flight;
}

void commander_drain(struct commander *c, void (*drained)(void *arg), void *arg) {
    c->drained = drained;
    c->drained_arg = arg;
    uv_idle_start(&c->awake, on_awake);
}

/* ---- start and end ---- */

static void add_metrics(struct commander *c, struct metrics *m) {
    static const char help[] = "Commands by what became of them.";
    c->n_ok = metrics_counter(m, "handoff_commands_total", "result=\"ok\"", help);
    c->n_refused = metrics_counter(m, "handoff_commands_total", "result=\"refused\"", help);
    c->n_timeout = metrics_counter(m, "handoff_commands_total", "result=\"timeout\"", help);
    c->n_unavailable = metrics_counter(m, "handoff_commands_total", "result=\"unavailable\"", help);
    c->n_messages = metrics_counter(m, "handoff_command_messages_total", NULL,
                                    "Messages that commands were sent in.");
    c->in_flight =
        metrics_gauge(m, "handoff_commands_in_flight", NULL, "Commands whose reply is awaited.");
    metric_set(metrics_gauge(m, "handoff_commands_in_flight_limit", NULL,
                             "Commands in flight from which on more are refused."),
               (double)c->max_in_flight);
    c->duration = metrics_histogram(m, "handoff_command_duration_seconds", NULL,
                                    "From a command to its reply.");
}

static void join_loop(struct commander *c, uv_loop_t *loop) {
    uv_prepare_init(loop, &c->prepare);
    uv_check_init(loop, &c->check);
    uv_idle_init(loop, &c->awake);
    uv_timer_init(loop, &c->timer);
    c->prepare.data = c->check.data = c->awake.data = c->timer.data = c;
    c->n_open_handles = N_HANDLES;
    uv_prepare_start(&c->prepare, on_prepare);
    uv_check_start(&c->check, on_check);
}

int commander_new(struct commander **ret, const struct commander_options *options) {
    struct commander *c = must_alloc(sizeof(*c));
    const struct bus_options bus = {.url = options->config->amqp_url,
                                    .quorum_queues = config_wants_quorum(options->config),
                                    .connection_name = options->config->instance,
                                    .queue = ROUTE_REPLY_TO,
                                    .no_ack = true,
                                    .callbacks = {.up = on_up,
                                                  .down = on_down,
                                                  .connect_failed = on_down,
                                                  .message = on_message,
                                                  .blocked = on_blocked},
                                    .arg = c};
    int err = bus_new(&c->bus, options->loop, &bus);
    if (err < 0) {
        free(c);
        return err;
    }
    bus_follow_url(c->bus, &options->config->amqp_url);
    c->store = options->store;
    c->log = options->log;
    c->health = options->health;
    c->deadline_ms = options->config->command_deadline_ms;
    c->max_in_flight = (size_t)options->config->max_commands_in_flight;
    pending_init(&c->table, c->max_in_flight);
    add_metrics(c, options->metrics);
    join_loop(c, options->loop);
    *ret = c;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle) {
    struct commander *c = handle->data;
    if (--c->n_open_handles > 0)
        return;
    pending_done(&c->table);
    buf_done(&c->body);
    free(c);
}

struct commander *commander_free(struct commander *c) {
    if (!c)
        return NULL;
    static const char ending[] = "the service is stopping";
    struct pending *p;
    while ((p = pending_first(&c->table, PENDING_QUEUED)))
        finish_with_fault(c, p, FAULT_UNAVAILABLE, ending);
    finish_failed(c);
    while ((p = pending_first(&c->table, PENDING_FLIGHT)))
        finish_with_fault(c, p, FAULT_TIMEOUT, ending);
    bus_free(c->bus);
    uv_close((uv_handle_t *)&c->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&c->check, on_handle_closed);
    uv_close((uv_handle_t *)&c->awake, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    return NULL;
}
