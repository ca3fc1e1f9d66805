/* The engine's border to Redis: blocking, pipelined, with compare-and-set scripts. One round trip
 * loads all sessions of a batch, one saves them. A timeout (2 s) or any error poisons the
 * connection: the calls return negative errno, and what was saved is unknown (look for the command
 * id again). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/metrics.h"
#include "proto/session.h"
#include "proto/trace_context.h"

#define STORE_INSTANCE_MAX 127
#define STORE_TOKEN_CAP 60 /* of what tells one save from all others, with its NUL */

struct store_batch;

/* redis://[user:password@]host:port[/db], or
 * redis+cluster://[user:password@]host:port[,host:port…]; -EINVAL for a url that is neither. */
MUSTCHECK int store_batch_new(struct store_batch **ret, const char *url);
struct store_batch *store_batch_free(struct store_batch *b);
DEFINE_CLEANUP(struct store_batch *, store_batch_free)
/* From now on each connection is made with the user and password of *url, which may become another
 * text at any time, of the same addresses. Borrowed, as long as the batch lives. */
void store_batch_follow_url(struct store_batch *b, char *const *url);
/* Connects, loads the scripts, checks maxmemory-policy noeviction: at most 1 s for the host's name,
 * which is looked up on when that is over, and 2 s of silence. ret_why: for the log, "" on success.
 * No-op when connected. */
MUSTCHECK int store_batch_connect(struct store_batch *b, char ret_why[static 256]);
/* Also while some nodes of a cluster are away: what they have is answered so. */
bool store_batch_is_connected(const struct store_batch *b);
/* Whether all nodes are there; ret_why: "" or which is not, for the log. */
bool store_batch_is_whole(const struct store_batch *b, char ret_why[static 256]);
/* Grows with each connection that is lost: what was known of Redis may not hold any more. */
uint64_t store_batch_n_losses(const struct store_batch *b);
bool store_batch_is_cluster(const struct store_batch *b);
/* How many replicas have to have a save before store_batch_save returns, or a second has passed;
 * 0, the default: none. */
void store_batch_wait_for_replicas(struct store_batch *b, unsigned n);
/* The run_id of the node that has the session, from the connect; "" before it. */
const char *store_batch_run_id(const struct store_batch *b, const char *session_id);
/* Tells this batch's saves from those of all others. */
const char *store_batch_saver(const struct store_batch *b);
/* PING; negative when Redis does not answer. */
MUSTCHECK int store_batch_ping(struct store_batch *b);

/* Every pipeline is observed there from now on, from its first question to its last answer: a
 * histogram of seconds. */
void store_batch_measure(struct store_batch *b, struct metric *answers);

/* ---- load ---- */
/* One entry of the delta window, owned by its load. */
struct store_entry {
    uint64_t version;
    int64_t time;                  /* ms */
    char command_id[UUID_LEN + 1]; /* "" when no command caused it */
    char *event;                   /* body as published */
    size_t event_len;
    char *extra; /* JSON array text of further events of that save, or NULL; see store_save */
    char snapshot_id[UUID_LEN + 1]; /* message id of the snapshot event of that version, or "" */
    /* of the command's idempotency key, "" without one */
    char key_hash[HASH_HEX_LEN + 1];
    char fingerprint[HASH_HEX_LEN + 1];
    struct trace_context trace; /* the command's, where it is sampled; else not set */
};

struct store_idem {
    bool found;
    int64_t time;                       /* ms: of the save that remembered it */
    char fingerprint[HASH_HEX_LEN + 1]; /* "": of a command without a key; see recover.h */
    struct position position;
    char checksum[HASH_HEX_LEN + 1];
};

/* A device that a command makes active: whether it is in the session already. */
struct store_joiner {
    /* in; borrowed while the load or the save lives */
    const char *device_id, *user_id;
    /* out; owned by the load */
    char *record; /* as it is stored, "" without: a save finds it unchanged or is lost */
    bool is_counted, has_joined;
    int64_t moment; /* of its last join or leave, 0 for none */
    char name[SESSION_DEVICE_NAME_MAX_BYTES + 1], platform[SESSION_DEVICE_PLATFORM_MAX_BYTES + 1];
    uint64_t n_of_user, n_joined; /* devices in the session: of this user, all */
};

