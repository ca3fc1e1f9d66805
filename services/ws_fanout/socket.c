/* libwebsockets 4.1 as a guest of our libuv loop. What is done in an unexpected way is so because
 * of what this version does: it accepts malformed handshakes (judged in socket_http.c), turns
 * CONNECT into a raw connection that nothing ends (refused), would take over SIGTERM (signal_cb),
 * keeps its timers in a list that each new one walks along (pings are our own, lest thousands of
 * them do), and wants a round through its poll for each write (frames go out straight from the loop
 * while nothing waits). Why streams are not left with it: socket_stream.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "services/ws_fanout/socket_private.h"

_Static_assert(FRAME_HEADROOM >= LWS_PRE, "libwebsockets writes the frame header there");

#define READ_BUFFER_BYTES 256  /* lws keeps one a connection; longer messages come in pieces */
#define WRITE_BYTES (1u << 20) /* lws offers the kernel so much at a time; else only as above */
#define HANDSHAKE_SECONDS 15
#define MAX_EMPTY_FRAGMENTS 1000 /* of a message: no bytes, but work */
#define PINGER_MS 250
#define WEBSOCKET_FINAL_TEXT 0x81
#define KEPT_JOINED_BYTES (256u << 10)
#define KEEPALIVE_SECONDS 5
/* The first lws_context_destroy begins to close its connections' handles, whose end begins to close
 * the last ones: two turns of the loop. The second call, which unloads their callbacks, must come
 * after. */
#define N_TURNS_TO_CLOSE 4

/* ---- WebSocket ---- */

static void close_asked(uv_timer_t *closer);

static bool is_linked(const struct socket *s) {
    return s->prev || s->next || s->server->sockets == s;
}

static void unlink_socket(struct socket *s) {
    struct socket_server *server = s->server;
    *(s->prev ? &s->prev->next : &server->sockets) = s->next;
    *(s->next ? &s->next->prev : &server->last_socket) = s->prev;
    s->prev = s->next = NULL;
}

void socket_heard(struct socket *s) {
    struct socket_server *server = s->server;
    s->heard_at = (int64_t)uv_now(server->loops[0]);
    s->pinged_at = 0;
    if (server->last_socket == s)
        return;
    if (is_linked(s))
        unlink_socket(s);
    s->prev = server->last_socket;
    *(s->prev ? &s->prev->next : &server->sockets) = s;
    server->last_socket = s;
}

static void request_writable(struct socket *s) {
    if (lws_callback_on_writable(s->lws) < 0)
        s->is_lost = true;
}

void socket_run_closer(struct socket_server *server) {
    if (!uv_is_active((uv_handle_t *)&server->closer))
        uv_timer_start(&server->closer, close_asked, 0, 0);
}

/* Leaves the close to the closer: from within WRITEABLE lws never gets to send the close frame, and
 * the caller may be in the middle of its connections. */
static void close_soon(struct socket *s) {
    s->server->wants_close = true;
    socket_run_closer(s->server);
}

static void close_asked(uv_timer_t *closer) {
    struct socket_server *server = closer->data;
    stream_move_all(server);
    if (!server->wants_close)
        return;
    server->wants_close = false;
    for (struct socket *s = server->sockets, *next; s; s = next) {
        next = s->next;
        if (!s->close_code || s->close_begun || !s->is_open || !s->lws ||
            lws_partial_buffered(s->lws))
            continue;
        s->close_begun = true;
        lws_close_reason(s->lws, (enum lws_close_status)s->close_code,
                         (unsigned char *)s->close_reason, strlen(s->close_reason));
        lws_set_timeout(s->lws, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
    }
}

static void fail(struct socket *s, int code) {
    s->close_code = code;
    close_soon(s);
}

static void receive_whole(struct socket *s) {
    s->n_empty = 0;
    s->server->options.callbacks.message(s->user, s->message.data ? s->message.data : "",
                                         s->message.len);
    if (s->message.cap > READ_BUFFER_BYTES)
        buf_done(&s->message);
    else
        buf_clear(&s->message);
}

/* What comes after a reason to close is read and forgotten: lws must parse on to the end of what it
 * has, else it takes the client's answer to the close for something else and resets the connection.
 */
static void receive(struct socket *s, const void *in, size_t len) {
    if (s->close_code || s->is_lost)
        return;
    socket_heard(s);
    s->n_empty += !len;
    size_t total = s->message.len + len + lws_remaining_packet_payload(s->lws);
    if (lws_frame_is_binary(s->lws))
        fail(s, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE);
    else if (total > (size_t)s->server->options.max_message_bytes ||
             s->n_empty > MAX_EMPTY_FRAGMENTS)
        fail(s, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
    else {
        buf_put(&s->message, in, len);
        if (lws_is_final_fragment(s->lws))
            receive_whole(s);
    }
}

static int writable(struct socket *s) {
    if (s->is_lost)
        return -1;
    if (!s->close_code)
        s->server->options.callbacks.writable(s->user);
    if (s->close_code)
        close_soon(s);
    return 0;
}

static void opened(struct socket *s, struct lws *lws) {
    s->lws = lws;
    s->is_open = true;
    s->server->options.callbacks.opened(s->user, s);
}

/* lws keeps the connection for some turns after CLOSED; from here on it is not touched. */
static void ended(struct socket *s) {
    if (!s->user)
        return;
    s->lws = NULL;
    void *user = s->user;
    s->user = NULL;
    s->server->options.callbacks.closed(user);
}

struct socket *socket_add(struct socket_server *server, struct lws *lws, void *user) {
    struct socket *s = must_alloc(sizeof(*s));
    *s = (struct socket){.server = server, .lws = lws, .user = user};
    socket_heard(s);
    lws_set_opaque_user_data(lws, s);
    return s;
}

void socket_remove(struct socket *s) {
    unlink_socket(s);
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
    ended(s);
    socket_remove(s);
}

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
    case LWS_CALLBACK_RECEIVE_PONG:
        socket_heard(s);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return s->user ? writable(s) : -1;
    case LWS_CALLBACK_CLOSED:
        ended(s);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        destroyed(s, lws);
        return 0;
    default:
        return 0;
    }
}

