/* The asynchronous reader comes back from whatever happens to the server. These tests stop the
 * server for seconds and change its settings. */
#include "tests/integration/store_run.h"

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
        cmocka_unit_test(test_a_killed_connection_comes_back),
        cmocka_unit_test(test_a_silent_server_is_down_and_comes_back),
        cmocka_unit_test(test_an_absent_server_is_told_once),
        cmocka_unit_test(test_an_evicting_server_is_not_used_until_it_is_set_right),
        cmocka_unit_test(test_login_with_user_password_and_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
