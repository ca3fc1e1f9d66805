/* Going cold and tombstones: each condition of the scripts, and what they leave. */
#include "common/store_cool.h"
#include "tests/integration/store_batch_fixture.h"

#define MARK "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0009"
#define DEVICE "phone"

struct world {
    struct store_batch *batch;
    redisContext *redis;
    struct session session; /* at version 3, published, with snapshots of 2 and 3 and one key */
};

static void save_version(struct world *w, const char *key_hash) {
    struct session *s = &w->session;
    struct store_save save = fixture_save(s, timestamp_wall_ms());
    save.snapshot_id = s->position.version > 1 ? FIXTURE_COMMAND : NULL;
    save.key_hash = key_hash;
    save.fingerprint = FIXTURE_PRINT;
    assert_int_equal(fixture_save_one(w->batch, save), STORE_SAVED);
}

static int world_new(void **state) {
    struct world *w = must_alloc(sizeof(*w));
    w->batch = fixture_batch();
    w->redis = fixture_redis();
    struct session *s = &w->session;
    fixture_session(s);
    strcpy(s->run_id, store_batch_run_id(w->batch, w->session.id));
    s->snapshots[0] = '\0';
    save_version(w, NULL);
    s->position.version = 2;
    strcpy(s->snapshots, "2");
    save_version(w, FIXTURE_HASH);
    s->position.version = 3;
    strcpy(s->snapshots, "2,3");
    save_version(w, NULL);
    fixture_mark(w->batch, s, 1, 3, true);
    *state = w;
    return 0;
}

static int world_free(void **state) {
    struct world *w = *state;
    store_batch_free(w->batch);
    redisFree(w->redis);
    session_done(&w->session);
    free(w);
    return 0;
}

static struct store_cool cool_of(const struct session *s) {
    return (struct store_cool){.session = s, .mark = MARK};
}

static enum store_cool_result begin_as(struct world *w, const struct session *s) {
    struct store_cool cool = cool_of(s);
    assert_int_equal(store_batch_cool_begin(w->batch, &cool, 1), 0);
    return cool.result;
}

static enum store_cool_result begin(struct world *w) {
    return begin_as(w, &w->session);
}

static enum store_cool_result end(struct world *w) {
    struct store_cool cool = cool_of(&w->session);
    assert_int_equal(store_batch_cool_end(w->batch, &cool, 1), 0);
    return cool.result;
}

static enum store_cool_result bury(struct world *w) {
    struct store_cool cool = cool_of(&w->session);
    assert_int_equal(store_batch_bury(w->batch, &cool, 1), 0);
    return cool.result;
}

static bool has(struct world *w, const char *tail) {
    return FIXTURE_NUMBER(w->redis, "EXISTS session:{%s}:%s", w->session.id, tail) == 1;
}

static const char *mark_of(struct world *w) {
    return fixture_ask(w->redis, "HGET session:{%s}:meta cooling", w->session.id);
}

static void heartbeat(struct world *w) {
    struct session s = w->session;
    s.touched_at++;
    struct store_save save = {.session = &s,
                              .expected = s.position,
                              .command_id = FIXTURE_COMMAND,
                              .now = timestamp_wall_ms()};
    assert_int_equal(fixture_save_one(w->batch, save), STORE_SAVED);
}

/* ---- begin ---- */

static void test_an_unused_session_is_marked(void **state) {
    struct world *w = *state;
    assert_int_equal(begin(w), STORE_COOL_DONE);
    assert_string_equal(mark_of(w), MARK);
    assert_int_equal(begin(w), STORE_COOL_DONE); /* a try before it came to nothing */
}

static void expect_changed(struct world *w, const struct session *seen) {
    assert_int_equal(begin_as(w, seen), STORE_COOL_CHANGED);
    assert_string_equal(mark_of(w), "(nil)");
}

static void test_it_must_be_as_it_was_seen(void **state) {
    struct world *w = *state;
    struct session seen = w->session;
    seen.position.version = 2;
    expect_changed(w, &seen);
    seen.position = (struct position){3, 2};
    expect_changed(w, &seen);
    seen = w->session;
    seen.touched_at--;
    expect_changed(w, &seen);
    uuid_v4(seen.id);
    assert_int_equal(begin_as(w, &seen), STORE_COOL_CHANGED);
}

