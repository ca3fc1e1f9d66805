/* What the tests of presence share: a session that is there, two instances that live, and both
 * sides of the store, to arrive and depart by and to judge with. */
#pragma once

#include "common/store_presence.h"
#include "common/store_slots.h"
#include "tests/integration/store_batch_fixture.h"
#include "tests/integration/store_run.h"

#define INSTANCE "fanout-1:0123456789abcdef"
#define OTHER "fanout-2:0123456789abcdef"
#define LEASE (1LL << 42)
#define FAR_AHEAD (LEASE - 1)

struct world {
    struct run run;
    struct store_batch *batch;
    redisContext *redis;
    struct session session;
    int err;
    enum store_admission admission;
    bool lives;
    struct store_device devices[16];
    char texts[16][SESSION_DEVICE_MAX + 1];
    char names[16][SESSION_DEVICE_NAME_MAX_BYTES + 1];
    size_t n_devices;
};

static inline int world_new(void **state) {
    struct world *w = must_alloc(sizeof(*w));
    start_up(&w->run);
    w->batch = fixture_batch();
    w->redis = fixture_redis();
    fixture_create(w->batch, &w->session);
    fixture_ask(w->redis, "SET instance:{" INSTANCE "} 1 PX 60000");
    fixture_ask(w->redis, "SET instance:{" OTHER "} 1 PX 60000");
    *state = w;
    return 0;
}

static inline int world_free(void **state) {
    struct world *w = *state;
    stop(&w->run);
    store_batch_free(w->batch);
    redisFree(w->redis);
    session_done(&w->session);
    free(w);
    return 0;
}

/* ---- asking ---- */

static inline void on_arrive(void *arg, int err, enum store_admission admission) {
    struct world *w = arg;
    w->err = err;
    w->admission = admission;
    w->run.n_answers++;
}

static inline void on_depart(void *arg, int err) {
    on_arrive(arg, err, STORE_ADMITTED);
}

/* Asks for an arrival; what it leaves open is the session's, its user's and INSTANCE's. */
static inline void send_arrival(struct world *w, struct store_arrival a) {
    a.session_id = a.session_id ? a.session_id : w->session.id;
    a.user_id = a.user_id ? a.user_id : w->session.user_id;
    a.instance = a.instance ? a.instance : INSTANCE;
    a.name = a.name ? a.name : "";
    a.platform = a.platform ? a.platform : "";
    store_arrive(w->run.store, &a, on_arrive, w);
}

static inline enum store_admission arrive_as(struct world *w, struct store_arrival a) {
    int n = w->run.n_answers;
    send_arrival(w, a);
    RUN_UNTIL(&w->run, w->run.n_answers > n);
    assert_int_equal(w->err, 0);
    return w->admission;
}

static inline enum store_admission arrive(struct world *w, const char *device,
                                          const char *instance) {
    return arrive_as(w, (struct store_arrival){.device_id = device, .instance = instance});
}

static inline void depart(struct world *w, const char *device, const char *instance) {
    int n = w->run.n_answers;
    store_depart(w->run.store, w->session.id, device, instance, on_depart, w);
    RUN_UNTIL(&w->run, w->run.n_answers > n);
    assert_int_equal(w->err, 0);
}

static inline struct store_presence judge_at(struct world *w, int64_t now, int64_t lease) {
    struct store_presence p = {0};
    fixture_set_id(p.session_id, w->session.id);
    assert_int_equal(store_batch_presence(w->batch, &p, 1, now, lease), 0);
    return p;
}

static inline int64_t now_of(struct world *w) {
    return store_now(w->run.store);
}

/* What is told now: "+device" and "-device", in order; then it is told. */
static inline const char *judge(struct world *w, int64_t now) {
    static char text[512];
    struct store_presence p = judge_at(w, now, LEASE);
    assert_int_equal(p.err, 0);
    text[0] = '\0';
    for (size_t i = 0; i < p.n_changes; i++) {
        const struct store_presence_change *c = &p.changes[i];
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%s%c%s", len ? " " : "",
                 c->type == EVENT_DEVICE_JOINED ? '+' : '-', c->device_id);
        struct store_presence_told told = {.lease_until = LEASE};
        fixture_set_id(told.session_id, w->session.id);
        memcpy(told.device_id, c->device_id, sizeof(told.device_id));
        assert_int_equal(store_batch_presence_told(w->batch, &told, 1, now), 0);
    }
    store_presence_done(&p);
    return text;
}

#define HASH(w, field)                                                                             \
    fixture_ask((w)->redis, "HGET session:{%s}:devices %s", (w)->session.id, field)
#define DUE(w, device)                                                                             \
    FIXTURE_NUMBER((w)->redis, "ZSCORE session:{%s}:presence %s", (w)->session.id, device)
#define N_FIELDS(w) FIXTURE_NUMBER((w)->redis, "HLEN session:{%s}:devices", (w)->session.id)

static inline void set_meta(struct world *w, const char *field, const char *value) {
    fixture_ask(w->redis, "HSET session:{%s}:meta %s %s", w->session.id, field, value);
}

static inline bool is_listed(struct world *w, const char *instance) {
    return FIXTURE_NUMBER(w->redis, "SISMEMBER instance:{%s}:sessions %s", instance,
                          w->session.id) == 1;
}

static inline int64_t armed_at(struct world *w, const char *member) {
    char key[STORE_KEY_CAP];
    store_key_attention_slot(store_map_attention(NULL, member), key);
    return FIXTURE_NUMBER(w->redis, "ZSCORE %s %s", key, member);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_free)
