/* The engine's border to Redis when Redis is in trouble: nothing half, and back again afterwards.
 * These tests stop the server for seconds and change its memory limit. */
#include <errno.h>

#include "tests/integration/store_batch_fixture.h"

/* ---- what goes wrong ---- */

static void test_lost_scripts_are_hidden(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s[4];
    fixture_create(b, &s[0]);
    fixture_session(&s[3]);
    struct store_save saves[4];
    for (int i = 0; i < 3; i++) {
        if (i)
            session_copy(&s[0], &s[i]);
        s[i].position.version = 2 + (uint64_t)i;
        saves[i] = fixture_save(&s[i], 5);
    }
    saves[3] = fixture_save(&s[3], 5);
    struct store_mark m = {.first = 1, .published = {1, 1}};
    fixture_set_id(m.session_id, s[0].id);
    fixture_ask(c, "SCRIPT FLUSH");
    assert_int_equal(store_batch_save(b, saves, 4, NULL, 0, &m, 1), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(saves[i].result, STORE_SAVED);
    assert_true(m.settled);
    assert_int_equal(fixture_version(b, s[0].id), 4);
    fixture_ask(c, "SCRIPT FLUSH");
    assert_int_equal(fixture_version(b, s[0].id), 4);
    fixture_ask(c, "SCRIPT FLUSH");
    unsigned n = 0;
    assert_int_equal(store_batch_count_try(b, s[0].id, FIXTURE_COMMAND, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(store_batch_count_try(b, s[0].id, FIXTURE_COMMAND, &n), 0);
    assert_int_equal(n, 2);
    long ttl = FIXTURE_NUMBER(c, "PTTL session:{%s}:tries:%s", s[0].id, FIXTURE_COMMAND);
    assert_true(ttl > 50000 && ttl <= 60000);
    for (int i = 0; i < 4; i++)
        session_done(&s[i]);
    redisFree(c);
    store_batch_free(b);
}

static void test_a_killed_connection_is_made_again(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    char why[256];
    fixture_ask(c, "CLIENT KILL TYPE normal SKIPME yes");
    assert_true(store_batch_ping(b) < 0);
    assert_false(store_batch_is_connected(b));
    assert_int_equal(store_batch_ping(b), -ENOTCONN);
    assert_int_equal(store_batch_save(b, NULL, 0, NULL, 0, NULL, 0), -ENOTCONN);
    assert_int_equal(store_batch_connect(b, why), 0);
    assert_int_equal(store_batch_ping(b), 0);
    assert_int_equal(strlen(store_batch_run_id(b, FIXTURE_COMMAND)), 40);
    redisFree(c);
    store_batch_free(b);
}

static void test_out_of_memory_refuses_and_writes_nothing(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s, fresh;
    fixture_create(b, &s);
    fixture_session(&fresh);
    char before[64], size[64];
    snprintf(size, sizeof(size), "%s", fixture_ask(c, "DBSIZE"));
    snprintf(before, sizeof(before), "%s", fixture_ask(c, "CONFIG GET maxmemory"));
    fixture_ask(c, "CONFIG SET maxmemory 1");
    s.position.version = 2;
    struct store_save saves[] = {fixture_save(&s, 5), fixture_save(&fresh, 5), fixture_save(&s, 5)};
    saves[2].event = NULL;
    saves[2].expected.version = 1;
    struct store_arm arm = {.at = 5};
    fixture_set_id(arm.session_id, s.id);
    struct store_mark m = {.first = 1, .published = {1, 1}};
    fixture_set_id(m.session_id, s.id);
    int err = store_batch_save(b, saves, 3, &arm, 1, &m, 1);
    const char *hashes[] = {FIXTURE_HASH};
    struct store_load l = {
        .wants_state = true, .wants_deltas = true, .key_hashes = hashes, .n_key_hashes = 1};
    int64_t now;
    fixture_set_id(l.session_id, s.id);
    int load_err = store_batch_load(b, &l, 1, &now); /* reads go on */
    fixture_ask(c, "CONFIG SET maxmemory %s", before);
    assert_int_equal(err, 0);
    assert_int_equal(load_err, 0);
    assert_int_equal(l.err, 0);
    assert_int_equal(l.session.position.version, 1);
    assert_string_equal(l.session.checksum, s.checksum);
    assert_int_equal(l.n_entries, 1);
    assert_false(l.idems[0].found);
    store_load_done(&l);
    assert_int_equal(saves[0].result, STORE_REFUSED);
    assert_non_null(strstr(saves[0].text, "OOM"));
    assert_int_equal(saves[1].result, STORE_REFUSED);
    assert_int_equal(saves[2].result, STORE_LOST); /* it builds on the first */
    assert_false(m.settled);
    assert_string_equal(fixture_ask(c, "DBSIZE"), size);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(c, &s), 1);
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_SAVED);
    session_done(&s);
    session_done(&fresh);
    redisFree(c);
    store_batch_free(b);
}

static void test_wrong_types_refuse_and_write_nothing(void **state) {
    (void)state;
    static const char *const parts[] = {"meta", "deltas", "idem", "idem_order"};
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
        struct session s;
        fixture_create(b, &s);
        fixture_ask(c, "DEL session:{%s}:%s", s.id, parts[i]);
        fixture_ask(c, "SET session:{%s}:%s x", s.id, parts[i]);
        char text[4096];
        snprintf(text, sizeof(text), "%s", fixture_ask(c, "GET session:{%s}:state", s.id));
        s.position.version = 2;
        struct store_save save = fixture_save(&s, 5);
        save.key_hash = FIXTURE_HASH;
        save.fingerprint = FIXTURE_PRINT;
        assert_int_equal(store_batch_save(b, &save, 1, NULL, 0, NULL, 0), 0);
        assert_int_equal(save.result, STORE_REFUSED);
        assert_non_null(strstr(save.text, "WRONGTYPE"));
        assert_string_equal(fixture_ask(c, "GET session:{%s}:state", s.id), text);
        if (i > 0)
            assert_string_equal(fixture_ask(c, "HGET session:{%s}:meta version", s.id), "1");
        if (i != 1)
            assert_int_equal(FIXTURE_WINDOW_LENGTH(c, &s), 1);
        session_done(&s);
    }
    redisFree(c);
    store_batch_free(b);
}

