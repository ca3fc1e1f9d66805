/* One open connection in the loop: reads frames through librabbitmq's parser (without waiting),
 * hands them to the callbacks, and writes our own frames as the socket takes them. Nothing here
 * blocks. */
#include <amqp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/bus_private.h"

#define EARLY_FLUSH_BYTES (256u << 10) /* held frames are not collected beyond this */
#define KEPT_BYTES (1u << 20)          /* of a buffer that is empty again */
#define TURN_BUDGET                                                                                \
    8192 /* a frame costs 1, and 1 for each KiB of body; then others in the loop run */

size_t bus_io_n_waiting(const struct bus *b) {
    return b->out.len - b->n_written;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct bus *b) {
    int events = UV_READABLE | (bus_io_n_waiting(b) ? UV_WRITABLE : 0);
    if (events == b->poll_events)
        return;
    b->poll_events = events;
    uv_poll_start(b->poll, events, on_poll);
}

static void compact(struct bus *b) {
    if (b->n_written == b->out.len) {
        b->n_written = 0;
        if (b->out.cap > KEPT_BYTES)
            buf_done(&b->out);
        else
            buf_clear(&b->out);
    } else if (b->n_written > b->out.len / 2) {
        b->out.len -= b->n_written;
        memmove(b->out.data, b->out.data + b->n_written, b->out.len);
        b->n_written = 0;
    }
}

static void put(struct bus *b, uint16_t channel, uint32_t id, void *method) {
    if (bus_put_method(&b->out, channel, id, method) < 0)
        bus_lose_later(b, "a method of ours could not be encoded");
}

static void put_ack(void *arg, uint64_t tag, bool multiple) {
    amqp_basic_ack_t m = {.delivery_tag = tag, .multiple = multiple};
    put(arg, BUS_CHANNEL, AMQP_BASIC_ACK_METHOD, &m);
}

void bus_io_ack_all(struct bus *b, uint64_t tag) {
    bus_acks_put(&b->acks, put_ack, b); /* the broker takes none that one of ours covered */
    bus_acks_skip_to(&b->acks, tag);
    put_ack(b, tag, true);
}

void bus_io_flush(struct bus *b) {
    if (!b->poll || b->failed)
        return;
    bus_acks_put(&b->acks, put_ack, b);
    int fd = amqp_get_sockfd(b->link.conn);
    while (bus_io_n_waiting(b)) {
        ssize_t n =
            send(fd, b->out.data + b->n_written, bus_io_n_waiting(b), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN)
                bus_lose_later(b, strerror(errno));
            break;
        }
        b->n_written += (size_t)n;
        b->sent_ms = uv_now(b->loop);
    }
    compact(b);
    watch(b);
}

void bus_io_put(struct bus *b) {
    bool is_held = b->n_corks || b->is_in_turn;
    if (!is_held || bus_io_n_waiting(b) > EARLY_FLUSH_BYTES)
        bus_io_flush(b);
}

void bus_io_close_politely(struct bus *b) {
    bus_acks_put(&b->acks, put_ack, b); /* behind the close they would be nothing */
    put(b, 0, AMQP_CONNECTION_CLOSE_METHOD,
        &(amqp_connection_close_t){.reply_code = AMQP_REPLY_SUCCESS,
                                   .reply_text = amqp_cstring_bytes("bye")});
    bus_io_flush(b);
}

static void confirmed(struct bus *b, uint64_t seq, bool multiple, bool ok) {
    b->has_news = true;
    if (b->callbacks.confirmed)
        b->callbacks.confirmed(b->arg, seq, multiple, ok);
}

static void set_blocked(struct bus *b, bool blocked) {
    b->blocked = blocked;
    if (b->callbacks.blocked)
        b->callbacks.blocked(b->arg, blocked);
}

/* bind-ok and unbind-ok name nothing; a channel answers in order. */
static void next_ticket(struct bus *b) {
    if (b->first_ticket == b->n_tickets)
        return;
    uint64_t ticket = b->tickets[b->first_ticket++];
    if (b->first_ticket == b->n_tickets)
        b->first_ticket = b->n_tickets = 0;
    if (ticket == 0)
        return;
    b->has_news = true;
    if (b->callbacks.bound)
        b->callbacks.bound(b->arg, ticket);
}

static void closed_by_broker(struct bus *b, const amqp_method_t *method) {
    char why[BUS_WHY_CAP];
    bus_close_reason(method->id, method->decoded, why);
    if (method->id == AMQP_CONNECTION_CLOSE_METHOD) {
        put(b, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &(amqp_connection_close_ok_t){0});
        bus_io_flush(b);
    } else {
        bus_io_close_politely(b);
    }
    bus_lose(b, why);
}

