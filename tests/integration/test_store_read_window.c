/* store_read_window: meta and the versions after a position, of one moment. */
#include "tests/integration/store_batch_fixture.h"
#include "tests/integration/store_run.h"

struct answer {
    struct run run;
    struct position position;
    char user_id[UUID_LEN + 1];
    bool deleted, has_data;
};

static void on_window(void *arg, int err, const struct session *session,
                      const struct store_delta *deltas, size_t n) {
    struct answer *a = arg;
    assert_true((err == 0) == (session != NULL));
    if (session) {
        a->position = session->position;
        a->deleted = session->deleted;
        a->has_data = session->data_text != NULL;
        memcpy(a->user_id, session->user_id, sizeof(a->user_id));
    }
    on_deltas(&a->run, err, deltas, n);
}

static void ask_window(struct answer *a, const char *session_id, uint64_t since, size_t limit) {
    a->run.is_asking = true;
    store_read_window(a->run.store, session_id, since, limit, on_window, a);
    a->run.is_asking = false;
}

/* The error of one read. */
static int read_window(struct answer *a, const char *session_id, uint64_t since, size_t limit) {
    int n = a->run.n_answers;
    memset(a->run.n_errors, 0, sizeof(a->run.n_errors));
    ask_window(a, session_id, since, limit);
    RUN_UNTIL(&a->run, a->run.n_answers > n);
    for (int err = 0; err < 256; err++)
        if (a->run.n_errors[err])
            return -err;
    return 1;
}

