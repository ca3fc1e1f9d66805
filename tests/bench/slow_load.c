/* Clients that keep a server busy with nothing: HTTP requests that come a byte a second or whose
 * answers are not taken, WebSockets that say nothing. Each stays until the server has had enough.
 * From stdin a set-up {apiPort, wsPort, document, tokens}, then {"open": n, "perSecond": rate}: as
 * many of HTTP and as many of WebSockets (rate 0: as fast as they can), and {"wait": seconds}: what
 * the server had closed by then, and after how long. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "tests/bench/orders.h"
#include "tests/bench/samples.h"

#define SECOND_NS 1000000000u

enum kind {
    HTTP_SILENT,
    HTTP_HEAD_DRIPS,
    HTTP_BODY_DRIPS,
    HTTP_TAKES_NOTHING,
    WS_SILENT,
    WS_HANDSHAKE_DRIPS,
    WS_NO_TOKEN,
    WS_NO_PONG,
    N_KINDS
};

static const char *const names[N_KINDS] = {
    "HTTP: nothing is said",       "HTTP: a head byte by byte",
    "HTTP: a body byte by byte",   "HTTP: the answer is not taken",
    "WebSocket: nothing is said",  "WebSocket: a handshake byte by byte",
    "WebSocket: no token is said", "WebSocket: no ping is answered"};

struct client {
    struct source source; /* first */
    struct bench *bench;
    enum kind kind;
    uint64_t opened_at, closed_at; /* ns; 0: still open */
};

struct bench {
    struct sockets all;
    uint16_t api_port, ws_port;
    const char *document; /* owned by setup */
    json_t *setup, *tokens;
    struct client *clients;
    size_t n, n_open;
};

/* Nothing is read: that the server has closed is asked of the kernel. */
static void on_readable(struct source *s) {
    struct client *c = (struct client *)s;
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    if (getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
        info.tcpi_state == TCP_ESTABLISHED)
        return;
    sockets_close(&c->bench->all, s);
    c->closed_at = now_ns();
    c->bench->n_open--;
}

static void print_greeting(const struct client *c, size_t i, struct buf *out) {
    static const char upgrade[] = "GET /ws HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                  "Sec-WebSocket-Protocol: handoff.v1\r\n";
    const char *token =
        json_string_value(json_array_get(c->bench->tokens, i % json_array_size(c->bench->tokens)));
    switch (c->kind) {
    case HTTP_HEAD_DRIPS:
        buf_puts(out, "GET /time HTTP/1.1\r\nHost: b\r\nX: ");
        break;
    case HTTP_BODY_DRIPS:
        buf_puts(out, "POST /sessions HTTP/1.1\r\nHost: b\r\nContent-Length: 1000\r\n\r\n");
        break;
    case HTTP_TAKES_NOTHING:
        buf_printf(out, "GET /sessions/%s HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer %s\r\n\r\n",
                   c->bench->document,
                   json_string_value(json_object_get(c->bench->setup, "owner")));
        break;
    case WS_HANDSHAKE_DRIPS:
        buf_puts(out, "GET /ws HTTP/1.1\r\nHost: b\r\nX: ");
        break;
    case WS_NO_TOKEN:
        buf_printf(out, "%s\r\n", upgrade);
        break;
    case WS_NO_PONG:
        buf_printf(out, "%sAuthorization: Bearer %s\r\n\r\n", upgrade, token);
        break;
    case HTTP_SILENT:
    case WS_SILENT:
    case N_KINDS:
        break;
    }
}