/* lws bounds its own sockets; without descriptors for the next one it would spin. */
static bool is_full(const struct socket_server *server) {
    return server->n_lws + server->n_streams >= server->max_sockets;
}

static int on_server(struct socket_server *server, struct lws *lws,
                     enum lws_callback_reasons reason, const char *in) {
    switch (reason) {
    case LWS_CALLBACK_WSI_CREATE:
        server->n_lws++;
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        server->n_lws--;
        return 0;
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        return server->stopped || is_full(server) ? -1 : 0;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return socket_confirm_upgrade(server, lws, in);
    case LWS_CALLBACK_HTTP:
        return socket_plain_request(server, lws);
    case LWS_CALLBACK_RAW_ADOPT:
        return -1;
    default:
        return 0;
    }
}

static int on_lws(struct lws *lws, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len) {
    (void)user;
    struct socket *s = lws ? lws_get_opaque_user_data(lws) : NULL;
    struct lws_context *context = lws ? lws_get_context(lws) : NULL;
    if (s)
        return on_socket(s, lws, reason, in, len);
    return context ? on_server(lws_context_user(context), lws, reason, in) : 0;
}

/* ---- writing and closing ---- */

bool socket_is_writable(const struct socket *s) {
    if (s->stream)
        return stream_is_writable(s);
    return s->lws && s->is_open && !s->is_lost && !s->close_code && !lws_partial_buffered(s->lws);
}

void socket_await_writable(struct socket *s) {
    if (s->stream)
        stream_await_writable(s);
    else if (s->lws)
        request_writable(s);
}

