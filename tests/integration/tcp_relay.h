/* A TCP relay in the loop, between a client under test and its real server: it can cut the
 * connections, or stop moving bytes while they stay open, which from the client's side is a frozen
 * server. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"

#define RELAY_PAIRS 16

struct relay_side {
    uv_tcp_t tcp;
    struct relay_pair *pair;
    struct relay_side *other;
};

struct relay_pair {
    struct relay *relay;
    struct relay_side client, server;
    uv_connect_t connect;
    int n_open;
    bool is_connected, is_closing;
};

struct relay {
    uv_tcp_t listener;
    struct sockaddr_in server;
    struct relay_pair *pairs[RELAY_PAIRS];
    bool frozen, refuses;
    char url[1024];
};

static void relay_side_closed(uv_handle_t *h) {
    struct relay_side *s = h->data;
    if (--s->pair->n_open == 0)
        free(s->pair);
}

static void relay_pair_close(struct relay_pair *p) {
    if (p->is_closing)
        return;
    p->is_closing = true;
    for (int i = 0; i < RELAY_PAIRS; i++)
        if (p->relay->pairs[i] == p)
            p->relay->pairs[i] = NULL;
    uv_close((uv_handle_t *)&p->client.tcp, relay_side_closed);
    uv_close((uv_handle_t *)&p->server.tcp, relay_side_closed);
}

static void relay_alloc(uv_handle_t *h, size_t size, uv_buf_t *buf) {
    (void)h;
    *buf = uv_buf_init(must_alloc(size), (unsigned)size);
}

static void relay_written(uv_write_t *write, int status) {
    (void)status;
    free(write->data);
    free(write);
}

static void relay_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct relay_side *s = stream->data;
    if (n > 0 && !s->pair->is_closing) {
        uv_write_t *write = must_alloc(sizeof(*write));
        write->data = buf->base;
        uv_buf_t part = uv_buf_init(buf->base, (unsigned)n);
        uv_write(write, (uv_stream_t *)&s->other->tcp, &part, 1, relay_written);
        return;
    }
    free(buf->base);
    if (n < 0)
        relay_pair_close(s->pair);
}

static void relay_pair_run(struct relay_pair *p, bool on) {
    if (!p->is_connected || p->is_closing)
        return;
    struct relay_side *sides[] = {&p->client, &p->server};
    for (int i = 0; i < 2; i++) {
        if (on)
            uv_read_start((uv_stream_t *)&sides[i]->tcp, relay_alloc, relay_read);
        else
            uv_read_stop((uv_stream_t *)&sides[i]->tcp);
    }
}

static void relay_connected(uv_connect_t *connect, int status) {
    struct relay_pair *p = connect->data;
    if (p->is_closing)
        return;
    p->is_connected = true;
    if (status < 0)
        relay_pair_close(p);
    else
        relay_pair_run(p, !p->relay->frozen);
}

static void relay_accept(uv_stream_t *listener, int status) {
    struct relay *r = listener->data;
    if (status < 0)
        return;
    struct relay_pair *p = must_alloc(sizeof(*p));
    *p = (struct relay_pair){.relay = r, .n_open = 2};
    p->client.pair = p->server.pair = p;
    p->client.other = &p->server;
    p->server.other = &p->client;
    uv_tcp_init(listener->loop, &p->client.tcp);
    uv_tcp_init(listener->loop, &p->server.tcp);
    p->client.tcp.data = &p->client;
    p->server.tcp.data = &p->server;
    p->connect.data = p;
    uv_accept(listener, (uv_stream_t *)&p->client.tcp);
    int at = 0;
    while (at < RELAY_PAIRS && r->pairs[at])
        at++;
    if (r->refuses || at == RELAY_PAIRS) {
        relay_pair_close(p);
        return;
    }
    r->pairs[at] = p;
    uv_tcp_connect(&p->connect, &p->server.tcp, (const struct sockaddr *)&r->server,
                   relay_connected);
}

static inline void relay_cut(struct relay *r) {
    for (int i = 0; i < RELAY_PAIRS; i++)
        if (r->pairs[i])
            relay_pair_close(r->pairs[i]);
}

static inline void relay_freeze(struct relay *r, bool frozen) {
    r->frozen = frozen;
    for (int i = 0; i < RELAY_PAIRS; i++)
        if (r->pairs[i])
            relay_pair_run(r->pairs[i], !frozen);
}

/* host: an IPv4 address, or localhost. Returns the port it listens on at 127.0.0.1. */
static inline int relay_start(struct relay *r, uv_loop_t *loop, const char *host, int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uv_ip4_addr(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, port, &r->server);
    uv_tcp_init(loop, &r->listener);
    r->listener.data = r;
    uv_tcp_bind(&r->listener, (const struct sockaddr *)&at, 0);
    uv_listen((uv_stream_t *)&r->listener, 64, relay_accept);
    int len = sizeof(at);
    uv_tcp_getsockname(&r->listener, (struct sockaddr *)&at, &len);
    return ntohs(at.sin_port);
}

static inline void relay_stop(struct relay *r) {
    relay_cut(r);
    uv_close((uv_handle_t *)&r->listener, NULL);
}
