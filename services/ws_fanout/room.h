/* A room is one session with its watchers on this instance; a table finds rooms by session id. What
 * happens in them is decided by the hub. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/table.h"
#include "proto/session.h"

struct connection;
struct crowd;
struct hub;
struct presence_device;
struct arrival;

/* Why a subscription needs the whole state: `reason` of the state_sync. */
enum sync_reason {
    SYNC_INITIAL,
    SYNC_WINDOW,
    SYNC_EPOCH,   /* it came with a position of an epoch that is over */
    SYNC_REBUILT, /* the session was rebuilt while it was subscribed */
    SYNC_AHEAD,
    SYNC_SLOW,
    SYNC_N_REASONS
};

enum subscription_state {
    SUBSCRIPTION_JOINING, /* asked for, has no state yet: -> live, or refused and gone */
    SUBSCRIPTION_LIVE,    /* at a position, gets what follows: -> filling, stale, slow */
    SUBSCRIPTION_FILLING, /* misses deltas, which are being read: -> live, stale, slow */
    SUBSCRIPTION_STALE,   /* needs the whole state: -> live, slow */
    SUBSCRIPTION_SLOW,    /* its messages were dropped; waits for the queue to drain: -> stale */
};

struct subscription {
    struct connection *connection;
    struct room *room;
    size_t index; /* in room->subscriptions */
    enum subscription_state state;
    enum sync_reason reason; /* while joining or stale */
    enum session_role role;  /* as last read or told; none until it had its first answer */
    bool is_admitted;        /* by presence: nothing is sent to it before */
    bool wants_entry;        /* the session was not in Redis: to be admitted once it is */
    bool resumes;            /* while joining: wants what follows `at`, not the state */
    bool was_read_for;       /* while joining: a read has begun since it asked */
    unsigned n_entries;      /* how often presence was asked */
    struct position at;      /* while live or filling: the last event it has */
    char *id;                /* owned; the subscribe message's, until it is answered; or NULL */

    /* presence.c's */
    struct presence_device *presence; /* its device, once it entered; or NULL */
    bool is_waiting;                  /* for hub_admit: in `waiting` of its device or of all */
    struct subscription *next_of_device, **of_device_link; /* link: what points here */
    struct subscription *next_waiting, **waiting_link;
};

/* What a room has to read, or is reading. */
enum room_need {
    ROOM_NEEDS_NOTHING,
    ROOM_NEEDS_WINDOW, /* meta and deltas */
    ROOM_NEEDS_STATE,  /* meta and state */
};

enum room_binding { ROOM_UNBOUND, ROOM_BINDING, ROOM_BOUND };

struct room {
    struct table_node node; /* first */
    char session_id[UUID_LEN + 1];
    struct hub *hub;
    struct subscription **subscriptions;
    size_t n_subscriptions;
    size_t cap;

    enum room_binding
        binding;         /* in mode `session`; while binding, the broker's answer names the room */
    int64_t empty_since; /* ms; 0: has watchers */

    char run_id[41]; /* of the session's node when it was read last; "" before */

    struct position seen;      /* newest that is known to exist */
    struct position deleted;   /* of session_deleted; version 0: not seen */
    bool is_busy;              /* a read or a load is under way, whose callback has the room */
    bool wants_compare;        /* positions have to be compared with the store */
    bool was_compare;          /* the read under way answers an earlier wants_compare */
    enum room_need need;       /* what is being read, or was last */
    struct position seen_then; /* what was seen when that read began */
    uint64_t window_since;     /* that read's, of deltas */
    uint64_t window_end;       /* the last read of deltas came up to here */
    char loader[UUID_LEN + 1]; /* for whom the load under way is */
    unsigned n_tries;          /* reads and loads in a row that did not help */
    int64_t retry_at;          /* ms; not before it; 0: at once */
    bool is_queued;            /* waits for its turn to read */
    struct room *next_queued;

    struct crowd *crowd;   /* owned; NULL before the first device comes or goes */
    int64_t crowd_told_at; /* ms; of its last frame */
    struct arrival *first_arrival, *last_arrival; /* events that this turn of the bus brought */
    struct room *next_arrived;                    /* with such events */

    /* hub.c's: those that the next tick may have something to do for; link: what points here, NULL:
     * it is none of them */
    struct room *next_restless, **restless_link;
};

/* ---- the table of rooms (table_init makes an empty one) ---- */
/* Frees what is left. */
void rooms_done(struct table *t);
struct room *rooms_find(const struct table *t, const char *session_id);
struct room *rooms_add(struct table *t, struct hub *h, const char *session_id);
/* Removes and frees one that has no subscriptions. */
void rooms_remove(struct table *t, struct room *room);
/* Calls visit for each; visit may remove the room that it is given. */
void rooms_each(struct table *t, void (*visit)(struct hub *h, struct room *room), struct hub *h);

struct subscription *room_add(struct room *room, struct connection *c);
/* Frees it; the last one takes its place, so that a loop from the end to the start may remove. */
void room_remove(struct subscription *s);
