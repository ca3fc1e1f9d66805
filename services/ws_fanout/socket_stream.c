/* Streams: HTTP answers that go on. libwebsockets 4.1 parses the request and is then left: while it
 * serves HTTP/1 it reads nothing more, so that a client that goes away is not noticed, and one byte
 * too many in its buffer keeps the loop spinning. The connection goes on by a descriptor of its
 * own; lws is told that its own hung up, since then it closes without shutting the connection
 * down. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/ws_fanout/socket_private.h"

#define MAX_IGNORED_BYTES (64u << 10) /* of a client that keeps talking */

/* ---- the end ---- */

static void stop_moving(struct socket *s) {
    struct socket **at = &s->server->first_moving;
    while (*at && *at != s)
        at = &(*at)->stream->next_moving;
    if (*at)
        *at = s->stream->next_moving;
}

static void freed(uv_handle_t *poll) {
    struct socket *s = poll->data;
    s->server->n_streams--;
    free(s->stream);
    socket_remove(s);
}

void stream_end(struct socket *s) {
    struct stream *t = s->stream;
    if (!s->user)
        return;
    void *user = s->user;
    s->user = NULL;
    s->is_lost = true;
    stop_moving(s);
    if (s->lws) /* not moved yet; it may outlive s */
        lws_set_opaque_user_data(s->lws, NULL);
    t->pending = frame_unref(t->pending);
    uv_close((uv_handle_t *)&t->poll, freed);
    close(t->fd);
    s->server->options.callbacks.closed(user);
}

void stream_forsaken(struct socket *s) {
    s->lws = NULL;
    stream_end(s);
}

void stream_finish(struct socket *s) {
    if (!s->stream->pending)
        (void)shutdown(s->stream->fd, SHUT_WR);
}

/* ---- events of the connection ---- */

static void ready(uv_poll_t *poll, int status, int events);

static void watch(struct socket *s, int events) {
    (void)uv_poll_start(&s->stream->poll, events, ready);
}

/* False: the client has gone, or says more than one who only listens should. */
static bool ignore_input(struct stream *t) {
    char bin[4096];
    ssize_t n = recv(t->fd, bin, sizeof(bin), MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    t->n_ignored += (size_t)n;
    return n > 0 && t->n_ignored <= MAX_IGNORED_BYTES;
}

/* Negative errno when the connection is lost; *at moves on by what the kernel took. */
static int send_rest(struct stream *t, const struct frame *f, size_t *at) {
    while (*at < f->len) {
        ssize_t n =
            send(t->fd, f->bytes + FRAME_HEADROOM + *at, f->len - *at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        *at += (size_t)n;
    }
    return 0;
}

static void write_on(struct socket *s) {
    struct stream *t = s->stream;
    if (t->pending) {
        if (send_rest(t, t->pending, &t->n_written)) {
            stream_end(s);
            return;
        }
        if (t->n_written < t->pending->len)
            return;
        t->pending = frame_unref(t->pending);
    }
    watch(s, UV_READABLE);
    if (s->close_code)
        stream_finish(s);
    else
        s->server->options.callbacks.writable(s->user);
}

static void ready(uv_poll_t *poll, int status, int events) {
    struct socket *s = poll->data;
    if (status < 0 || s->is_lost || (events & UV_READABLE && !ignore_input(s->stream)))
        stream_end(s);
    else if (events & UV_WRITABLE)
        write_on(s);
}

/* ---- writing ---- */

bool stream_is_writable(const struct socket *s) {
    return s->is_open && !s->is_lost && !s->close_code && !s->stream->pending;
}

void stream_await_writable(struct socket *s) {
    if (s->is_open && s->user)
        watch(s, UV_READABLE | UV_WRITABLE);
}

enum socket_result stream_write(struct socket *s, struct frame *f) {
    struct stream *t = s->stream;
    size_t n_written = 0;
    if (send_rest(t, f, &n_written)) {
        s->is_lost = true;
        watch(s, UV_READABLE | UV_WRITABLE); /* writable at once: there it ends */
        return SOCKET_LOST;
    }
    if (n_written == f->len)
        return SOCKET_WRITTEN;
    t->pending = frame_ref(f);
    t->n_written = n_written;
    watch(s, UV_READABLE | UV_WRITABLE);
    return SOCKET_BUSY;
}

/* ---- the beginning ---- */

/* A client that vanished is found by what it does not acknowledge. */
static void bound_silence(const struct socket_server *server, int fd) {
    unsigned ms = (unsigned)(server->options.ping_after_ms + server->options.pong_timeout_ms);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

int stream_begin(struct socket_server *server, struct lws *lws, void *user) {
    int fd = fcntl(lws_get_socket_fd(lws), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct stream *t = must_alloc(sizeof(*t));
    int r = uv_poll_init(server->loops[0], &t->poll, fd);
    if (r) {
        close(fd);
        free(t);
        return r;
    }
    bound_silence(server, fd);
    struct socket *s = socket_add(server, lws, user);
    t->poll.data = s;
    t->fd = fd;
    t->next_moving = server->first_moving;
    s->stream = t;
    server->first_moving = s;
    server->n_streams++;
    socket_run_closer(server);
    return 0;
}

static void move(struct socket *s) {
    struct lws *lws = s->lws;
    struct lws_pollfd hung_up = {.fd = lws_get_socket_fd(lws), .revents = LWS_POLLHUP};
    s->lws = NULL;
    lws_set_opaque_user_data(lws, NULL);
    (void)lws_service_fd(s->server->context, &hung_up);
    s->is_open = true;
    watch(s, UV_READABLE);
    s->server->options.callbacks.opened(s->user, s);
}

void stream_move_all(struct socket_server *server) {
    struct socket *s;
    while ((s = server->first_moving)) {
        server->first_moving = s->stream->next_moving;
        s->stream->next_moving = NULL;
        move(s);
    }
}
