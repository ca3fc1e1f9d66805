/* WebSockets by libwebsockets 4.1: what it calls, and from the accepted request to the end of a
 * connection what that means. What is done in an unexpected way here and in its sister files is so
 * because of what this version does: it accepts malformed handshakes (socket_http.c), turns CONNECT
 * into a raw connection that nothing ends (refused), never sends a close frame from within
 * WRITEABLE (socket_close.c), keeps its timers in a list that each new one walks along
 * (socket_ping.c), wants a round through its poll for each write (socket_write.c), accepts all that
 * wait at once (socket_accept.c) and would take over SIGTERM (socket_server.c). Why streams are not
 * left with it: socket_stream.c. */
#include <stdlib.h>

#include "services/ws_fanout/socket_private.h"

#define MAX_EMPTY_FRAGMENTS 1000 /* of a message: no bytes, but work */
#define LAST_CLOSE_CODE 4999     /* RFC 6455, 7.4.2 */

/* ---- what comes ---- */

void socket_fail(struct socket *s, int code) {
    if (s->close_code || s->is_lost || !s->user)
        return;
    s->close_code = code;
    socket_close_soon(s);
}

static void receive_whole(struct socket *s) {
    s->n_empty = 0;
    s->server->options.callbacks.message(s->user, s->message.data ? s->message.data : "",
                                         s->message.len);
    if (s->message.cap > SOCKET_READ_BUFFER_BYTES)
        buf_done(&s->message);
    else
        buf_clear(&s->message);
}

/* What comes after a reason to close is read and forgotten: lws must parse on to the end of what it
 * has, else it takes the client's answer to the close for something else and resets the connection.
 */
static void receive(struct socket *s, const void *in, size_t len) {
    if (s->close_code || s->is_lost || s->has_said_close)
        return;
    socket_heard(s);
    s->n_empty += !len;
    size_t total = s->message.len + len + lws_remaining_packet_payload(s->lws);
    if (lws_frame_is_binary(s->lws))
        socket_fail(s, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE);
    else if (total > (size_t)s->server->options.max_message_bytes ||
             s->n_empty > MAX_EMPTY_FRAGMENTS)
        socket_fail(s, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
    else {
        buf_put(&s->message, in, len);
        if (lws_is_final_fragment(s->lws))
            receive_whole(s);
    }
}

/* ---- a connection's life ---- */

static int writable(struct socket *s) {
    if (s->is_lost)
        return -1;
    if (!s->close_code)
        s->server->options.callbacks.writable(s->user);
    if (s->close_code)
        socket_close_soon(s);
    return 0;
}

static void opened(struct socket *s, struct lws *lws) {
    s->lws = lws;
    s->is_open = true;
    s->server->options.callbacks.opened(s->user, s);
    if (!socket_mask_opened(s, lws_get_socket_fd(lws)))
        socket_fail(s, LWS_CLOSE_STATUS_PROTOCOL_ERR);
}

void socket_ended(struct socket *s) {
    if (!s->user)
        return;
    socket_mask_ended(s);
    s->lws = NULL;
    void *user = s->user;
    s->user = NULL;
    s->server->options.callbacks.closed(user);
}

struct socket *socket_add(struct socket_server *server, struct lws *lws, void *user) {
    struct socket *s = must_alloc(sizeof(*s));
    *s = (struct socket){.server = server, .lws = lws, .user = user, .fd = -1};
    socket_heard(s);
    lws_set_opaque_user_data(lws, s);
    return s;
}

void socket_remove(struct socket *s) {
    socket_mask_ended(s);
    socket_forget_close(s);
    socket_unlink(s);
    buf_done(&s->message);
    free(s);
}

static void destroyed(struct socket *s, struct lws *lws) {
    lws_set_opaque_user_data(lws, NULL);
    s->server->n_lws--;
    if (s->stream) {
        stream_forsaken(s);
        return;
    }
    socket_ended(s);
    socket_remove(s);
}

/* What comes behind it does not count any more (RFC 6455, 1.4); lws would have it acted on. It
 * judges the codes up to 4999; a close of one byte, and one above, it would send back. */
static int take_close(struct socket *s, struct lws *lws, const unsigned char *payload, size_t len) {
    s->has_said_close = true;
    if (len == 0 || (len >= 2 && (payload[0] << 8 | payload[1]) <= LAST_CLOSE_CODE))
        return 0;
    lws_close_reason(lws, LWS_CLOSE_STATUS_PROTOCOL_ERR, NULL, 0);
    return -1;
}

/* ---- what lws calls ---- */

static int on_socket(struct socket *s, struct lws *lws, enum lws_callback_reasons reason, void *in,
                     size_t len) {
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        opened(s, lws);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        if (s->user)
            receive(s, in, len);
        return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return take_close(s, lws, in, len);
    case LWS_CALLBACK_RECEIVE_PONG:
        socket_heard(s);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return s->user ? writable(s) : -1;
    case LWS_CALLBACK_CLOSED:
        socket_ended(s);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        destroyed(s, lws);
        return 0;
    default:
        return 0;
    }
}

static int on_server(struct socket_server *server, struct lws *lws,
                     enum lws_callback_reasons reason, const char *protocol) {
    switch (reason) {
    case LWS_CALLBACK_WSI_CREATE:
        server->n_lws++;
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        server->n_lws--;
        return 0;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return socket_confirm_upgrade(server, lws, protocol);
    case LWS_CALLBACK_HTTP:
        return socket_plain_request(server, lws);
    case LWS_CALLBACK_RAW_ADOPT:
        return -1;
    default:
        return 0;
    }
}

int socket_on_lws(struct lws *lws, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len) {
    (void)user;
    struct socket *s = lws ? lws_get_opaque_user_data(lws) : NULL;
    struct lws_context *context = lws ? lws_get_context(lws) : NULL;
    if (s)
        return on_socket(s, lws, reason, in, len);
    return context ? on_server(lws_context_user(context), lws, reason, in) : 0;
}
