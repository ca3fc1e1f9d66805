/* What the tests of store_batch.h share beside store_fixture.h. */
#pragma once

#include "tests/integration/store_fixture.h"

/* The engine's side of the store, a plain connection, and the session that a test fills. */
struct fixture {
    struct store_batch *batch;
    redisContext *redis;
    struct session session;
};

static inline void fixture_open(struct fixture *f) {
    *f = (struct fixture){.batch = fixture_batch(), .redis = fixture_redis()};
}

static inline void fixture_close(struct fixture *f) {
    session_done(&f->session);
    redisFree(f->redis);
    store_batch_free(f->batch);
}

static inline int fixture_new(void **state) {
    fixture_open(*state = must_alloc(sizeof(struct fixture)));
    return 0;
}

static inline int fixture_free(void **state) {
    fixture_close(*state);
    free(*state);
    return 0;
}

static inline void fixture_set_id(char ret[static UUID_LEN + 1], const char *id) {
    memcpy(ret, id, UUID_LEN + 1);
}

static inline struct store_load fixture_load(struct store_batch *b, const char *session_id,
                                             bool deltas, const char *const *hashes,
                                             size_t n_hashes) {
    struct store_load l = {.wants_state = true,
                           .wants_deltas = deltas,
                           .key_hashes = hashes,
                           .n_key_hashes = n_hashes};
    int64_t now;
    fixture_set_id(l.session_id, session_id);
    assert_int_equal(store_batch_load(b, &l, 1, &now), 0);
    return l;
}

static inline uint64_t fixture_version(struct store_batch *b, const char *session_id) {
    struct store_load l = fixture_load(b, session_id, false, NULL, 0);
    assert_int_equal(l.err, 0);
    uint64_t version = l.session.position.version;
    store_load_done(&l);
    return version;
}

static inline void fixture_mark(struct store_batch *b, const struct session *s, uint64_t first,
                                uint64_t last, bool settled) {
    struct store_mark m = {.first = first, .published = {last, s->position.epoch}};
    fixture_set_id(m.session_id, s->id);
    assert_int_equal(store_batch_save(b, NULL, 0, NULL, 0, &m, 1), 0);
    assert_int_equal(m.settled, settled);
}

static inline void fixture_create(struct store_batch *b, struct session *s) {
    fixture_session(s);
    assert_int_equal(fixture_save_one(b, fixture_save(s, timestamp_wall_ms())), STORE_SAVED);
}

#define FIXTURE_NUMBER(...) strtol(fixture_ask(__VA_ARGS__), NULL, 10)
#define FIXTURE_WINDOW_LENGTH(c, s) FIXTURE_NUMBER(c, "XLEN session:{%s}:deltas", (s)->id)

/* Every byte of the window, as save.lua counts them. */
static inline long fixture_window_bytes(redisContext *c, const struct session *s) {
    redisReply *all = redisCommand(c, "XRANGE session:{%s}:deltas - +", s->id);
    long n = 0;
    for (size_t i = 0; i < all->elements; i++)
        for (size_t j = 0; j < all->element[i]->element[1]->elements; j++)
            n += (long)all->element[i]->element[1]->element[j]->len;
    freeReplyObject(all);
    return n;
}

/* Saves versions up to `last`, 100 in a pipeline, marking each pipeline's versions when told. */
static inline enum store_save_result fixture_advance(struct store_batch *b, struct session *s,
                                                     uint64_t last, int64_t now, bool marks) {
    enum store_save_result worst = STORE_SAVED;
    while (s->position.version < last && worst == STORE_SAVED) {
        static struct session copies[100];
        struct store_save saves[100];
        size_t n = 0;
        uint64_t first = s->position.version + 1;
        for (; n < 100 && s->position.version < last; n++) {
            s->position.version++;
            copies[n] = *s;
            saves[n] = fixture_save(&copies[n], now);
            saves[n].writes_state = false;
        }
        assert_int_equal(store_batch_save(b, saves, n, NULL, 0, NULL, 0), 0);
        for (size_t i = 0; i < n && worst == STORE_SAVED; i++)
            worst = saves[i].result;
        if (marks)
            fixture_mark(b, s, first, s->position.version, true);
    }
    return worst;
}
