/* The attention set: what has to be looked at, and when (contract section 6). Spread over 64 sorted
 * sets, so that a Redis Cluster shares it among its nodes; read in one pipeline. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store_private.h"

void store_put_attention(const struct store_batch *b, struct store_command *c, const char *member) {
    char key[STORE_KEY_CAP];
    store_key_attention_slot(store_map_attention(b->map, member), key);
    store_put_name(c, key);
}

struct due_list {
    struct store_due *items;
    size_t n;
    size_t cap;
};

#define PREFIX_LEN (sizeof(STORE_INSTANCE_PREFIX) - 1)
#define MEMBER_CAP (PREFIX_LEN + STORE_INSTANCE_MAX + 1)

static bool is_instance(const redisReply *member) {
    size_t len = (size_t)member->len;
    return len > PREFIX_LEN && len < MEMBER_CAP &&
           memcmp(member->str, STORE_INSTANCE_PREFIX, PREFIX_LEN) == 0;
}

static void member_of(const struct store_due *due, char ret[static MEMBER_CAP]) {
    snprintf(ret, MEMBER_CAP, "%s%s", *due->session_id ? "" : STORE_INSTANCE_PREFIX,
             *due->session_id ? due->session_id : due->instance);
}

/* A member that is neither a session nor an instance (or a score that is no moment) is not ours:
 * passed over. */
static void take_due(const redisReply *member, const redisReply *score, unsigned set,
                     struct due_list *list) {
    if (member->type != REDIS_REPLY_STRING || score->type != REDIS_REPLY_STRING)
        return;
    bool is_session = uuid_is(member->str, (size_t)member->len);
    if (!is_session && !is_instance(member))
        return;
    double at = strtod(score->str, NULL);
    if (!(fabs(at) < 9007199254740992.0))
        return;
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        list->items = must_realloc(list->items, list->cap * sizeof(*list->items));
    }
    struct store_due *due = &list->items[list->n++];
    *due = (struct store_due){.set = 1 + set};
    if (is_session)
        store_copy(due->session_id, sizeof(due->session_id), member->str, (size_t)member->len);
    else
        store_copy(due->instance, sizeof(due->instance), member->str + PREFIX_LEN,
                   (size_t)member->len - PREFIX_LEN);
    due->at = (int64_t)at;
}

/* What a node has that is away comes when it is back. */
static int take_set(struct store_batch *b, unsigned set, struct due_list *list, bool *refused) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = store_next(b, &reply);
    if (err)
        return err;
    if (reply->type != REDIS_REPLY_ARRAY && !store_is_away(b, reply))
        *refused = true;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2)
        take_due(reply->element[i], reply->element[i + 1], set, list);
    return 0;
}

static void queue_set(struct store_batch *b, struct store_command *c, unsigned set, int64_t until,
                      size_t most) {
    char key[STORE_KEY_CAP];
    store_key_attention_slot(set, key);
    store_command_begin(c, "ZRANGEBYSCORE");
    store_put_name(c, key);
    store_puts(c, "-inf");
    store_put_i64(c, until);
    store_puts(c, "WITHSCORES");
    store_puts(c, "LIMIT");
    store_puts(c, "0");
    store_put_u64(c, most);
    store_send(b, c);
}

