/* The asynchronous reader against a real Redis: what it reads, that every question is answered
 * exactly once and later, and that it comes back from whatever happens to the server. */
#include <errno.h>

#include "tests/integration/store_fixture.h"

#define GUARD_MS 20000

struct run {
    uv_loop_t loop;
    uv_timer_t guard;
    struct store *store;
    int n_up;
    int n_down;
    char why[256];

    int n_answers;
    int n_errors[256]; /* by -err */
    bool is_asking;    /* inside a call of the store: no callback may come */
    bool frees;        /* the next callback frees the store */
    bool asks_on;      /* an answer that fails asks again, once */
    struct session session;
    uint64_t versions[1000];
    size_t n_versions;
    char event[64];
};

static void on_up(void *arg) {
    ((struct run *)arg)->n_up++;
}

static void on_down(void *arg, const char *why) {
    struct run *run = arg;
    run->n_down++;
    snprintf(run->why, sizeof(run->why), "%s", why);
}

static void on_guard(uv_timer_t *timer) {
    (void)timer;
    fprintf(stderr, "nothing happened for %d ms\n", GUARD_MS);
    abort();
}

static void start(struct run *run, const char *url) {
    static const struct store_callbacks callbacks = {.up = on_up, .down = on_down};
    memset(run, 0, sizeof(*run));
    uv_loop_init(&run->loop);
    uv_timer_init(&run->loop, &run->guard);
    uv_timer_start(&run->guard, on_guard, GUARD_MS, 0);
    assert_int_equal(store_new(&run->store, &run->loop, url, &callbacks, run), 0);
}

static void stop(struct run *run) {
    run->store = store_free(run->store);
    uv_close((uv_handle_t *)&run->guard, NULL);
    uv_run(&run->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&run->loop), 0);
    session_done(&run->session);
}

#define RUN_UNTIL(run, condition)                                                                  \
    while (!(condition))                                                                           \
    uv_run(&(run)->loop, UV_RUN_ONCE)

static void start_up(struct run *run) {
    start(run, fixture_url());
    RUN_UNTIL(run, run->n_up);
}

static void on_read(void *arg, int err, const struct session *session);

static void ask(struct run *run, const char *session_id) {
    run->is_asking = true;
    store_read(run->store, session_id, on_read, run);
    run->is_asking = false;
}

static void note(struct run *run, int err) {
    assert_false(run->is_asking);
    assert_in_range(-err, 0, 255);
    run->n_answers++;
    run->n_errors[-err]++;
    if (run->frees) {
        run->frees = false;
        run->store = store_free(run->store);
    }
    if (run->asks_on && err) {
        run->asks_on = false;
        ask(run, FIXTURE_COMMAND);
    }
}

static void on_read(void *arg, int err, const struct session *session) {
    struct run *run = arg;
    assert_true((err == 0) == (session != NULL));
    if (session) {
        session_done(&run->session);
        session_copy(session, &run->session);
    }
    note(run, err);
}

static void on_deltas(void *arg, int err, const struct store_delta *deltas, size_t n) {
    struct run *run = arg;
    run->n_versions = n;
    for (size_t i = 0; i < n; i++)
        run->versions[i] = deltas[i].version;
    if (n)
        snprintf(run->event, sizeof(run->event), "%.*s", (int)deltas[0].event_len, deltas[0].event);
    note(run, err);
}

/* Reads one session and returns the error. */
static int read_one(struct run *run, const char *session_id) {
    int n = run->n_answers;
    memset(run->n_errors, 0, sizeof(run->n_errors));
    ask(run, session_id);
    RUN_UNTIL(run, run->n_answers > n);
    for (int err = 0; err < 256; err++)
        if (run->n_errors[err])
            return -err;
    return 1;
}

static void saved_session(struct session *s) {
    struct store_batch *b = fixture_batch();
    fixture_session(s);
    assert_int_equal(fixture_save_one(b, fixture_save(s, 5)), STORE_SAVED);
    store_batch_free(b);
}

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

static void test_deltas_come_in_order_and_within_the_limit(void **state) {
    (void)state;
    static const struct {
        uint64_t since;
        size_t limit, n;
    } rows[] = {{0, 1000, 8}, {0, 3, 3}, {6, 1000, 2}, {8, 10, 0}, {UINT64_MAX, 10, 0}, {0, 0, 0}};
    struct run run;
    struct session s;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    saved_session(&s);
    for (s.position.version = 2; s.position.version <= 8; s.position.version++)
        assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_SAVED);
    start_up(&run);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        int n = run.n_answers;
        store_read_deltas(run.store, s.id, rows[i].since, rows[i].limit, on_deltas, &run);
        RUN_UNTIL(&run, run.n_answers > n);
        assert_int_equal(run.n_versions, rows[i].n);
        for (size_t j = 0; j < rows[i].n; j++)
            assert_int_equal(run.versions[j], rows[i].since + 1 + j);
    }
    assert_int_equal(run.n_errors[0], N_ELEMENTS(rows));
    assert_string_equal(run.event, "{\"type\":\"state_delta\"}");
    fixture_ask(c, "DEL session:{%s}:deltas", s.id);
    fixture_ask(c, "SET session:{%s}:deltas x", s.id);
    store_read_deltas(run.store, s.id, 0, 10, on_deltas, &run);
    RUN_UNTIL(&run, run.n_errors[EBADMSG]);
    stop(&run);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
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
    store_read_deltas(run.store, FIXTURE_COMMAND, 0, 10, on_deltas, &run);
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

