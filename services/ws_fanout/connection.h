/* One client's connection: who it is, what it asked for, what waits for it. It exists from the
 * accepted request until the socket is closed; what answers later (commands, reads) must find out
 * by itself whether it is still there (commands.c, hub.h). Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "common/auth.h"
#include "proto/fault.h"
#include "proto/session.h"
#include "services/ws_fanout/limits.h"
#include "services/ws_fanout/outbox.h"
#include "services/ws_fanout/socket.h"

struct events;
struct fanout;
struct pending_command;
struct protocol_message;
struct subscription;

/* Close codes, contract section 4. A stream just ends. */
enum connection_close {
    CLOSE_GOING_AWAY = 1001,
    CLOSE_UNAUTHENTICATED = 4001,
    CLOSE_TOKEN_EXPIRED = 4002,
    CLOSE_TOO_SLOW = 4008,
    CLOSE_RATE_LIMITED = 4029,
};

/* Messages of the connection that is corked. */
struct connection_burst {
    struct connection *connection; /* NULL: none is */
    struct frame *frames[SOCKET_MAX_FRAMES];
    size_t n, n_bytes;
};

struct connection {
    struct fanout *fanout;
    struct connection *prev, *next;
    uint64_t serial;       /* who comes later has a higher one */
    struct events *events; /* owned; NULL: a WebSocket */
    struct socket *socket; /* NULL until opened */
    struct outbox outbox;
    size_t n_unsent; /* bytes of the last write, while the socket has not taken all of it */
    char id[UUID_LEN + 1];

    bool is_authenticated;
    struct principal principal;
    char device_id[SESSION_DEVICE_MAX + 1];    /* "" until authenticated; a stream may have none */
    char query_device[SESSION_DEVICE_MAX + 1]; /* "" without */
    char *query_session;                       /* owned; what to subscribe at once, or NULL */
    bool has_query_since;                      /* from this position on: */
    struct position query_since;               /* `since` and `epoch` beside it */
    char *device_name;                         /* owned; what the device calls itself, or NULL */
    char *device_platform;
    bool token_expiring_told;

    size_t deadline_place; /* deadlines.c's */
    int64_t opened_at;     /* loop time, ms */
    int64_t busy_since;    /* last progress while something waits to be sent; 0: nothing waits */
    int64_t closing_since;
    unsigned n_bad_messages; /* in a row */

    struct subscription **subscriptions; /* the hub's */
    size_t n_subscriptions;
    struct pending_command *commands; /* in flight */
    size_t n_commands;
    struct limits limits;
};

/* events: taken, for a stream; NULL: a WebSocket. */
struct connection *connection_new(struct fanout *f, struct events *events);
/* The socket's callbacks. */
void connection_opened(void *connection, struct socket *s);
void connection_writable(void *connection);
void connection_closed(void *connection);

/* Sends or queues; takes no reference from the caller. owner: the subscription whose message it is
 * and which a state_sync makes good if it is dropped, or NULL. */
void connection_send(struct connection *c, struct frame *f, struct subscription *owner);
/* The same for a message of its own; b is left empty. */
void connection_send_buf(struct connection *c, struct buf *b);
/* What the log says of a refusal of what the client sent (connection_log_refusal: of something that
 * has no session and no trace); id: "" without. */
void connection_log_refused(const struct connection *c, const struct protocol_message *m,
                            const struct fault *f);
void connection_log_refusal(const struct connection *c, const char *id, const struct fault *f);
/* An error; a stream ends with it. */
void connection_send_fault(struct connection *c, const char *id, const char *session_id,
                           const struct fault *f);
/* Sends or queues these very bytes. */
void connection_put(struct connection *c, struct frame *f, struct subscription *owner);
/* A session was lost to it, and it was told: a stream has nothing else to live for. */
void connection_session_lost(struct connection *c);
/* Between them messages to this connection are collected and leave in one write: what a turn of the
 * loop has for it. One connection at a time; the caller keeps the frames until uncork. */
void connection_cork(struct connection *c);
void connection_uncork(struct connection *c);
bool connection_is_backed_up(const struct connection *c);

/* Nothing is sent or taken any more. reason: "" or at most 123 bytes. */
void connection_close(struct connection *c, enum connection_close code, const char *reason);
/* The same for a stream that is over for no reason that has a code. */
void connection_end_stream(struct connection *c, const char *reason);
/* Its token counts no more, since the key is gone that it is signed with: 4001; a stream that has
 * not begun is refused. */
void connection_disown(struct connection *c);
bool connection_is_closing(const struct connection *c);
/* The same with 4029, and when to come back in the reason. */
void connection_send_away(struct connection *c, int64_t retry_after_ms);
/* Looks at the deadlines: authentication, token, stuck, close. now: loop time; wall: Unix; both ms.
 */
void connection_check(struct connection *c, int64_t now, int64_t wall);
/* The next moment (loop time, ms) that one of them may come at. Who changes what they hang on calls
 * deadlines_look_at. */
int64_t connection_deadline(const struct connection *c, int64_t now, int64_t wall);

/* ---- authenticate.c ---- */
/* Judges an upgrade request; see socket.h. arg is the fanout. */
bool connection_accept(void *arg, const struct socket_request *request, void **ret_connection,
                       struct socket_answer *answer);
/* The connection counts as the user's from now on, until it is closed. FAULT_RATE_LIMITED when that
 * user has as many as allowed. */
MUSTCHECK int connection_enter(struct connection *c, const struct principal *who, struct fault *f);
/* A token in a message, the first one or a refresh: hello, or an error and a close. */
void connection_authenticate(struct connection *c, const struct protocol_message *m);
void connection_print_hello(const struct connection *c, const char *id, struct buf *out);
/* hello, and the subscription that the URL asked for. */
void connection_welcome(struct connection *c, const char *id);

/* ---- dispatch.c ---- */
/* The socket's callback: one message of the client's. */
void connection_message(void *connection, const char *text, size_t len);
