/* Redis: names of keys, and the asynchronous reads of session_api and ws_fanout. The engine's
 * blocking batches are in store_batch.h. Contract section 6. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "common/metrics.h"
#include "proto/session.h"
#include "proto/trace_context.h"

#define STORE_KEY_CAP 160
#define STORE_N_ATTENTION 64

enum store_key {
    STORE_STATE,      /* session:{<id>}:state */
    STORE_META,       /* session:{<id>}:meta */
    STORE_DELTAS,     /* session:{<id>}:deltas */
    STORE_IDEM,       /* session:{<id>}:idem */
    STORE_IDEM_ORDER, /* session:{<id>}:idem_order */
    STORE_DEVICES,    /* session:{<id>}:devices */
    STORE_PRESENCE,   /* session:{<id>}:presence: device -> when to look at it (sorted set) */
    STORE_CONFIRMED,  /* session:{<id>}:confirmed: runs of versions above the mark (mark.lua) */
    STORE_LOSS        /* session:{<id>}:loss: a token, while what was lost is recovered */
};
void store_key(enum store_key key, const char *session_id, char ret[static STORE_KEY_CAP]);
void store_key_snapshot(const char *session_id, uint64_t version, char ret[static STORE_KEY_CAP]);
void store_key_tries(const char *session_id, const char *command_id,
                     char ret[static STORE_KEY_CAP]);
void store_key_create_claim(const char *user_id, const char *key_hash,
                            char ret[static STORE_KEY_CAP]);
/* Members of attention:{0} … {63} are session ids, or this prefix and an instance of ws_fanout. */
#define STORE_INSTANCE_PREFIX "instance:"
/* instance:{<iid>} and instance:{<iid>}:sessions */
void store_key_instance(const char *instance, char ret[static STORE_KEY_CAP]);
void store_key_instance_sessions(const char *instance, char ret[static STORE_KEY_CAP]);
/* store:{<number>}:memory: when Redis began to remember, '<ms> <run_id>'; one Redis has number 0.
 */
void store_key_memory(unsigned number, char ret[static STORE_KEY_CAP]);
void store_key_attention_slot(unsigned slot, char ret[static STORE_KEY_CAP]);

enum store_bucket { STORE_BUCKET_USER, STORE_BUCKET_ADDRESS };
/* rate:{user:<id>} and rate:{address:<block>} */
void store_key_bucket(enum store_bucket bucket, const char *who, char ret[static STORE_KEY_CAP]);
/* handoff:{<who>}<tail>; store_codes.h */
void store_key_handoff(const char *who, const char *tail, char ret[static STORE_KEY_CAP]);

/* ---- asynchronous reader ---- */
struct store;

struct store_callbacks {
    /* Reached, and maxmemory-policy is noeviction; of a cluster all masters, and no slot is without
     * one. */
    void (*up)(void *arg);
    /* Lost, or not reached: once for each outage, and again when its reason changes. Of a cluster
     * one node is enough: the reason names it, and what the others have can be asked. */
    void (*down)(void *arg, const char *why);
};

/* redis://[user:password@]host:port[/db], or redis+cluster:// (see store_batch_new); -EINVAL for a
 * url that is neither. Connects by itself until store_free; a silent server (2 s) counts as down.
 * callbacks are copied. */
MUSTCHECK int store_new(struct store **ret, uv_loop_t *loop, const char *url,
                        const struct store_callbacks *callbacks, void *arg);
/* May be called from any callback. What waits is answered with -ECANCELED before this returns; the
 * rest of the memory goes when the loop has closed the handles. */
struct store *store_free(struct store *s);
DEFINE_CLEANUP(struct store *, store_free)
/* Questions can be asked: of a cluster, of one node at least. */
/* From now on each connection is made with the user and password of *url, which may become another
 * text at any time, of the same addresses. Borrowed, as long as the store lives. */
void store_follow_url(struct store *s, char *const *url);
bool store_is_up(const struct store *s);
/* Redis' TIME in ms now, carried on by the monotonic clock since the last answer; the wall clock
 * before the first. What deadlines and serverTime are given in, so that hosts' clocks do not
 * matter. */
int64_t store_now(const struct store *s);
/* Whether Redis told its time yet; then store_now is never ahead of it. */
bool store_has_time(const struct store *s);
/* Grows each time that a node was found to be another than before, or started again: what it was
 * told last may be lost. */
uint64_t store_n_renewals(const struct store *s);
/* Of the node that has the session (or an instance), of the last connection that was made to it:
 * another one may have lost what was written. "": none was made. */
