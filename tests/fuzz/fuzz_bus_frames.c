/* Bytes from the broker, through librabbitmq's parser of frames: what comes out are whole messages
 * within their bounds, whatever the pieces they came in; and a message of ours, printed and read,
 * is the same. */
#include <amqp.h>

#include "common/bus_connect.h"
#include "common/bus_frames.h"
#include "fuzz_bus_message.h"

#define MAX_FRAMES 400

static bool fits(const char *text, size_t cap) {
    return memchr(text, '\0', cap) != NULL;
}

static void check_message(const struct bus_message *m) {
    must_hold(m->body && (m->body_len == 0 || !m->too_large) && m->body_len <= BUS_BODY_MAX);
    must_hold(fits(m->message_id, sizeof(m->message_id)) && fits(m->type, sizeof(m->type)) &&
              fits(m->correlation_id, sizeof(m->correlation_id)) &&
              fits(m->reply_to, sizeof(m->reply_to)) && fits(m->device_id, sizeof(m->device_id)) &&
              fits(m->command_id, sizeof(m->command_id)) &&
              fits(m->key_hash, sizeof(m->key_hash)) &&
              fits(m->fingerprint, sizeof(m->fingerprint)) && fits(m->reason, sizeof(m->reason)));
    must_hold(m->timestamp_ms >= 0 && m->routing_key_len <= BUS_SHORT_TEXT_MAX);
    must_hold(m->epoch <= UINT64_MAX && strlen(m->routing_key) <= m->routing_key_len);
    for (size_t i = 0; i < m->body_len; i++)
        (void)*(volatile const char *)(m->body + i);
}

static void check_method(const amqp_method_t *method) {
    char why[BUS_WHY_CAP];
    if (method->id == AMQP_CHANNEL_CLOSE_METHOD || method->id == AMQP_CONNECTION_CLOSE_METHOD) {
        bus_close_reason(method->id, method->decoded, why);
        must_hold(strlen(why) < sizeof(why));
    }
}

/* Reads what there is. last: the last message, to be looked at before the next frame. */
static size_t take_all(amqp_connection_state_t conn, const char *data, size_t size,
                       void (*check)(const struct bus_message *m)) {
    struct bus_inbound in = {0};
    size_t n_messages = 0, n = 0;
    amqp_bytes_t left = {size, (void *)(uintptr_t)data};
    while (left.len > 0 && n++ < MAX_FRAMES) {
        amqp_frame_t frame;
        int used = amqp_handle_input(conn, left, &frame);
        if (used <= 0)
            break;
        left.bytes = (char *)left.bytes + used;
        left.len -= (size_t)used;
        if (frame.frame_type == 0)
            continue;
        enum bus_piece piece = bus_inbound_take(&in, &frame);
        if (piece == BUS_PIECE_METHOD)
            check_method(&frame.payload.method);
        if (piece == BUS_PIECE_MESSAGE) {
            check(&in.message);
            n_messages++;
        }
        if (piece == BUS_PIECE_WRONG)
            break;
        amqp_maybe_release_buffers(conn);
    }
    bus_inbound_done(&in);
    return n_messages;
}

/* One that has read the broker's protocol header: then librabbitmq lets it be tuned. */
static amqp_connection_state_t new_connection(void) {
    static char header[] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};
    amqp_bytes_t bytes = {sizeof(header), header};
    amqp_frame_t frame;
    amqp_connection_state_t conn = amqp_new_connection();
    must_hold(conn && amqp_handle_input(conn, bytes, &frame) == (int)sizeof(header));
    must_hold(amqp_tune_connection(conn, 10, 131072, 0) == AMQP_STATUS_OK);
    return conn;
}

/* ---- our own ---- */

static const struct bus_message *expected;

static void compare(const struct bus_message *m) {
    const struct bus_message *e = expected;
    must_hold(m->body_len == e->body_len && memcmp(m->body, e->body, m->body_len) == 0);
    must_hold(strcmp(m->message_id, e->message_id) == 0 && strcmp(m->type, e->type) == 0);
    must_hold(strcmp(m->device_id, e->device_id) == 0 && strcmp(m->reason, e->reason) == 0);
    must_hold(m->epoch == e->epoch && m->version == e->version && m->echo == e->echo);
    must_hold(m->timestamp_ms == e->timestamp_ms);
    must_hold(strcmp(m->reply_to, e->reply_to) == 0);
    check_message(m);
}

/* A deliver's method frame, since what is published has another. */
static void put_deliver(struct buf *out) {
    amqp_basic_deliver_t d = {.consumer_tag = amqp_cstring_bytes("c"),
                              .delivery_tag = 7,
                              .exchange = amqp_cstring_bytes("e"),
                              .routing_key = amqp_cstring_bytes("session.x")};
    must_hold(bus_put_method(out, BUS_CHANNEL, AMQP_BASIC_DELIVER_METHOD, &d) == 0);
}

static void check_own(const struct bus_message *m) {
    const struct bus_publish p = {.exchange = "e",
                                  .routing_key = "r",
                                  .body = m->body,
                                  .body_len = m->body_len,
                                  .persistent = m->echo,
                                  .expiration_ms = m->echo ? 5 : 0,
                                  .message_id = m->message_id,
                                  .correlation_id = m->correlation_id,
                                  .reply_to = m->reply_to,
                                  .type = m->type,
                                  .timestamp_ms = m->timestamp_ms,
                                  .epoch = m->epoch,
                                  .version = m->version,
                                  .device_id = m->device_id,
                                  .command_id = m->command_id,
                                  .key_hash = m->key_hash,
                                  .fingerprint = m->fingerprint,
                                  .echo = m->echo,
                                  .reason = m->reason};
    struct buf method = BUF_NULL, whole = BUF_NULL, frames = BUF_NULL;
    if (m->epoch > INT64_MAX || m->version > INT64_MAX)
        return;
    amqp_basic_publish_t publish = {.exchange = amqp_cstring_bytes("e"),
                                    .routing_key = amqp_cstring_bytes("r")};
    must_hold(bus_put_method(&method, BUS_CHANNEL, AMQP_BASIC_PUBLISH_METHOD, &publish) == 0);
    must_hold(bus_put_publish(&whole, &p, "fuzz", 4096) == 0);
    bus_put_heartbeat(&frames);
    put_deliver(&frames);
    buf_put(&frames, whole.data + method.len, whole.len - method.len);
    amqp_connection_state_t conn = new_connection();
    expected = m;
    must_hold(take_all(conn, frames.data, frames.len, compare) == 1);
    amqp_destroy_connection(conn);
    buf_done(&method);
    buf_done(&whole);
    buf_done(&frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_message m;
    amqp_connection_state_t conn = new_connection();
    (void)take_all(conn, (const char *)data, size, check_message);
    amqp_destroy_connection(conn);
    fuzz_message(data, size, &m);
    if (!m.message.too_large)
        check_own(&m.message);
    fuzz_message_done(&m);
    return 0;
}
