/* The language of the WebSocket: what clients say, parsed, and what the server says, printed. Pure.
 * Contract section 4; events are not here, they are forwarded as they came. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "proto/command.h"
#include "proto/fault.h"
#include "proto/session.h"

#define PROTOCOL_SUBPROTOCOL "handoff.v1"
#define PROTOCOL_ID_MAX_CHARACTERS 64
#define PROTOCOL_ID_CAP (4 * PROTOCOL_ID_MAX_CHARACTERS + 1)

enum protocol_type {
    PROTOCOL_AUTH,
    PROTOCOL_SUBSCRIBE,
    PROTOCOL_UNSUBSCRIBE,
    PROTOCOL_PATCH,
    PROTOCOL_STATUS,
    PROTOCOL_SWITCH,
    PROTOCOL_HEARTBEAT,
    PROTOCOL_BROADCAST,
    PROTOCOL_PING,
    PROTOCOL_N_TYPES
};

struct protocol_message {
    enum protocol_type type;
    char id[PROTOCOL_ID_CAP];      /* the client's own, UTF-8; "" without */
    char session_id[UUID_LEN + 1]; /* "" where the type has none */
    const char *traceparent;       /* of a command; borrowed from json; NULL without */
    const char *token;             /* auth; borrowed from json */
    json_t *message;               /* broadcast; borrowed from json */
    bool echo;                     /* broadcast */
    const char *device_name;       /* auth: what the device calls itself; borrowed; NULL without */
    const char *device_platform;
    bool has_since; /* subscribe: from this position on */
    struct position since;
    /* patch, status, switch, heartbeat: kind and what the client chose; the sender fills in who it
     * is */
    struct command command;
    json_t *json; /* owned: the whole message */
};

void protocol_message_done(struct protocol_message *m);

/* Takes one text frame. FAULT_INVALID_JSON; FAULT_INVALID_REQUEST for an unknown type or a member
 * of the wrong shape (named as field), FAULT_INVALID_VALUE, FAULT_NOT_FOUND for a session id that
 * is none, and the faults of patch_check and event_broadcast_check. *ret has id and session_id also
 * on failure, as far as they could be read, for the answer; it is to be done in any case. */
MUSTCHECK int protocol_parse(const char *text, size_t len, struct protocol_message *ret,
                             struct fault *f);

const char *protocol_type_name(enum protocol_type type);

/* ---- server -> client; each appends one message. id and session_id may be "" or NULL: left out.
 * ---- */
struct protocol_hello {
    const char *connection_id;
    int64_t server_time; /* ms */
    int64_t ping_seconds;
    int64_t max_message_bytes;
};
void protocol_print_hello(const char *id, const struct protocol_hello *h, struct buf *out);
void protocol_print_pong(const char *id, int64_t server_time, struct buf *out);
void protocol_print_token_expiring(int64_t expires_at, struct buf *out);
/* session_text: the resource as session_print writes it. */
void protocol_print_state_sync(const char *id, const struct session *s,
                               const struct buf *session_text, const char *reason, struct buf *out);
/* position: the session's; n_replayed: how many events follow to get there. */
void protocol_print_subscribed(const char *id, const char *session_id, struct position position,
                               uint64_t n_replayed, struct buf *out);
/* Devices that came and went since the last one; the names are borrowed. */
void protocol_print_presence(const char *session_id, const char *const *joined, size_t n_joined,
                             const char *const *left, size_t n_left, struct buf *out);
/* code: why; "" when it was asked for. */
void protocol_print_unsubscribed(const char *id, const char *session_id, const char *code,
                                 struct buf *out);
void protocol_print_ack(const char *id, const struct reply *r, struct buf *out);
/* Of a broadcast: the position at which it was sent. */
void protocol_print_broadcast_ack(const char *id, const char *session_id, struct position at,
                                  struct buf *out);
/* conflict: JSON text of an object whose members are added, or NULL. */
void protocol_print_error(const char *id, const char *session_id, const struct fault *f,
                          const char *conflict, struct buf *out);
/* The reason of a close with 1001 or 4029: {"retryAfterMs":n}. */
void protocol_print_retry_after(int64_t retry_after_ms, struct buf *out);
