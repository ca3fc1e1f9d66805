/* Writing to WebSockets: straight from the loop while nothing waits (lws would have a round through
 * its poll for each), several frames in one go. */
#include <string.h>

#include "services/ws_fanout/socket_private.h"

_Static_assert(FRAME_HEADROOM >= LWS_PRE, "libwebsockets writes the frame header there");

#define WEBSOCKET_FINAL_TEXT 0x81
#define KEPT_JOINED_BYTES (256u << 10)

void socket_request_writable(struct socket *s) {
    if (lws_callback_on_writable(s->lws) < 0)
        s->is_lost = true;
}

bool socket_is_writable(const struct socket *s) {
    if (s->stream)
        return stream_is_writable(s);
    return s->lws && s->is_open && !s->is_lost && !s->close_code && !lws_partial_buffered(s->lws);
}

void socket_await_writable(struct socket *s) {
    if (s->stream)
        stream_await_writable(s);
    else if (s->lws)
        socket_request_writable(s);
}

static enum socket_result write_bytes(struct socket *s, unsigned char *bytes, size_t len,
                                      enum lws_write_protocol how) {
    if (lws_write(s->lws, bytes, len, how) < 0) {
        s->is_lost = true;
        socket_request_writable(s);
        return SOCKET_LOST;
    }
    if (!lws_partial_buffered(s->lws))
        return SOCKET_WRITTEN;
    socket_request_writable(s);
    return SOCKET_BUSY;
}

enum socket_result socket_write(struct socket *s, struct frame *f) {
    if (s->stream)
        return stream_write(s, f);
    return write_bytes(s, f->bytes + FRAME_HEADROOM, f->len, LWS_WRITE_TEXT);
}

static void put_frame(struct buf *out, const struct frame *f) {
    unsigned char header[10] = {WEBSOCKET_FINAL_TEXT};
    size_t n_length = f->len < 126 ? 0 : f->len <= UINT16_MAX ? 2 : 8;
    header[1] = n_length == 0 ? (unsigned char)f->len : n_length == 2 ? 126 : 127;
    for (size_t i = 0; i < n_length; i++)
        header[2 + i] = (unsigned char)((uint64_t)f->len >> 8 * (n_length - 1 - i));
    buf_put(out, header, 2 + n_length);
    buf_put(out, f->bytes + FRAME_HEADROOM, f->len);
}

void socket_forget_joined(struct socket_joined *j) {
    for (size_t i = 0; i < j->n; i++)
        frame_unref(j->frames[i]);
    j->n = 0;
    if (j->bytes.cap > KEPT_JOINED_BYTES)
        buf_done(&j->bytes);
    else
        buf_clear(&j->bytes);
}

static void join(struct socket_joined *j, struct frame *const *frames, size_t n) {
    static const char headroom[LWS_PRE];
    if (j->n == n && memcmp(j->frames, frames, n * sizeof(*frames)) == 0)
        return;
    socket_forget_joined(j);
    buf_put(&j->bytes, headroom, sizeof(headroom));
    for (; j->n < n; j->n++) {
        put_frame(&j->bytes, frames[j->n]);
        j->frames[j->n] = frame_ref(frames[j->n]);
    }
}

/* LWS_WRITE_HTTP is how lws sends bytes as they are, whatever the connection speaks; what the
 * kernel does not take waits in lws as ever. */
enum socket_result socket_write_many(struct socket *s, struct frame *const *frames, size_t n) {
    struct socket_joined *j = &s->server->joined;
    if (n == 1)
        return socket_write(s, frames[0]);
    join(j, frames, n);
    return write_bytes(s, (unsigned char *)j->bytes.data + LWS_PRE, j->bytes.len - LWS_PRE,
                       LWS_WRITE_HTTP);
}
