/* Sends requests and finds where an answer ends (Content-Length, which session_api always sends);
 * see http_client.h. */
#include "tests/bench/http_client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* The answer's whole length, 0 while it is not known. */
static size_t answer_length(const struct buf *in) {
    static const char name[] = "\r\ncontent-length:";
    const char *end = memmem(in->data, in->len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - in->data) + 4;
    const char *field = strcasestr(in->data, name);
    if (!field || field > end)
        die("an answer without Content-Length: %.200s", in->data);
    return head + strtoul(field + strlen(name), NULL, 10);
}

static void on_readable(struct source *s);

/* Requests fit into a new socket. */
static bool send_again(const struct http_client *c) {
    return send(c->source.fd, c->request.data, c->request.len, MSG_NOSIGNAL) ==
           (ssize_t)c->request.len;
}

static void come_back(struct http_client *c) {
    do {
        c->n_comebacks++;
        sockets_close(c->all, &c->source);
        buf_clear(&c->in);
        sockets_connect(c->all, &c->source, c->port, on_readable);
    } while (c->is_busy && !send_again(c));
}

static bool has_ended(const struct http_client *c) {
    char byte;
    ssize_t n = recv(c->source.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void on_readable(struct source *s) {
    struct http_client *c = (struct http_client *)s;
    if (c->comes_back && has_ended(c)) {
        come_back(c);
        return;
    }
    source_receive(s, &c->in);
    size_t length = answer_length(&c->in);
    if (length == 0 || c->in.len < length)
        return;
    if (!c->is_busy || c->in.len > length || strncmp(c->in.data, "HTTP/1.1 ", 9) != 0)
        die("an answer that nobody asked for: %.200s", c->in.data);
    int status = (int)strtol(c->in.data + 9, NULL, 10);
    c->is_busy = false;
    c->answered(c, status);
    buf_clear(&c->in);
}

void http_client_open(struct http_client *c, struct sockets *all, uint16_t port,
                      void (*answered)(struct http_client *c, int status), void *arg) {
    *c = (struct http_client){.all = all, .port = port, .answered = answered, .arg = arg};
    sockets_connect(all, &c->source, port, on_readable);
}

void http_client_close(struct http_client *c) {
    sockets_close(c->all, &c->source);
    buf_done(&c->in);
    buf_done(&c->request);
}

void http_client_send(struct http_client *c, const struct buf *request, uint64_t since_ns) {
    c->is_busy = true;
    c->since_ns = since_ns;
    if (c->comes_back) {
        buf_clear(&c->request);
        buf_put(&c->request, request->data, request->len);
        if (!send_again(c))
            come_back(c);
        return;
    }
    source_send(&c->source, request->data, request->len);
}
