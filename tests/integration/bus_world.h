/* For tests of common/bus.h: a loop with a deadline, probes that write down what a bus said, a
 * plain second connection to look at the broker from outside, and a TCP relay that can be cut or
 * frozen. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "common/bus.h"
#include "proto/route.h"

#define WAIT_S 60 /* unless HANDOFF_TEST_PATIENCE says less */
#define N_KEPT 4096

struct kept {
    struct bus_message m; /* body and routing_key owned */
    uint64_t generation;
};

struct probe {
    struct bus *bus;
    int n_up, n_down, n_failed, n_turns, n_confirms, n_blocked;
    size_t n_messages, n_bytes;
    struct kept kept[N_KEPT];
    uint64_t confirmed_to; /* all up to here */
    bool confirmed[N_KEPT];
    int n_nacked;
    uint64_t tickets[64];
    size_t n_tickets;
    char why[400];
    void (*hook)(struct probe *p, const char *callback); /* called last in each callback */
};

struct world {
    uv_loop_t loop;
    uv_timer_t deadline;
    bool late;
    uint64_t late_ms;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uint64_t woke_ns, longest_turn_ns;
    char *url;
    struct amqp_connection_info info; /* borrowed from url_parts */
    char *url_parts;
    amqp_connection_state_t side;
};

static void on_before_poll(uv_prepare_t *h) {
    struct world *w = h->data;
    uint64_t took = w->woke_ns ? uv_hrtime() - w->woke_ns : 0;
    if (took > w->longest_turn_ns)
        w->longest_turn_ns = took;
}

static void on_after_poll(uv_check_t *h) {
    struct world *w = h->data;
    w->woke_ns = uv_hrtime();
}

static void on_deadline(uv_timer_t *t) {
    struct world *w = t->data;
    w->late = uv_now(&w->loop) >= w->late_ms;
}

static inline uint64_t wait_ms(void) {
    const char *seconds = getenv("HANDOFF_TEST_PATIENCE");
    return 1000 * (seconds ? strtoull(seconds, NULL, 10) : WAIT_S);
}

/* Runs the loop until the expression holds; looks again every 20 ms, since it may be about what
 * only the side connection sees. */
#define WAIT_FOR(w, expr)                                                                          \
    do {                                                                                           \
        (w)->late = false;                                                                         \
        uv_update_time(&(w)->loop);                                                                \
        (w)->late_ms = uv_now(&(w)->loop) + wait_ms();                                             \
        uv_timer_start(&(w)->deadline, on_deadline, 20, 20);                                       \
        while (!(expr) && !(w)->late)                                                              \
            uv_run(&(w)->loop, UV_RUN_ONCE);                                                       \
        uv_timer_stop(&(w)->deadline);                                                             \
        assert_false((w)->late);                                                                   \
    } while (0)

/* For a part of a URL. */
static inline void put_escaped(struct buf *out, const char *text) {
    for (; *text; text++)
        buf_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
}

static inline void side_open(struct world *w) {
    w->side = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(w->side);
    if (amqp_socket_open(socket, w->info.host, w->info.port) != AMQP_STATUS_OK ||
        amqp_login(w->side, w->info.vhost[0] ? w->info.vhost : "/", 0, 131072, 0,
                   AMQP_SASL_METHOD_PLAIN, w->info.user, w->info.password)
                .reply_type != AMQP_RESPONSE_NORMAL)
        fail_msg("HANDOFF_TEST_AMQP_URL: no broker answers there");
    amqp_channel_open(w->side, 1);
    assert_int_equal(amqp_get_rpc_reply(w->side).reply_type, AMQP_RESPONSE_NORMAL);
}

static inline void side_close(struct world *w) {
    amqp_connection_close(w->side, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(w->side);
    w->side = NULL;
}

static inline bool side_ok(struct world *w) {
    return amqp_get_rpc_reply(w->side).reply_type == AMQP_RESPONSE_NORMAL;
}

/* Messages ready in a queue; -1 when there is none (and the connection is of no more use). */
static inline int side_count(struct world *w, const char *queue) {
    const amqp_queue_declare_ok_t *ok = amqp_queue_declare(
        w->side, 1, amqp_cstring_bytes(queue), true, true, false, false, amqp_empty_table);
    return ok ? (int)ok->message_count : -1;
}

static inline int side_n_consumers(struct world *w, const char *queue) {
    const amqp_queue_declare_ok_t *ok = amqp_queue_declare(
        w->side, 1, amqp_cstring_bytes(queue), true, true, false, false, amqp_empty_table);
    return ok ? (int)ok->consumer_count : -1;
}

static inline void side_purge(struct world *w, const char *queue) {
    amqp_queue_purge(w->side, 1, amqp_cstring_bytes(queue));
    assert_true(side_ok(w));
}

static int world_set_up(void **state) {
    const char *url = getenv("HANDOFF_TEST_AMQP_URL");
    if (!url) {
        fprintf(stderr, "HANDOFF_TEST_AMQP_URL is not set: it names the RabbitMQ of this test run "
                        "(amqp://user:password@host:port/vhost)\n");
        return -1;
    }
    struct world *w = must_alloc(sizeof(*w));
    w->url = must_strdup(url);
    w->url_parts = must_strdup(url);
    if (amqp_parse_url(w->url_parts, &w->info) != AMQP_STATUS_OK)
        fail_msg("HANDOFF_TEST_AMQP_URL is no amqp:// URL");
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->deadline);
    uv_prepare_init(&w->loop, &w->before_poll);
    uv_check_init(&w->loop, &w->after_poll);
    w->deadline.data = w->before_poll.data = w->after_poll.data = w;
    uv_prepare_start(&w->before_poll, on_before_poll);
    uv_check_start(&w->after_poll, on_after_poll);
    uv_unref((uv_handle_t *)&w->before_poll);
    uv_unref((uv_handle_t *)&w->after_poll);
    side_open(w);
    *state = w;
    return 0;
}