static void test_it_must_be_published_and_of_this_node(void **state) {
    struct world *w = *state;
    fixture_ask(w->redis, "HSET session:{%s}:meta published 2", w->session.id);
    expect_changed(w, &w->session);
    fixture_ask(w->redis, "HSET session:{%s}:meta published 3 run_id other", w->session.id);
    expect_changed(w, &w->session);
    fixture_ask(w->redis, "HSET session:{%s}:meta run_id %s deleted 1", w->session.id,
                store_batch_run_id(w->batch, w->session.id));
    expect_changed(w, &w->session);
    fixture_ask(w->redis, "HDEL session:{%s}:meta deleted", w->session.id);
    assert_int_equal(begin(w), STORE_COOL_DONE);
}

static void test_who_is_in_it_keeps_it(void **state) {
    struct world *w = *state;
    fixture_ask(w->redis, "HSET session:{%s}:devices #all 1", w->session.id);
    assert_int_equal(begin(w), STORE_COOL_USED);
    fixture_ask(w->redis, "HDEL session:{%s}:devices #all", w->session.id);
    fixture_ask(w->redis, "ZADD session:{%s}:presence 1 " DEVICE, w->session.id); /* owed */
    assert_int_equal(begin(w), STORE_COOL_USED);
    assert_string_equal(mark_of(w), "(nil)");
    fixture_ask(w->redis, "ZREM session:{%s}:presence " DEVICE, w->session.id);
    assert_int_equal(begin(w), STORE_COOL_DONE);
}

/* ---- end ---- */

static void test_it_goes_and_its_keys_stay_a_day(void **state) {
    struct world *w = *state;
    fixture_ask(w->redis, "ZADD session:{%s}:confirmed 9 1:9-9", w->session.id);
    assert_true(has(w, "state") && has(w, "snapshot:2") && has(w, "snapshot:3"));
    assert_int_equal(begin(w), STORE_COOL_DONE);
    assert_int_equal(end(w), STORE_COOL_DONE);
    static const char *const gone[] = {"meta",     "state",     "deltas",     "devices",
                                       "presence", "confirmed", "snapshot:2", "snapshot:3"};
    for (size_t i = 0; i < N_ELEMENTS(gone); i++)
        assert_false(has(w, gone[i]));
    static const char *const kept[] = {"idem", "idem_order"};
    for (size_t i = 0; i < N_ELEMENTS(kept); i++) {
        long ttl = FIXTURE_NUMBER(w->redis, "PTTL session:{%s}:%s", w->session.id, kept[i]);
        assert_in_range(ttl, STORE_IDEM_KEPT_MS - 60000, STORE_IDEM_KEPT_MS);
    }
    assert_int_equal(end(w), STORE_COOL_CHANGED); /* no more */
}

static void test_without_its_mark_it_stays(void **state) {
    struct world *w = *state;
    assert_int_equal(end(w), STORE_COOL_CHANGED);
    assert_int_equal(begin(w), STORE_COOL_DONE);
    fixture_ask(w->redis, "HSET session:{%s}:meta cooling another", w->session.id);
    assert_int_equal(end(w), STORE_COOL_CHANGED);
    assert_true(has(w, "meta") && has(w, "state"));
    assert_int_equal(FIXTURE_NUMBER(w->redis, "PTTL session:{%s}:idem", w->session.id), -1);
}

static void test_a_heartbeat_and_a_write_keep_it(void **state) {
    struct world *w = *state;
    assert_int_equal(begin(w), STORE_COOL_DONE);
    heartbeat(w);
    assert_int_equal(end(w), STORE_COOL_CHANGED);
    w->session.touched_at++;
    assert_int_equal(begin(w), STORE_COOL_DONE);
    w->session.position.version++;
    save_version(w, NULL);
    assert_int_equal(end(w), STORE_COOL_CHANGED);
    assert_true(has(w, "meta") && has(w, "state"));
}