/* One that the server closes meanwhile is noticed by its event. */
static void say(struct client *c, const char *text, size_t len) {
    if (c->source.fd >= 0 && len)
        (void)!send(c->source.fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void open_one(struct bench *b, size_t i) {
    struct client *c = &b->clients[i];
    _cleanup_(buf_done) struct buf greeting = BUF_NULL;
    *c = (struct client){.bench = b, .kind = (enum kind)(i % N_KINDS), .opened_at = now_ns()};
    uint16_t port = c->kind >= WS_SILENT ? b->ws_port : b->api_port;
    if (c->kind == HTTP_TAKES_NOTHING)
        sockets_connect_narrow(&b->all, &c->source, (unsigned)i, port, on_readable);
    else
        sockets_connect_from(&b->all, &c->source, (unsigned)i, port, on_readable);
    b->n_open++;
    print_greeting(c, i, &greeting);
    say(c, greeting.data, greeting.len);
}

static json_t *open_all(struct bench *b, size_t n_each, double per_second) {
    uint64_t began = now_ns();
    b->n = 2 * n_each;
    b->clients = must_realloc(b->clients, b->n * sizeof(*b->clients));
    for (size_t i = 0; i < b->n; i++) {
        open_one(b, i);
        uint64_t due = per_second > 0 ? (uint64_t)((double)(i + 1) * SECOND_NS / per_second) : 0;
        sockets_wait(&b->all, began + due);
    }
    return json_pack("{s:I,s:f}", "opened", (json_int_t)b->n, "seconds",
                     (double)(now_ns() - began) / SECOND_NS);
}

static void drip(struct bench *b) {
    for (size_t i = 0; i < b->n; i++) {
        enum kind kind = b->clients[i].kind;
        if (kind == HTTP_HEAD_DRIPS || kind == HTTP_BODY_DRIPS || kind == WS_HANDSHAKE_DRIPS)
            say(&b->clients[i], "x", 1);
    }
}

/* By kind: how many there were, how many are still there, and how long those that are not were. */
static json_t *account(const struct bench *b) {
    json_t *kinds = json_object();
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        struct samples lasted = {0};
        size_t n = 0;
        for (size_t i = 0; i < b->n; i++) {
            const struct client *c = &b->clients[i];
            n += c->kind == kind;
            if (c->kind == kind && c->closed_at)
                samples_add(&lasted, c->closed_at - c->opened_at);
        }
        json_object_set_new(kinds, names[kind],
                            json_pack("{s:I,s:I,s:o}", "n", (json_int_t)n, "left",
                                      (json_int_t)(n - lasted.n), "lasted",
                                      samples_summary(&lasted)));
        samples_done(&lasted);
    }
    return kinds;
}

static json_t *wait_closed(struct bench *b, double seconds) {
    uint64_t end = now_ns() + (uint64_t)(seconds * SECOND_NS), next_drip = now_ns();
    while (b->n_open && now_ns() < end) {
        if (now_ns() >= next_drip) {
            drip(b);
            next_drip += SECOND_NS;
        }
        sockets_wait(&b->all, next_drip < end ? next_drip : end);
    }
    for (size_t i = 0; i < b->n; i++)
        if (b->clients[i].source.fd >= 0)
            sockets_close(&b->all, &b->clients[i].source);
    b->n_open = 0;
    return account(b);
}

static void set_up(void *bench, json_t *setup) {
    struct bench *b = bench;
    b->setup = json_incref(setup);
    b->tokens = json_object_get(setup, "tokens");
    b->document = json_string_value(json_object_get(setup, "document"));
    b->api_port = (uint16_t)order_number(setup, "apiPort", 0);
    b->ws_port = (uint16_t)order_number(setup, "wsPort", 0);
}

static json_t *run(void *bench, const json_t *what) {
    struct bench *b = bench;
    double n = order_number(what, "open", 0);
    return n > 0 ? open_all(b, (size_t)n, order_number(what, "perSecond", 0))
                 : wait_closed(b, order_number(what, "wait", 0));
}

static void done(void *bench) {
    struct bench *b = bench;
    free(b->clients);
    json_decref(b->setup);
}

int main(void) {
    struct bench b = {0};
    orders_serve(&(struct orders_of){set_up, run, done}, &b, &b.all);
    return 0;
}
