/* Snapshots that are kept without a version: what they write, and that no other engine's save loses
 * them, or they its. */
#include "tests/integration/store_batch_fixture.h"

#define SNAPSHOT "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0002"

/* Keeps the version that is there; kept_before: the list that it was made on. */
static struct store_save keep(const struct session *s, const char *kept_before) {
    return (struct store_save){
        .session = s,
        .expected = s->position,
        .command_id = FIXTURE_COMMAND,
        .snapshot_id = SNAPSHOT,
        .kept_before = kept_before,
        .now = timestamp_wall_ms(),
    };
}

static struct store_save advance(struct session *s, const char *kept_before) {
    s->position.version++;
    struct store_save save = fixture_save(s, timestamp_wall_ms());
    save.kept_before = kept_before;
    return save;
}

static long exists(struct fixture *f, const char *tail) {
    return FIXTURE_NUMBER(f->redis, "EXISTS session:{%s}:%s", f->session.id, tail);
}

static void expect_list(struct fixture *f, const char *expected) {
    assert_string_equal(fixture_ask(f->redis, "HGET session:{%s}:meta snapshots", f->session.id),
                        expected);
}

/* A session at version 1 that keeps no snapshot. */
static void start(struct fixture *f) {
    fixture_session(&f->session);
    f->session.snapshots[0] = '\0';
    struct store_save save = fixture_save(&f->session, timestamp_wall_ms());
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
}

static void keep_first(struct fixture *f) {
    strcpy(f->session.snapshots, "1");
    assert_int_equal(fixture_save_one(f->batch, keep(&f->session, "")), STORE_SAVED);
}

static void test_it_is_kept_beside_the_version(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    start(f);
    fixture_ask(f->redis, "HSET session:{%s}:meta cooling 1:1", s->id);
    s->touched_at += 5000;
    strcpy(s->snapshots, "1");
    struct store_save save = keep(s, "");
    save.key_hash = FIXTURE_HASH;
    save.fingerprint = FIXTURE_PRINT;
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);

    const char *hashes[] = {FIXTURE_HASH};
    struct store_load l = fixture_load(f->batch, s->id, true, hashes, 1);
    assert_int_equal(l.err, 0);
    assert_true(position_equal(l.session.position, s->position));
    assert_int_equal(l.session.touched_at, s->touched_at);
    assert_int_equal(l.session.updated_at, s->updated_at);
    assert_string_equal(l.session.snapshots, "1");
    assert_string_equal(l.session.cooling, "");
    assert_int_equal(l.n_entries, 1); /* the create's */
    assert_true(l.idems[0].found);
    assert_int_equal(l.idems[0].time, save.now);
    assert_true(position_equal(l.idems[0].position, s->position));
    assert_string_equal(l.idems[0].checksum, s->checksum);
    store_load_done(&l);

    char *text = NULL;
    size_t len;
    struct session then = {0};
    assert_int_equal(store_batch_snapshot(f->batch, s->id, 1, &text, &len), 0);
    assert_int_equal(session_parse_state(&then, text, len), 0);
    assert_string_equal(then.data_text, s->data_text);
    assert_string_equal(then.checksum, s->checksum);
    free(text);
    session_done(&then);
}

static void test_it_drops_the_oldest(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    start(f);
    keep_first(f);
    assert_int_equal(fixture_save_one(f->batch, advance(s, "1")), STORE_SAVED);
    strcpy(s->snapshots, "2");
    struct store_save save = keep(s, "1");
    save.dropped_snapshot = 1;
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    assert_int_equal(exists(f, "snapshot:1"), 0);
    assert_int_equal(exists(f, "snapshot:2"), 1);
    expect_list(f, "2");
}

static void test_it_loses_to_a_version(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    start(f);
    strcpy(s->snapshots, "1");
    struct session stale;
    session_copy(s, &stale);
    s->snapshots[0] = '\0';
    assert_int_equal(fixture_save_one(f->batch, advance(s, "")), STORE_SAVED);
    assert_int_equal(fixture_save_one(f->batch, keep(&stale, "")), STORE_LOST);
    assert_int_equal(exists(f, "snapshot:1"), 0);
    expect_list(f, "(nil)"); /* as the first version left it: an empty list takes no field */
    session_done(&stale);
}