static void test_who_comes_meanwhile_keeps_it(void **state) {
    struct world *w = *state;
    assert_int_equal(begin(w), STORE_COOL_DONE);
    fixture_ask(w->redis, "HSET session:{%s}:devices #all 1", w->session.id);
    assert_int_equal(end(w), STORE_COOL_CHANGED);
    assert_string_equal(mark_of(w), "(nil)");
    fixture_ask(w->redis, "HDEL session:{%s}:devices #all", w->session.id);
    assert_int_equal(end(w), STORE_COOL_CHANGED); /* it begins anew */
    assert_true(has(w, "meta"));
}

/* Also where Redis has forgotten the scripts, and with a value of another type among them. */
static void test_many_go_together(void **state) {
    struct world *w = *state;
    struct store_cool cools[3] = {cool_of(&w->session), cool_of(&w->session), cool_of(&w->session)};
    struct session others[2] = {w->session, w->session};
    uuid_v4(others[0].id);
    uuid_v4(others[1].id);
    fixture_ask(w->redis, "SET session:{%s}:meta text", others[0].id);
    cools[0].session = &others[0];
    cools[1].session = &others[1];
    fixture_ask(w->redis, "SCRIPT FLUSH");
    assert_int_equal(store_batch_cool_begin(w->batch, cools, 3), 0);
    assert_int_equal(cools[0].result, STORE_COOL_CHANGED);
    assert_int_equal(cools[1].result, STORE_COOL_CHANGED);
    assert_int_equal(cools[2].result, STORE_COOL_DONE);
    fixture_ask(w->redis, "SCRIPT FLUSH");
    assert_int_equal(store_batch_cool_end(w->batch, cools, 3), 0);
    assert_int_equal(cools[0].result, STORE_COOL_CHANGED);
    assert_int_equal(cools[2].result, STORE_COOL_DONE);
    assert_int_equal(store_batch_cool_end(w->batch, cools, 0), 0);
}

/* ---- tombstones ---- */

static void test_a_tombstone_goes_when_its_event_is_out(void **state) {
    struct world *w = *state;
    assert_int_equal(bury(w), STORE_COOL_CHANGED); /* it lives */
    w->session.position.version++;
    w->session.deleted = true;
    struct store_save save = fixture_save(&w->session, timestamp_wall_ms());
    save.writes_state = false;
    assert_int_equal(fixture_save_one(w->batch, save), STORE_SAVED);
    assert_int_equal(bury(w), STORE_COOL_CHANGED); /* nobody was told */
    fixture_mark(w->batch, &w->session, 4, 4, true);
    w->session.position.epoch++;
    assert_int_equal(bury(w), STORE_COOL_CHANGED); /* not the one that was seen */
    w->session.position.epoch--;
    assert_true(has(w, "meta") && has(w, "deltas"));
    assert_int_equal(bury(w), STORE_COOL_DONE);
    assert_false(has(w, "meta") || has(w, "deltas"));
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_unused_session_is_marked, world_new, world_free),
        cmocka_unit_test_setup_teardown(test_it_must_be_as_it_was_seen, world_new, world_free),
        cmocka_unit_test_setup_teardown(test_it_must_be_published_and_of_this_node, world_new,
                                        world_free),
        cmocka_unit_test_setup_teardown(test_who_is_in_it_keeps_it, world_new, world_free),
        cmocka_unit_test_setup_teardown(test_it_goes_and_its_keys_stay_a_day, world_new,
                                        world_free),
        cmocka_unit_test_setup_teardown(test_without_its_mark_it_stays, world_new, world_free),
        cmocka_unit_test_setup_teardown(test_a_heartbeat_and_a_write_keep_it, world_new,
                                        world_free),
        cmocka_unit_test_setup_teardown(test_who_comes_meanwhile_keeps_it, world_new, world_free),
        cmocka_unit_test_setup_teardown(test_many_go_together, world_new, world_free),
        cmocka_unit_test_setup_teardown(test_a_tombstone_goes_when_its_event_is_out, world_new,
                                        world_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
