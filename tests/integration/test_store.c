/* The asynchronous reader against a real Redis: what it reads, and that every question is answered
 * exactly once and later. */
#include "tests/integration/store_run.h"

/* ---- reading ---- */

static void test_a_session_is_read_whole(void **state) {
    (void)state;
    struct run run;
    struct session s;
    saved_session(&s);
    start_up(&run);
    assert_true(store_is_up(run.store));
    assert_int_equal(read_one(&run, s.id), 0);
    assert_string_equal(run.session.id, s.id);
    assert_string_equal(run.session.name, s.name);
    assert_true(position_equal(run.session.position, s.position));
    assert_string_equal(run.session.data_text, s.data_text);
    assert_int_equal(session_verify(&run.session), 0);
    assert_string_equal(run.session.active_device, s.active_device);
    stop(&run);
    session_done(&s);
}

static void test_a_session_of_full_size_is_read(void **state) {
    (void)state;
    struct run run;
    struct session s;
    struct store_batch *b = fixture_batch();
    fixture_session(&s);
    char *text = must_alloc(SESSION_DATA_MAX_BYTES - 1);
    memset(text, 'x', SESSION_DATA_MAX_BYTES - 2);
    json_t *data = json_string(text);
    session_set_data(&s, data);
    json_decref(data);
    free(text);
    assert_int_equal(s.data_len, SESSION_DATA_MAX_BYTES);
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_SAVED);
    start_up(&run);
    assert_int_equal(read_one(&run, s.id), 0);
    assert_int_equal(session_verify(&run.session), 0);
    stop(&run);
    session_done(&s);
    store_batch_free(b);
}

static void test_absent_deleted_and_impossible_are_told_apart(void **state) {
    (void)state;
    struct run run;
    struct session s;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    saved_session(&s);
    start_up(&run);
    assert_int_equal(read_one(&run, FIXTURE_COMMAND), -ENOENT);
    fixture_ask(c, "RENAME session:{%s}:state session:{%s}:gone", s.id, s.id);
    assert_int_equal(read_one(&run, s.id), -EBADMSG);
    fixture_ask(c, "HSET session:{%s}:state a b", s.id);
    assert_int_equal(read_one(&run, s.id), -EBADMSG);
    fixture_ask(c, "RENAME session:{%s}:gone session:{%s}:state", s.id, s.id);
    assert_int_equal(read_one(&run, s.id), 0);
    fixture_ask(c, "HSET session:{%s}:meta status asleep", s.id);
    assert_int_equal(read_one(&run, s.id), -EBADMSG);
    s.position.version = 2;
    s.deleted = true;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_SAVED);
    assert_int_equal(read_one(&run, s.id), 0);
    assert_true(run.session.deleted);
    stop(&run);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

/* How one of the reads that bring a session ends. */
static int read_meta(struct run *run, const char *session_id) {
    int n = run->n_answers;
    memset(run->n_errors, 0, sizeof(run->n_errors));
    store_read_meta(run->store, session_id, on_read, run);
    RUN_UNTIL(run, run->n_answers > n);
    for (int err = 0; err < 256; err++)
        if (run->n_errors[err])
            return -err;
    return 1;
}

static void expect_read(struct run *run, const char *session_id, int err) {
    assert_int_equal(read_one(run, session_id), err);
    assert_int_equal(read_meta(run, session_id), err);
}

static void test_what_another_node_saved_is_stale(void **state) {
    (void)state;
    struct run run;
    struct session s;
    redisContext *c = fixture_redis();
    struct store_batch *b = fixture_batch();
    saved_session(&s);
    start_up(&run);
    assert_string_equal(store_run_id(run.store, s.id), s.run_id);
    expect_read(&run, s.id, 0);
    fixture_ask(c, "HSET session:{%s}:meta run_id 0123456789012345678901234567890123456789", s.id);
    expect_read(&run, s.id, -ESTALE);
    char cut[41];
    snprintf(cut, sizeof(cut), "%.39s", s.run_id);
    fixture_ask(c, "HSET session:{%s}:meta run_id %s", s.id, cut);
    expect_read(&run, s.id, -ESTALE);
    fixture_ask(c, "HDEL session:{%s}:meta run_id", s.id);
    expect_read(&run, s.id, -ESTALE);
    s.position.version = 2;
    s.deleted = true;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_SAVED);
    fixture_ask(c, "HDEL session:{%s}:meta run_id", s.id);
    expect_read(&run, s.id, 0);
    assert_true(run.session.deleted);
    stop(&run);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_data_without_its_checksum_is_bad(void **state) {
    (void)state;
    struct run run;
    struct session s;
    redisContext *c = fixture_redis();
    saved_session(&s);
    start_up(&run);
    assert_int_equal(read_one(&run, s.id), 0);
    char *text = must_strdup(fixture_ask(c, "GET session:{%s}:state", s.id));
    char *progress = strstr(text, "75");
    assert_non_null(progress);
    *progress = '8';
    fixture_ask(c, "SET session:{%s}:state %s", s.id, text);
    assert_int_equal(read_one(&run, s.id), -EBADMSG);
    assert_int_equal(read_meta(&run, s.id), 0);
    free(text);
    stop(&run);
    session_done(&s);
    redisFree(c);
}

static void test_lost_scripts_are_hidden(void **state) {
    (void)state;
    struct run run;
    struct session s;
    redisContext *c = fixture_redis();
    saved_session(&s);
    start_up(&run);
    for (int i = 0; i < 3; i++) {
        if (i)
            fixture_ask(c, "SCRIPT FLUSH");
        assert_int_equal(read_one(&run, s.id), 0);
    }
    stop(&run);
    session_done(&s);
    redisFree(c);
}

