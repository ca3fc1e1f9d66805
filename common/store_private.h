/* What the store's files share: URL, commands as bytes, values read from replies, the batch struct.
 * Only store*.c include it; with it hiredis stays behind store.h and store_batch.h. */
#pragma once

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "common/store.h"
#include "common/store_batch.h"
#include "common/store_node.h"
#include "common/store_slots.h"

/* ---- store_url.c ---- */
#define STORE_MAX_SEEDS 32
struct store_url { /* owned strings; "" when absent */
    char *user;
    char *password;
    bool is_cluster;
    struct store_address *seeds; /* one Redis: it alone */
    size_t n_seeds;
    int db;
};
/* -EINVAL for a text that is neither redis://[user:password@]host:port[/db] nor
 * redis+cluster://[user:password@]host:port[,host:port…], at most STORE_MAX_SEEDS of them. */
MUSTCHECK int store_url_parse(const char *text, struct store_url *ret);
void store_url_done(struct store_url *url);
/* Makes it what *text says, unless text is NULL or *text is none. */
void store_url_follow(struct store_url *url, char *const *text);

/* ---- store_command.c ---- */
/* One command under construction, already in Redis' protocol: values are copied as they come, so
 * that a caller's short-lived texts need not live until the command is sent. */
struct store_command {
    struct buf words;
    size_t n_words, n_bytes; /* of them alone */
    size_t key_at, key_len;  /* in words: the first key, by which it is routed; len 0: none */
};
void store_command_done(struct store_command *c);
void store_command_begin(struct store_command *c, const char *name);
void store_put(struct store_command *c, const void *data, size_t len);
void store_puts(struct store_command *c, const char *text);
/* Those of another one. */
void store_put_words(struct store_command *c, const struct store_command *words);
void store_put_u64(struct store_command *c, uint64_t n);
void store_put_i64(struct store_command *c, int64_t n);
/* A key by its name. */
void store_put_name(struct store_command *c, const char *key);
void store_put_key(struct store_command *c, enum store_key key, const char *session_id);
/* read.lua for one session, by its text; key hashes may follow. The window is after `since`. */
void store_begin_read(struct store_command *c, const char *session_id, bool state, bool deltas,
                      uint64_t since);
/* The id of the first entry after version `since`. */
void store_put_entry_after(struct store_command *c, uint64_t since);
void store_begin_auth(struct store_command *c, const struct store_url *url);
void store_begin_select(struct store_command *c, const struct store_url *url);
/* AUTH (when the URL has a password) and SELECT (when it has a db); returns how many were queued.
 */
size_t store_queue_login(struct store_command *c, const struct store_url *url,
                         redisContext *context);
/* The slot of the command's key, -1 without one. */
int store_command_slot(const struct store_command *c);
/* Appends the command to out, as it is sent. */
void store_command_print(const struct store_command *c, struct buf *out);
/* Queues the command in the context's output; it may be queued again. */
void store_queue(redisContext *context, const struct store_command *c);
void store_queue_bytes(redisContext *context, const char *data, size_t len);

DEFINE_CLEANUP(redisContext *, redisFree)

/* ---- store_arena.c ---- */
/* What the readers of all of our connections make replies with (reader->fn, from the start on).
 * Such a reply is freed by store_reply_free, never by freeReplyObject. */
extern redisReplyObjectFunctions store_arena_functions;
void store_reply_free(redisReply *reply);
static inline void store_reply_freep(redisReply **reply) {
    store_reply_free(*reply);
}

/* ---- store_reply.c ---- */
/* Fills *s from HGETALL meta and (unless NULL) GET state, one moment's answers. -ENOENT without
 * meta; -EBADMSG a value that cannot be. *s must be zero; the caller does session_done in any case.
 */
MUSTCHECK int store_take_session(const redisReply *meta, const redisReply *state,
                                 const char *session_id, struct session *s);