/* Also proves that every bus let go of all its handles. */
static int world_tear_down(void **state) {
    struct world *w = *state;
    if (w->side)
        side_close(w);
    uv_close((uv_handle_t *)&w->deadline, NULL);
    uv_close((uv_handle_t *)&w->before_poll, NULL);
    uv_close((uv_handle_t *)&w->after_poll, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    int r = uv_loop_close(&w->loop);
    if (r < 0)
        fprintf(stderr, "handles were left in the loop\n");
    print_message("             longest turn of the loop %.1f ms\n",
                  (double)w->longest_turn_ns / 1e6);
    free(w->url);
    free(w->url_parts);
    free(w);
    return r;
}

static inline void hook(struct probe *p, const char *callback) {
    if (p->hook)
        p->hook(p, callback);
}

static void on_up(void *arg) {
    struct probe *p = arg;
    p->n_up++;
    p->confirmed_to = 0;
    memset(p->confirmed, 0, sizeof(p->confirmed));
    hook(p, "up");
}

static void on_down(void *arg, const char *why) {
    struct probe *p = arg;
    p->n_down++;
    snprintf(p->why, sizeof(p->why), "%s", why);
    hook(p, "down");
}

static void on_connect_failed(void *arg, const char *why) {
    struct probe *p = arg;
    p->n_failed++;
    snprintf(p->why, sizeof(p->why), "%s", why);
    hook(p, "connect_failed");
}

static void on_message(void *arg, const struct bus_message *m) {
    struct probe *p = arg;
    if (p->n_messages < N_KEPT) {
        struct kept *k = &p->kept[p->n_messages];
        k->m = *m;
        k->m.body = must_memdup(m->body, m->body_len);
        k->m.routing_key = must_memdup(m->routing_key, m->routing_key_len);
        k->generation = bus_generation(p->bus);
    }
    p->n_messages++;
    p->n_bytes += m->body_len;
    hook(p, "message");
}

static void on_confirmed(void *arg, uint64_t seq, bool multiple, bool ok) {
    struct probe *p = arg;
    p->n_nacked += !ok;
    for (uint64_t i = multiple ? 1 : seq; i <= seq && i < N_KEPT; i++) {
        p->n_confirms += !p->confirmed[i];
        p->confirmed[i] = true;
    }
    while (p->confirmed_to + 1 < N_KEPT && p->confirmed[p->confirmed_to + 1])
        p->confirmed_to++;
    hook(p, "confirmed");
}

static void on_blocked(void *arg, bool blocked) {
    struct probe *p = arg;
    p->n_blocked += blocked ? 1 : -1;
    hook(p, "blocked");
}

static void on_bound(void *arg, uint64_t ticket) {
    struct probe *p = arg;
    if (p->n_tickets < N_ELEMENTS(p->tickets))
        p->tickets[p->n_tickets] = ticket;
    p->n_tickets++;
    hook(p, "bound");
}

static void on_turn(void *arg) {
    struct probe *p = arg;
    p->n_turns++;
    hook(p, "turn");
}

/* queue NULL: for publishing, with confirms. */
static inline struct probe *probe_start_typed(struct world *w, const char *url, const char *queue,
                                              bool quorum_queues) {
    struct probe *p = must_alloc(sizeof(*p));
    struct bus_options options = {
        .url = url,
        .quorum_queues = quorum_queues,
        .connection_name = "test_bus",
        .confirms = queue == NULL,
        .queue = queue,
        .prefetch = 100,
        .callbacks = {.up = on_up,
                      .down = on_down,
                      .connect_failed = on_connect_failed,
                      .message = on_message,
                      .confirmed = on_confirmed,
                      .blocked = on_blocked,
                      .bound = on_bound,
                      .turn = on_turn},
        .arg = p,
    };
    assert_int_equal(bus_new(&p->bus, &w->loop, &options), 0);
    return p;
}

static inline struct probe *probe_start(struct world *w, const char *url, const char *queue) {
    return probe_start_typed(w, url, queue, false);
}

static inline struct probe *probe_up(struct world *w, const char *url, const char *queue) {
    struct probe *p = probe_start(w, url, queue);
    WAIT_FOR(w, p->n_up == 1);
    return p;
}

static inline void probe_stop(struct probe *p) {
    p->bus = bus_free(p->bus);
    for (size_t i = 0; i < p->n_messages && i < N_KEPT; i++) {
        union {
            const char *borrowed;
            char *owned;
        } body = {p->kept[i].m.body}, key = {p->kept[i].m.routing_key};
        free(body.owned);
        free(key.owned);
    }
    free(p);
}

static inline int publish_text(struct probe *p, const char *exchange, const char *key,
                               const char *text) {
    struct bus_publish m = {
        .exchange = exchange, .routing_key = key, .body = text, .body_len = strlen(text)};
    return bus_publish(p->bus, &m, NULL);
}
