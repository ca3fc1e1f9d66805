/* The HTTP server: libmicrohttpd as a guest of the loop, by its epoll descriptor. Its sockets are
 * edge- triggered inside, so after every run its timeout is obeyed. A request is handed over whole;
 * while it waits for its answer it is suspended. Deadlines are ours: libmicrohttpd's own is idle
 * time only, which a client that sends a byte now and then never reaches. */
#include "common/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/timestamp.h"
#include "common/http_server.h"

#define BUFFERS_MAX_BYTES (256u << 20)
#define IDLE_MAX_MS 55000
#define CONNECTION_MEMORY_BYTES (16 << 10) /* its headers and buffers */
#define SWEEP_MS 500
#define N_HANDLES 4
#define N_FINAL_RUNS 16

/* ---- the loop ---- */

static void on_again(uv_idle_t *handle);
static void on_timer(uv_timer_t *handle);

static void tell_when_quiet(struct http *h) {
    http_quiet_fn *on_quiet = h->on_quiet;
    if (!on_quiet || h->n_in_hand > 0 || http_is_reading(h))
        return;
    h->on_quiet = NULL;
    on_quiet(h->quiet_arg);
}

static void run(struct http *h) {
    MHD_run(h->daemon);
    tell_when_quiet(h);
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    if (MHD_get_timeout(h->daemon, &wait_ms) != MHD_YES) {
        uv_idle_stop(&h->again);
        uv_timer_stop(&h->timer);
    } else if (wait_ms == 0) {
        uv_idle_start(&h->again, on_again);
    } else {
        uv_idle_stop(&h->again);
        uv_timer_start(&h->timer, on_timer, wait_ms, 0);
    }
}

static void on_again(uv_idle_t *handle) {
    run(handle->data);
}

static void on_timer(uv_timer_t *handle) {
    run(handle->data);
}

static void on_readable(uv_poll_t *handle, int status, int events) {
    (void)status;
    (void)events;
    run(handle->data);
}

static void on_sweep(uv_timer_t *handle) {
    struct http *h = handle->data;
    http_shut_late(h);
    http_linger_sweep(h, false);
    /* At its limit libmicrohttpd stops listening, and listens again only when it is run after a
     * connection has gone: when all go at once nothing else would ever wake it. */
    run(h);
    if (!h->connections && !h->lingers)
        uv_timer_stop(handle);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode what) {
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct http *h = cls;
        *socket_context = http_connection_new(h, info->connect_fd);
        if (!uv_is_active((uv_handle_t *)&h->sweep))
            uv_timer_start(&h->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    } else {
        struct http_connection *c = *socket_context;
        if (c->lingers || c->phase == PHASE_READING) /* refused, by us or libmicrohttpd */
            http_linger_begin(cls, c->fd);
        *socket_context = http_connection_free(cls, c);
    }
}

/* ---- a request's life ---- */

/* The first line of a request: libmicrohttpd has not cut or unescaped anything yet. */
static void *on_first_line(void *cls, const char *target, struct MHD_Connection *mhd) {
    struct http_request *r = http_request_new(target ? target : "");
    r->http = cls;
    r->mhd = mhd;
    r->connection =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    if (r->connection->phase != PHASE_READING) /* else: the connection's first, already timed */
        http_connection_enter(r->connection, PHASE_READING);
    return r;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                         enum MHD_RequestTerminationCode why) {
    (void)cls;
    (void)mhd;
    (void)why;
    struct http_request *r = *con_cls;
    if (!r)
        return;
    *con_cls = NULL;
    if (r->in_list)
        http_in_hand_remove(r);
    if (r->response)
        MHD_destroy_response(r->response);
    if (r->free_data)
        r->free_data(r->data);
    http_connection_owe(r->http, r->connection, 0);
    http_connection_enter(r->connection, PHASE_IDLE);
    http_drop_body(r);
    http_request_free(r);
}

/* ---- taking a request in ---- */

struct header_walk {
    struct http_request *request;
    struct http_framing framing;
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t name_len, const char *value, size_t value_len) {
    (void)kind;
    struct header_walk *walk = cls;
    struct http_request *r = walk->request;
    http_framing_take(&walk->framing, name, name_len, value, value_len);
    http_request_add_header(r, name, name_len, value);
    return MHD_YES;
}