static enum socket_result write_bytes(struct socket *s, unsigned char *bytes, size_t len,
                                      enum lws_write_protocol how) {
    if (lws_write(s->lws, bytes, len, how) < 0) {
        s->is_lost = true;
        request_writable(s);
        return SOCKET_LOST;
    }
    if (!lws_partial_buffered(s->lws))
        return SOCKET_WRITTEN;
    request_writable(s);
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

static void forget_joined(struct socket_joined *j) {
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
    forget_joined(j);
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

void socket_close(struct socket *s, int code, const char *reason) {
    if (s->close_code || !s->user)
        return;
    s->close_code = code;
    if (s->stream) {
        stream_finish(s);
        return;
    }
    strncpy(s->close_reason, reason, SOCKET_CLOSE_REASON_MAX);
    if (lws_partial_buffered(s->lws))
        request_writable(s);
    else
        close_soon(s);
}

/* Without the shutdown lws would wait for a client that takes nothing to take the rest. */
void socket_kill(struct socket *s) {
    if (s->stream) {
        stream_end(s);
        return;
    }
    if (!s->lws)
        return;
    s->is_lost = true;
    (void)shutdown(lws_get_socket_fd(s->lws), SHUT_RDWR);
    lws_set_timeout(s->lws, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

/* ---- who is still there ---- */

/* Not an empty one: of the pong to that lws tells nobody. */
static void ping(struct socket *s, int64_t now) {
    unsigned char payload[LWS_PRE + 1] = {[LWS_PRE] = '?'};
    s->pinged_at = now;
    if (lws_write(s->lws, payload + LWS_PRE, 1, LWS_WRITE_PING) < 0) {
        s->is_lost = true;
        request_writable(s);
    }
}

/* One that does not even take what was sent before is not pinged: that it is stuck is the business
 * of who writes to it. */
static void check_silent(struct socket *s, int64_t now) {
    if (s->stream) /* says nothing, and is found out by what it is sent */
        socket_heard(s);
    else if (s->pinged_at && now - s->pinged_at >= s->server->options.pong_timeout_ms)
        socket_kill(s);
    else if (!s->pinged_at && socket_is_writable(s))
        ping(s, now);
}

static void ping_silent(uv_timer_t *pinger) {
    struct socket_server *server = pinger->data;
    int64_t now = (int64_t)uv_now(pinger->loop);
    for (struct socket *s = server->sockets, *next; s; s = next) {
        next = s->next;
        if (now - s->heard_at < server->options.ping_after_ms)
            return;
        check_silent(s, now);
    }
}

/* ---- the server ---- */

/* Signals are the application's; without this lws would end its context on SIGTERM by itself. */
static void ignore_signal(void *handle, int signum) {
    (void)handle, (void)signum;
}

static struct lws_context *create_context(struct socket_server *server, int port) {
    const struct socket_options *o = &server->options;
    server->max_sockets = socket_set_fd_limit(o->max_connections) - SOCKET_N_SPARE_FDS / 2;
    server->protocols[0] = (struct lws_protocols){.name = o->subprotocol,
                                                  .callback = on_lws,
                                                  .rx_buffer_size = READ_BUFFER_BYTES,
                                                  .tx_packet_size = WRITE_BYTES};
    struct lws_context_creation_info info = {
        .port = port,
        .iface = socket_is_any_host(server->host) ? NULL : server->host,
        .protocols = server->protocols,
        .gid = -1,
        .uid = -1,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_VALIDATE_UTF8 |
                   LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND |
                   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS |
                   (strchr(server->host, ':') ? 0 : LWS_SERVER_OPTION_DISABLE_IPV6),
        .user = server,
        .foreign_loops = server->loops,
        .pcontext = &server->context, /* set to NULL when it has ended */
        .signal_cb = ignore_signal,
        .timeout_secs = HANDSHAKE_SECONDS,
        .keepalive_timeout = KEEPALIVE_SECONDS,
        .max_http_header_data = 16384,
        .retry_and_idle_policy = &server->no_liveness,
        .server_string = "handoff",
    };
    return lws_create_context(&info);
}

static void free_server(uv_handle_t *reaper) {
    struct socket_server *server = reaper->data;
    free(server->host);
    free(server);
}

static void pinger_closed(uv_handle_t *pinger) {
    struct socket_server *server = pinger->data;
    uv_close((uv_handle_t *)&server->reaper, free_server);
}

static void closer_closed(uv_handle_t *closer) {
    struct socket_server *server = closer->data;
    uv_close((uv_handle_t *)&server->pinger, pinger_closed);
}

static void end_timers(struct socket_server *server) {
    uv_close((uv_handle_t *)&server->closer, closer_closed);
    uv_timer_stop(&server->reaper);
}

static void reap(uv_timer_t *reaper) {
    struct socket_server *server = reaper->data;
    if (!server->sockets && ++server->n_turns > N_TURNS_TO_CLOSE)
        lws_context_destroy(server->context);
    if (!server->context)
        end_timers(server);
}

int socket_server_new(struct socket_server **ret, uv_loop_t *loop,
                      const struct socket_options *options) {
    char *host = NULL;
    int port = 0;
    int r = socket_parse_listen(options->listen, &host, &port);
    if (!r)
        r = socket_try_bind(&host, port);
    if (r) {
        free(host);
        return r;
    }
    struct socket_server *server = must_alloc(sizeof(*server));
    *server = (struct socket_server){.options = *options, .host = host, .loops = {loop}};
    uv_timer_init(loop, &server->reaper);
    uv_timer_init(loop, &server->closer);
    uv_timer_init(loop, &server->pinger);
    server->reaper.data = server->closer.data = server->pinger.data = server;
    lws_set_log_level(0, NULL);
    server->context = create_context(server, port);
    if (!server->context) {
        end_timers(server);
        return -EADDRINUSE;
    }
    uv_timer_start(&server->pinger, ping_silent, PINGER_MS, PINGER_MS);
    *ret = server;
    return 0;
}

void socket_server_stop_accepting(struct socket_server *server) {
    server->stopped = true;
}

struct socket_server *socket_server_free(struct socket_server *server) {
    if (!server)
        return NULL;
    server->stopped = true;
    uv_timer_stop(&server->pinger);
    forget_joined(&server->joined);
    buf_done(&server->joined.bytes);
    uv_timer_start(&server->reaper, reap, 1, 1);
    lws_context_destroy(server->context);
    for (struct socket *s = server->sockets; s; s = s->next) {
        if (s->stream)
            stream_end(s);
        else
            ended(s);
    }
    return NULL;
}
