/* The engine's connections to Redis: blocking, every call with a timeout. Any error poisons a
 * hiredis context, so the connection is dropped at the first one: one Redis' by the caller, who
 * connects again; of a cluster's nodes each by itself (store_cluster.c). */
#include "common/store_batch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/store_private.h"

#define CREATE_CLAIM_MS (24LL * 3600 * 1000)
#define TRIES_MS 60000
#define CONNECT_MS 10000 /* of one Redis: its silence ends it sooner */
#define MAX_LOOKUPS 16   /* threads */

/* 90 random bits, and twice in each session's meta. */
static void make_token_prefix(struct store_batch *b) {
    char id[UUID_LEN + 1];
    uuid_v4(id);
    store_copy(b->token_prefix, sizeof(b->token_prefix), id + 9, UUID_LEN - 9);
}

int store_batch_new(struct store_batch **ret, const char *url) {
    struct store_url parsed;
    int err = store_url_parse(url, &parsed);
    if (err)
        return err;
    struct store_batch *b = must_alloc(sizeof(*b));
    b->url = parsed;
    b->lookups = lookups_new(MAX_LOOKUPS);
    make_token_prefix(b);
    for (size_t i = 0; i < STORE_N_SCRIPTS; i++)
        store_script_sha((enum store_script)i, b->sha[i]);
    if (parsed.is_cluster) {
        b->map = must_alloc(sizeof(*b->map));
        store_map_clear(b->map);
    } else {
        store_node_at(b, &parsed.seeds[0])->is_named = true;
    }
    *ret = b;
    return 0;
}

struct store_batch *store_batch_free(struct store_batch *b) {
    if (!b)
        return NULL;
    store_pipe_clear(&b->pipe);
    buf_done(&b->pipe.bytes);
    free(b->pipe.units);
    for (size_t i = 0; i < b->n_nodes; i++)
        store_node_free(b->nodes[i]);
    free(b->nodes);
    lookups_free(b->lookups);
    free(b->map);
    free(b->noted);
    store_url_done(&b->url);
    free(b);
    return NULL;
}

void store_batch_measure(struct store_batch *b, struct metric *answers) {
    b->answers = answers;
}

void store_batch_follow_url(struct store_batch *b, char *const *url) {
    b->url_text = url;
}

bool store_batch_is_cluster(const struct store_batch *b) {
    return b->url.is_cluster;
}

void store_batch_wait_for_replicas(struct store_batch *b, unsigned n) {
    b->n_wait_replicas = n;
}

bool store_batch_is_connected(const struct store_batch *b) {
    for (size_t i = 0; i < b->n_nodes; i++)
        if (b->nodes[i]->is_named && b->nodes[i]->state == STORE_NODE_UP)
            return true;
    return false;
}

uint64_t store_batch_n_losses(const struct store_batch *b) {
    return b->n_losses;
}

const char *store_batch_run_id(const struct store_batch *b, const char *session_id) {
    char key[STORE_KEY_CAP];
    store_key(STORE_META, session_id, key);
    int slot = b->url.is_cluster ? (int)store_slot_of(key, strlen(key)) : -1;
    const struct store_node *node = store_node_of(b, slot);
    return node ? node->run_id : "";
}

const char *store_batch_saver(const struct store_batch *b) {
    return b->token_prefix;
}

int store_drop(struct store_batch *b, int err) {
    store_pipe_clear(&b->pipe);
    for (size_t i = 0; i < b->n_nodes; i++)
        if (b->nodes[i]->state != STORE_NODE_AWAY)
            store_node_fail(b, b->nodes[i], err, strerror(-err));
    return err;
}

bool store_is_away(const struct store_batch *b, const redisReply *reply) {
    return b->url.is_cluster && store_is_temporary(reply);
}

/* ---- scripts ---- */

void store_begin_script(struct store_batch *b, struct store_command *c, enum store_script script,
                        size_t n_keys) {
    store_command_begin(c, "EVALSHA");
    store_puts(c, b->sha[script]);
    store_put_u64(c, n_keys);
}

static void begin_script_load(struct store_command *c, size_t script) {
    store_command_begin(c, "SCRIPT");
    store_puts(c, "LOAD");
    store_puts(c, store_script_text((enum store_script)script));
}

void store_queue_scripts(redisContext *context) {
    struct store_command c = {0};
    for (size_t i = 0; i < STORE_N_SCRIPTS; i++) {
        begin_script_load(&c, i);
        store_queue(context, &c);
    }
    store_command_done(&c);
}

/* A refused script is remembered until all answers are read; then the connections go. */
int store_load_scripts(struct store_batch *b) {
    _cleanup_(store_command_done) struct store_command c = {0};
    size_t n = 0;
    for (size_t i = 0; i < b->n_nodes; i++)
        for (size_t k = 0; b->nodes[i]->state == STORE_NODE_UP && k < STORE_N_SCRIPTS; k++, n++) {
            begin_script_load(&c, k);
            store_send_to(b, b->nodes[i], &c);
        }
    bool refused = false;
    for (size_t i = 0; i < n; i++) {
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        int err = store_next(b, &reply);
        if (err)
            return err;
        refused |= reply->type != REDIS_REPLY_STRING && !store_is_away(b, reply);
    }
    return refused ? store_drop(b, -EIO) : 0;
}

/* ---- connect ---- */

