/* A crowd: thousands of WebSockets that cost this side as little as may be, since they run on the
 * cores that they measure. Each of them checks that it sees every version once and in order; the
 * bytes of a version are searched once and compared for all others. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/sockets.h"

struct crowd;

enum viewer_state {
    VIEWER_UPGRADING, /* has asked: -> waiting, refused */
    VIEWER_WAITING,   /* for its state, or for what it missed: -> synced, refused */
    VIEWER_SYNCED,
    VIEWER_REFUSED, /* an answer other than 101, or an error */
};

struct viewer {
    struct source source; /* first */
    struct crowd *crowd;
    enum viewer_state state;
    uint32_t session;       /* its number in the set-up */
    uint64_t version;       /* the last one seen */
    uint64_t until_version; /* while waiting, after `subscribed`: has what it missed then */
    uint64_t since_ns;      /* when it began to connect */
    const char *token;      /* for the message after the upgrade; borrowed, or NULL */
    char *rest;             /* of a frame that has not arrived whole; NULL mostly */
    size_t n_rest;
    bool is_foreign;
};

struct crowd_seen; /* one version: its bytes, and how many have got it */

struct crowd {
    struct sockets *sockets;
    uint16_t port;
    struct viewer *viewers;
    size_t n, n_open, n_done; /* wanted, connecting or more, synced or refused */
    size_t n_refused;
    char refusal[256]; /* the first one's words */
    bool is_shared;    /* all watch one session: how many got which version is counted */
    struct crowd_seen *ring;
    uint64_t n_deliveries, n_bytes; /* events, and their texts' lengths */
    uint64_t n_missing;             /* versions that were skipped or came again */
    uint64_t n_syncs;               /* state_sync where single events were due */
    uint64_t n_replayed;            /* events before the version that `subscribed` named */

    /* What the owner of the crowd wants to know; arg is its. */
    void (*done)(struct crowd *c, struct viewer *v); /* synced or refused */
    /* The last of all has got it. value: what the change writes. */
    void (*all_have)(struct crowd *c, uint64_t value);
    void *arg;
};

/* How a viewer connects; borrowed during crowd_connect. */
struct crowd_entry {
    uint32_t session;
    const char *session_id, *token; /* by message: until the viewer is done */
    bool by_message;                /* authenticates in a message instead of by header */
    bool resumes;
    uint64_t since;  /* when it resumes */
    bool is_bare;    /* of bare_send: no HTTP, at version 0 at once */
    bool is_foreign; /* of another server, which tells no state: at version `since` once upgraded */
};

/* Room for n viewers, none of them connected. */
void crowd_init(struct crowd *c, struct sockets *sockets, uint16_t port, size_t n, bool is_shared);
void crowd_done(struct crowd *c);
/* The next viewer. */
void crowd_connect(struct crowd *c, const struct crowd_entry *entry);
