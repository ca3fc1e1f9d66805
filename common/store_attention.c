/* The attention set: what has to be looked at, and when (contract section 6). Spread over 64 sorted
 * sets, so that a Redis Cluster shares it among its nodes; read in one pipeline. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "common/store_private.h"

struct due_list {
    struct store_due *items;
    size_t n;
    size_t cap;
};

/* A member that is no session id (or a score that is no moment) is not ours: passed over. */
static void take_due(const redisReply *member, const redisReply *score, struct due_list *list) {
    if (member->type != REDIS_REPLY_STRING || score->type != REDIS_REPLY_STRING ||
        !uuid_is(member->str, (size_t)member->len))
        return;
    double at = strtod(score->str, NULL);
    if (!(fabs(at) < 9007199254740992.0))
        return;
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        list->items = must_realloc(list->items, list->cap * sizeof(*list->items));
    }
    struct store_due *due = &list->items[list->n++];
    store_copy(due->session_id, sizeof(due->session_id), member->str, (size_t)member->len);
    due->at = (int64_t)at;
}

static int take_slot(struct store_batch *b, struct due_list *list, bool *refused) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = store_next(b, &reply);
    if (err)
        return err;
    if (reply->type != REDIS_REPLY_ARRAY)
        *refused = true;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2)
        take_due(reply->element[i], reply->element[i + 1], list);
    return 0;
}

static void queue_slot(struct store_batch *b, struct store_command *c, unsigned slot, int64_t until,
                       size_t most) {
    char key[STORE_KEY_CAP];
    store_key_attention_slot(slot, key);
    store_command_begin(c, "ZRANGEBYSCORE");
    store_puts(c, key);
    store_puts(c, "-inf");
    store_put_i64(c, until);
    store_puts(c, "WITHSCORES");
    store_puts(c, "LIMIT");
    store_puts(c, "0");
    store_put_u64(c, most);
    store_queue(b->context, c);
}

int store_batch_due(struct store_batch *b, int64_t until, size_t most, struct store_due **ret,
                    size_t *ret_n) {
    if (!b->context)
        return -ENOTCONN;
    _cleanup_(store_command_done) struct store_command c = {0};
    struct due_list list = {0};
    bool refused = false;
    for (unsigned slot = 0; slot < STORE_N_ATTENTION; slot++)
        queue_slot(b, &c, slot, until, most);
    int err = 0;
    for (unsigned slot = 0; slot < STORE_N_ATTENTION && !err; slot++)
        err = take_slot(b, &list, &refused);
    if (!err && refused)
        err = -EIO;
    if (err) {
        free(list.items);
        return err;
    }
    *ret = list.items;
    *ret_n = list.n;
    return 0;
}

static void begin(struct store_batch *b, struct store_command *c, enum store_script script,
                  const char *session_id) {
    char key[STORE_KEY_CAP];
    store_key_attention(session_id, key);
    store_begin_script(b, c, script, 1);
    store_puts(c, key);
    store_puts(c, session_id);
}

int store_batch_claim_due(struct store_batch *b, const struct store_due *due, int64_t lease_until,
                          bool *ret_claimed) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    begin(b, &c, STORE_SCRIPT_CLAIM_DUE, due->session_id);
    store_put_i64(&c, due->at);
    store_put_i64(&c, lease_until);
    int err = store_ask(b, &c, &reply);
    if (err)
        return err;
    *ret_claimed = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
    return 0;
}

int store_batch_rearm(struct store_batch *b, const char *session_id, int64_t lease_until,
                      int64_t at) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    begin(b, &c, STORE_SCRIPT_REARM, session_id);
    store_put_i64(&c, lease_until);
    store_put_i64(&c, at);
    return store_ask(b, &c, &reply);
}