static size_t head_bytes(struct MHD_Connection *mhd) {
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;
}

/* Walks the headers; true when the request is to be refused without waiting for its body. */
static bool take_headers(struct http_request *r, struct MHD_Connection *mhd, const char *version) {
    struct header_walk walk = {.request = r};
    size_t n_line = strlen(r->method) + 1 + r->target_len + 1 + strlen(version);
    MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, on_header, &walk);
    if (http_framing_is_bad(&walk.framing, version) || memchr(r->path, ' ', r->target_len) ||
        !http_framing_is_whole(&walk.framing, n_line, head_bytes(mhd))) {
        r->problem = HTTP_BAD_FRAMING;
        return true;
    }
    if (r->http->answer_bytes > r->http->max_buffer_bytes)
        r->problem = HTTP_BUSY;
    if (walk.framing.length <= r->http->max_body_bytes)
        return false;
    r->problem = HTTP_BODY_TOO_LARGE;
    return walk.framing.length > HTTP_DROP_MAX_BYTES || http_header(r, "Expect");
}

static enum MHD_Result queue_answer(struct http_request *r) {
    struct MHD_Response *response = TAKE_PTR(r->response);
    enum MHD_Result result = MHD_queue_response(r->mhd, (unsigned)r->status, response);
    MHD_destroy_response(response);
    http_connection_enter(r->connection, PHASE_SENDING);
    http_connection_owe(r->http, r->connection, r->answer_len);
    http_shed(r->http);
    return result;
}

static enum MHD_Result hand_over(struct http_request *r) {
    r->handed_over = true;
    http_connection_enter(r->connection, PHASE_IN_HAND);
    http_in_hand_add(r);
    r->http->handler(r->http->arg, r, r->problem);
    if (r->response)
        return queue_answer(r);
    r->suspended = true;
    MHD_suspend_connection(r->mhd);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **con_cls) {
    (void)cls;
    (void)url;
    struct http_request *r = *con_cls;
    if (r->handed_over)
        return r->response ? queue_answer(r) : MHD_YES;
    if (!r->headers_seen) {
        r->headers_seen = true;
        r->method = method;
        r->connection->lingers = take_headers(r, mhd, version);
        return r->connection->lingers ? hand_over(r) : MHD_YES;
    }
    if (*upload_len == 0)
        return hand_over(r);
    bool goes_on = http_take_body(r, upload, *upload_len);
    *upload_len = 0;
    return goes_on ? MHD_YES : MHD_NO;
}

static size_t keep_escaped(void *cls, struct MHD_Connection *mhd, char *text) {
    (void)cls;
    (void)mhd;
    return strlen(text);
}

/* ---- answering ---- */

const char *http_peer(struct http_request *r) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (!r->peer[0] && info && info->client_addr)
        http_print_address(info->client_addr, r->peer);
    return r->peer;
}

static struct MHD_Response *make_response(const struct http_answer *answer, bool close_after) {
    const char *lasting = answer->lasting ? answer->lasting : "";
    struct MHD_Response *response =
        answer->body
            ? MHD_create_response_from_buffer(answer->body_len, answer->body, MHD_RESPMEM_MUST_FREE)
            : MHD_create_response_from_buffer(answer->lasting ? answer->body_len : 0,
                                              (void *)(uintptr_t)lasting, MHD_RESPMEM_PERSISTENT);
    if (!response)
        abort(); /* out of memory, as must_alloc has it */
    for (const char *const *h = answer->headers; h && h[0]; h += 2)
        (void)MHD_add_response_header(response, h[0], h[1]);
    if (close_after)
        (void)MHD_add_response_header(response, "Connection", "close");
    return response;
}

void http_answer(struct http_request *r, const struct http_answer *answer) {
    bool close_after = answer->close || r->http->quiesced || r->problem == HTTP_BAD_FRAMING;
    r->response = make_response(answer, close_after);
    r->status = answer->status;
    r->answer_len = answer->body_len;
    if (!r->suspended)
        return; /* hand_over queues it */
    r->suspended = false;
    MHD_resume_connection(r->mhd); /* which wakes nobody */
    uv_idle_start(&r->http->again, on_again);
}

size_t http_n_in_hand(const struct http *h) {
    return h->n_in_hand;
}

/* ---- start and end ---- */

uint16_t http_port(const struct http *h) {
    return h->port;
}

