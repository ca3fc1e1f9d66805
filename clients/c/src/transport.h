/* One WebSocket at a time, and one alarm: the border to libwebsockets, which carries both in a loop
 * of its own or in the caller's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "clients/c/src/endpoint.h"

/* What may wait to be sent. The server takes less than that a second from one connection; more of
 * it than that unread, and the connection is as good as lost. */
#define TRANSPORT_MAX_QUEUE_BYTES (4u << 20)

#define TRANSPORT_CLOSED_ABNORMALLY 1006 /* no code came, RFC 6455 section 7.4.1 */
#define TRANSPORT_TOO_LARGE 1009         /* by this side */

struct transport;

/* From the loop, none from within a call of this header. */
struct transport_events {
    void (*opened)(void *user);
    /* A whole message; a NUL follows it. */
    void (*message)(void *user, const char *text, size_t len);
    /* reason: of the close frame, or what went wrong; may be "". */
    void (*closed)(void *user, int code, const char *reason);
    void (*alarm)(void *user);
};

struct transport_options {
    struct endpoint address; /* texts are borrowed until transport_free */
    const char *device_id;   /* "" or NULL: none is named */
    const char *ca_file;
    void *uv_loop;
    size_t max_frame_bytes;
    bool keep_lws_log;
    const struct transport_events *events;
    void *user;
};

/* -ENOMEM: libwebsockets gives no context (its event library is missing, ca_file cannot be read).
 */
MUSTCHECK int transport_new(struct transport **ret, const struct transport_options *options);
/* No event comes afterwards. NULL does nothing. */
struct transport *transport_free(struct transport *t);

/* After the one before was closed or dropped. device_id as in the options. -1: not at all, and no
 * `closed` follows. */
MUSTCHECK int transport_connect(struct transport *t, const char *device_id);
/* Copied. Once too much waits the connection is given up: `closed` follows. */
void transport_send(struct transport *t, const char *text, size_t len);
/* Without `closed`. Does nothing when there is none. */
void transport_drop(struct transport *t);

/* At that moment (timestamp_monotonic_ms) at the latest; instead of a later one that was set. */
void transport_alarm(struct transport *t, int64_t at_ms);

int transport_run(struct transport *t, int timeout_ms);
void transport_wake(struct transport *t);