static void test_a_silent_server_times_out_and_comes_back(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    char why[256];
    fixture_create(b, &s);
    pid_t pid = fixture_pid(c);
    s.position.version = 2;
    struct store_save save = fixture_save(&s, 5);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    int err = store_batch_save(b, &save, 1, NULL, 0, NULL, 0);
    int again = store_batch_connect(b, why);
    kill(pid, SIGCONT);
    assert_int_equal(err, -ETIMEDOUT);
    assert_int_equal(again, -ETIMEDOUT);
    assert_true(strlen(why) > 0);
    assert_int_equal(store_batch_connect(b, why), 0);
    assert_int_equal(fixture_version(b, s.id), 2); /* unknown then, found now */
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_connect_says_why_not(void **state) {
    (void)state;
    struct store_batch *b = NULL;
    redisContext *c = fixture_redis();
    char why[256], url[256];
    int port;
    assert_int_equal(store_batch_new(&b, "redis://127.0.0.1:1"), 0);
    assert_int_equal(store_batch_connect(b, why), -ENOTCONN);
    assert_non_null(strstr(why, "refused"));
    b = store_batch_free(b);
    assert_int_equal(store_batch_new(&b, "http://127.0.0.1:1"), -EINVAL);

    b = store_batch_free(fixture_batch());
    fixture_ask(c, "CONFIG SET maxmemory-policy allkeys-lru");
    assert_int_equal(store_batch_new(&b, fixture_url()), 0);
    int err = store_batch_connect(b, why);
    fixture_ask(c, "CONFIG SET maxmemory-policy noeviction");
    assert_true(err < 0);
    assert_non_null(strstr(why, "allkeys-lru"));
    b = store_batch_free(b);

    fixture_ask(c, "ACL SETUSER tester reset on >p@ss:w/%%rd ~* +@all -config");
    assert_int_equal(sscanf(fixture_url(), "redis://%*[^:]:%d", &port), 1);
    snprintf(url, sizeof(url), "redis://tester:p%%40ss%%3aw%%2F%%25rd@127.0.0.1:%d/3", port);
    assert_int_equal(store_batch_new(&b, url), 0);
    err = store_batch_connect(b, why);
    b = store_batch_free(b);
    snprintf(url, sizeof(url), "redis://tester:wrong@127.0.0.1:%d", port);
    assert_int_equal(store_batch_new(&b, url), 0);
    int wrong = store_batch_connect(b, why);
    b = store_batch_free(b);
    fixture_ask(c, "ACL DELUSER tester");
    assert_int_equal(err, 0);
    assert_int_equal(wrong, -EACCES);
    assert_non_null(strstr(why, "WRONGPASS"));
    assert_null(strstr(why, "wrong@"));
    redisFree(c);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_scripts_are_hidden),
        cmocka_unit_test(test_a_killed_connection_is_made_again),
        cmocka_unit_test(test_out_of_memory_refuses_and_writes_nothing),
        cmocka_unit_test(test_wrong_types_refuse_and_write_nothing),
        cmocka_unit_test(test_a_silent_server_times_out_and_comes_back),
        cmocka_unit_test(test_connect_says_why_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
