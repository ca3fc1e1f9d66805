/* Devices that are in a session by their requests: a save's join, and its end. */
#include "tests/integration/presence_world.h"

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

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
    const struct CMUnitTest tests[] = {
        TEST(test_a_device_that_joins_by_a_save_leaves_after_its_last_request),
        TEST(test_once_connected_requests_keep_nobody),
        TEST(test_a_save_s_join_and_a_connection_s_are_one),
        TEST(test_a_save_s_join_is_the_last_word),
        TEST(test_a_save_lets_no_eleventh_device_join),
        TEST(test_a_deleted_session_has_no_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