/* An engine that loaded the session before saves the next version: it did not see the snapshot. */
static void test_a_version_that_did_not_see_it_leaves_it(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session, other;
    start(f);
    session_copy(s, &other);
    keep_first(f);
    assert_int_equal(fixture_save_one(f->batch, advance(&other, "")), STORE_SAVED);
    expect_list(f, "1");
    assert_int_equal(exists(f, "snapshot:1"), 1);
    session_done(&other);
}

static void test_a_version_with_a_snapshot_loses_to_it(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session, other;
    start(f);
    session_copy(s, &other);
    keep_first(f);
    strcpy(other.snapshots, "2");
    struct store_save save = advance(&other, "");
    save.snapshot_id = SNAPSHOT;
    assert_int_equal(fixture_save_one(f->batch, save), STORE_LOST);
    assert_int_equal(exists(f, "snapshot:2"), 0);
    assert_int_equal(fixture_version(f->batch, s->id), 1);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 1);
    strcpy(other.snapshots, "1,2"); /* after it has loaded again */
    save.kept_before = "1";
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    expect_list(f, "1,2");
    session_done(&other);
}

/* Two engines keep the same version at once: the second one sees that it is kept already. */
static void test_one_of_two_at_once_loses(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    start(f);
    keep_first(f);
    assert_int_equal(fixture_save_one(f->batch, keep(s, "")), STORE_LOST);
    assert_int_equal(fixture_save_one(f->batch, keep(s, "1")), STORE_SAVED);
    expect_list(f, "1");
}

static void test_a_deletion_takes_every_key_with_it(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    start(f);
    keep_first(f);
    fixture_ask(f->redis, "HSET session:{%s}:devices phone x", s->id);
    fixture_ask(f->redis, "ZADD session:{%s}:presence 1 phone", s->id);
    s->deleted = true;
    s->snapshots[0] = '\0'; /* as it was before the snapshot */
    assert_int_equal(fixture_save_one(f->batch, advance(s, "")), STORE_LOST);
    assert_int_equal(exists(f, "snapshot:1"), 1);
    s->position.version--;
    strcpy(s->snapshots, "1");
    assert_int_equal(fixture_save_one(f->batch, advance(s, "1")), STORE_SAVED);
    static const char *const gone[] = {"snapshot:1", "devices", "presence", "state"};
    for (size_t i = 0; i < N_ELEMENTS(gone); i++)
        assert_int_equal(exists(f, gone[i]), 0);
    expect_list(f, "");
}

/* Jobs of one batch build on each other, whether they make a version or not. */
static void test_versions_and_snapshots_go_in_one_pipeline(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session, second, third;
    start(f);
    strcpy(s->snapshots, "1");
    session_copy(s, &second);
    struct store_save saves[3] = {keep(s, ""), advance(&second, "1")};
    session_copy(&second, &third);
    strcpy(third.snapshots, "1,2");
    saves[2] = keep(&third, "1");
    assert_int_equal(store_batch_save(f->batch, saves, 3, NULL, 0, NULL, 0), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(saves[i].result, STORE_SAVED);
    expect_list(f, "1,2");
    assert_int_equal(exists(f, "snapshot:1") + exists(f, "snapshot:2"), 2);
    assert_int_equal(fixture_version(f->batch, s->id), 2);
    session_done(&third);
    session_done(&second);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_free)
    const struct CMUnitTest tests[] = {
        TEST(test_it_is_kept_beside_the_version),
        TEST(test_it_drops_the_oldest),
        TEST(test_it_loses_to_a_version),
        TEST(test_a_version_that_did_not_see_it_leaves_it),
        TEST(test_a_version_with_a_snapshot_loses_to_it),
        TEST(test_one_of_two_at_once_loses),
        TEST(test_a_deletion_takes_every_key_with_it),
        TEST(test_versions_and_snapshots_go_in_one_pipeline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
