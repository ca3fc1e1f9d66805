/* A Redis Cluster of three masters with a replica each (HANDOFF_TEST_REDIS_CLUSTER_URL), and some
 * sessions on all of its nodes. */
#pragma once

#include <errno.h>

#include "common/store_private.h"
#include "common/store_recover.h"
#include "common/store_slots.h"
#include "tests/integration/store_batch_fixture.h"
#include "tests/integration/store_run.h"

#define N 200
#define PATIENCE_MS 30000

static struct session sessions[N]; /* version 1 of all, at first */
static struct store_address first_node;

static inline const char *cluster_url(void) {
    const char *url = getenv("HANDOFF_TEST_REDIS_CLUSTER_URL");
    if (!url ||
        sscanf(url, "redis+cluster://%255[^:]:%d", first_node.host, &first_node.port) != 2) {
        fprintf(stderr, "HANDOFF_TEST_REDIS_CLUSTER_URL is not set: these tests need a cluster of "
                        "their own, such as redis+cluster://127.0.0.1:7001\n");
        exit(1);
    }
    return url;
}

static inline struct store_batch *connect_batch(void) {
    struct store_batch *b = NULL;
    char why[256];
    assert_int_equal(store_batch_new(&b, cluster_url()), 0);
    if (store_batch_connect(b, why))
        fail_msg("no cluster: %s", why);
    return b;
}

/* ---- behind the store's back ---- */

static inline redisContext *connect_to(const struct store_address *address) {
    redisContext *c = redisConnect(address->host, address->port);
    assert_non_null(c);
    assert_int_equal(c->err, 0);
    return c;
}

static inline void ask_owner_at(const struct store_address *asked, unsigned slot,
                                struct store_address *ret) {
    struct store_range *ranges;
    size_t n;
    redisContext *c = connect_to(asked);
    redisReply *reply = redisCommand(c, "CLUSTER SLOTS");
    assert_int_equal(store_take_slots(reply, asked, &ranges, &n), 0);
    ret->port = 0;
    for (size_t i = 0; i < n; i++)
        if (ranges[i].first <= slot && slot <= ranges[i].last)
            *ret = ranges[i].master;
    free(ranges);
    freeReplyObject(reply);
    redisFree(c);
}

static inline redisContext *owner_of(unsigned slot) {
    struct store_address owner;
    ask_owner_at(&first_node, slot, &owner);
    return connect_to(&owner);
}

static inline unsigned slot_of(const char *session_id) {
    char key[STORE_KEY_CAP];
    store_key(STORE_META, session_id, key);
    return store_slot_of(key, strlen(key));
}

/* As one that is saved on the node that has it. */
static inline void belong(const struct store_batch *b, struct session *s) {
    snprintf(s->run_id, sizeof(s->run_id), "%s", store_batch_run_id(b, s->id));
    assert_int_equal(strlen(s->run_id), 40);
}

static inline void session_in(const struct store_batch *b, unsigned slot, struct session *ret) {
    fixture_session(ret);
    while (slot_of(ret->id) != slot)
        uuid_v4(ret->id);
    belong(b, ret);
}

static inline bool is_slot_used(unsigned slot) {
    for (size_t i = 0; i < N; i++)
        if (slot_of(sessions[i].id) == slot)
            return true;
    return false;
}

/* A new one that shares its slot with none. */
static inline void create_alone(struct store_batch *b, struct session *ret) {
    fixture_session(ret);
    while (is_slot_used(slot_of(ret->id)))
        uuid_v4(ret->id);
    belong(b, ret);
    assert_int_equal(fixture_save_one(b, fixture_save(ret, 5)), STORE_SAVED);
}

static inline void adopt(struct store_batch *b, const char *session_id) {
    struct store_found found;
    bool is_done;
    assert_int_equal(store_recover_look(b, session_id, &found), 0);
    assert_int_equal(found.kind, STORE_FOUND_HASH);
    assert_string_not_equal(found.run_id, store_batch_run_id(b, session_id));
    assert_int_equal(store_recover_adopt(b, session_id, &found, &is_done), 0);
    assert_true(is_done);
}

static inline struct store_memory memory_of(struct store_batch *b, const char *user_id) {
    struct store_memory m = {.user_id = user_id};
    assert_int_equal(store_batch_memories(b, &m, 1), 0);
    assert_int_equal(m.err, 0);
    return m;
}

static inline int load_all(struct store_batch *b, struct store_load *loads) {
    int64_t now;
    for (size_t i = 0; i < N; i++) {
        loads[i] = (struct store_load){.wants_state = true};
        fixture_set_id(loads[i].session_id, sessions[i].id);
    }
    return store_batch_load(b, loads, N, &now);
}

/* What makes version 1 of all of them, to be saved. */
static inline void make_all(struct store_batch *b, struct store_save *saves) {
    for (size_t i = 0; i < N; i++) {
        fixture_session(&sessions[i]);
        belong(b, &sessions[i]);
        saves[i] = fixture_save(&sessions[i], 5);
    }
}

/* Of a group of tests. */
static inline int begin(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    cluster_url();
    return 0;
}

static inline int end(void **state) {
    (void)state;
    for (size_t i = 0; i < N; i++)
        session_done(&sessions[i]);
    return 0;
}
