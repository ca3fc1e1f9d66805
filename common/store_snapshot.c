/* What session_api asks to make an earlier version again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/store_link.h"

#define MAX_ENTRIES 1000

struct past_ask {
    struct store *store;
    char session_id[UUID_LEN + 1];
    store_past_fn *done;
    void *arg;
};

static int take_head(const struct past_ask *ask, const redisReply *head, struct store_past *ret) {
    if (head->type != REDIS_REPLY_ARRAY || head->elements != 2)
        return -EBADMSG;
    const redisReply *epoch = head->element[0], *run_id = head->element[1];
    if (epoch->type == REDIS_REPLY_NIL)
        return -ENOENT;
    if (epoch->type != REDIS_REPLY_STRING ||
        !store_parse_u64(epoch->str, (size_t)epoch->len, &ret->epoch))
        return -EBADMSG;
    return run_id->type == REDIS_REPLY_STRING &&
                   store_is_current(ask->store, ask->session_id, run_id->str)
               ? 0
               : -ESTALE;
}

static int take_past(const struct past_ask *ask, const redisReply *reply, struct store_past *ret) {
    if (reply->type == REDIS_REPLY_ERROR)
        return store_is_wrong_type(reply) ? -EBADMSG : -ENOTCONN;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return -EBADMSG;
    const redisReply *state = reply->element[1];
    if (state->type == REDIS_REPLY_STRING) {
        ret->state = state->str;
        ret->state_len = (size_t)state->len;
    }
    return take_head(ask, reply->element[0], ret);
}

static void finish_past(void *arg, int err, const redisReply *reply) {
    struct past_ask *ask = arg;
    _cleanup_(store_deltas_done) struct store_deltas deltas = {0};
    struct store_past past = {0};
    if (!err)
        err = take_past(ask, reply, &past);
    if (!err && reply->element[2]->type == REDIS_REPLY_ARRAY)
        err = store_take_deltas(reply->element[2], MAX_ENTRIES, ask->session_id, &deltas);
    past.deltas = deltas.items;
    past.n_deltas = deltas.n;
    ask->done(ask->arg, err, err ? NULL : &past);
    free(ask);
}

void store_read_past(struct store *s, const char *session_id, uint64_t kept, uint64_t version,
                     store_past_fn *done, void *arg) {
    struct past_ask *ask = must_alloc(sizeof(*ask));
    struct store_command args = {0};
    char key[STORE_KEY_CAP], last[32];
    *ask = (struct past_ask){.store = s, .done = done, .arg = arg};
    store_copy(ask->session_id, sizeof(ask->session_id), session_id, strlen(session_id));
    store_puts(&args, "3");
    store_put_key(&args, STORE_META, session_id);
    store_key_snapshot(session_id, kept, key);
    store_put_name(&args, key);
    store_put_key(&args, STORE_DELTAS, session_id);
    store_put_entry_after(&args, kept);
    snprintf(last, sizeof(last), "%" PRIu64 "-0", version);
    store_puts(&args, last);
    store_put_u64(&args, MAX_ENTRIES);
    store_ask_script(s, STORE_SCRIPT_PAST, &args, finish_past, ask);
}

/* ---- idempotency keys ---- */

struct key_ask {
    struct store_ask ask;
    store_key_fn *done;
    void *arg;
};

static void finish_key(struct store_ask *base, int err, const redisReply *reply) {
    struct key_ask *ask = (struct key_ask *)base;
    if (!err && reply->type != REDIS_REPLY_INTEGER)
        err = store_is_wrong_type(reply) ? -EBADMSG : -ENOTCONN;
    ask->done(ask->arg, err, !err && reply->integer == 1);
    free(ask);
}

void store_has_key(struct store *s, const char *session_id, const char *key_hash,
                   store_key_fn *done, void *arg) {
    struct key_ask *ask = must_alloc(sizeof(*ask));
    *ask = (struct key_ask){.ask.done = finish_key, .done = done, .arg = arg};
    store_command_begin(&s->command, "HEXISTS");
    store_put_key(&s->command, STORE_IDEM, session_id);
    store_puts(&s->command, key_hash);
    store_ask_send(s, &ask->ask);
}