const char *store_run_id(const struct store *s, const char *session_id);

/* err: 0; -ENOENT no such session; -ESTALE what is there was saved under another run_id than the
 * node has now (or under none, by an old release): it may have lost what was saved since, ask the
 * engine (COMMAND_LOAD); -EBADMSG a value that cannot be, or data without its checksum: the same;
 * -ENOTCONN, -ETIMEDOUT not answered (by its node); -EAGAIN 10 000 questions wait already;
 * -ECANCELED store_free came first (called from within it). session: borrowed until the callback
 * returns; deleted ones come with .deleted set and err 0, whichever run_id they have. */
typedef void store_read_fn(void *arg, int err, const struct session *session);
/* State and meta of one moment. done is always called, later (never before store_read returns).
 */
void store_read(struct store *s, const char *session_id, store_read_fn *done, void *arg);

/* The same without data and what goes with it (checksum, last_modified, modified_by): cheap however
 * large the session is. */
void store_read_meta(struct store *s, const char *session_id, store_read_fn *done, void *arg);

/* One version of the delta window. The entry that a rebuild leaves (session_rebuilt) is none: it is
 * left out of what is read here, so that nothing below it joins on. */
struct store_delta {
    uint64_t version;
    const char *event; /* borrowed: the event's body as published */
    size_t event_len;
};

/* Every answer is observed there from now on: a histogram of seconds. */
void store_measure(struct store *s, struct metric *answers);

/* ---- limits: store_limits.c ---- */
struct store_token {
    bool is_taken;
    int64_t n_left;         /* tokens that could be taken now */
    int64_t retry_after_ms; /* until one can be taken; 0 when taken */
    int64_t full_after_ms;
};
/* err as above, and -EBADMSG for an answer that cannot be (an error, a key of another type). */
typedef void store_token_fn(void *arg, int err, const struct store_token *token);
/* Takes a token of the bucket of `who`, which fills with `rate` a second and holds `burst`; both at
 * least 1. All that ask this Redis share it. done is always called, later. */
void store_take_token(struct store *s, enum store_bucket bucket, const char *who, int64_t rate,
                      int64_t burst, store_token_fn *done, void *arg);

/* session: meta alone (no data_text, no checksum); borrowed until the callback returns. */
typedef void store_window_fn(void *arg, int err, const struct session *session,
                             const struct store_delta *deltas, size_t n);
/* Meta and the versions after `since`, at most `limit` (1 to 1000), of one moment. err as
 * store_read's; a session without a window has no deltas. done is always called, later. */
void store_read_window(struct store *s, const char *session_id, uint64_t since, size_t limit,
                       store_window_fn *done, void *arg);

/* An entry of the delta window with what it remembers of its command ("": nothing); borrowed during
 * the callback. That of a rebuild (session_rebuilt) is one, too. */
struct store_outboxed {
    const char *event; /* as published */
    size_t event_len;
    char command_id[UUID_LEN + 1];
    char key_hash[HASH_HEX_LEN + 1], fingerprint[HASH_HEX_LEN + 1];
    struct trace_context trace; /* where it was sampled */
};
typedef void store_outbox_fn(void *arg, int err, const struct store_outboxed *entries, size_t n);
/* The entries after `since`, at most `limit`. Also what was saved under another run_id: it may not
 * be the last, but what is there was told, or is still to be. err: -EBADMSG, -ENOTCONN, -ETIMEDOUT,
 * -EAGAIN, -ECANCELED as store_read's; none at all is no error. done is always called, later. */
void store_read_outbox(struct store *s, const char *session_id, uint64_t since, size_t limit,
                       store_outbox_fn *done, void *arg);

/* What an earlier version can be made of again; borrowed during the callback. */
struct store_past {
    uint64_t epoch;    /* the session's */
    const char *state; /* as session_parse_state takes it; NULL: that version is not kept */
    size_t state_len;
    const struct store_delta *deltas;
    size_t n_deltas;
};
typedef void store_past_fn(void *arg, int err, const struct store_past *past);
/* The state kept of version `kept`, and the window's entries after it up to `version`, of one
 * moment; kept 0: the entries from the first on. err as store_read's; the kept state is not
 * verified. */
void store_read_past(struct store *s, const char *session_id, uint64_t kept, uint64_t version,
                     store_past_fn *done, void *arg);

/* Whether the session remembers the idempotency key (command_key_hash). */
typedef void store_key_fn(void *arg, int err, bool is_there);
void store_has_key(struct store *s, const char *session_id, const char *key_hash,
                   store_key_fn *done, void *arg);
