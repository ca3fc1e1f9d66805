/* Who is on a session's devices, in Redis. session:{<id>}:devices has a field
 * `<device>LF<instance>` for each device that a ws_fanout instance holds connections of, and a
 * field
 * `<device>` for each device that has joined and not left; session:{<id>}:presence is a sorted set
 * of devices by the moment (ms) when something has to be told or judged about them: now for one
 * that came, 10 s ahead for one whose last connection went, 120 s for one that never connected.
 * ws_fanout writes what it sees, state_engine tells what follows (device_joined, device_left) and
 * takes the entry away when the broker has confirmed it. Contract sections 4 and 6. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/store.h"
#include "common/store_batch.h"
#include "proto/event.h"
#include "proto/session.h"

#define PRESENCE_MAX_DEVICES_PER_USER 10
#define PRESENCE_MAX_WATCHERS 20000
#define PRESENCE_MAX_DUE 200
#define PRESENCE_LEFT_AFTER_MS 10000          /* the last connection */
#define PRESENCE_REQUEST_LEFT_AFTER_MS 120000 /* the last request of one that never connected */
#define PRESENCE_INSTANCE_TTL_MS 15000
#define PRESENCE_INSTANCE_RENEW_MS 5000

/* ---- ws_fanout: asynchronous; store_presence.c ---- */

struct store_arrival { /* borrowed during the call */
    const char *session_id, *user_id, *device_id;
    bool is_admin; /* sessions:admin: needs no role */
    const char *instance;
    const char *name, *platform; /* "" when the device did not say */
};

enum store_admission {
    STORE_ADMITTED,
    STORE_ADMITTED_FIRST,   /* and a device_joined is due: tell the engine */
    STORE_SESSION_ABSENT,   /* not in Redis as the node is now (cold, lost, stale), or deleted */
    STORE_NO_ROLE,          /* the user has none on this session */
    STORE_DEVICE_REMOVED,   /* it is kept out */
    STORE_TOO_MANY_DEVICES, /* of this user */
    STORE_TOO_MANY_WATCHERS,
};
/* err as store_read's; admission means something when it is 0. Always called, later. */
typedef void store_arrive_fn(void *arg, int err, enum store_admission admission);
/* The first connection of a device to a session on this instance: judged by meta, and counted, in
 * one script. The session's attention is armed before it. */
void store_arrive(struct store *s, const struct store_arrival *a, store_arrive_fn *done, void *arg);
/* The last one has gone. done may be NULL; err 0 when it is noted. */
void store_depart(struct store *s, const char *session_id, const char *device_id,
                  const char *instance, void (*done)(void *arg, int err), void *arg);
typedef void store_renewed_fn(void *arg, int err, bool lives);
/* Begins the life of instance:{<iid>}, or (is_new false) renews it. lives false: it had run out,
 * and stays so: everything that the instance holds has to arrive again under another name. Also
 * makes the instance a member of the attention set. A Redis that is out of memory renews, and
 * begins nothing. */
void store_renew_instance(struct store *s, const char *instance, bool is_new,
                          store_renewed_fn *done, void *arg);

/* ---- session_api: GET /sessions/{id}/devices ---- */

struct store_device {                                  /* borrowed during the callback */
    const char *device_id, *user_id, *name, *platform; /* "" when not known */
    bool is_connected;
    int64_t first_seen, last_seen; /* ms */
};
typedef void store_devices_fn(void *arg, int err, const struct store_device *devices, size_t n);
/* Those that have arrived, told or not yet, and not left. err as above; none is no error. */
void store_read_devices(struct store *s, const char *session_id, store_devices_fn *done, void *arg);

/* ---- state_engine: blocking, a pipeline for all; store_presence_batch.c ---- */

/* What is due to be told about one session's devices. */
struct store_presence_change {
    enum event_type type; /* EVENT_DEVICE_JOINED or EVENT_DEVICE_LEFT */
    int64_t moment;       /* ms; the same when it is told again */
    char user_id[UUID_LEN + 1];
    char device_id[SESSION_DEVICE_MAX + 1];
    char name[SESSION_DEVICE_NAME_MAX_BYTES + 1];
    char platform[SESSION_DEVICE_PLATFORM_MAX_BYTES + 1];
    uint64_t n_devices; /* joined, after it */
};

struct store_presence {
    /* in */
    char session_id[UUID_LEN + 1];
    bool judges; /* also when nothing is due: position and active_device are wanted */
    /* out; owned */
    int err; /* 0; -ENOENT no such session; -ESTALE saved under another run_id; -EIO refused;
                -ENOTCONN its node of a cluster is away; -EBADMSG what is there cannot be */
    struct position position; /* these two when something was due; version 0 else */
    char active_device[SESSION_DEVICE_MAX + 1];
    struct store_presence_change *changes;
    size_t n_changes;
    int64_t next; /* when to look again, ms; 0: nothing is left to look at */
};
void store_presence_done(struct store_presence *p);
/* For each session: judges the devices that are due at `now` (at most PRESENCE_MAX_DUE), writes
 * what they have become, and leases each changed one's entry until lease_until. Connections of
 * instances that are no more are taken away before. Negative: Redis was lost. */
MUSTCHECK int store_batch_presence(struct store_batch *b, struct store_presence *presences,
                                   size_t n, int64_t now, int64_t lease_until);
/* The broker confirmed the change: its entry goes, unless something has happened since. */
struct store_presence_told {
    char session_id[UUID_LEN + 1];
    char device_id[SESSION_DEVICE_MAX + 1];
    int64_t lease_until;
};
MUSTCHECK int store_batch_presence_told(struct store_batch *b,
                                        const struct store_presence_told *told, size_t n,
                                        int64_t now);

/* A request by a device: one that joined without a connection stays so much longer. Sessions and
 * devices that are not there are passed over. */
struct store_presence_touch {
    char session_id[UUID_LEN + 1];
    char device_id[SESSION_DEVICE_MAX + 1];
};
MUSTCHECK int store_batch_presence_touch(struct store_batch *b,
                                         const struct store_presence_touch *touches, size_t n,
                                         int64_t now);