struct store_text { /* borrowed from a reply; NULL when absent */
    const char *text;
    size_t len;
};
struct store_entry_view {
    uint64_t version;
    int64_t time;
    struct store_text command_id, event, extra, snapshot_id, key_hash, fingerprint;
    struct trace_context trace;
};
/* ---- the delta window: store_window.c ---- */
/* A word of an entry, packed where that is worth it. */
void store_put_packed(struct store_command *c, const char *session_id, const char *text,
                      size_t len);
/* Words of an entry for who publishes its version when its engine died before it did: of a sampled
 * trace alone. Returns how many. */
size_t store_put_trace(struct store_command *c, const struct trace_context *trace);
/* One element of an XRANGE's answer; its texts may be packed. -EBADMSG when it is no entry of a
 * delta stream. */
MUSTCHECK int store_view_entry(const redisReply *entry, struct store_entry_view *ret);
/* One of its texts as it was before it was packed: at most cap - 1 bytes of it, "" when it is
 * absent, or owned. -EBADMSG when it was not packed so. */
MUSTCHECK int store_copy_unpacked(char *ret, size_t cap, struct store_text text,
                                  const char *session_id);
MUSTCHECK int store_dup_unpacked(struct store_text text, const char *session_id, char **ret,
                                 size_t *ret_len);
/* What of the texts was not packed is the reply's. */
struct store_deltas {
    struct store_delta *items; /* owned */
    size_t n;
    struct buf texts; /* those that were packed */
};
void store_deltas_done(struct store_deltas *d);
/* The versions among the first `limit` of an XRANGE's answer. -EBADMSG for what is no delta stream,
 * -ENOTCONN for no answer about it. */
MUSTCHECK int store_take_deltas(const redisReply *reply, size_t limit, const char *session_id,
                                struct store_deltas *ret);
struct store_outbox {
    struct store_outboxed *items; /* owned */
    size_t n;
    struct buf texts;
};
void store_outbox_done(struct store_outbox *o);
MUSTCHECK int store_take_outbox(const redisReply *reply, const char *session_id,
                                struct store_outbox *ret);

/* ---- answers ---- */
/* Milliseconds from TIME's answer; false when it is none. */
bool store_take_time(const redisReply *reply, int64_t *ret_ms);
/* Copies the value of a line "name:value" of INFO (cut to cap); false when there is none. */
bool store_info(const redisReply *info, const char *name, char *ret, size_t cap);
/* Whether this node may serve us: loaded, never evicting, and of a cluster when that is wanted.
 * false: *ret_why says what is wrong. Also copies its run_id. */
bool store_node_is_fit(const redisReply *info, bool is_cluster, char ret_run_id[static 41],
                       char ret_why[static 256]);
/* All of [text, text + len) as a decimal number. */
bool store_parse_u64(const char *text, size_t len, uint64_t *ret);
/* The text as a NUL-terminated string of at most cap - 1 bytes. */
void store_copy(char *ret, size_t cap, const char *text, size_t len);

bool store_is_noscript(const redisReply *reply);
bool store_is_wrong_type(const redisReply *reply);

/* ---- store_scripts.c ---- */
enum store_script {
    STORE_SCRIPT_READ,
    STORE_SCRIPT_SAVE,
    STORE_SCRIPT_MARK,
    STORE_SCRIPT_CLAIM_DUE,
    STORE_SCRIPT_REARM,
    STORE_SCRIPT_CLAIM_CREATE,
    STORE_SCRIPT_COUNT_TRY,
    STORE_SCRIPT_TAKE_TOKEN,
    STORE_SCRIPT_PRESENCE,
    STORE_SCRIPT_PAST,
    STORE_SCRIPT_RECOVER,
    STORE_SCRIPT_MEMORY,
    STORE_SCRIPT_COOL_BEGIN,
    STORE_SCRIPT_COOL_END,
    STORE_SCRIPT_BURY,
    STORE_SCRIPT_CODE_RESERVE,
    STORE_SCRIPT_CODE_RELEASE,
    STORE_SCRIPT_CODE_OFFER,
    STORE_SCRIPT_CODE_CLAIM,
    STORE_SCRIPT_CODE_TRY,
    STORE_SCRIPT_CODE_UNTRY,
    STORE_N_SCRIPTS
};
const char *store_script_file(enum store_script script);
const char *store_script_text(enum store_script script);
/* As SCRIPT LOAD answers. */
void store_script_sha(enum store_script script, char ret[static 41]);