struct store_load {
    /* in */
    char session_id[UUID_LEN + 1];
    bool wants_state;  /* the state string too, not the meta alone */
    bool wants_deltas; /* the window after `deltas_since`, into entries */
    uint64_t deltas_since;
    const char *const *key_hashes; /* borrowed: idempotency keys to look up */
    size_t n_key_hashes;
    struct store_joiner *joiners; /* borrowed; their outs are the load's */
    size_t n_joiners;
    /* out; owned by the load */
    int err; /* 0; -ENOENT not in Redis; -EBADMSG a value that cannot be; -ENOTCONN its node of a
                cluster is away, others are there */
    struct session session;
    char token[STORE_TOKEN_CAP]; /* of the save that left it so; "": none is known */
    struct store_entry *entries;
    size_t n_entries;
    struct store_idem *idems; /* n_key_hashes */
};
void store_load_done(struct store_load *l);
/* Loads all in one pipeline. *ret_now is Redis TIME, ms (of a cluster that of one node, carried on
 * while that is away). Negative: nothing was loaded. */
MUSTCHECK int store_batch_load(struct store_batch *b, struct store_load *loads, size_t n,
                               int64_t *ret_now);

/* ---- save ---- */
enum store_save_result {
    STORE_SAVED,
    STORE_LOST,    /* another save came first: load again */
    STORE_SEEN,    /* its key was used before: load, to see for what. Nothing was written */
    STORE_FULL,    /* 1000 unpublished versions or 16 MiB kept: refuse */
    STORE_REFUSED, /* Redis refuses writes (OOM, MISCONF, READONLY): nothing was written; why in
                      text */
    STORE_AWAY,    /* its node of a cluster is away: nothing was written */
    STORE_UNKNOWN, /* its node of a cluster was lost before it answered: look for the command again
                    */
};

struct store_save {
    /* in; all borrowed */
    /* After the change. One that is deleted still lists its snapshots: they go, with state and
     * keys, and the tombstone that is written lists none. */
    const struct session *session;
    struct position expected; /* before it; version 0: must not exist yet (create) */
    /* The session that it was made from, with the token that it had (or the save right before this
     * one of the same call made it): the save is lost when another one came since, and meta is
     * written where they differ. NULL, token "": the position alone is compared, all is written. */
    const struct session *before;
    const char *token;
    bool writes_state; /* data, name … : the state string is written too */
    const char *command_id;
    const struct trace_context *trace; /* the command's, kept where it is sampled; or NULL */
    const char *event; /* body of the versioned event; NULL: no version and no delta, but meta's
                          touch and (with snapshot_id) a snapshot of the version that is there */
    size_t event_len;
    /* or NULL: the event of the version before that one, which this save makes, too, both or none
     */
    const char *first_event;
    size_t first_event_len;
    bool tells_clock;    /* without an event: clock_at and clock_told, in place of the touch, */
    int64_t told_before; /* if clock_told was this */
    const char *extra;   /* or NULL: JSON array [{"type","messageId","body"}] of unversioned durable
                            events   beside `event` */
    const char
        *snapshot_id; /* or NULL: a snapshot of this version is due; its event's message id */
    uint64_t dropped_snapshot; /* 0, or the version whose kept snapshot makes room for this one */
    /* NULL, or the list of kept snapshots that this save was made on: one that adds to the list, or
     * drops what is on it, loses when another engine has changed it without a version. */
    const char *kept_before;
    const char *key_hash; /* or NULL: remember the idempotency key */
    const char *fingerprint;
    /* `before` was not loaded: where the key is remembered the save is not made, and where the
     * state is gone it is lost. */
    bool is_unseen;
    const struct store_joiner *joiner; /* or NULL: this device joins, as it was loaded */
    int64_t joined_at;
    int64_t now;
    /* out */
    enum store_save_result result;
    char saved_token[STORE_TOKEN_CAP]; /* what is in meta once it is STORE_SAVED; see store_load */
    bool is_unreplicated; /* STORE_SAVED, but too few replicas have it: it may be lost yet */
    char text[128];
};
/* Saves all in one pipeline, in order (so that several of one session build on each other). `marks`
 * are published marks moved in the same round trip; attention entries are armed before the saves.
 */
