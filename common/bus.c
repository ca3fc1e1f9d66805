/* RabbitMQ, see bus.h: the life of a bus. Connecting runs in libuv's thread pool (bus_connect.c),
 * since librabbitmq can only do it synchronously; an open connection lives in the loop (bus_io.c).
 */
#include "common/bus.h"

#include <amqp.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/bus_private.h"
#include "proto/route.h"

#define TICK_MS 1000
#define CLOSE_MS 1000
#define STABLE_MS                                                                                  \
    10000 /* what was up for less counts as another failure: no spin on a short life */
#define NEXT_ADDRESS_MS 20
#define WAITING_MAX (4u << 20)
#define TICKETS_MAX 65536

static void connect_now(struct bus *b);

static void release(struct bus *b) {
    if (--b->n_holders)
        return;
    bus_target_done(&b->target);
    free(b->tickets);
    free(b);
}

static void on_handle_closed(uv_handle_t *handle) {
    release(handle->data);
}

void bus_finish(struct bus *b) {
    b->state = BUS_GONE;
    bus_io_stop(b);
    uv_close((uv_handle_t *)&b->timer, on_handle_closed);
    uv_close((uv_handle_t *)&b->again, on_handle_closed);
}

/* Data that waits to be read is no silence: it was this loop that was busy. */
static bool is_silent(struct bus *b) {
    if (uv_now(b->loop) - b->heard_ms <= 2 * b->link.heartbeat_ms)
        return false;
    struct pollfd p = {.fd = amqp_get_sockfd(b->link.conn), .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

static void tick(struct bus *b) {
    if (b->failed) {
        bus_lose(b, b->why);
    } else if (b->link.heartbeat_ms && is_silent(b)) {
        bus_lose(b, "the broker is silent");
    } else if (b->link.heartbeat_ms && bus_io_n_waiting(b) == 0 &&
               uv_now(b->loop) - b->sent_ms >= b->link.heartbeat_ms / 2 - TICK_MS / 2) {
        bus_put_heartbeat(&b->out);
        bus_io_flush(b);
    }
}

static void on_timer(uv_timer_t *timer) {
    struct bus *b = timer->data;
    if (b->state == BUS_WAITING)
        connect_now(b);
    else if (b->state == BUS_UP)
        tick(b);
    else if (b->state == BUS_CLOSING)
        bus_finish(b);
}

/* With the next address: soon, as it may answer, or with backoff once none of them did. */
static void connect_later(struct bus *b) {
    size_t n = b->target.url.n_addresses;
    b->state = BUS_WAITING;
    b->address = (b->address + 1) % n;
    b->n_tried++;
    uint64_t wait_ms = b->n_tried % n ? NEXT_ADDRESS_MS : backoff_next_ms(&b->backoff);
    uv_timer_start(&b->timer, on_timer, wait_ms, 0);
}

/* what went wrong there */
static void print_why(const struct bus *b, const char *what, char ret[static BUS_WHY_CAP]) {
    char address[BUS_ADDRESS_CAP];
    bus_address_print(&b->target.url.addresses[b->address], address);
    snprintf(ret, BUS_WHY_CAP, "%.100s: %.210s", address, what);
}

void bus_lose(struct bus *b, const char *reason) {
    if (b->state == BUS_CLOSING) {
        bus_finish(b);
        return;
    }
    char why[BUS_WHY_CAP];
    print_why(b, reason, why); /* the reason may lie in what bus_io_stop frees */
    bus_io_stop(b);
    if (uv_now(b->loop) - b->up_since_ms >= STABLE_MS) {
        backoff_reset(&b->backoff);
        b->n_tried = 0;
    }
    connect_later(b);
    if (b->callbacks.down)
        b->callbacks.down(b->arg, why);
}

void bus_lose_later(struct bus *b, const char *reason) {
    if (b->failed)
        return;
    b->failed = true;
    snprintf(b->why, sizeof(b->why), "%s", reason);
    uv_timer_start(&b->timer, on_timer, 0, 0);
}

static void put_cancel(struct bus *b) {
    if (!b->target.queue)
        return;
    amqp_basic_cancel_t m = {.consumer_tag = amqp_cstring_bytes(b->link.consumer_tag)};
    if (bus_put_method(&b->out, BUS_CHANNEL, AMQP_BASIC_CANCEL_METHOD, &m) == 0)
        bus_io_put(b);
}

static void connect_failed(struct bus *b) {
    char why[BUS_WHY_CAP];
    print_why(b, b->why, why);
    bus_link_close(&b->link);
    connect_later(b);
    if (b->callbacks.connect_failed)
        b->callbacks.connect_failed(b->arg, why);
}

static void connected(struct bus *b) {
    int r = bus_io_start(b);
    if (r < 0) {
        snprintf(b->why, sizeof(b->why), "connect: %s", uv_strerror(r));
        connect_failed(b);
        return;
    }
    b->state = BUS_UP;
    b->generation++;
    uv_timer_start(&b->timer, on_timer, TICK_MS, TICK_MS);
    uint64_t generation = b->generation;
    if (b->cancelled)
        put_cancel(b);
    if (b->callbacks.up)
        b->callbacks.up(b->arg);
    /* Deliveries came while the topology was declared: librabbitmq has them, the socket is quiet.
     */
    if (b->state == BUS_UP && b->generation == generation)
        bus_io_drain(b);
}

static void work_in_pool(uv_work_t *work) {
    struct bus *b = work->data;
    const struct bus_address *address = &b->target.url.addresses[b->address];
    if (bus_link_open(&b->link, &b->target, address, &b->abandoned, b->why) < 0)
        b->link = (struct bus_link){0};
}

static void on_work_done(uv_work_t *work, int status) {
    struct bus *b = work->data;
    if (b->state == BUS_GONE)
        bus_link_close(&b->link);
    else if (status == 0 && b->link.conn)
        connected(b);
    else
        connect_failed(b);
    release(b);
}

/* Not while the thread pool has the target. */
static void follow_url(struct bus *b) {
    struct bus_url url;
    if (!b->url || bus_url_parse(&url, *b->url) < 0)
        return;
    bus_url_done(&b->target.url);
    b->target.url = url;
    b->address %= url.n_addresses;
}

void bus_follow_url(struct bus *b, char *const *url) {
    b->url = url;
}

static void connect_now(struct bus *b) {
    follow_url(b);
    b->state = BUS_CONNECTING;
    b->work.data = b;
    b->n_holders++;
    if (uv_queue_work(b->loop, &b->work, work_in_pool, on_work_done) == 0)
        return;
    b->n_holders--;
    connect_later(b);
}

static size_t random_below(size_t n) {
    uint32_t random = 0;
    if (n == 1 || getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        return 0;
    return random % n;
}

int bus_new(struct bus **ret, uv_loop_t *loop, const struct bus_options *options) {
    struct bus_target target;
    int r = bus_target_init(&target, options);
    if (r < 0)
        return r;
    struct bus *b = must_alloc(sizeof(*b));
    b->loop = loop;
    b->target = target;
    b->address = random_below(target.url.n_addresses);
    b->callbacks = options->callbacks;
    b->arg = options->arg;
    atomic_init(&b->abandoned, false);
    uv_timer_init(loop, &b->timer);
    uv_idle_init(loop, &b->again);
    b->timer.data = b->again.data = b;
    b->n_holders = 2;
    b->state = BUS_WAITING;
    uv_timer_start(&b->timer, on_timer, 0, 0);
    *ret = b;
    return 0;
}

struct bus *bus_free(struct bus *b) {
    if (!b)
        return NULL;
    b->callbacks = (struct bus_callbacks){0};
    if (b->state == BUS_CONNECTING) {
        atomic_store(&b->abandoned, true);
        uv_cancel((uv_req_t *)&b->work);
        b->state = BUS_GONE;
        uv_close((uv_handle_t *)&b->timer, on_handle_closed);
        uv_close((uv_handle_t *)&b->again, on_handle_closed);
    } else if (b->state == BUS_UP && !b->failed) {
        b->state = BUS_CLOSING;
        uv_timer_start(&b->timer, on_timer, CLOSE_MS, 0);
        bus_io_close_politely(b);
    } else {
        bus_finish(b);
    }
    return NULL;
}

bool bus_is_up(const struct bus *b) {
    return b->state == BUS_UP && !b->failed;
}

uint64_t bus_n_ready(const struct bus *b) {
    return b->link.n_ready;
}

bool bus_is_blocked(const struct bus *b) {
    return b->blocked;
}

uint64_t bus_generation(const struct bus *b) {
    return b->generation;
}

int bus_publish(struct bus *b, const struct bus_publish *m, uint64_t *ret_seq) {
    if (!bus_is_up(b))
        return -ENOTCONN;
    if (m->body_len > BUS_BODY_MAX)
        return -EMSGSIZE;
    if (b->blocked || bus_io_n_waiting(b) > WAITING_MAX)
        return -EAGAIN;
    int r = bus_put_publish(&b->out, m, b->target.connection_name, b->link.frame_max);
    if (r < 0)
        return r;
    b->n_published++;
    if (ret_seq)
        *ret_seq = b->n_published;
    bus_io_put(b);
    return 0;
}

void bus_cork(struct bus *b) {
    b->n_corks++;
}

void bus_uncork(struct bus *b) {
    if (b->n_corks && --b->n_corks == 0)
        bus_io_flush(b);
}

void bus_ack(struct bus *b, uint64_t generation, uint64_t tag, bool multiple) {
    if (!bus_is_up(b) || generation != b->generation || b->target.no_ack)
        return;
    if (multiple)
        bus_io_ack_all(b, tag);
    else
        bus_acks_add(&b->acks, tag);
    bus_io_put(b);
}

void bus_cancel(struct bus *b) {
    if (b->cancelled)
        return;
    b->cancelled = true;
    if (bus_is_up(b))
        put_cancel(b);
}

static void push_ticket(struct bus *b, uint64_t ticket) {
    if (b->n_tickets == b->tickets_cap && b->first_ticket > b->n_tickets / 2) {
        b->n_tickets -= b->first_ticket;
        memmove(b->tickets, b->tickets + b->first_ticket, b->n_tickets * sizeof(*b->tickets));
        b->first_ticket = 0;
    } else if (b->n_tickets == b->tickets_cap) {
        b->tickets_cap = b->tickets_cap ? b->tickets_cap * 2 : 64;
        b->tickets = must_realloc(b->tickets, b->tickets_cap * sizeof(*b->tickets));
    }
    b->tickets[b->n_tickets++] = ticket;
}

static int put_binding(struct bus *b, enum bus_bind what, const char *exchange,
                       const char *routing_key) {
    amqp_bytes_t queue = amqp_cstring_bytes(b->link.queue);
    if (what == BUS_BIND) {
        amqp_queue_bind_t m = {.queue = queue,
                               .exchange = amqp_cstring_bytes(exchange),
                               .routing_key = amqp_cstring_bytes(routing_key)};
        return bus_put_method(&b->out, BUS_CHANNEL, AMQP_QUEUE_BIND_METHOD, &m);
    }
    amqp_queue_unbind_t m = {.queue = queue,
                             .exchange = amqp_cstring_bytes(exchange),
                             .routing_key = amqp_cstring_bytes(routing_key)};
    return bus_put_method(&b->out, BUS_CHANNEL, AMQP_QUEUE_UNBIND_METHOD, &m);
}

int bus_bind(struct bus *b, enum bus_bind what, const char *exchange, const char *routing_key,
             uint64_t ticket) {
    if (!b->target.queue || b->target.queue[0])
        return -EINVAL;
    if (!bus_is_up(b))
        return -ENOTCONN;
    if (bus_io_n_waiting(b) > WAITING_MAX || b->n_tickets - b->first_ticket >= TICKETS_MAX)
        return -EAGAIN;
    int r = put_binding(b, what, exchange, routing_key);
    if (r < 0)
        return r;
    push_ticket(b, what == BUS_BIND ? ticket : 0);
    bus_io_put(b);
    return 0;
}
