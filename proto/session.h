/* A session: the struct, its JSON resource, and its two parts in Redis (state string, meta hash).
 * Contract sections 2 and 6. Names on the wire are camelCase, in C snake_case. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/uuid.h"
#include "proto/fault.h"

#define SESSION_NAME_MAX_CHARACTERS 255
#define SESSION_TYPE_MAX 50
#define SESSION_DEVICE_MAX 128
#define SESSION_DEVICE_NAME_MAX_BYTES 255
#define SESSION_DEVICE_PLATFORM_MAX_BYTES 64
#define SESSION_DATA_MAX_BYTES (512u << 10)
#define SESSION_DATA_MAX_DEPTH 64
#define SESSION_TTL_DEFAULT_S 3600
#define SESSION_TTL_MIN_S 60
#define SESSION_TTL_MAX_S 2592000
#define SESSION_PAUSED_TTL_MS (30LL * 24 * 3600 * 1000)
#define SESSION_N_SNAPSHOTS 10
#define SESSION_MAX_PARTICIPANTS 100
#define SESSION_MAX_REMOVED_DEVICES 100
#define SESSION_LABEL_MAX_CHARACTERS 255

enum session_status {
    SESSION_PENDING,   /* -> active, cancelled, expired */
    SESSION_ACTIVE,    /* -> paused, completed, cancelled, expired */
    SESSION_PAUSED,    /* -> active, completed, cancelled, expired */
    SESSION_COMPLETED, /* final */
    SESSION_CANCELLED, /* final */
    SESSION_EXPIRED,   /* final */
    SESSION_N_STATUSES
};

enum session_on_idle { SESSION_IDLE_PAUSE, SESSION_IDLE_EXPIRE };

enum session_role {
    SESSION_ROLE_NONE,
    SESSION_ROLE_VIEWER,
    SESSION_ROLE_EDITOR,
    SESSION_ROLE_OWNER
};

struct clock; /* proto/clock.h */

struct position {
    uint64_t version;
    uint64_t epoch;
};

struct session {
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char *name; /* owned, UTF-8 */
    char type[SESSION_TYPE_MAX + 1];
    enum session_status status;
    struct position position;
    int64_t created_at;   /* ms, as all moments here */
    int64_t updated_at;   /* of the last durable change */
    int64_t completed_at; /* 0: not ended */
    int64_t touched_at;   /* last write or heartbeat: what idle counts from */
    uint32_t ttl_seconds;
    enum session_on_idle on_idle;
    char active_device[SESSION_DEVICE_MAX + 1];      /* "" while none */
    char last_active_device[SESSION_DEVICE_MAX + 1]; /* stays when paused */
    int64_t last_modified;                           /* of data or name */
    char modified_by[SESSION_DEVICE_MAX + 1];
    char *data_text; /* owned: data in canonical form */
    size_t data_len;
    char checksum[HASH_HEX_LEN + 1];
    char *clock_text; /* owned: the clock as clock_print prints it; NULL: none */
    size_t clock_len;
    bool clock_runs;
    int64_t clock_at;   /* when the clock has to be looked at next; 0: never */
    int64_t clock_told; /* warnings up to that moment were told */
    bool deleted;       /* a tombstone: no name, no data */
    /* Lists as meta has them, so that a script finds a member by its text: owned; NULL: empty. */
    char *participants;    /* ",<user id>:editor,<user id>:viewer," */
    char *removed_devices; /* ",<device id>,<device id>," */

    /* What only the engine looks at. */
    uint64_t published; /* every version up to here was confirmed by the broker */
    char snapshots[SESSION_N_SNAPSHOTS * 21 + 1]; /* versions kept, comma-separated, oldest first */
    char run_id[41];                              /* of the Redis node that took the last save */
    char cooling[41];                             /* going-cold mark, "" while none */
    char saver[UUID_LEN + 1]; /* who made the last version (store_batch_saver); "": unknown */
    int64_t saver_since;      /* no version of anybody else is younger */
};

void session_done(struct session *s);
/* A copy that owns its own texts. */
void session_copy(const struct session *from, struct session *ret);
/* In two steps, for who may write data anew between them: half a megabyte is copied for nothing.
 * The second one's *ret has no data yet. */
void session_copy_but_data(const struct session *from, struct session *ret);
void session_copy_data(const struct session *from, struct session *ret);
/* Sets data_text, data_len and checksum from a value. */
void session_set_data(struct session *s, const json_t *data);
/* The same from its canonical form, which becomes the session's own. */
void session_take_data(struct session *s, struct buf *canonical);

/* Moment when idle or expiry acts next; 0 when never: final, or while the clock runs. Pure: from
 * touched_at, ttl, status. */
