/* Since when Redis remembers; see store_recover.h. One Redis has one key for it. A node of a
 * cluster has its own: under the first number whose slot is its own, and only as long as it has the
 * slots that it had, since what it was given with a slot may have been forgotten before. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/store_private.h"
#include "common/store_recover.h"

#define RUN_CAP (41 + 17)

struct memories {
    struct store_batch *b;
    struct store_memory *items;
    size_t *asked; /* of each number the first item */
    size_t n_asked;
};

static unsigned slot_of(const struct store_memory *m) {
    char key[STORE_KEY_CAP];
    if (m->session_id)
        store_key(STORE_META, m->session_id, key);
    else
        store_key_create_claim(m->user_id, "", key);
    return store_slot_of(key, strlen(key));
}

/* What the node would have to be for its memory to count. */
static void print_run(const struct store_batch *b, const struct store_memory *m,
                      char ret[static RUN_CAP]) {
    unsigned slot = slot_of(m);
    const struct store_node *node = store_node_of(b, (int)slot);
    const char *run_id = node ? node->run_id : "";
    if (b->map)
        snprintf(ret, RUN_CAP, "%s/%016" PRIx64, run_id, store_map_digest(b->map, slot));
    else
        snprintf(ret, RUN_CAP, "%s", run_id);
}

static void put_memory(void *arg, size_t i, struct store_command *c) {
    const struct memories *t = arg;
    const struct store_memory *m = &t->items[t->asked[i]];
    char key[STORE_KEY_CAP], run[RUN_CAP];
    store_key_memory(m->number, key);
    print_run(t->b, m, run);
    store_begin_script(t->b, c, STORE_SCRIPT_MEMORY, 1);
    store_put_name(c, key);
    store_puts(c, run);
}

static bool take_number(const redisReply *reply, int64_t *ret) {
    uint64_t n;
    if (reply->type != REDIS_REPLY_STRING || !store_parse_u64(reply->str, (size_t)reply->len, &n) ||
        n > INT64_MAX)
        return false;
    *ret = (int64_t)n;
    return true;
}

static void take_memory(void *arg, size_t i, const redisReply *reply) {
    const struct memories *t = arg;
    struct store_memory *m = &t->items[t->asked[i]];
    int64_t now;
    m->err = 0;
    if (reply->type == REDIS_REPLY_ERROR)
        m->err = store_is_away(t->b, reply) ? -ENOTCONN : -EIO;
    else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
             !take_number(reply->element[0], &m->since) || !take_number(reply->element[1], &now))
        m->err = -EBADMSG;
    if (m->err != 0)
        return;
    m->age_ms = now - m->since;
    m->is_young = m->age_ms < STORE_MEMORY_MS;
}

/* The item that is asked for all of that number. */
static size_t first_of(const struct memories *t, unsigned number) {
    size_t i = 0;
    while (i < t->n_asked && t->items[t->asked[i]].number != number)
        i++;
    return i;
}

static void share_answers(const struct memories *t, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct store_memory *from = &t->items[t->asked[first_of(t, t->items[i].number)]];
        t->items[i].err = from->err;
        t->items[i].since = from->since;
        t->items[i].age_ms = from->age_ms;
        t->items[i].is_young = from->is_young;
    }
}

int store_batch_memories(struct store_batch *b, struct store_memory *memories, size_t n) {
    _cleanup_(freep) size_t *asked = must_alloc(n * sizeof(*asked));
    struct memories t = {b, memories, asked, 0};
    for (size_t i = 0; i < n; i++) {
        memories[i].number = b->map ? store_map_memory(b->map, slot_of(&memories[i])) : 0;
        if (first_of(&t, memories[i].number) == t.n_asked)
            asked[t.n_asked++] = i;
    }
    const struct store_round r = {b, put_memory, take_memory, &t};
    int err = store_ask_round(&r, t.n_asked);
    if (!err)
        share_answers(&t, n);
    return err;
}
