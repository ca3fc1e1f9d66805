/* One keep-alive HTTP/1.1 connection with at most one request on its way. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/sockets.h"

struct http_client {
    struct source source; /* first */
    struct sockets *all;
    uint16_t port;
    struct buf in;
    bool is_busy;
    /* When its connection ends it opens another, and sends again what had no answer: for requests
     * with an Idempotency-Key, through a proxy that is being reloaded. */
    bool comes_back;
    uint64_t n_comebacks;
    struct buf request; /* the last one, where it comes back */
    uint64_t since_ns;  /* when the request was sent, or should have been */
    uint64_t tag;       /* the sender's: what this request is about */
    void (*answered)(struct http_client *c, int status);
    void *arg;
};

/* answered runs once an answer is complete, which c->in holds until it returns; it may send the
 * next request. */
void http_client_open(struct http_client *c, struct sockets *all, uint16_t port,
                      void (*answered)(struct http_client *c, int status), void *arg);
void http_client_close(struct http_client *c);
void http_client_send(struct http_client *c, const struct buf *request, uint64_t since_ns);
