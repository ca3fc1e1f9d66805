/* An event says what happened: body and properties of a message on session_updates. Contract 5. The
 * body is printed once, by the engine, and passed on as bytes by everybody else. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/fault.h"
#include "proto/session.h"

/* X(enum name, type, kind (routing key), versioned, durable, goes to devices) */
#define EVENTS(X)                                                                                  \
    X(EVENT_SESSION_CREATED, "session_created", "created", true, true, true)                       \
    X(EVENT_STATE_DELTA, "state_delta", "update", true, true, true)                                \
    X(EVENT_STATUS_CHANGED, "status_changed", "status", true, true, true)                          \
    X(EVENT_SESSION_DELETED, "session_deleted", "deleted", true, true, true)                       \
    X(EVENT_SNAPSHOT, "snapshot", "snapshot", false, true, false)                                  \
    X(EVENT_DEVICE_JOINED, "device_joined", "device_joined", false, true, true)

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
};

void event_done(struct event *e);

/* Each fills *ret with a printed body. s is the session after the change; user and device caused
 * it. */
void event_session_created(const struct session *s, const char *device_id, struct event *ret);
/* operations: without `test`s. */
void event_state_delta(const struct session *s, const char *user_id, const char *device_id,
                       uint64_t base_version, const json_t *operations, bool rebased,
                       struct event *ret);
/* reason: "request", "takeover", "idle". */
void event_status_changed(const struct session *s, const char *user_id, const char *device_id,
                          enum session_status from, const char *reason, struct event *ret);
void event_session_deleted(const struct session *s, const char *user_id, const char *device_id,
                           struct event *ret);
/* message_id: a UUID that stays with the event when it is published again. */
void event_snapshot(const struct session *s, const char *message_id, struct event *ret);
void event_device_joined(const struct session *s, const char *user_id, const char *device_id,
                         const char *message_id, struct event *ret);

/* The envelope alone, read back from a body (type, session, position, timestamp, user, device,
 * message_id of versioned ones); body stays NULL. FAULT_INVALID_REQUEST / FAULT_INVALID_JSON for
 * what is no event. *ret_json (may be NULL): the whole body as a new reference. */
MUSTCHECK int event_parse(const char *body, size_t len, struct event *ret, json_t **ret_json,
                          struct fault *f);