static void expect_window(struct answer *a, const struct session *s, uint64_t since, size_t limit,
                          size_t n) {
    assert_int_equal(read_window(a, s->id, since, limit), 0);
    assert_true(position_equal(a->position, s->position));
    assert_string_equal(a->user_id, s->user_id);
    assert_false(a->has_data);
    assert_int_equal(a->run.n_versions, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(a->run.versions[i], since + 1 + i);
}

static void test_meta_comes_with_what_follows_a_position(void **state) {
    (void)state;
    struct answer a;
    struct session s;
    struct store_batch *b = fixture_batch();
    fixture_create(b, &s);
    assert_int_equal(fixture_advance(b, &s, 250, timestamp_wall_ms(), false), STORE_SAVED);
    start_up(&a.run);
    expect_window(&a, &s, 0, 1000, 250);
    expect_window(&a, &s, 0, 200, 200);
    expect_window(&a, &s, 249, 200, 1);
    expect_window(&a, &s, 250, 200, 0);
    expect_window(&a, &s, 9000, 200, 0);
    expect_window(&a, &s, UINT64_MAX, 200, 0);
    assert_string_equal(a.run.event, "{\"type\":\"state_delta\"}");
    stop(&a.run);
    session_done(&s);
    store_batch_free(b);
}

static void test_windows_are_read_on_when_memory_is_out(void **state) {
    (void)state;
    struct answer a;
    struct session s;
    char before[64];
    redisContext *c = fixture_redis();
    struct store_batch *b = fixture_batch();
    fixture_create(b, &s);
    assert_int_equal(fixture_advance(b, &s, 30, timestamp_wall_ms(), false), STORE_SAVED);
    start_up(&a.run);
    snprintf(before, sizeof(before), "%s", fixture_ask(c, "CONFIG GET maxmemory"));
    fixture_ask(c, "CONFIG SET maxmemory 1");
    int all = read_window(&a, s.id, 5, 100);
    size_t n_all = a.run.n_versions;
    int cut = read_window(&a, s.id, 5, 10);
    size_t n_cut = a.run.n_versions;
    fixture_ask(c, "CONFIG SET maxmemory %s", before);
    assert_int_equal(all, 0);
    assert_int_equal(n_all, 25);
    assert_int_equal(cut, 0);
    assert_int_equal(n_cut, 10);
    assert_int_equal(a.run.versions[9], 15);
    stop(&a.run);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_absent_windowless_deleted_and_impossible_are_told_apart(void **state) {
    (void)state;
    struct answer a;
    struct session s;
    redisContext *c = fixture_redis();
    struct store_batch *b = fixture_batch();
    fixture_create(b, &s);
    start_up(&a.run);
    assert_int_equal(read_window(&a, FIXTURE_COMMAND, 0, 10), -ENOENT);
    expect_window(&a, &s, 0, 10, 1);
    fixture_ask(c, "RENAME session:{%s}:deltas session:{%s}:gone", s.id, s.id);
    expect_window(&a, &s, 0, 10, 0);
    fixture_ask(c, "SET session:{%s}:deltas x", s.id);
    assert_int_equal(read_window(&a, s.id, 0, 10), -EBADMSG);
    fixture_ask(c, "RENAME session:{%s}:gone session:{%s}:deltas", s.id, s.id);
    s.position.version = 2;
    s.deleted = true;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_SAVED);
    expect_window(&a, &s, 1, 10, 1);
    assert_true(a.deleted);
    fixture_ask(c, "DEL session:{%s}:meta", s.id);
    fixture_ask(c, "SET session:{%s}:meta x", s.id);
    assert_int_equal(read_window(&a, s.id, 0, 10), -EBADMSG);
    stop(&a.run);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_window_of_another_node_is_stale(void **state) {
    (void)state;
    struct answer a;
    struct session s;
    redisContext *c = fixture_redis();
    struct store_batch *b = fixture_batch();
    fixture_create(b, &s);
    start_up(&a.run);
    assert_int_equal(read_window(&a, s.id, 0, 10), 0);
    fixture_ask(c, "HSET session:{%s}:meta run_id 0123456789012345678901234567890123456789", s.id);
    assert_int_equal(read_window(&a, s.id, 0, 10), -ESTALE);
    fixture_ask(c, "HDEL session:{%s}:meta run_id", s.id);
    assert_int_equal(read_window(&a, s.id, 0, 10), -ESTALE);
    stop(&a.run);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

/* It has the version that the epoch began with, and is none that was made in it. */
static void test_entry_of_a_rebuild_is_no_version(void **state) {
    (void)state;
    struct answer a;
    struct session s;
    redisContext *c = fixture_redis();
    struct store_batch *b = fixture_batch();
    fixture_create(b, &s);
    assert_int_equal(fixture_advance(b, &s, 7, timestamp_wall_ms(), false), STORE_SAVED);
    fixture_ask(c, "DEL session:{%s}:deltas", s.id);
    fixture_ask(c, "XADD session:{%s}:deltas 5-0 t 1 c x e {\"type\":\"session_rebuilt\",\"n\":1}",
                s.id);
    fixture_ask(c, "XADD session:{%s}:deltas 6-0 t 1 c x e {\"type\":\"state_delta\"}", s.id);
    fixture_ask(c, "XADD session:{%s}:deltas 7-0 t 1 c x e {}", s.id);
    start_up(&a.run);
    for (uint64_t since = 0; since <= 5; since++) {
        assert_int_equal(read_window(&a, s.id, since, 10), 0);
        assert_int_equal(a.run.n_versions, 2);
        assert_int_equal(a.run.versions[0], 6);
        assert_int_equal(a.run.versions[1], 7);
    }
    assert_int_equal(read_window(&a, s.id, 4, 1), 0);
    assert_int_equal(a.run.n_versions, 0);
    expect_window(&a, &s, 6, 10, 1);
    stop(&a.run);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_windows_are_answered_while_and_after_the_store_is_away(void **state) {
    (void)state;
    struct answer a;
    start(&a.run, fixture_url());
    assert_int_equal(read_window(&a, FIXTURE_COMMAND, 0, 10), -ENOTCONN);
    RUN_UNTIL(&a.run, a.run.n_up);
    memset(a.run.n_errors, 0, sizeof(a.run.n_errors));
    for (int i = 0; i < 10001; i++)
        ask_window(&a, FIXTURE_COMMAND, 0, 10);
    RUN_UNTIL(&a.run, a.run.n_errors[EAGAIN] + a.run.n_errors[ENOENT] == 10001);
    assert_int_equal(a.run.n_errors[EAGAIN], 1);
    ask_window(&a, FIXTURE_COMMAND, 0, 10);
    a.run.store = store_free(a.run.store);
    assert_int_equal(a.run.n_errors[ECANCELED], 1);
    stop(&a.run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meta_comes_with_what_follows_a_position),
        cmocka_unit_test(test_windows_are_read_on_when_memory_is_out),
        cmocka_unit_test(test_absent_windowless_deleted_and_impossible_are_told_apart),
        cmocka_unit_test(test_window_of_another_node_is_stale),
        cmocka_unit_test(test_entry_of_a_rebuild_is_no_version),
        cmocka_unit_test(test_windows_are_answered_while_and_after_the_store_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