int store_batch_connect(struct store_batch *b, char ret_why[static 256]) {
    ret_why[0] = '\0';
    if (store_batch_is_connected(b))
        return 0;
    if (b->url.is_cluster)
        return store_cluster_connect(b, ret_why) ? 0 : -ENOTCONN;
    struct store_node *node = b->nodes[0];
    if (node->state == STORE_NODE_AWAY)
        store_node_start(b, node);
    store_nodes_wait(b, CONNECT_MS);
    if (node->state == STORE_NODE_UP)
        return 0;
    snprintf(ret_why, 256, "%s", node->why);
    return node->err;
}

/* ---- one question, one answer ---- */

static int ask_once(struct store_batch *b, const struct store_command *c, redisReply **ret) {
    if (!store_batch_is_connected(b))
        return -ENOTCONN;
    store_send(b, c);
    return store_next(b, ret);
}

int store_ask(struct store_batch *b, const struct store_command *c, redisReply **ret) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = ask_once(b, c, &reply);
    if (!err && store_is_noscript(reply)) {
        store_reply_freep(&reply);
        reply = NULL;
        err = store_load_scripts(b);
        if (!err)
            err = ask_once(b, c, &reply);
    }
    if (err)
        return err;
    if (store_is_away(b, reply))
        return -ENOTCONN;
    if (reply->type == REDIS_REPLY_ERROR)
        return store_is_wrong_type(reply) ? -EBADMSG : -EIO;
    *ret = TAKE_PTR(reply);
    return 0;
}

int store_batch_ping(struct store_batch *b) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    store_command_begin(&c, "PING");
    return store_ask(b, &c, &reply);
}

int store_batch_snapshot(struct store_batch *b, const char *session_id, uint64_t version,
                         char **ret_text, size_t *ret_len) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    char key[STORE_KEY_CAP];
    store_key_snapshot(session_id, version, key);
    store_command_begin(&c, "GET");
    store_put_name(&c, key);
    int err = store_ask(b, &c, &reply);
    if (err)
        return err;
    if (reply->type != REDIS_REPLY_STRING)
        return -ENOENT;
    *ret_text = must_memdup(reply->str, (size_t)reply->len);
    *ret_len = (size_t)reply->len;
    return 0;
}

static void begin_claim(struct store_batch *b, struct store_command *c,
                        const struct store_claim *claim) {
    char key[STORE_KEY_CAP], value[UUID_LEN + 1 + HASH_HEX_LEN + 1];
    store_key_create_claim(claim->user_id, claim->key_hash, key);
    snprintf(value, sizeof(value), "%s %s", claim->wanted_id, claim->fingerprint);
    store_begin_script(b, c, STORE_SCRIPT_CLAIM_CREATE, 1);
    store_put_name(c, key);
    store_puts(c, value);
    store_put_i64(c, CREATE_CLAIM_MS);
}

static void take_claim(const redisReply *reply, struct store_claim *claim) {
    claim->err = -EBADMSG;
    if (reply->type == REDIS_REPLY_ERROR && !store_is_wrong_type(reply))
        claim->err = -EIO;
    if (reply->type != REDIS_REPLY_STRING || reply->len < UUID_LEN + 1 ||
        !uuid_is(reply->str, UUID_LEN) || reply->str[UUID_LEN] != ' ')
        return;
    claim->err = 0;
    store_copy(claim->session_id, UUID_LEN + 1, reply->str, UUID_LEN);
    claim->same_request = strcmp(reply->str + UUID_LEN + 1, claim->fingerprint) == 0;
}

/* One round: a claim that finds no script is left with -EAGAIN. */
static int claim_once(struct store_batch *b, struct store_claim *claims, size_t n) {
    _cleanup_(store_command_done) struct store_command c = {0};
    for (size_t i = 0; i < n; i++) {
        begin_claim(b, &c, &claims[i]);
        store_send(b, &c);
    }
    for (size_t i = 0; i < n; i++) {
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        int err = store_next(b, &reply);
        if (err)
            return err;
        take_claim(reply, &claims[i]);
        if (store_is_away(b, reply))
            claims[i].err = -ENOTCONN;
        if (store_is_noscript(reply))
            claims[i].err = -EAGAIN;
    }
    return 0;
}

static bool lacks_script(const struct store_claim *claims, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (claims[i].err == -EAGAIN)
            return true;
    return false;
}

/* To claim again what was claimed changes nothing, so a second round may take all. */
int store_batch_claim_creates(struct store_batch *b, struct store_claim *claims, size_t n) {
    if (!store_batch_is_connected(b))
        return -ENOTCONN;
    int err = claim_once(b, claims, n);
    if (err || !lacks_script(claims, n))
        return err;
    err = store_load_scripts(b);
    return err ? err : claim_once(b, claims, n);
}

int store_batch_count_try(struct store_batch *b, const char *session_id, const char *command_id,
                          unsigned *ret_n) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    char key[STORE_KEY_CAP];
    store_key_tries(session_id, command_id, key);
    store_begin_script(b, &c, STORE_SCRIPT_COUNT_TRY, 1);
    store_put_name(&c, key);
    store_put_i64(&c, TRIES_MS);
    int err = store_ask(b, &c, &reply);
    if (err)
        return err;
    if (reply->type != REDIS_REPLY_INTEGER || reply->integer < 1 || reply->integer > UINT32_MAX)
        return -EBADMSG;
    *ret_n = (unsigned)reply->integer;
    return 0;
}
