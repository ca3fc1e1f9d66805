/* The engine's connection to Redis: blocking, every call with a timeout. Any error poisons a
 * hiredis context, so the connection is dropped at the first one and the caller connects again. */
#include "common/store_batch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/store_private.h"

#define TIMEOUT_S 2
#define CREATE_CLAIM_MS (24LL * 3600 * 1000)
#define TRIES_MS 60000

int store_batch_new(struct store_batch **ret, const char *url) {
    struct store_url parsed;
    int err = store_url_parse(url, &parsed);
    if (err)
        return err;
    struct store_batch *b = must_alloc(sizeof(*b));
    b->url = parsed;
    uuid_v4(b->token_prefix);
    for (size_t i = 0; i < STORE_N_SCRIPTS; i++)
        store_script_sha((enum store_script)i, b->sha[i]);
    *ret = b;
    return 0;
}

struct store_batch *store_batch_free(struct store_batch *b) {
    if (!b)
        return NULL;
    store_drop(b, 0);
    store_url_done(&b->url);
    free(b);
    return NULL;
}

bool store_batch_is_connected(const struct store_batch *b) {
    return b->context;
}

const char *store_batch_run_id(const struct store_batch *b, const char *session_id) {
    (void)session_id;
    return b->run_id;
}

int store_drop(struct store_batch *b, int err) {
    if (b->context)
        redisFree(b->context);
    b->context = NULL;
    return err;
}

static int error_of(const redisContext *c) {
    int err = -errno;
    if (c->err == REDIS_ERR_EOF)
        return -ECONNRESET;
    if (c->err == REDIS_ERR_IO && err == -EAGAIN)
        return -ETIMEDOUT;
    if (c->err == REDIS_ERR_IO && err < 0)
        return err;
    return -EIO;
}

int store_next(struct store_batch *b, redisReply **ret) {
    void *reply = NULL;
    if (!b->context)
        return -ENOTCONN;
    errno = 0;
    if (redisGetReply(b->context, &reply) != REDIS_OK || !reply)
        return store_drop(b, error_of(b->context));
    *ret = reply;
    return 0;
}

/* ---- scripts ---- */

void store_begin_script(struct store_batch *b, struct store_command *c, enum store_script script,
                        size_t n_keys) {
    store_command_begin(c, "EVALSHA");
    store_puts(c, b->sha[script]);
    store_put_u64(c, n_keys);
}

void store_queue_scripts(struct store_batch *b) {
    struct store_command c = {0};
    for (size_t i = 0; i < STORE_N_SCRIPTS; i++) {
        store_command_begin(&c, "SCRIPT");
        store_puts(&c, "LOAD");
        store_puts(&c, store_script_text((enum store_script)i));
        store_queue(b->context, &c);
    }
    store_command_done(&c);
}

/* A refused script is remembered until all answers are read; then the connection goes. */
static int take_scripts(struct store_batch *b, char ret_why[static 256]) {
    int refused = 0;
    for (size_t i = 0; i < STORE_N_SCRIPTS; i++) {
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        int err = store_next(b, &reply);
        if (err)
            return err;
        if (reply->type != REDIS_REPLY_STRING) {
            snprintf(ret_why, 256, "%s was refused: %.200s",
                     store_script_file((enum store_script)i), reply->str ? reply->str : "");
            refused = -EIO;
        }
    }
    return refused ? store_drop(b, refused) : 0;
}

int store_take_scripts(struct store_batch *b) {
    char why[256];
    return take_scripts(b, why);
}

/* ---- connect ---- */

static int take_login(struct store_batch *b, size_t n, char ret_why[static 256]) {
    int refused = 0;
    for (size_t i = 0; i < n; i++) {
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        int err = store_next(b, &reply);
        if (err)
            return err;
        if (reply->type == REDIS_REPLY_ERROR && !refused) {
            snprintf(ret_why, 256, "login was refused: %.200s", reply->str);
            refused = -EACCES;
        }
    }
    return refused;
}

static int take_info(struct store_batch *b, char ret_why[static 256]) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = store_next(b, &reply);
    if (err)
        return err;
    return store_node_is_fit(reply, b->run_id, ret_why) ? 0 : -EPROTO;
}

static int introduce(struct store_batch *b, char ret_why[static 256]) {
    struct store_command c = {0};
    size_t n_login = store_queue_login(&c, &b->url, b->context);
    store_command_begin(&c, "INFO");
    store_queue(b->context, &c);
    store_command_done(&c);
    store_queue_scripts(b);

    int err = take_login(b, n_login, ret_why);
    if (!err)
        err = take_info(b, ret_why);
    return err ? err : take_scripts(b, ret_why);
}

int store_batch_connect(struct store_batch *b, char ret_why[static 256]) {
    static const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    ret_why[0] = '\0';
    if (b->context)
        return 0;
    b->context = redisConnectWithTimeout(b->url.host, b->url.port, timeout);
    if (!b->context || b->context->err || redisSetTimeout(b->context, timeout) != REDIS_OK) {
        snprintf(ret_why, 256, "%s", b->context ? b->context->errstr : "out of memory");
        return store_drop(b, -ENOTCONN);
    }
    int err = introduce(b, ret_why);
    if (err && !*ret_why)
        snprintf(ret_why, 256, "no answer: %s", strerror(-err));
    return err ? store_drop(b, err) : 0;
}

/* ---- one question, one answer ---- */

static int ask_once(struct store_batch *b, const struct store_command *c, redisReply **ret) {
    if (!b->context)
        return -ENOTCONN;
    store_queue(b->context, c);
    return store_next(b, ret);
}

int store_ask(struct store_batch *b, const struct store_command *c, redisReply **ret) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = ask_once(b, c, &reply);
    if (!err && store_is_noscript(reply)) {
        store_reply_freep(&reply);
        reply = NULL;
        store_queue_scripts(b);
        err = store_take_scripts(b);
        if (!err)
            err = ask_once(b, c, &reply);
    }
    if (err)
        return err;
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
    store_puts(&c, key);
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
    store_puts(c, key);
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
        store_queue(b->context, &c);
    }
    for (size_t i = 0; i < n; i++) {
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        int err = store_next(b, &reply);
        if (err)
            return err;
        take_claim(reply, &claims[i]);
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
    if (!b->context)
        return -ENOTCONN;
    int err = claim_once(b, claims, n);
    if (err || !lacks_script(claims, n))
        return err;
    store_queue_scripts(b);
    err = store_take_scripts(b);
    return err ? err : claim_once(b, claims, n);
}

int store_batch_count_try(struct store_batch *b, const char *session_id, const char *command_id,
                          unsigned *ret_n) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    char key[STORE_KEY_CAP];
    store_key_tries(session_id, command_id, key);
    store_begin_script(b, &c, STORE_SCRIPT_COUNT_TRY, 1);
    store_puts(&c, key);
    store_put_i64(&c, TRIES_MS);
    int err = store_ask(b, &c, &reply);
    if (err)
        return err;
    if (reply->type != REDIS_REPLY_INTEGER || reply->integer < 1 || reply->integer > UINT32_MAX)
        return -EBADMSG;
    *ret_n = (unsigned)reply->integer;
    return 0;
}