int64_t session_expires_at(const struct session *s);
bool session_is_final(enum session_status status);
bool session_may_become(enum session_status from, enum session_status to);

const char *session_status_name(enum session_status status); /* "active" */
bool session_status_parse(const char *name, enum session_status *ret);
const char *session_on_idle_name(enum session_on_idle on_idle);
bool session_on_idle_parse(const char *name, enum session_on_idle *ret);
const char *session_role_name(enum session_role role);

/* 1 to 255 characters without control characters U+0000; 1 to 50 of a-z 0-9 _ -; a device id. */
bool session_name_is_valid(const char *name, size_t len);
bool session_type_is_valid(const char *type, size_t len);
bool session_device_is_valid(const char *device, size_t len);

/* The role that `user_id` has by itself: owner, what it was given, or none. */
enum session_role session_role_of(const struct session *s, const char *user_id);

/* ---- participants and removed devices ---- */
bool session_role_parse(const char *name, enum session_role *ret); /* editor, viewer */
/* Gives a role, or takes it (SESSION_ROLE_NONE). False: SESSION_MAX_PARTICIPANTS are there. */
MUSTCHECK bool session_set_participant(struct session *s, const char *user_id,
                                       enum session_role role);
/* Calls visit for each participant; the owner is none. */
void session_each_participant(const struct session *s,
                              void (*visit)(void *arg, const char *user_id, enum session_role role),
                              void *arg);
bool session_device_is_removed(const struct session *s, const char *device_id);
/* False: SESSION_MAX_REMOVED_DEVICES are kept out already. */
MUSTCHECK bool session_set_device_removed(struct session *s, const char *device_id, bool removed);
/* What meta may hold of the two lists: nothing, or items of their kind and at most as many. */
bool session_participants_are_valid(const char *list, size_t len);
bool session_removed_devices_are_valid(const char *list, size_t len);
/* Calls visit for each device that is kept out. */
void session_each_removed_device(const struct session *s,
                                 void (*visit)(void *arg, const char *device_id), void *arg);

/* ---- the clock: carried as text, known without parsing whether it runs ---- */
/* Sets clock_text, clock_len and clock_runs; NULL takes the clock away. clock_at and clock_told are
 * the caller's. */
void session_set_clock(struct session *s, const struct clock *c);
/* Takes a clock's text as it was stored. -EBADMSG when it has not the shape of one. */
MUSTCHECK int session_take_clock(struct session *s, const char *text, size_t len, bool runs);
bool session_clock_runs(const struct session *s);
/* The length of the clock that the text begins with; 0: it begins with none. Each byte is looked at
 * for what a clock's text may hold and how it nests; what the members say is clock_parse's. */
size_t session_clock_span(const char *text, size_t len);

/* ---- JSON: the resource as contract section 2 shows it, members in that order ---- */
void session_print(const struct session *s, enum session_role role, struct buf *out);
/* The same with data and clock left out (lists). */
void session_print_summary(const struct session *s, enum session_role role, struct buf *out);
/* The resource as a jansson object for patch_apply: a new reference; data is parsed. -EBADMSG when
 * data_text is not JSON (a corrupt store). */
MUSTCHECK int session_to_json(const struct session *s, enum session_role role, json_t **ret);

/* The same with the members alone that a patch can write: name and data. data_text is our own, so
 * that it is not checked as a stranger's text is. */
MUSTCHECK int session_writable_to_json(const struct session *s, json_t **ret);

/* ---- Redis: session:{id}:state, a string ---- */
void session_print_state(const struct session *s, struct buf *out);
/* Fills version, last_modified, modified_by, clock_text, data_text, checksum without parsing clock
 * and data. -EBADMSG when it has not the shape that session_print_state writes. The checksum is not
 * verified here. */
MUSTCHECK int session_parse_state(struct session *s, const char *text, size_t len);
/* -EBADMSG when data_text does not hash to checksum. */
MUSTCHECK int session_verify(const struct session *s);

/* ---- Redis: session:{id}:meta, a hash of strings ---- */
/* Calls put(arg, field, value, len) for each field; for those alone that `before` has otherwise,
 * unless that is NULL. */
typedef void session_put_fn(void *arg, const char *field, const char *value, size_t len);
void session_each_meta(const struct session *s, const struct session *before, session_put_fn *put,
                       void *arg);
/* Takes one field; one that is not known is ignored. -EBADMSG when the value cannot be. */
MUSTCHECK int session_take_meta(struct session *s, const char *field, const char *value,
                                size_t len);

/* ---- Positions ---- */
/* The entity tag with its quotes: "42", or "42.3" from epoch 2 on. */
#define POSITION_TAG_CAP 48
void position_print_tag(struct position p, char ret[static POSITION_TAG_CAP]);
bool position_equal(struct position a, struct position b);