/* ---- outages ---- */

static void test_a_killed_connection_comes_back(void **state) {
    (void)state;
    struct run run;
    redisContext *c = fixture_redis();
    start_up(&run);
    fixture_ask(c, "CLIENT KILL TYPE normal SKIPME yes");
    assert_int_equal(read_one(&run, FIXTURE_COMMAND), -ENOTCONN);
    assert_int_equal(run.n_down, 1);
    assert_true(strlen(run.why) > 0);
    RUN_UNTIL(&run, run.n_up == 2);
    assert_int_equal(read_one(&run, FIXTURE_COMMAND), -ENOENT);
    stop(&run);
    redisFree(c);
}

static void test_a_silent_server_is_down_and_comes_back(void **state) {
    (void)state;
    struct run run;
    redisContext *c = fixture_redis();
    pid_t pid = fixture_pid(c);
    start_up(&run);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    ask(&run, FIXTURE_COMMAND);
    RUN_UNTIL(&run, run.n_down);
    assert_int_equal(run.n_errors[ETIMEDOUT], 1);
    assert_false(store_is_up(run.store));
    kill(pid, SIGCONT);
    RUN_UNTIL(&run, run.n_up == 2);
    assert_int_equal(read_one(&run, FIXTURE_COMMAND), -ENOENT);

    kill(pid, SIGSTOP); /* nobody asks: it is noticed all the same */
    RUN_UNTIL(&run, run.n_down == 2);
    kill(pid, SIGCONT);
    RUN_UNTIL(&run, run.n_up == 3);
    stop(&run);
    redisFree(c);
}

static void test_an_absent_server_is_told_once(void **state) {
    (void)state;
    struct run run;
    start(&run, "redis://127.0.0.1:1");
    for (int i = 0; i < 20; i++)
        read_one(&run, FIXTURE_COMMAND);
    RUN_UNTIL(&run, run.n_down);
    assert_non_null(strstr(run.why, "refused"));
    for (int i = 0; i < 5; i++)
        uv_run(&run.loop, UV_RUN_ONCE);
    assert_int_equal(run.n_down, 1);
    assert_int_equal(run.n_up, 0);
    stop(&run);

    start(&run, "redis://no-such-host.invalid:6379");
    RUN_UNTIL(&run, run.n_down);
    assert_non_null(strstr(run.why, "cannot be resolved"));
    stop(&run);
}

static void test_an_evicting_server_is_not_used_until_it_is_set_right(void **state) {
    (void)state;
    struct run run;
    redisContext *c = fixture_redis();
    fixture_ask(c, "CONFIG SET maxmemory-policy volatile-lru");
    start(&run, fixture_url());
    RUN_UNTIL(&run, run.n_down || run.n_up);
    fixture_ask(c, "CONFIG SET maxmemory-policy noeviction");
    assert_int_equal(run.n_up, 0);
    assert_non_null(strstr(run.why, "volatile-lru"));
    RUN_UNTIL(&run, run.n_up);
    stop(&run);
    redisFree(c);
}

static void test_login_with_user_password_and_database(void **state) {
    (void)state;
    struct run run;
    redisContext *c = fixture_redis();
    char url[256];
    int port;
    assert_int_equal(sscanf(fixture_url(), "redis://%*[^:]:%d", &port), 1);
    fixture_ask(c, "ACL SETUSER reader reset on >p@ss/w ~* +@all -config");
    snprintf(url, sizeof(url), "redis://reader:p%%40ss%%2Fw@127.0.0.1:%d/2", port);
    start(&run, url);
    RUN_UNTIL(&run, run.n_up || run.n_down);
    int n_up = run.n_up;
    stop(&run);
    snprintf(url, sizeof(url), "redis://reader:secret@127.0.0.1:%d", port);
    start(&run, url);
    RUN_UNTIL(&run, run.n_up || run.n_down);
    int n_down = run.n_down;
    stop(&run);
    fixture_ask(c, "ACL DELUSER reader");
    assert_int_equal(n_up, 1);
    assert_int_equal(n_down, 1);
    assert_non_null(strstr(run.why, "WRONGPASS"));
    assert_null(strstr(run.why, "secret"));
    redisFree(c);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_is_read_whole),
        cmocka_unit_test(test_a_session_of_full_size_is_read),
        cmocka_unit_test(test_absent_deleted_and_impossible_are_told_apart),
        cmocka_unit_test(test_deltas_come_in_order_and_within_the_limit),
        cmocka_unit_test(test_lost_scripts_are_hidden),
        cmocka_unit_test(test_now_is_the_servers_time),
        cmocka_unit_test(test_reads_go_on_when_memory_is_out),
        cmocka_unit_test(test_a_question_before_it_is_up_is_answered_later),
        cmocka_unit_test(test_questions_beyond_ten_thousand_are_refused),
        cmocka_unit_test(test_free_answers_what_waits),
        cmocka_unit_test(test_a_callback_may_free_the_store),
        cmocka_unit_test(test_urls_that_are_none_are_refused),
        cmocka_unit_test(test_a_killed_connection_comes_back),
        cmocka_unit_test(test_a_silent_server_is_down_and_comes_back),
        cmocka_unit_test(test_an_absent_server_is_told_once),
        cmocka_unit_test(test_an_evicting_server_is_not_used_until_it_is_set_right),
        cmocka_unit_test(test_login_with_user_password_and_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
