/* What the engine writes when it makes a session hot again: docs/decisions/0009. Blocking, on the
 * connection of store_batch.h; one session a call, since it is rare. */
#pragma once

#include "common/store_batch.h"

enum store_found_kind {
    STORE_FOUND_ABSENT, /* there is no meta */
    STORE_FOUND_HASH,   /* there is one; its values may be anything */
    STORE_FOUND_OTHER   /* a value of another type is in its place */
};

/* What stands in Redis where the session's meta should be. Texts are "" when absent. */
struct store_found {
    enum store_found_kind kind;
    char token[128]; /* of the save; of what is absent, that of its loss */
    char run_id[41];
    bool has_position; /* epoch and version can be read */
    struct position position;
    char snapshots[SESSION_N_SNAPSHOTS * 21 + 1];
};
/* Negative: Redis did not answer, or refuses to. */
MUSTCHECK int store_recover_look(struct store_batch *b, const char *session_id,
                                 struct store_found *ret);
/* The same, and notes the loss of what is absent, for STORE_LOSS_MS: what is recovered from it is
 * not written once there was another save, or another loss, since. */
#define STORE_LOSS_MS 60000
MUSTCHECK int store_recover_look_at_loss(struct store_batch *b, const char *session_id,
                                         struct store_found *ret);
/* Whether two looks saw the same save, or the same loss. */
bool store_found_equal(const struct store_found *a, const struct store_found *b);

/* One key that the session remembers. */
struct store_remembered {
    int64_t time; /* ms */
    char hash[HASH_HEX_LEN + 1];
    char fingerprint[HASH_HEX_LEN + 1]; /* "": a command's id, without a key */
    struct position position;
    char checksum[HASH_HEX_LEN + 1]; /* "": that of the position is not known */
};

struct store_recovery { /* borrowed */
    /* With run_id, published and snapshots as they are to be. Deleted: a tombstone is written. */
    const struct session *session;
    const struct store_found *found; /* written only while this is so */
    const char *event;               /* body of the window's only entry; NULL: none */
    size_t event_len;
    const struct trace_context *trace; /* with event: what it is published in; or NULL */
    const char *snapshot_id;           /* with event: message id of the snapshot event beside it */
    const struct store_remembered *keys;
    size_t n_keys;
    int64_t now;    /* ms */
    int64_t arm_at; /* ms: the session is to be looked at, armed before it is written */
};
/* Writes all of a session's keys anew. *ret_done false: something else is there now than was
 * found. Negative: Redis did not answer (then the outcome is unknown) or refused (-EIO). */
MUSTCHECK int store_recover_write(struct store_batch *b, const struct store_recovery *recovery,
                                  bool *ret_done);
/* The same session goes on under the run_id of now. */
MUSTCHECK int store_recover_adopt(struct store_batch *b, const char *session_id,
                                  const struct store_found *found, bool *ret_done);

#define STORE_MEMORY_MS (24LL * 3600 * 1000)
/* Since when Redis remembers a session, or the claims of a user's creates; who asks first after a
 * loss notes it. Of a cluster: the node that has them. */
struct store_memory {
    const char *session_id, *user_id; /* in: one of them; borrowed until the return */
    /* out */
    unsigned number; /* which node's: with the same number it is the same memory */
    int err;         /* 0; -ENOTCONN the node is away; -EIO Redis refused; -EBADMSG */
    int64_t since;   /* ms */
    int64_t age_ms;  /* until now, by Redis' clock; negative when that was set back */
    bool is_young;   /* for less than STORE_MEMORY_MS */
};
/* One pipeline, one question a node. Negative: the connection was lost. */
MUSTCHECK int store_batch_memories(struct store_batch *b, struct store_memory *memories, size_t n);
/* The claim of a create's key (see store_batch_claim_creates) becomes this session's. */
MUSTCHECK int store_batch_correct_claim(struct store_batch *b, const char *user_id,
                                        const char *key_hash, const char *session_id,
                                        const char *fingerprint);
