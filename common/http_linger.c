/* The end of a connection whose request was refused before its body was read: closing at once would
 * reset it, and the client would never see the answer. libmicrohttpd closes its descriptor; a
 * second one reads and drops what still comes, bounded in bytes, time and number. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/timestamp.h"
#include "common/http_server.h"

#define LINGER_MAX_BYTES (8u << 20)
#define LINGER_MAX_MS 5000
#define LINGERS_MAX 128

struct http_linger {
    struct http_linger *next, *previous;
    struct http *http;
    uv_poll_t poll;
    int fd;
    size_t n_dropped;
    int64_t since; /* monotonic ms */
};

static void on_closed(uv_handle_t *handle) {
    struct http_linger *l = handle->data;
    close(l->fd);
    free(l);
}

static void end(struct http_linger *l) {
    struct http *h = l->http;
    if (l->next)
        l->next->previous = l->previous;
    if (l->previous)
        l->previous->next = l->next;
    else
        h->lingers = l->next;
    h->n_lingers--;
    uv_close((uv_handle_t *)&l->poll, on_closed);
}

static void on_readable(uv_poll_t *handle, int status, int events) {
    (void)events;
    struct http_linger *l = handle->data;
    char dropped[65536];
    ssize_t n = status < 0 ? 0 : recv(l->fd, dropped, sizeof(dropped), MSG_DONTWAIT);
    if (n > 0)
        l->n_dropped += (size_t)n;
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || l->n_dropped > LINGER_MAX_BYTES)
        end(l);
}

void http_linger_begin(struct http *h, int fd) {
    if (h->n_lingers == LINGERS_MAX)
        return;
    int second = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (second < 0)
        return;
    struct http_linger *l = must_alloc(sizeof(*l));
    if (uv_poll_init(h->loop, &l->poll, second) < 0) {
        close(second);
        free(l);
        return;
    }
    l->http = h;
    l->fd = second;
    l->since = timestamp_monotonic_ms();
    l->poll.data = l;
    l->next = h->lingers;
    if (l->next)
        l->next->previous = l;
    h->lingers = l;
    h->n_lingers++;
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

void http_linger_sweep(struct http *h, bool all) {
    int64_t now = timestamp_monotonic_ms();
    for (struct http_linger *l = h->lingers, *next; l; l = next) {
        next = l->next;
        if (all || now - l->since > LINGER_MAX_MS)
            end(l);
    }
}