static void on_method(struct bus *b, const amqp_method_t *method) {
    switch (method->id) {
    case AMQP_BASIC_ACK_METHOD: {
        const amqp_basic_ack_t *m = method->decoded;
        confirmed(b, m->delivery_tag, m->multiple, true);
        break;
    }
    case AMQP_BASIC_NACK_METHOD: {
        const amqp_basic_nack_t *m = method->decoded;
        confirmed(b, m->delivery_tag, m->multiple, false);
        break;
    }
    case AMQP_QUEUE_BIND_OK_METHOD:
    case AMQP_QUEUE_UNBIND_OK_METHOD:
        next_ticket(b);
        break;
    case AMQP_CONNECTION_BLOCKED_METHOD:
        set_blocked(b, true);
        break;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        set_blocked(b, false);
        break;
    case AMQP_BASIC_CANCEL_METHOD:
        bus_io_close_politely(b);
        bus_lose(b, "the broker cancelled the consumer");
        break;
    case AMQP_CHANNEL_CLOSE_METHOD:
    case AMQP_CONNECTION_CLOSE_METHOD:
        closed_by_broker(b, method);
        break;
    default: /* cancel-ok: nothing to do */
        break;
    }
}

static size_t cost_of(const amqp_frame_t *frame) {
    return frame->frame_type == AMQP_FRAME_BODY ? 1 + frame->payload.body_fragment.len / 1024 : 1;
}

static void on_frame(struct bus *b, const amqp_frame_t *frame) {
    bool is_method = frame->frame_type == AMQP_FRAME_METHOD;
    if (b->state == BUS_CLOSING) { /* nobody wants anything any more but the end */
        if (is_method && (frame->payload.method.id == AMQP_CONNECTION_CLOSE_OK_METHOD ||
                          frame->payload.method.id == AMQP_CONNECTION_CLOSE_METHOD))
            bus_finish(b);
        return;
    }
    switch (bus_inbound_take(&b->inbound, frame)) {
    case BUS_PIECE_PART:
        break;
    case BUS_PIECE_METHOD:
        on_method(b, &frame->payload.method);
        break;
    case BUS_PIECE_MESSAGE:
        b->has_news = true;
        if (b->callbacks.message)
            b->callbacks.message(b->arg, &b->inbound.message);
        break;
    case BUS_PIECE_RETURN:
        if (b->callbacks.returned)
            b->callbacks.returned(b->arg);
        break;
    case BUS_PIECE_WRONG:
        bus_lose(b, "the broker broke the protocol");
        break;
    }
}

static bool has_buffered(const struct bus *b) {
    return amqp_frames_enqueued(b->link.conn) || amqp_data_in_buffer(b->link.conn);
}

/* False once nothing more is to be had now, or the connection is gone. */
static bool take_one(struct bus *b, size_t *budget) {
    amqp_frame_t frame;
    int status = amqp_simple_wait_frame_noblock(b->link.conn, &frame, &(struct timeval){0, 0});
    if (status == AMQP_STATUS_TIMEOUT)
        return false;
    if (status != AMQP_STATUS_OK) {
        bus_lose(b, amqp_error_string2(status));
        return false;
    }
    size_t cost = cost_of(&frame);
    *budget -= cost < *budget ? cost : *budget;
    uint64_t generation = b->generation;
    on_frame(b, &frame);
    if (!b->poll || b->generation != generation)
        return false;
    amqp_maybe_release_buffers(b->link.conn);
    return has_buffered(b);
}

static void on_again(uv_idle_t *again) {
    bus_io_drain(again->data);
}

void bus_io_drain(struct bus *b) {
    size_t budget = TURN_BUDGET;
    bool more = true;
    b->is_in_turn = true;
    while (more && budget)
        more = take_one(b, &budget);
    if (b->state == BUS_UP && b->has_news && b->callbacks.turn) {
        b->has_news = false;
        b->callbacks.turn(b->arg);
    }
    b->is_in_turn = false;
    if (b->state == BUS_GONE)
        return;
    bus_io_flush(b);
    if (more && b->poll)
        uv_idle_start(&b->again, on_again);
    else
        uv_idle_stop(&b->again);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct bus *b = poll->data;
    if (!b)
        return;
    if (b->failed) {
        bus_lose(b, b->why);
        return;
    }
    /* libuv's word for an error event without data is EBADF, which helps nobody. */
    if (status < 0) {
        bus_lose(b, "the connection broke");
        return;
    }
    if (events & UV_WRITABLE)
        bus_io_flush(b);
    if (events & UV_READABLE) {
        b->heard_ms = uv_now(b->loop);
        bus_io_drain(b);
    }
}

int bus_io_start(struct bus *b) {
    uv_poll_t *poll = must_alloc(sizeof(*poll));
    int r = uv_poll_init(b->loop, poll, amqp_get_sockfd(b->link.conn));
    if (r < 0) {
        free(poll);
        return r;
    }
    b->poll = poll;
    b->poll->data = b;
    b->poll_events = 0;
    b->heard_ms = b->sent_ms = b->up_since_ms = uv_now(b->loop);
    watch(b);
    return 0;
}

static void on_poll_closed(uv_handle_t *handle) {
    free(handle);
}

void bus_io_stop(struct bus *b) {
    if (b->poll) {
        b->poll->data = NULL;
        uv_close((uv_handle_t *)b->poll, on_poll_closed);
        b->poll = NULL;
    }
    uv_idle_stop(&b->again);
    bus_link_close(&b->link);
    bus_inbound_done(&b->inbound);
    bus_acks_done(&b->acks);
    buf_done(&b->out);
    b->n_written = 0;
    b->n_published = 0;
    b->n_tickets = b->first_ticket = 0;
    b->blocked = b->failed = b->has_news = false;
}