/* ---- store_batch.c ---- */
struct store_batch {
    struct store_url url;
    char *const *url_text;     /* borrowed; NULL: url stays */
    struct store_node **nodes; /* owned, each; one Redis: the only one, always there */
    size_t n_nodes, cap_nodes;
    struct lookups *lookups; /* owned: of the nodes' names */
    struct store_pipe pipe;
    char sha[STORE_N_SCRIPTS][41];
    char token_prefix[UUID_LEN + 1]; /* tells this batch's saves from any other's */
    uint64_t n_tokens;
    unsigned n_wait_replicas; /* that a save waits for */
    struct metric *answers;   /* NULL: they are not measured */
    uint64_t n_losses;        /* of connections */

    /* of a cluster */
    struct store_map *map;     /* owned; by numbers in `nodes` */
    struct store_range *noted; /* owned: the newest answer to CLUSTER SLOTS, not settled yet */
    size_t n_noted;
    bool is_stale;       /* who has which slot is to be asked again */
    int64_t asked_ms;    /* monotonic: when it was last */
    size_t n_asked;      /* the advisers take turns */
    int64_t time_offset; /* the clock node's TIME less our monotonic clock */
    bool has_time;
};

/* Drops all connections and returns err. */
int store_drop(struct store_batch *b, int err);
/* The key of the attention set for a session or an instance. */
void store_put_attention(const struct store_batch *b, struct store_command *c, const char *member);
/* Whether the answer means that the session's node cannot answer now, while others may. */
bool store_is_away(const struct store_batch *b, const redisReply *reply);
/* Begins EVALSHA with n_keys; the caller puts the keys and the arguments. */
void store_begin_script(struct store_batch *b, struct store_command *c, enum store_script script,
                        size_t n_keys);
/* SCRIPT LOAD of every script on every node that is up. */
MUSTCHECK int store_load_scripts(struct store_batch *b);
/* Queues them on one connection: STORE_N_SCRIPTS answers. */
void store_queue_scripts(redisContext *context);
/* One command, one answer; an error answer is -EIO, -EBADMSG for WRONGTYPE, and -ENOTCONN while a
 * cluster's node is away. Loads the scripts again where they are gone. */
MUSTCHECK int store_ask(struct store_batch *b, const struct store_command *c, redisReply **ret);

/* ---- store_presence_batch.c ---- */
/* Questions of one kind: how question i is put, and how its answer is taken. */
struct store_round {
    struct store_batch *b;
    void (*put)(void *arg, size_t i, struct store_command *c);
    void (*take)(void *arg, size_t i, const redisReply *reply);
    void *arg;
};
/* Asks n questions in one pipeline; those that found no script once more, with the scripts before
 * them. Negative: the connection was lost. */
MUSTCHECK int store_ask_round(const struct store_round *r, size_t n);

/* ---- store_save_command.c ---- */
#define STORE_IDEM_CAP 256
/* What …:idem holds under a key's hash. */
void store_print_idem(int64_t time, const char *fingerprint, struct position position,
                      const char *checksum, char ret[static STORE_IDEM_CAP]);
/* A token that no other save has. */
void store_print_token(struct store_batch *b, char ret[static STORE_TOKEN_CAP]);
/* save.lua's EVALSHA for one save, with its saved_token. builds_on: the token that it compares, ""
 * for none. */
void store_begin_save(struct store_batch *b, struct store_command *c, const struct store_save *save,
                      const char *builds_on);

/* ---- store_replicas.c ---- */
/* Asks the nodes how many replicas have the saves that each took (nodes: of each save the one, NULL
 * for what was not saved), and sets is_unreplicated; what a node took to which the slot belongs no
 * more becomes STORE_UNKNOWN. Negative: the connections were lost. */
MUSTCHECK int store_wait_for_replicas(struct store_batch *b, struct store_save *saves,
                                      struct store_node *const *nodes, size_t n);
