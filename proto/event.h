/* An event says what happened: body and properties of a message on session_updates. Contract 5. The
 * body is printed once, by the engine, and passed on as bytes by everybody else. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/clock.h"
#include "proto/fault.h"
#include "proto/session.h"
#include "proto/trace_context.h"

/* X(enum name, type, kind (routing key), versioned, durable, goes to devices) */
#define EVENTS(X)                                                                                  \
    X(EVENT_SESSION_CREATED, "session_created", "created", true, true, true)                       \
    X(EVENT_STATE_DELTA, "state_delta", "update", true, true, true)                                \
    X(EVENT_STATUS_CHANGED, "status_changed", "status", true, true, true)                          \
    X(EVENT_SESSION_DELETED, "session_deleted", "deleted", true, true, true)                       \
    X(EVENT_SNAPSHOT, "snapshot", "snapshot", false, true, false)                                  \
    X(EVENT_PARTICIPANT_CHANGED, "participant_changed", "participants", true, true, true)          \
    X(EVENT_DEVICE_CHANGED, "device_changed", "devices", true, true, true)                         \
    X(EVENT_SESSION_REBUILT, "session_rebuilt", "rebuilt", false, true, false)                     \
    X(EVENT_DEVICE_JOINED, "device_joined", "device_joined", false, true, true)                    \
    X(EVENT_DEVICE_LEFT, "device_left", "device_left", false, true, true)                          \
    X(EVENT_BROADCAST, "broadcast", "broadcast", false, false, true)                               \
    X(EVENT_CLOCK_SET, "clock_set", "clock", true, true, true)                                     \
    X(EVENT_CLOCK_SWITCHED, "clock_switched", "clock", true, true, true)                           \
    X(EVENT_CLOCK_ADJUSTED, "clock_adjusted", "clock", true, true, true)                           \
    X(EVENT_CLOCK_EXPIRED, "clock_expired", "clock", true, true, true)                             \
    X(EVENT_CLOCK_WARNING, "clock_warning", "clock_warning", false, false, true)

#define EVENT_ENUM(name, type, kind, versioned, durable, devices) name,
enum event_type { EVENTS(EVENT_ENUM) EVENT_N_TYPES };
#undef EVENT_ENUM

const char *event_type_name(enum event_type type);
const char *event_kind(enum event_type type);
bool event_is_versioned(enum event_type type);
bool event_is_durable(enum event_type type);
bool event_goes_to_devices(enum event_type type);
bool event_type_parse(const char *type, size_t len, enum event_type *ret);

#define EVENT_MESSAGE_ID_CAP 96

struct event {
    enum event_type type;
    char session_id[UUID_LEN + 1];
    struct position position; /* an unversioned event carries that of its moment */
    int64_t timestamp;        /* ms */
    char user_id[UUID_LEN + 1];
    char device_id[SESSION_DEVICE_MAX + 1]; /* who caused it; "" when the engine did */
    char message_id[EVENT_MESSAGE_ID_CAP];  /* <id>:<epoch>:<version>, else a UUID */
    char *body;                             /* owned JSON text */
    size_t body_len;
    /* Which command caused it, and what is remembered of its idempotency key; "" without. They
     * travel as headers, so that the audit trail can restore them after a loss of Redis. */
    char command_id[UUID_LEN + 1];
    char key_hash[HASH_HEX_LEN + 1];
    char fingerprint[HASH_HEX_LEN + 1];
    struct trace_context trace; /* the command's; a header as well */
};

void event_done(struct event *e);

/* Each fills *ret with a printed body. s is the session after the change; user and device caused
 * it. */
void event_session_created(const struct session *s, const char *device_id, struct event *ret);
/* operations: without `test`s. */
void event_state_delta(const struct session *s, const char *user_id, const char *device_id,
                       uint64_t base_version, const json_t *operations, bool rebased,
                       struct event *ret);
/* reason: "request", "takeover", "idle", "clock". */
void event_status_changed(const struct session *s, const char *user_id, const char *device_id,
                          enum session_status from, const char *reason, struct event *ret);
void event_session_deleted(const struct session *s, const char *user_id, const char *device_id,
                           struct event *ret);
