/* Instances: what a dead one had, how one lives on, and which sessions each is listed with. */
#include "tests/integration/presence_world.h"

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
        fixture_ask(w->redis, "HDEL session:{%s}:devices #user:%s", w->session.id,
                    w->session.user_id);
        assert_int_equal(arrive(w, device, INSTANCE), STORE_ADMITTED_FIRST);
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
            assert_int_equal(store_batch_rearm(w->batch, &due[i], 1), 0);
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
    store_depart(w->run.store, w->session.id, "phone", INSTANCE, on_depart, w);
    send_arrival(w, (struct store_arrival){.device_id = "tablet"});
    RUN_UNTIL(&w->run, w->run.n_answers > n + 1);
    renew(w, INSTANCE); /* behind what the answers sent */
    assert_true(is_listed(w, INSTANCE));
}

/* Else who asks for sessions that are not there would grow the instance's list for ever. */
static void test_a_refused_arrival_lists_no_session(void **state) {
    struct world *w = *state;
    struct store_arrival absent = {
        .device_id = "d", .session_id = FIXTURE_COMMAND, .instance = "fresh:1"};
    struct store_arrival stranger = {
        .device_id = "e", .user_id = "22222222-2222-4222-8222-222222222222", .instance = "fresh:1"};
    struct store_arrival tablet = {.device_id = "tablet", .instance = "fresh:1"};
    assert_int_equal(arrive_as(w, absent), STORE_SESSION_ABSENT);
    assert_int_equal(arrive_as(w, stranger), STORE_NO_ROLE);
    renew(w, OTHER); /* behind what the answers sent */
    assert_int_equal(FIXTURE_NUMBER(w->redis, "EXISTS instance:{fresh:1}:sessions"), 0);
    int n = w->run.n_answers;
    send_arrival(w, stranger);
    send_arrival(w, tablet);
    RUN_UNTIL(&w->run, w->run.n_answers > n + 1);
    renew(w, OTHER);
    assert_true(is_listed(w, "fresh:1"));
    assert_int_equal(arrive_as(w, stranger), STORE_NO_ROLE);
    renew(w, OTHER);
    assert_true(is_listed(w, "fresh:1"));
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
    const struct CMUnitTest tests[] = {
        TEST(test_what_a_dead_instance_had_leaves_at_once),
        TEST(test_a_dead_instance_with_thousands_of_devices),
        TEST(test_an_instance_lives_by_renewal),
        TEST(test_an_instance_lives_on_without_memory),
        TEST(test_a_dead_instance_s_sessions_are_armed),
        TEST(test_an_arrival_behind_a_departure_keeps_the_session_listed),
        TEST(test_a_refused_arrival_lists_no_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
