/* One delivery of the audit queue, read: what the rows need to know of it. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "common/bus.h"
#include "proto/event.h"
#include "proto/session.h"

#define ENTRY_REASON_CAP 200

/* What one event, or several of one session, say about its row in `sessions`. Each group of columns
 * comes with the position (entry_position) that it was said at, 0 while nothing was said: events
 * may come out of order. */
struct session_change {
    char id[UUID_LEN + 1];
    struct position position; /* the newest */
    int64_t updated_at; /* of the newest that made a version; it grows with them. 0: none did */
    int64_t created_at;
    bool has_created; /* session_created was among them: user_id to on_idle, and created_at */
    char user_id[UUID_LEN + 1];
    char type[SESSION_TYPE_MAX + 1];
    int64_t ttl_seconds;
    char on_idle[16];

    int64_t name_position;
    char *name; /* owned */

    int64_t status_position;
    char status[20];
    char active_device[SESSION_DEVICE_MAX + 1]; /* "": none */
    int64_t completed_at;                       /* 0: not ended */

    int64_t last_active_position; /* of the newest that told an active device */
    char last_active_device[SESSION_DEVICE_MAX + 1];

    int64_t data_position;
    int64_t last_modified; /* 0: not said, as by a rebuild, of which the checksum is told */
    char modified_by[SESSION_DEVICE_MAX + 1];
    char checksum[HASH_HEX_LEN + 1];

    int64_t clock_position;
    char *clock; /* owned: its text; NULL: not said */
    bool clock_runs;
    int64_t clock_at; /* when its time is over; 0: never */

    int64_t deleted_at; /* 0: not */
};

/* What one event says about a row in `session_participants`. */
struct participant_change {
    char user_id[UUID_LEN + 1]; /* "": nothing */
    char role[16];              /* "": removed */
};

/* What one event says about a row in `session_devices`. */
struct device_change {
    char device_id[SESSION_DEVICE_MAX + 1]; /* "": nothing */
    bool was_seen;                          /* at the event's moment, with the event's user */
    char *name, *platform;                  /* owned; NULL: the device did not say */
    bool tells_removed;
    bool removed;
};

/* What a message of type ROUTE_BARRIER_TYPE asks for: an answer there. */
struct entry_barrier {
    char reply_to[256];
    char correlation_id[128];
};

struct entry {
    struct entry *next;
    uint64_t tag;                  /* 0: not delivered, but found in Redis */
    uint64_t generation;           /* of the bus that delivered it */
    int64_t arrived_at;            /* monotonic ms */
    struct entry_barrier *barrier; /* owned; NULL: an event. With one, the rest is empty */
    char *body;                    /* owned, as it came */
    size_t body_len;

    /* Why it can never be written; "" when it can. Then the rest is empty but message_id and type.
     */
    char reason[ENTRY_REASON_CAP];
    bool buried;       /* the broker confirmed it as a dead letter */
    uint64_t dead_seq; /* of its publish there; 0: not sent, or to be sent again */
    char message_id[128];
    char type[64];

    struct span *span; /* of the writer's; owned or NULL */

    struct event event; /* command_id, key_hash, fingerprint: "" without, or when they cannot be */
    char *payload;      /* owned; NULL: the body */
    char *label;        /* a snapshot's; owned, or NULL */
    struct session_change change;
    struct participant_change participant;
    struct device_change device;
};

/* Positions as one number that grows with them. Both halves fit into PostgreSQL's integer. */
int64_t entry_position(struct position p);

/* Never fails: what is no event gets a reason. */
struct entry *entry_new(const struct bus_message *m, uint64_t generation, int64_t now_monotonic_ms);
struct entry *entry_free(struct entry *e);
DEFINE_CLEANUP(struct entry *, entry_free)

/* Whether it becomes a row: neither a barrier nor a dead letter. */
bool entry_is_row(const struct entry *e);

/* Whether its row is the one of its position's version, which the others only carry. */
static inline bool entry_is_version(const struct entry *e) {
    return event_is_versioned(e->event.type) || e->event.type == EVENT_SESSION_REBUILT;
}

/* Takes what the member `clock` of the object says, if there is one; see entry_clock.c. */
MUSTCHECK int change_take_clock(struct session_change *c, const json_t *object, struct fault *f);
/* Adds what a later delivery of the same session says; takes texts out of `from`. */
void change_merge(struct session_change *to, struct session_change *from);
void change_done(struct session_change *c);
