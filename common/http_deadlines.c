/* Deadlines of the HTTP server's connections: to send a request, to begin the next one, to take an
 * answer. libmicrohttpd's own is idle time, which a client that sends a byte now and then never
 * reaches. */
#include <malloc.h>
#include <sys/socket.h>

#include "base/timestamp.h"
#include "common/http_server.h"

#define SEND_MAX_MS 45000    /* to take an answer */
#define SEND_PRESSED_MS 2000 /* the same, while a quarter of what may wait is waiting */
#define SEND_FULL_MS 200     /* the same, while half of it is */
#define SHED_EVERY_MS 50
#define JIFFIES_MS 20    /* so exactly the kernel knows when bytes came */
#define LAST_MAX_MS 1000 /* to send a request to a server that is about to end */

void http_connection_enter(struct http_connection *c, enum phase phase) {
    c->phase = phase;
    c->phase_since = timestamp_monotonic_ms();
    c->begun_since = 0;
}

/* A connection that began a request and has no first line yet is late, too. When bytes came last is
 * asked only here: a question a request would cost more than the rest of its deadlines. What came
 * together with the request before counts as a part of that. */
static bool is_idle_too_long(const struct http *h, struct http_connection *c, int64_t now) {
    if (c->begun_since)
        return now - c->begun_since > h->request_timeout_ms;
    int64_t idle_ms = now - c->phase_since;
    if (idle_ms > h->idle_timeout_ms)
        return true;
    if (idle_ms >= h->request_timeout_ms && http_silent_ms(c->fd) < idle_ms - JIFFIES_MS)
        c->begun_since = now;
    return false;
}

static int64_t reading_max_ms(const struct http *h) {
    return h->quiesced && h->request_timeout_ms > LAST_MAX_MS ? LAST_MAX_MS : h->request_timeout_ms;
}

static bool is_pressed(const struct http *h) {
    return h->answer_bytes > h->max_buffer_bytes / 4;
}

static int64_t sending_max_ms(const struct http *h) {
    return is_pressed(h) ? SEND_PRESSED_MS : SEND_MAX_MS;
}

static bool is_late(const struct http *h, struct http_connection *c, int64_t now) {
    switch (c->phase) {
    case PHASE_IDLE:
        return is_idle_too_long(h, c, now);
    case PHASE_READING:
        return now - c->phase_since > reading_max_ms(h);
    case PHASE_IN_HAND:
        return false;
    case PHASE_SENDING:
        return now - c->phase_since > sending_max_ms(h);
    }
    return false;
}

/* What the client has not taken is dropped with the connection: else the kernel would keep it for
 * minutes more. */
static void shut(const struct http_connection *c) {
    static const struct linger at_once = {.l_onoff = 1};
    if (c->phase == PHASE_SENDING)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    (void)shutdown(c->fd, SHUT_RDWR);
}

void http_shed(struct http *h) {
    int64_t now = timestamp_monotonic_ms();
    if (h->answer_bytes <= h->max_buffer_bytes / 2 || now - h->shed_at < SHED_EVERY_MS)
        return;
    h->shed_at = now;
    for (struct http_connection *c = h->connections; c; c = c->next)
        if (c->phase == PHASE_SENDING && now - c->phase_since > SEND_FULL_MS)
            shut(c);
}

/* The C library keeps what is freed beneath anything that is still in use: after a flood hundreds
 * of MiB. */
static void give_back(struct http *h) {
    if (is_pressed(h)) {
        h->was_pressed = true;
    } else if (h->was_pressed && h->answer_bytes < h->max_buffer_bytes / 32) {
        h->was_pressed = false;
        malloc_trim(0);
    }
}

void http_shut_late(struct http *h) {
    int64_t now = timestamp_monotonic_ms();
    for (struct http_connection *c = h->connections; c; c = c->next)
        if (is_late(h, c, now))
            shut(c);
    give_back(h);
}

bool http_is_reading(const struct http *h) {
    for (const struct http_connection *c = h->connections; c; c = c->next)
        if (c->phase == PHASE_READING)
            return true;
    return false;
}

void http_connection_owe(struct http *h, struct http_connection *c, size_t n_bytes) {
    h->answer_bytes += n_bytes - c->answer_bytes;
    c->answer_bytes = n_bytes;
    if (h->answer_bytes_metric)
        metric_set(h->answer_bytes_metric, (double)h->answer_bytes);
}

struct http_connection *http_connection_new(struct http *h, int fd) {
    struct http_connection *c = must_alloc(sizeof(*c));
    c->fd = fd;
    http_connection_enter(c, PHASE_READING);
    c->next = h->connections;
    if (c->next)
        c->next->previous = c;
    h->connections = c;
    if (h->connections_metric)
        metric_add(h->connections_metric, 1);
    return c;
}

struct http_connection *http_connection_free(struct http *h, struct http_connection *c) {
    if (c->next)
        c->next->previous = c->previous;
    if (c->previous)
        c->previous->next = c->next;
    else
        h->connections = c->next;
    if (h->connections_metric)
        metric_add(h->connections_metric, -1);
    free(c);
    return NULL;
}