int store_batch_due(struct store_batch *b, int64_t until, size_t most, struct store_due **ret,
                    size_t *ret_n) {
    if (!store_batch_is_connected(b))
        return -ENOTCONN;
    _cleanup_(store_command_done) struct store_command c = {0};
    struct due_list list = {0};
    bool refused = false;
    for (unsigned set = 0; set < STORE_N_ATTENTION; set++)
        queue_set(b, &c, set, until, most);
    int err = 0;
    for (unsigned set = 0; set < STORE_N_ATTENTION && !err; set++)
        err = take_set(b, set, &list, &refused);
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

/* One question about an entry. */
struct ask {
    char member[MEMBER_CAP];
    unsigned set;          /* as store_due's */
    int64_t first, second; /* arguments of the script */
    bool is_open;          /* not answered: not sent, or NOSCRIPT */
    bool is_yes;
};

static void queue_ask(struct store_batch *b, struct store_command *c, enum store_script script,
                      const struct ask *ask) {
    char key[STORE_KEY_CAP];
    store_begin_script(b, c, script, 1);
    if (ask->set) {
        store_key_attention_slot(ask->set - 1, key);
        store_put_name(c, key);
    } else {
        store_put_attention(b, c, ask->member);
    }
    store_puts(c, ask->member);
    store_put_i64(c, ask->first);
    store_put_i64(c, ask->second);
    store_send(b, c);
}

static int take_ask(struct store_batch *b, struct ask *ask) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = store_next(b, &reply);
    if (err)
        return err;
    ask->is_open = store_is_noscript(reply);
    ask->is_yes = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
    return 0;
}

/* Asks what is open in one pipeline. */
static int ask_open(struct store_batch *b, enum store_script script, struct ask *asks, size_t n) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(freep) bool *sent = must_alloc(n * sizeof(*sent));
    for (size_t i = 0; i < n; i++)
        if ((sent[i] = asks[i].is_open))
            queue_ask(b, &c, script, &asks[i]);
    int err = 0;
    for (size_t i = 0; i < n && !err; i++)
        if (sent[i])
            err = take_ask(b, &asks[i]);
    return err;
}

static bool is_any_open(const struct ask *asks, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (asks[i].is_open)
            return true;
    return false;
}

/* Only what found no script is asked again: a claim asked twice would look like somebody else's. */
static int ask_all(struct store_batch *b, enum store_script script, struct ask *asks, size_t n) {
    if (!store_batch_is_connected(b))
        return -ENOTCONN;
    int err = ask_open(b, script, asks, n);
    if (err || !is_any_open(asks, n))
        return err;
    err = store_load_scripts(b);
    return err ? err : ask_open(b, script, asks, n);
}

int store_batch_claim_due(struct store_batch *b, struct store_due *due, size_t n,
                          int64_t lease_until) {
    _cleanup_(freep) struct ask *asks = must_alloc(n * sizeof(*asks));
    for (size_t i = 0; i < n; i++) {
        asks[i] = (struct ask){
            .set = due[i].set, .first = due[i].at, .second = lease_until, .is_open = true};
        member_of(&due[i], asks[i].member);
    }
    int err = ask_all(b, STORE_SCRIPT_CLAIM_DUE, asks, n);
    for (size_t i = 0; i < n && !err; i++) {
        due[i].is_claimed = asks[i].is_yes;
        due[i].lease = lease_until;
    }
    return err;
}

int store_batch_rearm(struct store_batch *b, const struct store_due *due, size_t n) {
    _cleanup_(freep) struct ask *asks = must_alloc(n * sizeof(*asks));
    for (size_t i = 0; i < n; i++) {
        asks[i] = (struct ask){
            .set = due[i].set, .first = due[i].lease, .second = due[i].next, .is_open = true};
        member_of(&due[i], asks[i].member);
    }
    return ask_all(b, STORE_SCRIPT_REARM, asks, n);
}

/* ---- those that were forgotten ---- */

struct missing {
    const struct store_batch *b;
    const struct store_arm *arms;
};

static void put_missing(void *arg, size_t i, struct store_command *c) {
    const struct missing *t = arg;
    const struct store_arm *arm = &t->arms[i];
    store_command_begin(c, "ZADD");
    store_put_attention(t->b, c, arm->session_id);
    store_puts(c, "NX");
    store_put_i64(c, arm->at);
    store_puts(c, arm->session_id);
}

/* One that Redis refuses is missed again. */
static void take_nothing(void *arg, size_t i, const redisReply *reply) {
    (void)arg;
    (void)i;
    (void)reply;
}

int store_batch_arm_missing(struct store_batch *b, const struct store_arm *arms, size_t n) {
    struct missing t = {b, arms};
    const struct store_round r = {b, put_missing, take_nothing, &t};
    return store_ask_round(&r, n);
}
