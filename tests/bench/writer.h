/* Somebody who changes sessions over REST, and knows of each change when it was meant to be sent.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/http_client.h"

#define WRITER_RING (1u << 16) /* changes whose moment is remembered */

struct writer {
    struct http_client *clients;
    struct http_client **idle; /* a stack */
    size_t n_clients, n_idle;
    uint64_t *since_ns; /* by value, modulo WRITER_RING */
    uint64_t next_value;
    uint64_t n_sent, n_answered, n_accepted;
    int refused_status; /* the first one's; 0: none */
    struct buf request, body;
    char key[24]; /* what its Idempotency-Keys begin with; "": requests have none */
    /* A request of its was answered; the client holds the answer and is idle again. */
    void (*answered)(struct writer *w, struct http_client *c, int status);
    void *arg;
};

void writer_open(struct writer *w, struct sockets *all, uint16_t port, size_t n_connections);
void writer_close(struct writer *w);
/* Its connections may end from now on: what had no answer is sent again, under its key. */
void writer_come_back(struct writer *w);
uint64_t writer_n_comebacks(const struct writer *w);
/* Sends a change; only while n_idle. since_ns: when it was due. */
void writer_patch(struct writer *w, const char *session_id, const char *token, uint64_t since_ns);
/* Sends an event as ws_fanout would, of text_bytes, to a server that hands it on. */
void writer_publish(struct writer *w, const char *channel, uint64_t version, size_t text_bytes,
                    uint64_t since_ns);
/* A new session with that JSON as its data, and as its clock (NULL: none); tag is its client's
 * while it is answered. */
void writer_create(struct writer *w, const char *token, const char *data, const char *clock,
                   uint64_t tag);
/* Reads the session; only while n_idle, as all of these. */
void writer_get(struct writer *w, const char *session_id, const char *token);
uint64_t writer_since_ns(const struct writer *w, uint64_t value);
