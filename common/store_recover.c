/* Sessions made hot again; see store_recover.h. The order of the words is the script's
 * (recover.lua). */
#include "common/store_recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store_private.h"

/* ---- looking ---- */

static void take_text(const redisReply *reply, char *ret, size_t cap) {
    ret[0] = '\0';
    if (reply->type == REDIS_REPLY_STRING && (size_t)reply->len < cap)
        store_copy(ret, cap, reply->str, (size_t)reply->len);
}

static bool take_number(const redisReply *reply, uint64_t *ret) {
    return reply->type == REDIS_REPLY_STRING &&
           store_parse_u64(reply->str, (size_t)reply->len, ret) && *ret <= INT64_MAX;
}

static bool is_list_of_versions(const char *text) {
    return text[strspn(text, "0123456789,")] == '\0';
}

/* No other save or loss has it. */
static void put_token(struct store_batch *b, struct store_command *c) {
    char token[UUID_LEN + 24];
    snprintf(token, sizeof(token), "%s:%" PRIu64, b->token_prefix, ++b->n_tokens);
    store_puts(c, token);
}

static int ask_key(struct store_batch *b, const char *name, const char *session_id,
                   redisReply **ret) {
    _cleanup_(store_command_done) struct store_command c = {0};
    store_command_begin(&c, name);
    store_put_key(&c, STORE_META, session_id);
    return store_ask(b, &c, ret);
}

static int take_loss(struct store_batch *b, const char *session_id, struct store_found *ret) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    store_command_begin(&c, "GET");
    store_put_key(&c, STORE_LOSS, session_id);
    int err = store_ask(b, &c, &reply);
    if (err)
        return err == -EBADMSG ? 0 : err;
    take_text(reply, ret->token, sizeof(ret->token));
    return 0;
}

static int take_head(struct store_batch *b, const char *session_id, struct store_found *ret) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    static const char *const fields[] = {"token", "run_id", "epoch", "version", "snapshots"};
    store_command_begin(&c, "HMGET");
    store_put_key(&c, STORE_META, session_id);
    for (size_t i = 0; i < N_ELEMENTS(fields); i++)
        store_puts(&c, fields[i]);
    int err = store_ask(b, &c, &reply);
    if (err == -EBADMSG)
        ret->kind = STORE_FOUND_OTHER;
    if (err)
        return err == -EBADMSG ? 0 : err;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != N_ELEMENTS(fields))
        return -EIO;
    take_text(reply->element[0], ret->token, sizeof(ret->token));
    take_text(reply->element[1], ret->run_id, sizeof(ret->run_id));
    ret->has_position = take_number(reply->element[2], &ret->position.epoch) &&
                        take_number(reply->element[3], &ret->position.version);
    take_text(reply->element[4], ret->snapshots, sizeof(ret->snapshots));
    if (!is_list_of_versions(ret->snapshots))
        ret->snapshots[0] = '\0';
    return 0;
}

int store_recover_look(struct store_batch *b, const char *session_id, struct store_found *ret) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    *ret = (struct store_found){0};
    int err = ask_key(b, "EXISTS", session_id, &reply);
    if (err)
        return err;
    if (reply->type != REDIS_REPLY_INTEGER || reply->integer == 0)
        return take_loss(b, session_id, ret);
    ret->kind = STORE_FOUND_HASH;
    return take_head(b, session_id, ret);
}

int store_recover_look_at_loss(struct store_batch *b, const char *session_id,
                               struct store_found *ret) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    store_command_begin(&c, "SET");
    store_put_key(&c, STORE_LOSS, session_id);
    put_token(b, &c);
    store_puts(&c, "PX");
    store_put_i64(&c, STORE_LOSS_MS);
    store_puts(&c, "NX");
    int err = store_ask(b, &c, &reply);
    return err ? err : store_recover_look(b, session_id, ret);
}

bool store_found_equal(const struct store_found *a, const struct store_found *b) {
    return a->kind == b->kind && strcmp(a->token, b->token) == 0 &&
           strcmp(a->run_id, b->run_id) == 0;
}

/* ---- writing ---- */

#define N_KEYS 10 /* but old snapshots */

static size_t n_listed(const char *versions) {
    size_t n = 0;
    for (const char *p = versions; *p; p += strcspn(p, ","), p += *p == ',')
        n++;
    return n;
}

static void put_snapshot_key(struct store_command *c, const char *session_id, uint64_t version) {
    char key[STORE_KEY_CAP];
    store_key_snapshot(session_id, version, key);
    store_put_name(c, key);
}

