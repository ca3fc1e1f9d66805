/* Every refusal that Handoff knows, once: its code on the wire, HTTP status, whether the same
 * request may succeed later, and its title. docs/PROTOCOL.md lists them for a client's author. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, code on the wire, HTTP status, temporary, title) */
#define FAULTS(X)                                                                                  \
    X(FAULT_INVALID_JSON, "invalid_json", 400, false, "The text is not acceptable JSON")           \
    X(FAULT_INVALID_REQUEST, "invalid_request", 400, false, "The request has the wrong shape")     \
    X(FAULT_UNAUTHENTICATED, "unauthenticated", 401, false, "A valid token is needed")             \
    X(FAULT_TOKEN_EXPIRED, "token_expired", 401, false, "The token has expired")                   \
    X(FAULT_FORBIDDEN, "forbidden", 403, false, "Not allowed for this user or token")              \
    X(FAULT_DEVICE_REMOVED, "device_removed", 403, false, "The device is kept out of the session") \
    X(FAULT_TOO_MANY_DEVICES, "too_many_devices", 403, true, "Too many devices in the session")    \
    X(FAULT_NOT_FOUND, "not_found", 404, false, "Nothing is there for this user")                  \
    X(FAULT_METHOD_NOT_ALLOWED, "method_not_allowed", 405, false, "The method is not allowed")     \
    X(FAULT_NOT_ACCEPTABLE, "not_acceptable", 406, false, "No representation fits Accept")         \
    X(FAULT_VERSION_CONFLICT, "version_conflict", 409, false, "The session has moved on")          \
    X(FAULT_VERSION_GONE, "version_gone", 410, false, "The version can no longer be rebuilt")      \
    X(FAULT_PRECONDITION_FAILED, "version_conflict", 412, false, "The session has moved on")       \
    X(FAULT_SESSION_ENDED, "session_ended", 409, false, "The session has ended")                   \
    X(FAULT_INVALID_TRANSITION, "invalid_transition", 409, false, "The status cannot change so")   \
    X(FAULT_CHECKSUM_MISMATCH, "checksum_mismatch", 409, false, "The result differs")              \
    X(FAULT_NOT_ACTIVE_PARTICIPANT, "not_active_participant", 409, false,                          \
      "It is not this participant's turn")                                                         \
    X(FAULT_BODY_TOO_LARGE, "body_too_large", 413, false, "The body is too large")                 \
    X(FAULT_STATE_TOO_LARGE, "state_too_large", 413, false, "The data would be too large")         \
    X(FAULT_UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415, false,                          \
      "The media type is not supported")                                                           \
    X(FAULT_INVALID_VALUE, "invalid_value", 422, false, "A value is out of range")                 \
    X(FAULT_PATCH_FAILED, "patch_failed", 422, false, "The patch could not be applied")            \
    X(FAULT_PATH_NOT_WRITABLE, "path_not_writable", 422, false, "The path cannot be written")      \
    X(FAULT_IDEMPOTENCY_KEY_REUSED, "idempotency_key_reused", 422, false,                          \
      "The key was used for another request")                                                      \
    X(FAULT_PRECONDITION_REQUIRED, "precondition_required", 428, false,                            \
      "The request must say what it is based on")                                                  \
    X(FAULT_RATE_LIMITED, "rate_limited", 429, true, "Too many messages")                          \
    X(FAULT_TOO_MANY_SESSIONS, "too_many_sessions", 429, true, "Too many sessions")                \
    X(FAULT_INTERNAL, "internal", 500, true, "A bug in Handoff")                                   \
    X(FAULT_UNAVAILABLE, "unavailable", 503, true, "Not available now; nothing was applied")       \
    X(FAULT_TIMEOUT, "timeout", 504, true, "The outcome is unknown; repeat with the same key")

#define FAULT_ENUM(name, code, status, temporary, title) name,
enum fault_code { FAULT_NONE = 0, FAULTS(FAULT_ENUM) FAULT_N_CODES };
#undef FAULT_ENUM

/* One refusal: what a function that returns a positive enum fault_code says about it. Written only
 * on failure; fits on the stack and owns nothing. */
struct fault {
    enum fault_code code;
    char detail[256];  /* for a person: what is wrong and what is allowed; UTF-8 */
    char field[64];    /* the request's member or header, "" where none applies */
    char pointer[256]; /* RFC 6901 pointer into the session, "" where none applies; may be cut */
    int index;         /* of the patch operation, -1 where none applies */
    int64_t retry_after_ms; /* of a temporary one: when it may be tried again; 0: not known */
};

/* Fills *f (when not NULL) with the formatted detail and returns code, so that a refusal reads
 * `return fault_set(f, FAULT_INVALID_VALUE, "name", "name has %zu characters; 1 to 255", n);`.
 * field may be NULL. pointer becomes "" and index -1. */
enum fault_code fault_set(struct fault *f, enum fault_code code, const char *field,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Says where: the pointer into the session (cut when too long) and the operation's index (-1:
 * none). f may be NULL. */
void fault_set_place(struct fault *f, const char *pointer, int index);

const char *fault_wire_code(enum fault_code code); /* "version_conflict" */
const char *fault_title(enum fault_code code);
int fault_http_status(enum fault_code code);
bool fault_is_temporary(enum fault_code code);
/* FAULT_NONE for a code that is not known. http_status tells apart the two version_conflicts
 * (and picks among equals); 0 takes the first. */
enum fault_code fault_from_wire(const char *wire_code, int http_status);
