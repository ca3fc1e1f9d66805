/* The WebSocket by libwebsockets 4.1. A connection that was dropped goes on to exist within
 * libwebsockets for a while: what it still says is known by its number, and not heard. */
#include "clients/c/src/transport.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "base/timestamp.h"

#define SUBPROTOCOL "handoff.v1"
#define READ_BUFFER_BYTES 16384
#define TIMEOUT_SECONDS 10
#define MAX_DESCRIPTORS                                                                            \
    32 /* of a context that has one connection, or some that are on their way out */
#define MAX_EMPTY_FRAGMENTS 1000 /* of a message: no bytes, but work */
#define REASON_CAP 128           /* of a close frame, RFC 6455 section 5.5 */
/* The first lws_context_destroy begins to close the loop's handles, whose end begins to close the
 * last ones; the second call, which unloads their callbacks, must come after. */
#define N_TURNS_TO_CLOSE 4

struct message {
    struct message *next;
    size_t len;
    unsigned char bytes[]; /* LWS_PRE of room, then the message */
};

struct transport {
    struct transport_options options;
    struct lws_context *context;
    struct lws_protocols protocols[2];
    void *loops[1];
    struct lws *lws;    /* NULL: there is no connection */
    uintptr_t number;   /* of the connection */
    bool is_connecting; /* within lws_client_connect_via_info */
    bool is_open;
    struct buf received;
    size_t n_empty;
    struct message *first, **end; /* to be sent */
    size_t n_queued;              /* bytes */
    int close_code;
    char reason[REASON_CAP];
    lws_sorted_usec_list_t alarm, wake;
    int64_t alarm_at_ms; /* 0: none */
    uv_timer_t reaper;
    int n_turns;
};

/* In libuv's loop lws looks at its timers after an event of its own only: what is set from
 * elsewhere (the caller's callbacks) has to bring one about. */
static void note_timers(struct transport *t) {
    if (t->options.uv_loop)
        lws_cancel_service(t->context);
}

/* ---- to be sent ---- */

static void forget_messages(struct transport *t) {
    while (t->first) {
        struct message *m = t->first;
        t->first = m->next;
        free(m);
    }
    t->end = &t->first;
    t->n_queued = 0;
}

static int write_one(struct transport *t) {
    struct message *m = t->first;
    if (!m)
        return 0;
    t->first = m->next;
    if (!t->first)
        t->end = &t->first;
    t->n_queued -= m->len;
    int n = lws_write(t->lws, m->bytes + LWS_PRE, m->len, LWS_WRITE_TEXT);
    free(m);
    if (n < 0)
        return -1;
    if (t->first)
        lws_callback_on_writable(t->lws);
    return 0;
}

static void end_soon(struct transport *t, int code, const char *reason) {
    t->close_code = code;
    snprintf(t->reason, sizeof(t->reason), "%s", reason);
    lws_set_timeout(t->lws, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_ASYNC);
    note_timers(t);
}

void transport_send(struct transport *t, const char *text, size_t len) {
    if (!t->lws || t->close_code)
        return;
    if (t->n_queued + len > TRANSPORT_MAX_QUEUE_BYTES) {
        end_soon(t, TRANSPORT_CLOSED_ABNORMALLY, "the server takes nothing any more");
        return;
    }
    struct message *m = must_malloc(sizeof(*m) + LWS_PRE + len);
    m->next = NULL;
    m->len = len;
    memcpy(m->bytes + LWS_PRE, text, len);
    *t->end = m;
    t->end = &m->next;
    t->n_queued += len;
    if (t->is_open)
        lws_callback_on_writable(t->lws);
}

/* ---- what comes ---- */

static int receive_whole(struct transport *t) {
    t->n_empty = 0;
    uintptr_t number = t->number;
    t->options.events->message(t->options.user, t->received.data ? t->received.data : "",
                               t->received.len);
    if (t->number != number)
        return -1; /* dropped meanwhile */
    if (t->received.cap > READ_BUFFER_BYTES)
        buf_done(&t->received);
    else
        buf_clear(&t->received);
    return 0;
}