/* message_id: a UUID that stays with the event when it is published again. */
void event_snapshot(const struct session *s, const char *message_id, struct event *ret);
/* One that a user asked for, at that moment; label may be NULL. */
void event_labelled_snapshot(const struct session *s, const char *user_id, const char *device_id,
                             int64_t now, const char *label, const char *message_id,
                             struct event *ret);
/* role SESSION_ROLE_NONE: removed. */
void event_participant_changed(const struct session *s, const char *user_id, const char *device_id,
                               const char *participant, enum session_role role, struct event *ret);
void event_device_changed(const struct session *s, const char *user_id, const char *device_id,
                          const char *device, bool removed, struct event *ret);
/* A session that was put together again from PostgreSQL under a new epoch: of its position, by the
 * engine; devices get a state_sync. The message id follows from the position. */
void event_session_rebuilt(const struct session *s, int64_t now, struct event *ret);
/* Whether a body as it is printed here is such an event: what a rebuild leaves in the delta window,
 * where it is no version, but says that those before it are of another epoch. */
bool event_tells_rebuilt(const char *body, size_t len);

/* A device that came or went, as Redis knows it (no struct session is at hand then). */
struct event_presence {
    enum event_type type; /* EVENT_DEVICE_JOINED, EVENT_DEVICE_LEFT */
    const char *session_id;
    struct position position;
    int64_t moment;
    const char *user_id, *device_id;
    const char *active_device;   /* "" while none */
    const char *name, *platform; /* what the device calls itself; "" when it did not say */
    uint64_t n_devices;          /* in the session, after it */
};
/* A UUID (version 8 of RFC 9562) that follows from a text: for a message id that has to be the same
 * whenever the event is made again. */
void event_derive_id(const char *text, size_t len, char ret[static UUID_LEN + 1]);

/* message_id: made from session, device, type and moment, so that it is the same whenever and by
 * whomever the event is made again (a UUID, version 8 of RFC 9562). */
void event_presence(const struct event_presence *p, struct event *ret);

/* Not durable. message: borrowed. */
struct event_broadcast {
    const char *session_id;
    struct position position;
    int64_t moment;
    const char *user_id, *device_id;
    const json_t *message;
};
#define EVENT_BROADCAST_MAX_BYTES (60u << 10) /* of message, as it is printed */
#define EVENT_BROADCAST_MAX_DEPTH 64
/* Whether a message may be broadcast: FAULT_BODY_TOO_LARGE, FAULT_INVALID_VALUE (too deep). */
MUSTCHECK int event_broadcast_check(const json_t *message, struct fault *f);
void event_broadcast(const struct event_broadcast *b, struct event *ret);

/* ---- clocks (event_clock.c): each but the warning shows the clock of s, which has one ---- */
void event_clock_set(const struct session *s, const char *user_id, const char *device_id,
                     struct event *ret);
/* from, to: participants. elapsed_ms: how long the turn took. */
void event_clock_switched(const struct session *s, const char *user_id, const char *device_id,
                          const char *from, const char *to, int64_t elapsed_ms, struct event *ret);
void event_clock_adjusted(const struct session *s, const char *user_id, const char *device_id,
                          const char *participant, int64_t adjust_ms, const char *reason,
                          struct event *ret);
/* By the engine. Whose time is over: participant or group, the other is NULL; action: what is done;
 * winner: the other side's id, NULL where there is none. */
void event_clock_expired(const struct session *s, const char *participant, const char *group,
                         enum clock_action action, const char *winner, struct event *ret);
/* By the engine, at `now`. Not durable; the message id follows from position, participant and
 * remaining_ms, so that it is the same when it is told again. */
void event_clock_warning(const struct session *s, const char *participant, int64_t remaining_ms,
                         int64_t now, struct event *ret);

/* The envelope alone, read back from a body (type, session, position, timestamp, user, device,
 * message_id of versioned ones and of session_rebuilt); body stays NULL. FAULT_INVALID_REQUEST /
 * FAULT_INVALID_JSON for what is no event. *ret_json (may be NULL): the whole body as a new
 * reference. */
MUSTCHECK int event_parse(const char *body, size_t len, struct event *ret, json_t **ret_json,
                          struct fault *f);