struct store_mark {
    /* in: this engine had the events of versions first … published.version confirmed. The mark
     * moves there only over versions that somebody confirmed: one below that nobody did must not be
     * hidden by a later one. */
    char session_id[UUID_LEN + 1];
    uint64_t first;
    struct position published;
    /* out: the mark stands there or later, or the run is remembered until it gets there (or the
     * session is gone, or in another epoch): forget it. Not settled: too many are remembered, or
     * Redis took no writes; ask again later. */
    bool settled;
};
struct store_arm {
    char session_id[UUID_LEN + 1];
    int64_t at; /* ms: moved earlier only */
};
MUSTCHECK int store_batch_save(struct store_batch *b, struct store_save *saves, size_t n_saves,
                               const struct store_arm *arms, size_t n_arms,
                               struct store_mark *marks, size_t n_marks);

/* ---- single questions ---- */
/* The state at a kept snapshot's version: owned text; -ENOENT. */
MUSTCHECK int store_batch_snapshot(struct store_batch *b, const char *session_id, uint64_t version,
                                   char **ret_text, size_t *ret_len);
/* Claims user:{u}:idem:<hash> for each of n creates, 24 h, in one pipeline: session_id is the id to
 * use, the wanted one or that of an earlier claim; same_request is false when that claim had
 * another fingerprint. Negative: the connection was lost, nothing is known. */
struct store_claim {
    /* in; borrowed until the return */
    const char *user_id, *key_hash, *fingerprint, *wanted_id;
    /* out */
    int err; /* 0; -EIO Redis refused; -ENOTCONN its node of a cluster is away; -EBADMSG what is
                there cannot be */
    char session_id[UUID_LEN + 1];
    bool same_request;
};
MUSTCHECK int store_batch_claim_creates(struct store_batch *b, struct store_claim *claims,
                                        size_t n);
/* Counts a redelivery; *ret_n counts from 1; the count lives 60 s. */
MUSTCHECK int store_batch_count_try(struct store_batch *b, const char *session_id,
                                    const char *command_id, unsigned *ret_n);

/* ---- attention ---- */
struct store_due {
    char session_id[UUID_LEN + 1]; /* "": it is an instance of ws_fanout */
    char instance[STORE_INSTANCE_MAX + 1];
    unsigned set; /* 1 + which of the sets it is in; 0: where it would be armed */
    int64_t at;
    /* set by store_batch_claim_due */
    bool is_claimed;
    int64_t lease; /* its end, ms */
    int64_t next;  /* for store_batch_rearm */
};
/* Every entry due until `until` (at most `most` a slot) over all slots, in one pipeline; *ret
 * owned. */
MUSTCHECK int store_batch_due(struct store_batch *b, int64_t until, size_t most,
                              struct store_due **ret, size_t *ret_n);
/* Claims n entries in one pipeline: moves each from its `at` to lease_until, and sets lease and
 * is_claimed, false when another engine did. */
MUSTCHECK int store_batch_claim_due(struct store_batch *b, struct store_due *due, size_t n,
                                    int64_t lease_until);
/* After a look: each entry's next one at `next`, or none (0), unless somebody armed it earlier than
 * the lease. One pipeline. */
MUSTCHECK int store_batch_rearm(struct store_batch *b, const struct store_due *due, size_t n);
/* Arms those that have no entry; one that is there stays where it is. One pipeline. */
MUSTCHECK int store_batch_arm_missing(struct store_batch *b, const struct store_arm *arms,
                                      size_t n);

/* ---- instances of ws_fanout ---- */
struct store_instance {
    char instance[STORE_INSTANCE_MAX + 1]; /* in */
    int64_t left_ms; /* out: how long it lives without renewal; 0: it is dead */
};
/* One pipeline. */
MUSTCHECK int store_batch_instances(struct store_batch *b, struct store_instance *instances,
                                    size_t n);
/* Arms up to 1000 sessions of a dead instance at `now` and takes them from its list. *ret_n: how
 * many they were; 0: none is left. */
MUSTCHECK int store_batch_arm_orphans(struct store_batch *b, const char *instance, int64_t now,
                                      size_t *ret_n);
