/* The engine's heart: session + command + now -> session after it + events, or a fault. Pure: no
 * clock, no I/O. What needs a look at the delta window gets it as an argument. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "proto/command.h"
#include "proto/event.h"
#include "proto/fault.h"
#include "proto/session.h"

/* Versioned events after `since`, oldest first, without a gap up to the session's version. */
struct window {
    const struct window_entry *entries; /* borrowed */
    size_t n_entries;
};

struct window_entry {
    uint64_t version;
    const char *event; /* borrowed: the body as published */
    size_t event_len;
};

#define CHANGE_MAX_EVENTS 4

/* What a command does to a session. */
struct change {
    bool saves;          /* something has to be written: events, or the touch of a heartbeat */
    struct session next; /* the session after it (a copy of the one before when nothing changes) */
    /* The versioned ones first, a version each: one, or two where a deadline ends the session. None
     * for a heartbeat; a snapshot alone for one that was asked for, a clock's warning alone. */
    struct event events[CHANGE_MAX_EVENTS];
    size_t n_events;
    const char
        *snapshot_id; /* message id of the snapshot event, NULL without; borrowed from events */
    uint64_t dropped_snapshot; /* 0, or the kept snapshot that makes room */
    char kept_before[sizeof(((struct session *)0)->snapshots)]; /* the list that it was made on */
    uint64_t base_version;                                      /* before the change */
    bool rebased;
    bool joins;          /* the command's device comes into the session with it, */
    int64_t joined_at;   /* at this moment */
    int64_t deadline;    /* the clock's that it acts on, ms; 0: none */
    bool tells_clock;    /* without a version: a warning, */
    int64_t told_before; /* of which the session said this, ms */
};
void change_done(struct change *c);
/* How many versions it makes: 0, 1 or 2. */
size_t change_n_versions(const struct change *c);

/* What is known of a device that would become active. */
struct apply_device {
    bool has_joined;
    bool is_counted;             /* among n_of_user, while it has not joined */
    uint64_t n_of_user;          /* devices of this user in the session */
    uint64_t n_joined;           /* all */
    int64_t last_moment;         /* when it last came or went: the next time is later */
    const char *name, *platform; /* borrowed; what it calls itself, "" when not known */
};

struct apply_context {
    int64_t now;             /* ms, store time; never before the session's updated_at is used */
    uint64_t snapshot_every; /* versions */
    const struct apply_device *device; /* of a COMMAND_STATUS to active; NULL: it never came */
    struct window window;              /* after apply_window_since, for a command that needs it */
};

/* The version after which `command` needs the delta window to be judged on `session` (for a
 * disjoint merge, or to tell what was missed), in *ret. false: it needs none. */
bool apply_window_since(const struct session *s, const struct command *c, uint64_t *ret);

/* Message id of the event that a COMMAND_SNAPSHOT makes: the same for a repeat of the command, or
 * of its key. */
void snapshot_message_id(const struct command *c, char ret[static UUID_LEN + 1]);

/* Whether the command's user and device may do this to the session: 0, FAULT_NOT_FOUND,
 * FAULT_DEVICE_REMOVED, FAULT_FORBIDDEN. s NULL: there is none. */
MUSTCHECK int apply_check_rights(const struct session *s, const struct command *c, struct fault *f);

/* s: the session, or NULL when there is none (a create needs NULL). Rights and idempotency keys
 * were looked at before. Returns 0 and *ret, or a positive fault; on a version conflict
 * *ret_conflict (owned) is the JSON text of what the caller missed. -EBADMSG: the session's data is
 * corrupt. On failure *ret is done already, or as it was. */
MUSTCHECK int session_apply(const struct session *s, const struct command *c,
                            const struct apply_context *context, struct change *ret,
                            struct fault *f, char **ret_conflict);