static void put_keys(struct store_command *c, const char *session_id, uint64_t version,
                     const char *old_snapshots) {
    static const enum store_key keys[] = {STORE_META,    STORE_STATE,      STORE_DELTAS,
                                          STORE_IDEM,    STORE_IDEM_ORDER, STORE_CONFIRMED,
                                          STORE_DEVICES, STORE_PRESENCE,   STORE_LOSS};
    for (size_t i = 0; i < N_ELEMENTS(keys); i++)
        store_put_key(c, keys[i], session_id);
    put_snapshot_key(c, session_id, version);
    for (const char *p = old_snapshots; *p; p += strcspn(p, ","), p += *p == ',')
        put_snapshot_key(c, session_id, strtoull(p, NULL, 10));
}

static void put_found(struct store_command *c, const struct store_found *found) {
    static const char *const kinds[] = {"absent", "hash", "other"};
    store_puts(c, kinds[found->kind]);
    store_puts(c, found->token);
    store_puts(c, found->run_id);
}

static void put_entry(struct store_command *c, const struct store_recovery *r) {
    _cleanup_(store_command_done) struct store_command trace = {0};
    char id[32];
    if (!r->event) {
        store_puts(c, "0");
        return;
    }
    store_put_u64(c, (r->snapshot_id ? 6 : 4) + store_put_trace(&trace, r->trace));
    snprintf(id, sizeof(id), "%" PRIu64 "-0", r->session->position.version);
    store_puts(c, id);
    store_puts(c, "t");
    store_put_i64(c, r->now);
    store_puts(c, "e");
    store_put(c, r->event, r->event_len);
    if (r->snapshot_id) {
        store_puts(c, "s");
        store_puts(c, r->snapshot_id);
    }
    store_put_words(c, &trace);
}

static void put_remembered(struct store_command *c, const struct store_recovery *r) {
    store_put_u64(c, 3 * r->n_keys);
    for (size_t i = 0; i < r->n_keys; i++) {
        const struct store_remembered *key = &r->keys[i];
        char value[STORE_IDEM_CAP];
        store_print_idem(key->time, key->fingerprint, key->position, key->checksum, value);
        store_puts(c, key->hash);
        store_puts(c, value);
        store_put_i64(c, key->time);
    }
}

static void put_meta_field(void *arg, const char *field, const char *value, size_t len) {
    store_puts(arg, field);
    store_put(arg, value, len);
}

static void put_meta(struct store_batch *b, struct store_command *c, const struct session *s) {
    store_puts(c, "token");
    put_token(b, c);
    session_each_meta(s, NULL, put_meta_field, c);
}

static int arm(struct store_batch *b, const char *session_id, int64_t at) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    store_command_begin(&c, "ZADD");
    store_put_attention(b, &c, session_id);
    store_puts(&c, "LT");
    store_put_i64(&c, at);
    store_puts(&c, session_id);
    return store_ask(b, &c, &reply);
}

static int ask_done(struct store_batch *b, const struct store_command *c, bool *ret_done) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = store_ask(b, c, &reply);
    if (!err && reply->type != REDIS_REPLY_STRING)
        err = -EIO;
    if (!err)
        *ret_done = strcmp(reply->str, "DONE") == 0;
    return err;
}

int store_recover_write(struct store_batch *b, const struct store_recovery *r, bool *ret_done) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(buf_done) struct buf state = BUF_NULL;
    const struct session *s = r->session;
    int err = arm(b, s->id, r->arm_at);
    if (err)
        return err;
    if (!s->deleted)
        session_print_state(s, &state);
    store_begin_script(b, &c, STORE_SCRIPT_RECOVER, N_KEYS + n_listed(r->found->snapshots));
    put_keys(&c, s->id, s->position.version, r->found->snapshots);
    put_found(&c, r->found);
    store_puts(&c, s->deleted ? "d" : "");
    store_puts(&c, s->run_id);
    store_put(&c, state.data, state.len);
    put_entry(&c, r);
    put_remembered(&c, r);
    put_meta(b, &c, s);
    return ask_done(b, &c, ret_done);
}

int store_recover_adopt(struct store_batch *b, const char *session_id,
                        const struct store_found *found, bool *ret_done) {
    _cleanup_(store_command_done) struct store_command c = {0};
    store_begin_script(b, &c, STORE_SCRIPT_RECOVER, N_KEYS);
    put_keys(&c, session_id, found->position.version, "");
    put_found(&c, found);
    store_puts(&c, "a");
    store_puts(&c, store_batch_run_id(b, session_id));
    return ask_done(b, &c, ret_done);
}

/* ---- claims ---- */

int store_batch_correct_claim(struct store_batch *b, const char *user_id, const char *key_hash,
                              const char *session_id, const char *fingerprint) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    char key[STORE_KEY_CAP], value[UUID_LEN + 1 + HASH_HEX_LEN + 1];
    store_key_create_claim(user_id, key_hash, key);
    snprintf(value, sizeof(value), "%s %s", session_id, fingerprint);
    store_command_begin(&c, "SET");
    store_put_name(&c, key);
    store_puts(&c, value);
    store_puts(&c, "PX");
    store_put_i64(&c, STORE_MEMORY_MS);
    return store_ask(b, &c, &reply);
}