static int receive(struct transport *t, const void *in, size_t len) {
    if (t->close_code)
        return 0;
    t->n_empty += !len;
    size_t total = t->received.len + len + lws_remaining_packet_payload(t->lws);
    if (lws_frame_is_binary(t->lws)) {
        end_soon(t, TRANSPORT_CLOSED_ABNORMALLY, "the server sent a binary frame");
        return 0;
    }
    if (total > t->options.max_frame_bytes || t->n_empty > MAX_EMPTY_FRAGMENTS) {
        end_soon(t, TRANSPORT_TOO_LARGE, "the server sent more in one piece than is taken");
        return 0;
    }
    buf_put(&t->received, in, len);
    return lws_is_final_fragment(t->lws) ? receive_whole(t) : 0;
}

/* Its own code and reason: two bytes and UTF-8, or nothing. */
static void note_close(struct transport *t, const unsigned char *in, size_t len) {
    if (t->close_code || len < 2)
        return;
    t->close_code = in[0] << 8 | in[1];
    snprintf(t->reason, sizeof(t->reason), "%.*s", (int)(len - 2), (const char *)in + 2);
}

/* ---- a connection's life ---- */

static void forget_connection(struct transport *t) {
    t->lws = NULL;
    t->is_open = false;
    t->number++;
    t->n_empty = 0;
    buf_done(&t->received);
    forget_messages(t);
}

static void ended(struct transport *t, const char *reason) {
    int code = t->close_code ? t->close_code : TRANSPORT_CLOSED_ABNORMALLY;
    if (!t->close_code && reason)
        snprintf(t->reason, sizeof(t->reason), "%s", reason);
    forget_connection(t);
    if (!t->is_connecting)
        t->options.events->closed(t->options.user, code, t->reason);
}

static int on_lws(struct lws *lws, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len) {
    (void)user;
    struct lws_context *context = lws ? lws_get_context(lws) : NULL;
    struct transport *t = context ? lws_context_user(context) : NULL;
    if (!t)
        return 0;
    bool is_known = (uintptr_t)lws_get_opaque_user_data(lws) == t->number && t->number;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        if (!is_known)
            return -1;
        t->is_open = true;
        t->options.events->opened(t->options.user);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return is_known ? receive(t, in, len) : -1;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return is_known && !t->close_code ? write_one(t) : -1;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        if (is_known)
            note_close(t, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLIENT_CLOSED:
        if (is_known)
            ended(t, reason == LWS_CALLBACK_CLIENT_CONNECTION_ERROR && in ? in : "");
        return 0;
    default:
        return 0;
    }
}

int transport_connect(struct transport *t, const char *device_id) {
    const struct endpoint *a = &t->options.address;
    char path[1024], host[300];
    bool is_named = device_id && *device_id;
    snprintf(path, sizeof(path), "%s/ws%s%s", a->path, is_named ? "?device_id=" : "",
             is_named ? device_id : "");
    snprintf(host, sizeof(host), strchr(a->host, ':') ? "[%s]:%d" : "%s:%d", a->host, a->port);
    t->number++;
    t->close_code = 0;
    t->reason[0] = '\0';
    struct lws_client_connect_info info = {
        .context = t->context,
        .address = a->host,
        .port = a->port,
        .ssl_connection = a->is_secure ? LCCSCF_USE_SSL : 0,
        .path = path,
        .host = host,
        .protocol = SUBPROTOCOL,
        .local_protocol_name = SUBPROTOCOL,
        .ietf_version_or_minus_one = -1,
        .pwsi = &t->lws,
        .alpn = "http/1.1",
        .opaque_user_data = (void *)t->number, // NOLINT(performance-no-int-to-ptr)
    };
    t->is_connecting = true;
    struct lws *lws = lws_client_connect_via_info(&info);
    t->is_connecting = false;
    if (lws && t->lws)
        return 0;
    forget_connection(t);
    return -1;
}

void transport_drop(struct transport *t) {
    struct lws *lws = t->lws;
    if (!lws)
        return;
    forget_connection(t);
    lws_set_timeout(lws, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_ASYNC);
    note_timers(t);
}

/* ---- the loop ---- */

