/* Who is in a session: every rule of presence.lua and of a save's join, by both sides of the store.
 */
#include "common/store_presence.h"
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

static int world_new(void **state) {
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

static int world_free(void **state) {
    struct world *w = *state;
    stop(&w->run);
    store_batch_free(w->batch);
    redisFree(w->redis);
    session_done(&w->session);
    free(w);
    return 0;
}

/* ---- asking ---- */

static void on_arrive(void *arg, int err, enum store_admission admission) {
    struct world *w = arg;
    w->err = err;
    w->admission = admission;
    w->run.n_answers++;
}

static void on_depart(void *arg, int err) {
    on_arrive(arg, err, STORE_ADMITTED);
}

static enum store_admission arrive_as(struct world *w, struct store_arrival a) {
    int n = w->run.n_answers;
    a.session_id = a.session_id ? a.session_id : w->session.id;
    a.user_id = a.user_id ? a.user_id : w->session.user_id;
    a.instance = a.instance ? a.instance : INSTANCE;
    a.name = a.name ? a.name : "";
    a.platform = a.platform ? a.platform : "";
    store_arrive(w->run.store, &a, on_arrive, w);
    RUN_UNTIL(&w->run, w->run.n_answers > n);
    assert_int_equal(w->err, 0);
    return w->admission;
}

static enum store_admission arrive(struct world *w, const char *device, const char *instance) {
    return arrive_as(w, (struct store_arrival){.device_id = device, .instance = instance});
}

static void depart(struct world *w, const char *device, const char *instance) {
    int n = w->run.n_answers;
    store_depart(w->run.store, w->session.id, device, instance, on_depart, w);
    RUN_UNTIL(&w->run, w->run.n_answers > n);
    assert_int_equal(w->err, 0);
}

static struct store_presence judge_at(struct world *w, int64_t now, int64_t lease) {
    struct store_presence p = {0};
    fixture_set_id(p.session_id, w->session.id);
    assert_int_equal(store_batch_presence(w->batch, &p, 1, now, lease), 0);
    return p;
}

static int64_t now_of(struct world *w) {
    return store_now(w->run.store);
}

/* What is told now: "+device" and "-device", in order; then it is told. */
static const char *judge(struct world *w, int64_t now) {
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

static void set_meta(struct world *w, const char *field, const char *value) {
    fixture_ask(w->redis, "HSET session:{%s}:meta %s %s", w->session.id, field, value);
}

static bool is_listed(struct world *w, const char *instance) {
    return FIXTURE_NUMBER(w->redis, "SISMEMBER instance:{%s}:sessions %s", instance,
                          w->session.id) == 1;
}

static int64_t armed_at(struct world *w, const char *member) {
    char key[STORE_KEY_CAP];
    store_key_attention(member, key);
    return FIXTURE_NUMBER(w->redis, "ZSCORE %s %s", key, member);
}

/* ---- admission ---- */

static void test_only_who_has_a_role_arrives(void **state) {
    struct world *w = *state;
    struct store_arrival a = {.device_id = "d", .user_id = "22222222-2222-4222-8222-222222222222"};
    assert_int_equal(arrive_as(w, a), STORE_NO_ROLE);
    set_meta(w, "participants", ",22222222-2222-4222-8222-222222222223:editor,");
    assert_int_equal(arrive_as(w, a), STORE_NO_ROLE);
    assert_int_equal(N_FIELDS(w), 0);
    a.is_admin = true;
    assert_int_equal(arrive_as(w, a), STORE_ADMITTED_FIRST);
    a.is_admin = false;
    a.device_id = "e";
    set_meta(w, "participants",
             ",22222222-2222-4222-8222-222222222223:editor,22222222-2222-4222-8222-222222222222:"
             "viewer,");
    assert_int_equal(arrive_as(w, a), STORE_ADMITTED_FIRST);
}

static void test_a_session_that_is_not_there_takes_nobody(void **state) {
    struct world *w = *state;
    struct store_arrival a = {.device_id = "d", .session_id = FIXTURE_COMMAND};
    assert_int_equal(arrive_as(w, a), STORE_SESSION_ABSENT);
    set_meta(w, "deleted", "1");
    assert_int_equal(arrive(w, "d", INSTANCE), STORE_SESSION_ABSENT);
    assert_int_equal(N_FIELDS(w), 0);
}

static void test_a_removed_device_stays_out(void **state) {
    struct world *w = *state;
    set_meta(w, "removedDevices", ",phone,tablet.1,");
    assert_int_equal(arrive(w, "phone", INSTANCE), STORE_DEVICE_REMOVED);
    assert_int_equal(arrive(w, "tablet.1", INSTANCE), STORE_DEVICE_REMOVED);
    assert_int_equal(arrive(w, "tablet", INSTANCE), STORE_ADMITTED_FIRST);
    assert_int_equal(arrive(w, "1", INSTANCE), STORE_ADMITTED_FIRST);
}

static void test_ten_devices_of_a_user_and_not_eleven(void **state) {
    struct world *w = *state;
    char device[32];
    for (int i = 0; i < PRESENCE_MAX_DEVICES_PER_USER; i++) {
        snprintf(device, sizeof(device), "device-%d", i);
        assert_int_equal(arrive(w, device, INSTANCE), STORE_ADMITTED_FIRST);
    }
    assert_int_equal(arrive(w, "eleventh", INSTANCE), STORE_TOO_MANY_DEVICES);
    assert_int_equal(arrive(w, "device-3", OTHER), STORE_ADMITTED_FIRST); /* is in */
    struct store_arrival a = {.device_id = "another's",
                              .user_id = "22222222-2222-4222-8222-222222222222",
                              .is_admin = true};
    assert_int_equal(arrive_as(w, a), STORE_ADMITTED_FIRST);
    judge(w, now_of(w));
    depart(w, "device-0", INSTANCE);
    assert_int_equal(arrive(w, "eleventh", INSTANCE), STORE_TOO_MANY_DEVICES);
    assert_string_equal(judge(w, now_of(w) + PRESENCE_LEFT_AFTER_MS), "-device-0");
    assert_int_equal(arrive(w, "eleventh", INSTANCE), STORE_ADMITTED_FIRST);
}

static void test_the_last_watcher_of_all(void **state) {
    struct world *w = *state;
    fixture_ask(w->redis, "HSET session:{%s}:devices #all %d", w->session.id,
                PRESENCE_MAX_WATCHERS - 1);
    assert_int_equal(arrive(w, "last", INSTANCE), STORE_ADMITTED_FIRST);
    assert_int_equal(arrive(w, "more", INSTANCE), STORE_TOO_MANY_WATCHERS);
    assert_int_equal(arrive(w, "last", OTHER), STORE_ADMITTED_FIRST);
}

/* ---- joining and leaving ---- */

static void test_a_device_joins_once_and_leaves_once(void **state) {
    struct world *w = *state;
    int64_t before = now_of(w);
    assert_int_equal(arrive(w, "phone", INSTANCE), STORE_ADMITTED_FIRST);
    assert_int_equal(arrive(w, "phone", INSTANCE), STORE_ADMITTED_FIRST); /* nobody judged yet */
    assert_true(is_listed(w, INSTANCE));
    assert_in_range(armed_at(w, w->session.id), before, before + 3000);
    assert_string_equal(judge(w, now_of(w)), "+phone");
    assert_string_equal(judge(w, FAR_AHEAD), "");
    assert_int_equal(arrive(w, "phone", OTHER), STORE_ADMITTED);
    depart(w, "phone", INSTANCE);
    depart(w, "phone", INSTANCE); /* said twice */
    assert_false(is_listed(w, INSTANCE));
    assert_true(is_listed(w, OTHER));
    assert_string_equal(judge(w, FAR_AHEAD), "");
    int64_t gone = now_of(w);
    depart(w, "phone", OTHER);
    assert_in_range(DUE(w, "phone"), gone + PRESENCE_LEFT_AFTER_MS,
                    now_of(w) + PRESENCE_LEFT_AFTER_MS);
    assert_string_equal(judge(w, gone + PRESENCE_LEFT_AFTER_MS - 1), "");
    assert_string_equal(judge(w, now_of(w) + PRESENCE_LEFT_AFTER_MS), "-phone");
    assert_int_equal(N_FIELDS(w), 0);
    assert_int_equal(FIXTURE_NUMBER(w->redis, "EXISTS session:{%s}:presence", w->session.id), 0);
}

static void test_coming_back_in_time_tells_nothing(void **state) {
    struct world *w = *state;
    arrive(w, "phone", INSTANCE);
    judge(w, now_of(w));
    depart(w, "phone", INSTANCE);
    assert_int_equal(arrive(w, "phone", OTHER), STORE_ADMITTED);
    assert_string_equal(judge(w, FAR_AHEAD), "");
}

static void test_a_visit_that_nobody_saw(void **state) {
    struct world *w = *state;
    arrive(w, "short", INSTANCE);
    depart(w, "short", INSTANCE);
    assert_string_equal(judge(w, now_of(w)), "+short"); /* within its ten seconds */
    assert_string_equal(judge(w, now_of(w) + PRESENCE_LEFT_AFTER_MS), "-short");
    arrive(w, "long-gone", INSTANCE);
    depart(w, "long-gone", INSTANCE);
    assert_string_equal(judge(w, now_of(w) + PRESENCE_LEFT_AFTER_MS), "");
    assert_int_equal(N_FIELDS(w), 0);
}

static void test_what_is_not_told_is_told_again_with_its_moment(void **state) {
    struct world *w = *state;
    struct store_arrival a = {.device_id = "phone", .name = "My phone", .platform = "ios 19"};
    arrive_as(w, a);
    int64_t now = now_of(w);
    struct store_presence p = judge_at(w, now, now + 10000);
    assert_int_equal(p.n_changes, 1);
    assert_int_equal(p.next, now + 10000);
    assert_int_equal(p.position.version, 1);
    assert_int_equal(p.position.epoch, 1);
    assert_string_equal(p.active_device, w->session.active_device);
    struct store_presence_change first = p.changes[0];
    store_presence_done(&p);
    assert_string_equal(first.name, "My phone");
    assert_string_equal(first.platform, "ios 19");
    assert_string_equal(first.user_id, w->session.user_id);
    assert_int_equal(first.n_devices, 1);
    assert_int_equal(first.moment, now);

    p = judge_at(w, now + 9999, LEASE);
    assert_int_equal(p.n_changes, 0);
    store_presence_done(&p);
    p = judge_at(w, now + 10000, LEASE);
    assert_int_equal(p.n_changes, 1);
    assert_int_equal(p.changes[0].moment, first.moment);
    store_presence_done(&p);

    struct store_presence_told told = {.lease_until = now + 10000}; /* of the lease that is over */
    fixture_set_id(told.session_id, w->session.id);
    strcpy(told.device_id, "phone");
    assert_int_equal(store_batch_presence_told(w->batch, &told, 1, now), 0);
    assert_true(DUE(w, "phone") == LEASE);
    told.lease_until = LEASE;
    assert_int_equal(store_batch_presence_told(w->batch, &told, 1, now), 0);
    assert_string_equal(fixture_ask(w->redis, "ZSCORE session:{%s}:presence phone", w->session.id),
                        "(nil)");
}

/* It left, came and left again before anybody had confirmed anything: all is told, in order. */
static void test_what_is_owed_is_told_in_order(void **state) {
    struct world *w = *state;
    arrive(w, "phone", INSTANCE);
    int64_t now = now_of(w);
    struct store_presence p = judge_at(w, now, LEASE);
    store_presence_done(&p);
    depart(w, "phone", INSTANCE);
    p = judge_at(w, now_of(w) + PRESENCE_LEFT_AFTER_MS, LEASE);
    assert_int_equal(p.n_changes, 2);
    assert_int_equal(p.changes[0].type, EVENT_DEVICE_JOINED);
    assert_int_equal(p.changes[1].type, EVENT_DEVICE_LEFT);
    int64_t left = p.changes[1].moment;
    assert_true(p.changes[0].moment == now && left > now);
    store_presence_done(&p);
    assert_int_equal(arrive(w, "phone", INSTANCE), STORE_ADMITTED_FIRST);
    p = judge_at(w, now_of(w), LEASE); /* a clock that went back: moments grow all the same */
    assert_int_equal(p.n_changes, 2);
    assert_int_equal(p.changes[0].type, EVENT_DEVICE_LEFT);
    assert_int_equal(p.changes[0].moment, left);
    assert_int_equal(p.changes[1].type, EVENT_DEVICE_JOINED);
    assert_true(p.changes[1].moment > left);
    store_presence_done(&p);
    assert_string_equal(HASH(w, "#joined"), "1");
    assert_string_equal(HASH(w, "#all"), "1");
}

static void test_two_hundred_are_judged_at_a_time(void **state) {
    struct world *w = *state;
    char device[32], user[UUID_LEN + 1];
    for (int i = 0; i <= PRESENCE_MAX_DUE; i++) {
        snprintf(device, sizeof(device), "device-%d", i);
        uuid_v4(user);
        struct store_arrival a = {.device_id = device, .user_id = user, .is_admin = true};
        assert_int_equal(arrive_as(w, a), STORE_ADMITTED_FIRST);
    }
    int64_t now = now_of(w);
    struct store_presence p = judge_at(w, now, LEASE);
    assert_int_equal(p.n_changes, PRESENCE_MAX_DUE);
    assert_int_equal(p.changes[0].n_devices, PRESENCE_MAX_DUE);
    assert_true(p.next && p.next <= now);
    store_presence_done(&p);
    p = judge_at(w, now, LEASE);
    assert_int_equal(p.n_changes, 1);
    assert_int_equal(p.next, LEASE);
    store_presence_done(&p);
}

/* ---- instances ---- */

static void test_what_a_dead_instance_had_leaves_at_once(void **state) {
    struct world *w = *state;
    arrive(w, "phone", INSTANCE);
    arrive(w, "both", INSTANCE);
    arrive(w, "both", OTHER);
    judge(w, now_of(w));
    fixture_ask(w->redis, "DEL instance:{" INSTANCE "}");
    assert_string_equal(judge(w, now_of(w)), "-phone");
    assert_string_equal(HASH(w, "#instances"), "," OTHER ",");
    assert_string_equal(HASH(w, "#via:" INSTANCE), "(nil)");
    assert_string_equal(judge(w, FAR_AHEAD), "");
    fixture_ask(w->redis, "DEL instance:{" OTHER "}");
    assert_string_equal(judge(w, now_of(w)), "-both");
    assert_int_equal(N_FIELDS(w), 0);
}

/* More than one step of HSCAN. */
static void test_a_dead_instance_with_thousands_of_devices(void **state) {
    struct world *w = *state;
    char device[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(device, sizeof(device), "device-%d", i);
        struct store_arrival a = {.session_id = w->session.id,
                                  .device_id = device,
                                  .user_id = w->session.user_id,
                                  .instance = INSTANCE,
                                  .name = "",
                                  .platform = ""};
        fixture_ask(w->redis, "HDEL session:{%s}:devices #user:%s", w->session.id,
                    w->session.user_id);
        int n = w->run.n_answers;
        store_arrive(w->run.store, &a, on_arrive, w);
        RUN_UNTIL(&w->run, w->run.n_answers > n);
        assert_int_equal(w->admission, STORE_ADMITTED_FIRST);
    }
    fixture_ask(w->redis, "DEL instance:{" INSTANCE "}");
    size_t n_due = 3000;
    for (; n_due > 0; n_due -= PRESENCE_MAX_DUE) {
        struct store_presence p = judge_at(w, now_of(w), LEASE);
        assert_int_equal(p.n_changes, 0); /* nobody had been told of them */
        assert_true((p.next != 0) == (n_due > PRESENCE_MAX_DUE));
        store_presence_done(&p);
    }
    assert_int_equal(N_FIELDS(w), 0);
}

static void on_renewed(void *arg, int err, bool lives) {
    struct world *w = arg;
    w->lives = lives;
    on_arrive(arg, err, STORE_ADMITTED);
}

static bool renew_as(struct world *w, const char *instance, bool is_new) {
    int n = w->run.n_answers;
    store_renew_instance(w->run.store, instance, is_new, on_renewed, w);
    RUN_UNTIL(&w->run, w->run.n_answers > n);
    return w->lives;
}

static bool renew(struct world *w, const char *instance) {
    bool lives = renew_as(w, instance, false);
    assert_int_equal(w->err, 0);
    return lives;
}

static void test_an_instance_lives_by_renewal(void **state) {
    struct world *w = *state;
    struct store_instance lives[2] = {{.instance = "new:1"}, {.instance = "never:1"}};
    assert_false(renew(w, "new:1"));
    assert_true(renew_as(w, "new:1", true));
    assert_true(renew(w, "new:1"));
    assert_int_equal(store_batch_instances(w->batch, lives, 2), 0);
    assert_in_range(lives[0].left_ms, 1, PRESENCE_INSTANCE_TTL_MS);
    assert_int_equal(lives[1].left_ms, 0);
    assert_in_range(armed_at(w, STORE_INSTANCE_PREFIX "new:1"), now_of(w), now_of(w) + 5000);
    fixture_ask(w->redis, "DEL instance:{new:1}");
    assert_false(renew(w, "new:1"));
    assert_int_equal(FIXTURE_NUMBER(w->redis, "EXISTS instance:{new:1}"), 0); /* it stays dead */

    struct store_due *due = NULL;
    size_t n = 0, n_found = 0;
    assert_int_equal(store_batch_due(w->batch, FAR_AHEAD, 1000, &due, &n), 0);
    for (size_t i = 0; i < n; i++)
        if (strcmp(due[i].instance, "new:1") == 0) {
            assert_string_equal(due[i].session_id, "");
            assert_int_equal(store_batch_claim_due(w->batch, &due[i], 1, LEASE), 0);
            assert_true(due[i].is_claimed);
            assert_int_equal(store_batch_rearm(w->batch, &due[i], 1, LEASE), 0);
            n_found++;
        }
    free(due);
    assert_int_equal(n_found, 1);
    assert_int_equal(armed_at(w, STORE_INSTANCE_PREFIX "new:1"), 0);
}

static void test_an_instance_lives_on_without_memory(void **state) {
    struct world *w = *state;
    assert_true(renew_as(w, "old:1", true));
    fixture_ask(w->redis, "PEXPIRE instance:{old:1} 9000");
    fixture_ask(w->redis, "CONFIG SET maxmemory 1");
    bool lives = renew(w, "old:1");
    int err = w->err;
    renew_as(w, "new:2", true);
    fixture_ask(w->redis, "CONFIG SET maxmemory 0");
    assert_int_equal(err, 0);
    assert_true(lives);
    assert_true(FIXTURE_NUMBER(w->redis, "PTTL instance:{old:1}") > 9000);
    assert_int_equal(w->err, -ENOTCONN);
    assert_int_equal(FIXTURE_NUMBER(w->redis, "EXISTS instance:{new:2}"), 0);
}

static void test_a_dead_instance_s_sessions_are_armed(void **state) {
    struct world *w = *state;
    size_t n = 0, n_all = 0;
    for (int i = 0; i < 1500; i++) {
        char id[UUID_LEN + 1];
        uuid_v4(id);
        fixture_ask(w->redis, "SADD instance:{dead:1}:sessions %s", id);
    }
    fixture_ask(w->redis, "SADD instance:{dead:1}:sessions %s", w->session.id);
    do {
        assert_int_equal(store_batch_arm_orphans(w->batch, "dead:1", 7, &n), 0);
        n_all += n;
    } while (n > 0);
    assert_int_equal(n_all, 1501);
    assert_int_equal(armed_at(w, w->session.id), 7);
    assert_int_equal(FIXTURE_NUMBER(w->redis, "EXISTS instance:{dead:1}:sessions"), 0);
}

/* The session is taken from the list by an answer, with an arrival behind it already. */
static void test_an_arrival_behind_a_departure_keeps_the_session_listed(void **state) {
    struct world *w = *state;
    arrive(w, "phone", INSTANCE);
    int n = w->run.n_answers;
    struct store_arrival a = {.session_id = w->session.id,
                              .device_id = "tablet",
                              .user_id = w->session.user_id,
                              .instance = INSTANCE,
                              .name = "",
                              .platform = ""};
    store_depart(w->run.store, w->session.id, "phone", INSTANCE, on_depart, w);
    store_arrive(w->run.store, &a, on_arrive, w);
    RUN_UNTIL(&w->run, w->run.n_answers > n + 1);
    renew(w, INSTANCE); /* behind what the answers sent */
    assert_true(is_listed(w, INSTANCE));
}

/* Else who asks for sessions that are not there would grow the instance's list for ever. */
static void test_a_refused_arrival_lists_no_session(void **state) {
    struct world *w = *state;
    struct store_arrival absent = {
        .device_id = "d", .session_id = FIXTURE_COMMAND, .instance = "fresh:1"};
    struct store_arrival stranger = {.session_id = w->session.id,
                                     .device_id = "e",
                                     .user_id = "22222222-2222-4222-8222-222222222222",
                                     .instance = "fresh:1",
                                     .name = "",
                                     .platform = ""};
    struct store_arrival tablet = stranger;
    assert_int_equal(arrive_as(w, absent), STORE_SESSION_ABSENT);
    assert_int_equal(arrive_as(w, stranger), STORE_NO_ROLE);
    renew(w, OTHER); /* behind what the answers sent */
    assert_int_equal(FIXTURE_NUMBER(w->redis, "EXISTS instance:{fresh:1}:sessions"), 0);
    tablet.device_id = "tablet";
    tablet.user_id = w->session.user_id;
    int n = w->run.n_answers;
    store_arrive(w->run.store, &stranger, on_arrive, w);
    store_arrive(w->run.store, &tablet, on_arrive, w);
    RUN_UNTIL(&w->run, w->run.n_answers > n + 1);
    renew(w, OTHER);
    assert_true(is_listed(w, "fresh:1"));
    assert_int_equal(arrive_as(w, stranger), STORE_NO_ROLE);
    renew(w, OTHER);
    assert_true(is_listed(w, "fresh:1"));
}

/* ---- requests ---- */

static struct store_joiner load_joiner(struct world *w, const char *device) {
    struct store_joiner joiner = {.device_id = device, .user_id = w->session.user_id};
    struct store_load l = {.wants_state = true, .joiners = &joiner, .n_joiners = 1};
    int64_t now;
    fixture_set_id(l.session_id, w->session.id);
    assert_int_equal(store_batch_load(w->batch, &l, 1, &now), 0);
    assert_int_equal(l.err, 0);
    struct store_joiner found = joiner;
    found.record = must_strdup(joiner.record);
    store_load_done(&l);
    return found;
}

/* Saves a version more with which the device joins. */
static enum store_save_result join(struct world *w, const struct store_joiner *joiner,
                                   int64_t now) {
    w->session.position.version++;
    struct store_save save = fixture_save(&w->session, now);
    save.joiner = joiner;
    save.joined_at = now;
    enum store_save_result result = fixture_save_one(w->batch, save);
    if (result != STORE_SAVED)
        w->session.position.version--;
    return result;
}

static void touch(struct world *w, const char *device, int64_t now) {
    struct store_presence_touch t = {0};
    fixture_set_id(t.session_id, w->session.id);
    strcpy(t.device_id, device);
    assert_int_equal(store_batch_presence_touch(w->batch, &t, 1, now), 0);
}

static void test_a_device_that_joins_by_a_save_leaves_after_its_last_request(void **state) {
    struct world *w = *state;
    int64_t now = now_of(w);
    struct store_joiner joiner = load_joiner(w, "laptop");
    assert_string_equal(joiner.record, "");
    assert_false(joiner.has_joined);
    assert_int_equal(join(w, &joiner, now), STORE_SAVED);
    free(joiner.record);
    assert_string_equal(HASH(w, "#joined"), "1");
    joiner = load_joiner(w, "laptop");
    assert_true(joiner.has_joined && joiner.is_counted);
    assert_int_equal(joiner.n_of_user, 1);
    assert_int_equal(joiner.n_joined, 1);
    assert_int_equal(joiner.moment, now);
    free(joiner.record);
    assert_int_equal(DUE(w, "laptop"), now + PRESENCE_REQUEST_LEFT_AFTER_MS);
    touch(w, "laptop", now + 5000);
    touch(w, "nobody", now + 5000);
    assert_int_equal(DUE(w, "laptop"), now + 5000 + PRESENCE_REQUEST_LEFT_AFTER_MS);
    assert_string_equal(judge(w, now + PRESENCE_REQUEST_LEFT_AFTER_MS), "");
    assert_string_equal(judge(w, now + 5000 + PRESENCE_REQUEST_LEFT_AFTER_MS), "-laptop");
    assert_int_equal(N_FIELDS(w), 0);
}

static void test_once_connected_requests_keep_nobody(void **state) {
    struct world *w = *state;
    int64_t now = now_of(w);
    struct store_joiner joiner = load_joiner(w, "laptop");
    assert_int_equal(join(w, &joiner, now), STORE_SAVED);
    free(joiner.record);
    assert_int_equal(arrive(w, "laptop", INSTANCE), STORE_ADMITTED);
    assert_string_equal(judge(w, FAR_AHEAD), "");
    depart(w, "laptop", INSTANCE);
    long due = DUE(w, "laptop");
    touch(w, "laptop", now + 5000);
    assert_int_equal(DUE(w, "laptop"), due);
    assert_string_equal(judge(w, due), "-laptop");
}

static void test_a_save_s_join_and_a_connection_s_are_one(void **state) {
    struct world *w = *state;
    struct store_joiner before = load_joiner(w, "laptop");
    struct store_arrival a = {.device_id = "laptop", .name = "Lap \"top\" \xf0\x9f\x92\xbb"};
    assert_int_equal(arrive_as(w, a), STORE_ADMITTED_FIRST);
    assert_int_equal(join(w, &before, now_of(w)), STORE_LOST); /* something happened */
    struct store_joiner arrived = load_joiner(w, "laptop");
    assert_true(arrived.is_counted && !arrived.has_joined);
    assert_string_equal(arrived.name, a.name);
    assert_int_equal(join(w, &arrived, now_of(w)), STORE_SAVED);
    assert_string_equal(judge(w, FAR_AHEAD), ""); /* the save told it */
    assert_string_equal(HASH(w, "#joined"), "1");
    assert_string_equal(HASH(w, "#all"), "1");
    depart(w, "laptop", INSTANCE);
    assert_string_equal(judge(w, now_of(w) + PRESENCE_LEFT_AFTER_MS), "-laptop");
    assert_int_equal(N_FIELDS(w), 0);
    free(before.record);
    free(arrived.record);
}

/* Whoever was to tell that it left has died; now it would come after the join. */
static void test_a_save_s_join_is_the_last_word(void **state) {
    struct world *w = *state;
    arrive(w, "phone", INSTANCE);
    judge(w, now_of(w));
    depart(w, "phone", INSTANCE);
    int64_t left_at = now_of(w) + PRESENCE_LEFT_AFTER_MS;
    struct store_presence p = judge_at(w, left_at, left_at + 10000);
    assert_int_equal(p.n_changes, 1);
    store_presence_done(&p);
    struct store_joiner joiner = load_joiner(w, "phone");
    assert_int_equal(join(w, &joiner, left_at + 1), STORE_SAVED);
    free(joiner.record);
    assert_string_equal(judge(w, left_at + 10000), "");
    assert_string_equal(HASH(w, "#joined"), "1");
    assert_string_equal(judge(w, left_at + 1 + PRESENCE_REQUEST_LEFT_AFTER_MS), "-phone");
    assert_int_equal(N_FIELDS(w), 0);
}

static void test_a_save_lets_no_eleventh_device_join(void **state) {
    struct world *w = *state;
    struct store_joiner joiner = load_joiner(w, "laptop");
    fixture_ask(w->redis, "HSET session:{%s}:devices #user:%s 10", w->session.id,
                w->session.user_id);
    assert_int_equal(join(w, &joiner, now_of(w)), STORE_LOST);
    fixture_ask(w->redis, "HSET session:{%s}:devices #user:%s 9", w->session.id,
                w->session.user_id);
    assert_int_equal(join(w, &joiner, now_of(w)), STORE_SAVED);
    free(joiner.record);
}

static void test_a_deleted_session_has_no_devices(void **state) {
    struct world *w = *state;
    arrive(w, "phone", INSTANCE);
    w->session.position.version++;
    w->session.deleted = true;
    assert_int_equal(fixture_save_one(w->batch, fixture_save(&w->session, now_of(w))), STORE_SAVED);
    assert_int_equal(FIXTURE_NUMBER(w->redis, "EXISTS session:{%s}:devices session:{%s}:presence",
                                    w->session.id, w->session.id),
                     0);
    depart(w, "phone", INSTANCE);
    touch(w, "phone", now_of(w));
    struct store_presence p = {.judges = true};
    fixture_set_id(p.session_id, w->session.id);
    assert_int_equal(store_batch_presence(w->batch, &p, 1, FAR_AHEAD, LEASE), 0);
    assert_int_equal(p.err, -ENOENT);
    store_presence_done(&p);
    assert_int_equal(FIXTURE_NUMBER(w->redis, "EXISTS session:{%s}:devices", w->session.id), 0);
}

/* ---- reading, damage ---- */

static void on_devices(void *arg, int err, const struct store_device *devices, size_t n) {
    struct world *w = arg;
    w->n_devices = n;
    for (size_t i = 0; i < n; i++) {
        w->devices[i] = devices[i];
        strcpy(w->texts[i], devices[i].device_id);
        strcpy(w->names[i], devices[i].name);
    }
    on_arrive(arg, err, STORE_ADMITTED);
}

static void read_devices(struct world *w) {
    int n = w->run.n_answers;
    store_read_devices(w->run.store, w->session.id, on_devices, w);
    RUN_UNTIL(&w->run, w->run.n_answers > n);
}

static void test_those_that_are_there_are_listed(void **state) {
    struct world *w = *state;
    read_devices(w);
    assert_int_equal(w->err, 0);
    assert_int_equal(w->n_devices, 0);
    arrive_as(w, (struct store_arrival){.device_id = "phone", .name = "P"});
    int64_t now = now_of(w);
    read_devices(w); /* nobody was told yet, and may not be for long: it is there all the same */
    assert_int_equal(w->n_devices, 1);
    assert_true(w->devices[0].is_connected);
    judge(w, now);
    read_devices(w);
    assert_int_equal(w->n_devices, 1);
    assert_string_equal(w->texts[0], "phone");
    assert_string_equal(w->names[0], "P");
    assert_true(w->devices[0].is_connected);
    assert_in_range(w->devices[0].first_seen, now - 1000, now);
    depart(w, "phone", INSTANCE);
    read_devices(w);
    assert_false(w->devices[0].is_connected);
    judge(w, now_of(w) + PRESENCE_LEFT_AFTER_MS + 1000);
    read_devices(w);
    assert_int_equal(w->n_devices, 0);
    fixture_ask(w->redis, "HSET session:{%s}:devices phone nonsense", w->session.id);
    read_devices(w);
    assert_int_equal(w->err, -EBADMSG);
}

static void test_what_cannot_be_harms_its_session_only(void **state) {
    struct world *w = *state;
    struct store_presence p[2] = {{.judges = true}, {.judges = true}};
    uuid_v4(p[0].session_id);
    fixture_set_id(p[1].session_id, w->session.id);
    fixture_ask(w->redis, "SET session:{%s}:presence text", p[0].session_id);
    arrive(w, "phone", INSTANCE);
    fixture_ask(w->redis, "SCRIPT FLUSH");
    assert_int_equal(store_batch_presence(w->batch, p, 2, now_of(w), LEASE), 0);
    assert_int_equal(p[0].err, -EBADMSG);
    assert_int_equal(p[1].err, 0);
    assert_int_equal(p[1].n_changes, 1);
    for (size_t i = 0; i < 2; i++)
        store_presence_done(&p[i]);
    fixture_ask(w->redis, "HSET session:{%s}:devices phone nonsense", w->session.id);
    assert_string_equal(judge(w, LEASE), ""); /* as good as none */
    assert_int_equal(arrive(w, "phone", OTHER), STORE_ADMITTED_FIRST);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_free)
    const struct CMUnitTest tests[] = {
        TEST(test_only_who_has_a_role_arrives),
        TEST(test_a_session_that_is_not_there_takes_nobody),
        TEST(test_a_removed_device_stays_out),
        TEST(test_ten_devices_of_a_user_and_not_eleven),
        TEST(test_the_last_watcher_of_all),
        TEST(test_a_device_joins_once_and_leaves_once),
        TEST(test_coming_back_in_time_tells_nothing),
        TEST(test_a_visit_that_nobody_saw),
        TEST(test_what_is_not_told_is_told_again_with_its_moment),
        TEST(test_what_is_owed_is_told_in_order),
        TEST(test_two_hundred_are_judged_at_a_time),
        TEST(test_what_a_dead_instance_had_leaves_at_once),
        TEST(test_a_dead_instance_with_thousands_of_devices),
        TEST(test_an_instance_lives_by_renewal),
        TEST(test_an_instance_lives_on_without_memory),
        TEST(test_a_dead_instance_s_sessions_are_armed),
        TEST(test_an_arrival_behind_a_departure_keeps_the_session_listed),
        TEST(test_a_refused_arrival_lists_no_session),
        TEST(test_a_device_that_joins_by_a_save_leaves_after_its_last_request),
        TEST(test_once_connected_requests_keep_nobody),
        TEST(test_a_save_s_join_and_a_connection_s_are_one),
        TEST(test_a_save_s_join_is_the_last_word),
        TEST(test_a_save_lets_no_eleventh_device_join),
        TEST(test_a_deleted_session_has_no_devices),
        TEST(test_those_that_are_there_are_listed),
        TEST(test_what_cannot_be_harms_its_session_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