static void test_now_is_the_servers_time(void **state) {
    (void)state;
    struct run run;
    start(&run, fixture_url());
    assert_true(llabs((long long)(store_now(run.store) - timestamp_wall_ms())) < 5000);
    RUN_UNTIL(&run, run.n_up);
    assert_true(llabs((long long)(store_now(run.store) - timestamp_wall_ms())) < 5000);
    stop(&run);
}

static void test_reads_go_on_when_memory_is_out(void **state) {
    (void)state;
    struct run run;
    struct session s;
    redisContext *c = fixture_redis();
    char before[64];
    saved_session(&s);
    snprintf(before, sizeof(before), "%s", fixture_ask(c, "CONFIG GET maxmemory"));
    fixture_ask(c, "CONFIG SET maxmemory 1");
    start_up(&run);
    int err = read_one(&run, s.id);
    fixture_ask(c, "CONFIG SET maxmemory %s", before);
    assert_int_equal(err, 0);
    stop(&run);
    session_done(&s);
    redisFree(c);
}

/* ---- bounds and life ---- */

static void test_a_question_before_it_is_up_is_answered_later(void **state) {
    (void)state;
    struct run run;
    start(&run, fixture_url());
    assert_int_equal(read_one(&run, FIXTURE_COMMAND), -ENOTCONN);
    RUN_UNTIL(&run, run.n_up);
    assert_int_equal(read_one(&run, FIXTURE_COMMAND), -ENOENT);
    stop(&run);
}

static void test_questions_beyond_ten_thousand_are_refused(void **state) {
    (void)state;
    struct run run;
    start_up(&run);
    for (int i = 0; i < 10050; i++)
        ask(&run, FIXTURE_COMMAND);
    RUN_UNTIL(&run, run.n_answers == 10050);
    assert_true(run.n_errors[EAGAIN] == 50 || run.n_errors[EAGAIN] == 51); /* TIME may wait too */
    assert_int_equal(run.n_errors[ENOENT], 10050 - run.n_errors[EAGAIN]);
    assert_int_equal(read_one(&run, FIXTURE_COMMAND), -ENOENT);
    stop(&run);
}

static void test_free_answers_what_waits(void **state) {
    (void)state;
    struct run run;
    start_up(&run);
    ask(&run, FIXTURE_COMMAND);
    store_read_meta(run.store, FIXTURE_COMMAND, on_read, &run);
    run.asks_on = true; /* a question asked during the end is answered as well */
    run.store = store_free(run.store);
    assert_int_equal(run.n_answers, 3);
    assert_int_equal(run.n_errors[ECANCELED], 3);
    stop(&run);

    start(&run, fixture_url()); /* while it resolves, or connects */
    stop(&run);
    assert_int_equal(run.n_up, 0);
}

static void test_a_callback_may_free_the_store(void **state) {
    (void)state;
    struct run run;
    start_up(&run);
    for (int i = 0; i < 5; i++)
        ask(&run, FIXTURE_COMMAND);
    run.frees = true;
    RUN_UNTIL(&run, run.n_answers == 5);
    assert_int_equal(run.n_errors[ENOENT], 1);
    assert_int_equal(run.n_errors[ECANCELED], 4);
    stop(&run);

    start(&run, fixture_url()); /* from an answer that never was asked */
    ask(&run, FIXTURE_COMMAND);
    ask(&run, FIXTURE_COMMAND);
    run.frees = true;
    RUN_UNTIL(&run, run.n_answers == 2);
    stop(&run);
}

static void test_urls_that_are_none_are_refused(void **state) {
    (void)state;
    static const char *const urls[] = {"",
                                       "redis://",
                                       "http://127.0.0.1:6379",
                                       "redis://127.0.0.1",
                                       "redis://127.0.0.1:",
                                       "redis://:6379",
                                       "redis://127.0.0.1:0",
                                       "redis://127.0.0.1:65536",
                                       "redis://127.0.0.1:63x",
                                       "redis://127.0.0.1:6379/x",
                                       "redis://127.0.0.1:6379/1/2",
                                       "redis://user@127.0.0.1:6379",
                                       "redis://user:@127.0.0.1:6379",
                                       "redis://user:a%0@127.0.0.1:6379",
                                       "redis://user:a%00@127.0.0.1:6379",
                                       "redis://user:a%zz@127.0.0.1:6379",
                                       "redis://::1:6379",
                                       "redis://[]:6379"};
    struct store *s = NULL;
    uv_loop_t loop;
    uv_loop_init(&loop);
    for (size_t i = 0; i < N_ELEMENTS(urls); i++)
        assert_int_equal(store_new(&s, &loop, urls[i], NULL, NULL), -EINVAL);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_is_read_whole),
        cmocka_unit_test(test_a_session_of_full_size_is_read),
        cmocka_unit_test(test_absent_deleted_and_impossible_are_told_apart),
        cmocka_unit_test(test_what_another_node_saved_is_stale),
        cmocka_unit_test(test_data_without_its_checksum_is_bad),
        cmocka_unit_test(test_lost_scripts_are_hidden),
        cmocka_unit_test(test_now_is_the_servers_time),
        cmocka_unit_test(test_reads_go_on_when_memory_is_out),
        cmocka_unit_test(test_a_question_before_it_is_up_is_answered_later),
        cmocka_unit_test(test_questions_beyond_ten_thousand_are_refused),
        cmocka_unit_test(test_free_answers_what_waits),
        cmocka_unit_test(test_a_callback_may_free_the_store),
        cmocka_unit_test(test_urls_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
