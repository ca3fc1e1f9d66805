/* Who is in a session by its connections: admission, joining and leaving by presence.lua's rules,
 * and the list of who is there. */
#include "tests/integration/presence_world.h"

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

/* What it says of roles may be old. */
static void test_a_session_of_another_node_takes_nobody_yet(void **state) {
    struct world *w = *state;
    struct store_arrival a = {.device_id = "d", .user_id = "22222222-2222-4222-8222-222222222222"};
    set_meta(w, "run_id", "0123456789012345678901234567890123456789");
    assert_int_equal(arrive_as(w, a), STORE_SESSION_ABSENT);
    assert_int_equal(arrive(w, "d", INSTANCE), STORE_SESSION_ABSENT);
    set_meta(w, "run_id", store_run_id(w->run.store, ""));
    assert_int_equal(arrive_as(w, a), STORE_NO_ROLE);
    assert_int_equal(arrive(w, "d", INSTANCE), STORE_ADMITTED_FIRST);
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
    const struct CMUnitTest tests[] = {
        TEST(test_only_who_has_a_role_arrives),
        TEST(test_a_session_that_is_not_there_takes_nobody),
        TEST(test_a_session_of_another_node_takes_nobody_yet),
        TEST(test_a_removed_device_stays_out),
        TEST(test_ten_devices_of_a_user_and_not_eleven),
        TEST(test_the_last_watcher_of_all),
        TEST(test_a_device_joins_once_and_leaves_once),
        TEST(test_coming_back_in_time_tells_nothing),
        TEST(test_a_visit_that_nobody_saw),
        TEST(test_what_is_not_told_is_told_again_with_its_moment),
        TEST(test_what_is_owed_is_told_in_order),
        TEST(test_two_hundred_are_judged_at_a_time),
        TEST(test_those_that_are_there_are_listed),
        TEST(test_what_cannot_be_harms_its_session_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
