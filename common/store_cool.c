/* See store_cool.h. Every script names its keys, all of one session, so that a Redis Cluster knows
 * where they are. */
#include "common/store_cool.h"

#include <errno.h>
#include <string.h>

#include "common/store_private.h"

struct cools {
    struct store_batch *b;
    struct store_cool *items;
};

/* ---- keys ---- */

static size_t count_snapshots(const struct session *s) {
    size_t n = s->snapshots[0] != '\0';
    for (const char *c = s->snapshots; *c; c++)
        n += *c == ',';
    return n;
}

static void put_snapshots(struct store_command *c, const struct session *s) {
    char key[STORE_KEY_CAP];
    const char *at = s->snapshots;
    for (size_t n = count_snapshots(s); n > 0; n--) {
        char *end;
        store_key_snapshot(s->id, strtoull(at, &end, 10), key);
        store_put_name(c, key);
        at = end + (*end == ',');
    }
}

static void put_keys(struct store_command *c, const struct session *s, const enum store_key *keys,
                     size_t n) {
    for (size_t i = 0; i < n; i++)
        store_put_key(c, keys[i], s->id);
}

/* ---- begin ---- */

static void put_begin(void *arg, size_t i, struct store_command *c) {
    static const enum store_key keys[] = {STORE_META, STORE_DEVICES, STORE_PRESENCE};
    const struct cools *t = arg;
    const struct store_cool *cool = &t->items[i];
    store_begin_script(t->b, c, STORE_SCRIPT_COOL_BEGIN, N_ELEMENTS(keys));
    put_keys(c, cool->session, keys, N_ELEMENTS(keys));
    store_put_u64(c, cool->session->position.version);
    store_put_u64(c, cool->session->position.epoch);
    store_put_i64(c, cool->session->touched_at);
    store_puts(c, store_batch_run_id(t->b, cool->session->id));
    store_puts(c, cool->mark);
}

static void take_begin(void *arg, size_t i, const redisReply *reply) {
    const struct cools *t = arg;
    enum store_cool_result *result = &t->items[i].result;
    *result = STORE_COOL_CHANGED;
    if (reply->type == REDIS_REPLY_STRING && strcmp(reply->str, "BEGUN") == 0)
        *result = STORE_COOL_DONE;
    else if (reply->type == REDIS_REPLY_STRING && strcmp(reply->str, "USED") == 0)
        *result = STORE_COOL_USED;
}

int store_batch_cool_begin(struct store_batch *b, struct store_cool *cools, size_t n) {
    struct cools t = {b, cools};
    const struct store_round r = {b, put_begin, take_begin, &t};
    return store_ask_round(&r, n);
}

/* ---- end ---- */

static void put_end(void *arg, size_t i, struct store_command *c) {
    static const enum store_key keys[] = {STORE_META,   STORE_DEVICES,    STORE_PRESENCE,
                                          STORE_IDEM,   STORE_IDEM_ORDER, STORE_STATE,
                                          STORE_DELTAS, STORE_CONFIRMED};
    const struct cools *t = arg;
    const struct session *s = t->items[i].session;
    store_begin_script(t->b, c, STORE_SCRIPT_COOL_END, N_ELEMENTS(keys) + count_snapshots(s));
    put_keys(c, s, keys, N_ELEMENTS(keys));
    put_snapshots(c, s);
    store_puts(c, t->items[i].mark);
    store_put_i64(c, STORE_IDEM_KEPT_MS);
}

static void take_end(void *arg, size_t i, const redisReply *reply) {
    const struct cools *t = arg;
    bool is_done = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
    t->items[i].result = is_done ? STORE_COOL_DONE : STORE_COOL_CHANGED;
}

int store_batch_cool_end(struct store_batch *b, struct store_cool *cools, size_t n) {
    struct cools t = {b, cools};
    const struct store_round r = {b, put_end, take_end, &t};
    return store_ask_round(&r, n);
}

/* ---- tombstones ---- */

static void put_bury(void *arg, size_t i, struct store_command *c) {
    static const enum store_key keys[] = {STORE_META, STORE_DELTAS, STORE_CONFIRMED, STORE_DEVICES,
                                          STORE_PRESENCE};
    const struct cools *t = arg;
    const struct session *s = t->items[i].session;
    store_begin_script(t->b, c, STORE_SCRIPT_BURY, N_ELEMENTS(keys));
    put_keys(c, s, keys, N_ELEMENTS(keys));
    store_put_u64(c, s->position.version);
    store_put_u64(c, s->position.epoch);
}

int store_batch_bury(struct store_batch *b, struct store_cool *cools, size_t n) {
    struct cools t = {b, cools};
    const struct store_round r = {b, put_bury, take_end, &t};
    return store_ask_round(&r, n);
}
