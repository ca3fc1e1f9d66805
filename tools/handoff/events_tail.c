/* Following the exchange of events by routing patterns; see tail_arguments.h. The queue is this
 * process's own and bounded: who reads slowly loses the oldest events, is told so, and slows nobody
 * down. Nothing is declared but that queue (with what tells the loss), so that the broker's user
 * `consumer` is enough. */
#include "tools/handoff/tail_arguments.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "common/bus.h"
#include "common/config.h"
#include "proto/event.h"
#include "proto/route.h"
#include "tools/handoff/advice.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/shown.h"
#include "tools/handoff/tail_line.h"

#define PREFETCH 100
#define BUFFER 10000
#define PATIENCE_MS 10000 /* for the first connection */
#define TELL_EVERY_MS 1000
#define HURRY_MS 1000
#define QUEUE_PREFIX "consumer."

struct events_tail {
    const struct tail_arguments *arguments;
    uv_loop_t loop;
    struct bus *bus; /* NULL: ended */
    uv_timer_t patience;
    uv_signal_t sigint, sigterm;
    size_t n_bound; /* patterns, on this connection */
    bool was_up, has_failed, has_hurried;
    bool has_missed;
    uint64_t told_drop_ms; /* uv_now, when it was told last; 0: never */
    char why[320];
};

/* ---- the end ---- */

static void end(struct events_tail *t) {
    if (!t->bus)
        return;
    t->bus = bus_free(t->bus);
    uv_close((uv_handle_t *)&t->patience, NULL);
    uv_close((uv_handle_t *)&t->sigint, NULL);
    uv_close((uv_handle_t *)&t->sigterm, NULL);
}

static void fail(struct events_tail *t, const char *why) {
    advice_rabbitmq("RabbitMQ", why);
    t->has_failed = true;
    end(t);
}

static void on_patience(uv_timer_t *timer) {
    struct events_tail *t = timer->data;
    fail(t, t->why[0] ? t->why : "it does not answer");
}

static void on_signal(uv_signal_t *handle, int number) {
    (void)number;
    end(handle->data);
}

/* ---- events ---- */

static void put_event(const struct events_tail *t, const struct bus_message *m, struct buf *out) {
    _cleanup_(event_done) struct event e = {0};
    _cleanup_(freep) char *body = must_memdup(m->body, m->body_len);
    char timestamp[TIMESTAMP_LEN + 1];
    struct fault f = {0};
    if (event_parse(m->body, m->body_len, &e, NULL, &f)) {
        fprintf(stderr, "handoff: a message that is no event: %s\n", f.detail);
        return;
    }
    if (t->arguments->json) {
        for (size_t i = 0; i < m->body_len; i++)
            buf_put(out, body[i] == '\n' || body[i] == '\r' ? " " : &body[i], 1);
    } else {
        timestamp_print(e.timestamp, timestamp);
        const struct handoff_event event = {
            .type = event_type_name(e.type),
            .position = {(int64_t)e.position.epoch, (int64_t)e.position.version},
            .timestamp = timestamp,
            .device_id = e.device_id[0] ? e.device_id : NULL,
            .json = body,
        };
        buf_printf(out, "%s\t", e.session_id);
        tail_line(&event, out);
    }
    buf_putc(out, '\n');
}

static void on_message(void *arg, const struct bus_message *m) {
    struct events_tail *t = arg;
    _cleanup_(buf_done) struct buf line = BUF_NULL;
    if (m->is_dropped) {
        if (!t->told_drop_ms || uv_now(&t->loop) - t->told_drop_ms >= TELL_EVERY_MS)
            fprintf(stderr, "handoff: the queue was full: its oldest events are lost (--buffer)\n");
        t->told_drop_ms = uv_now(&t->loop);
        t->has_missed = true;
        return;
    }
    put_event(t, m, &line);
    bus_ack(t->bus, bus_generation(t->bus), m->tag, false);
    if (!shown_flush(&line))
        end(t); /* who read it has gone */
}

/* ---- the connection ---- */

static void on_up(void *arg) {
    struct events_tail *t = arg;
    t->n_bound = 0;
    uv_timer_stop(&t->patience);
    for (size_t i = 0; i < t->arguments->n_words; i++)
        if (bus_bind(t->bus, BUS_BIND, ROUTE_UPDATES_EXCHANGE, t->arguments->words[i], i + 1)) {
            fail(t, "the queue cannot be bound");
            return;
        }
}

static void on_bound(void *arg, uint64_t ticket) {
    struct events_tail *t = arg;
    (void)ticket;
    if (++t->n_bound < t->arguments->n_words)
        return;
    fprintf(stderr, "handoff: listening\n");
    t->was_up = true;
}

static void on_down(void *arg, const char *why) {
    struct events_tail *t = arg;
    if (!t->was_up) { /* what it may not, it may not a second later either */
        fail(t, why);
        return;
    }
    fprintf(stderr, "handoff: no connection (%s); it is tried again. What happens now is missed\n",
            why);
    t->has_missed = true;
}

static void on_connect_failed(void *arg, const char *why) {
    struct events_tail *t = arg;
    snprintf(t->why, sizeof(t->why), "%s", why);
    if (!t->was_up && strstr(why, "the broker closed"))
        fail(t, why);
    else if (!t->was_up && !t->has_hurried)
        uv_timer_start(&t->patience, on_patience, HURRY_MS, 0); /* other addresses have a chance */
    t->has_hurried = true;
}

static int start(struct events_tail *t, const struct config *config) {
    const struct tail_arguments *a = t->arguments;
    const struct bus_own_queue own = {a->queue_prefix ? a->queue_prefix : QUEUE_PREFIX,
                                      (uint32_t)(a->buffer ? a->buffer : BUFFER), true};
    const struct bus_options options = {
        .url = config->amqp_url,
        .is_guest = true,
        .connection_name = "handoff tail",
        .queue = "",
        .own = &own,
        .prefetch = PREFETCH,
        .callbacks = {.up = on_up,
                      .down = on_down,
                      .connect_failed = on_connect_failed,
                      .message = on_message,
                      .bound = on_bound},
        .arg = t,
    };
    uv_loop_init(&t->loop);
    if (bus_new(&t->bus, &t->loop, &options)) {
        fprintf(stderr, "handoff: HANDOFF_AMQP_URL or --queue-prefix cannot be used\n");
        uv_loop_close(&t->loop);
        return 2;
    }
    uv_timer_init(&t->loop, &t->patience);
    uv_signal_init(&t->loop, &t->sigint);
    uv_signal_init(&t->loop, &t->sigterm);
    t->patience.data = t->sigint.data = t->sigterm.data = t;
    uv_timer_start(&t->patience, on_patience, PATIENCE_MS, 0);
    uv_signal_start(&t->sigint, on_signal, SIGINT);
    uv_signal_start(&t->sigterm, on_signal, SIGTERM);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    uv_loop_close(&t->loop);
    return t->has_failed || t->has_missed ? 1 : 0;
}

int tail_hear(const struct tail_arguments *a) {
    struct events_tail t = {.arguments = a};
    struct config config = {0};
    if (!arguments_load_config(CONFIG_CLI, &config))
        return 2;
    int code = start(&t, &config);
    config_done(&config);
    return code;
}