/* Not MHD_OPTION_STRICT_FOR_CLIENT 1: a request without Host, or with a blank in its target, would
 * get an answer of libmicrohttpd's own, in HTML and with its head twice; http_framing.c judges
 * them. */
static int start_daemon(struct http *h, const struct http_options *options, int fd) {
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, h,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, options->max_connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
        MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, on_first_line, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_END);
    return h->daemon ? 0 : -EIO;
}

static int join_loop(struct http *h, uv_loop_t *loop) {
    int fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    h->loop = loop;
    int err = uv_poll_init(loop, &h->poll, fd);
    if (err < 0)
        return err;
    uv_timer_init(loop, &h->timer);
    uv_timer_init(loop, &h->sweep);
    uv_idle_init(loop, &h->again);
    h->n_open_handles = N_HANDLES;
    h->poll.data = h->timer.data = h->sweep.data = h->again.data = h;
    return 0;
}

int http_open(struct http *h) {
    if (h->open || h->quiesced)
        return 0;
    int err = http_listen(MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_LISTEN_FD)->listen_fd);
    if (err < 0)
        return err;
    h->open = true;
    uv_poll_start(&h->poll, UV_READABLE, on_readable);
    return 0;
}

int http_new(struct http **ret, uv_loop_t *loop, const struct http_options *options,
             http_handler_fn *handler, void *arg) {
    struct http *h = must_alloc(sizeof(*h));
    h->handler = handler;
    h->arg = arg;
    h->max_body_bytes = options->max_body_bytes;
    h->connections_metric = options->connections;
    h->answer_bytes_metric = options->answer_bytes;
    h->request_timeout_ms = options->request_timeout_ms;
    h->idle_timeout_ms = options->idle_timeout_ms ? options->idle_timeout_ms : IDLE_MAX_MS;
    h->max_buffer_bytes = options->max_buffer_bytes ? options->max_buffer_bytes : BUFFERS_MAX_BYTES;
    h->keeps_body = options->keeps_body;
    int fd = http_bind(options->listen, &h->port);
    int err = fd < 0 ? fd : start_daemon(h, options, fd);
    if (err == 0 && (err = join_loop(h, loop)) < 0)
        MHD_stop_daemon(h->daemon); /* closes fd */
    else if (err < 0 && fd >= 0)
        close(fd);
    if (err < 0) {
        free(h);
        return err;
    }
    if (!options->opens_later && (err = http_open(h)) < 0) {
        http_free(h);
        return err;
    }
    *ret = h;
    return 0;
}

void http_quiesce(struct http *h, http_quiet_fn *on_quiet, void *arg) {
    if (h->quiesced)
        return;
    h->quiesced = true;
    MHD_run(h->daemon); /* closing the socket resets those who wait to be accepted */
    MHD_socket fd = MHD_quiesce_daemon(h->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    h->on_quiet = on_quiet;
    h->quiet_arg = arg;
    run(h);
}

static void on_handle_closed(uv_handle_t *handle) {
    struct http *h = handle->data;
    if (--h->n_open_handles == 0)
        free(h);
}

static void answer_unavailable(void *arg, struct http_request *r, enum http_problem problem) {
    static const char *const headers[] = {"Retry-After", "1", NULL};
    const struct http_answer answer = {.status = 503, .headers = headers, .close = true};
    (void)arg;
    (void)problem;
    http_answer(r, &answer);
}

static void answer_all(struct http *h) {
    for (struct http_request *r = h->in_hand; r; r = r->next)
        if (r->suspended)
            answer_unavailable(NULL, r, HTTP_FINE);
}

struct http *http_free(struct http *h) {
    if (!h)
        return NULL;
    h->on_quiet = NULL;
    h->handler = answer_unavailable; /* what the real one needs may be gone */
    http_quiesce(h, NULL, NULL);
    answer_all(h);
    for (int i = 0; i < N_FINAL_RUNS && h->n_in_hand > 0; i++)
        MHD_run(h->daemon);
    uv_close((uv_handle_t *)&h->poll, on_handle_closed);
    uv_close((uv_handle_t *)&h->timer, on_handle_closed);
    uv_close((uv_handle_t *)&h->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&h->again, on_handle_closed);
    MHD_stop_daemon(h->daemon);
    http_linger_sweep(h, true);
    return NULL;
}