static void on_alarm(lws_sorted_usec_list_t *sul) {
    struct transport *t = lws_container_of(sul, struct transport, alarm);
    t->alarm_at_ms = 0;
    t->options.events->alarm(t->options.user);
}

static void on_wake(lws_sorted_usec_list_t *sul) {
    (void)sul; /* the turn has ended by it */
}

void transport_alarm(struct transport *t, int64_t at_ms) {
    if (t->alarm_at_ms && t->alarm_at_ms <= at_ms)
        return;
    int64_t wait_ms = at_ms - timestamp_monotonic_ms();
    t->alarm_at_ms = at_ms;
    lws_sul_schedule(t->context, 0, &t->alarm, on_alarm, (wait_ms > 0 ? wait_ms : 0) * 1000 + 1);
    note_timers(t);
}

int transport_run(struct transport *t, int timeout_ms) {
    if (timeout_ms > 0)
        lws_sul_schedule(t->context, 0, &t->wake, on_wake, (lws_usec_t)timeout_ms * 1000);
    int r = lws_service(t->context, timeout_ms == 0 ? -1 : 0);
    lws_sul_cancel(&t->wake);
    return r < 0 ? -1 : 0;
}

void transport_wake(struct transport *t) {
    lws_cancel_service(t->context);
}

/* ---- from its beginning to its end ---- */

/* Signals are the application's; without this lws would end its context on SIGTERM by itself. */
static void ignore_signal(void *handle, int signum) {
    (void)handle, (void)signum;
}

static struct lws_context *create_context(struct transport *t) {
    const struct transport_options *o = &t->options;
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = t->protocols,
        .gid = -1,
        .uid = -1,
        .options = (o->uv_loop ? LWS_SERVER_OPTION_LIBUV : 0) |
                   (o->address.is_secure ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0) |
                   (o->ca_file ? LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS : 0),
        .client_ssl_ca_filepath = o->ca_file,
        .user = t,
        .foreign_loops = o->uv_loop ? t->loops : NULL,
        .pcontext = &t->context, /* set to NULL when it has ended */
        .signal_cb = ignore_signal,
        .timeout_secs = TIMEOUT_SECONDS,
        .connect_timeout_secs = TIMEOUT_SECONDS,
        .fd_limit_per_thread = MAX_DESCRIPTORS,
    };
    return lws_create_context(&info);
}

int transport_new(struct transport **ret, const struct transport_options *options) {
    struct transport *t = must_alloc(sizeof(*t));
    *t = (struct transport){.options = *options, .loops = {options->uv_loop}};
    t->end = &t->first;
    t->protocols[0] = (struct lws_protocols){
        .name = SUBPROTOCOL, .callback = on_lws, .rx_buffer_size = READ_BUFFER_BYTES};
    if (!options->keep_lws_log)
        lws_set_log_level(0, NULL);
    t->context = create_context(t);
    if (!t->context) {
        free(t);
        return -ENOMEM;
    }
    /* The environment's http_proxy, which lws follows for every host, is not meant for this one. */
    if (endpoint_is_loopback(&options->address))
        lws_set_proxy(lws_get_vhost_by_name(t->context, "default"), ":0");
    *ret = t;
    return 0;
}

static void free_transport(uv_handle_t *reaper) {
    free(reaper->data);
}

static void reap(uv_timer_t *reaper) {
    struct transport *t = reaper->data;
    if (t->context && ++t->n_turns > N_TURNS_TO_CLOSE)
        lws_context_destroy(t->context);
    if (!t->context)
        uv_close((uv_handle_t *)reaper, free_transport);
}

static void forget_events(struct transport *t) {
    static const struct transport_events none;
    lws_sul_cancel(&t->alarm);
    lws_sul_cancel(&t->wake);
    forget_connection(t);
    t->number = 0;
    t->options.events = &none;
}

struct transport *transport_free(struct transport *t) {
    if (!t)
        return NULL;
    void *loop = t->options.uv_loop;
    forget_events(t);
    lws_context_destroy(t->context);
    if (!loop) {
        free(t);
        return NULL;
    }
    uv_timer_init(loop, &t->reaper);
    t->reaper.data = t;
    uv_timer_start(&t->reaper, reap, 1, 1);
    return NULL;
}
