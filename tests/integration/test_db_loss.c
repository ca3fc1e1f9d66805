/* common/db.h when the connection or the server is lost, or the client goes: each answer comes all
 * the same, once, and the connection comes back. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/integration/db_fixture.h"

static void terminate(struct client *by, struct client *victim) {
    query(victim, "SELECT pg_backend_pid()", NULL);
    end(victim);
    run_until(victim, &victim->n_done, 2);
    char pid[16];
    snprintf(pid, sizeof(pid), "%ld", strtol(victim->log.data, NULL, 10));
    buf_clear(&victim->log);
    victim->n_done = 0;
    query(by, "SELECT pg_terminate_backend($1::int)", pid);
    end(by);
}

static void test_connection_lost_in_flight_fails_all_that_waits_and_comes_back(void **state) {
    struct fixture *f = *state;
    struct client *a = &f->a, *b = &f->b;
    open_client(b, &f->loop, database_url);
    query(a, "CREATE TABLE t (id int)", NULL);
    end(a);
    expect(a, 2, "ok0 ok0 ");
    terminate(b, a);
    query(a, "SELECT pg_sleep(2.9)", NULL);
    query(a, "INSERT INTO t VALUES (77)", NULL);
    end(a);
    query(a, "SELECT 1", NULL);
    end(a);
    expect(a, 5, "lost: lost: lost: lost: lost: ");
    run_until(a, &a->n_down, 1);
    assert_non_null(strstr(a->why, "terminat"));
    assert_false(db_is_up(a->db));
    assert_int_equal(db_query(a->db, "SELECT 1", 0, NULL, on_done, a), -ENOTCONN);
    assert_int_equal(db_end(a->db, on_done, a), -ENOTCONN);
    run_until(a, &a->n_up, 2);
    query(a, "SELECT id FROM t WHERE id = 77", NULL);
    query(a, "SELECT 1", NULL);
    end(a);
    expect(a, 3, "ok0 1 ok0 ");
}

static void test_connection_lost_while_idle_comes_back(void **state) {
    struct fixture *f = *state;
    struct client *a = &f->a, *b = &f->b;
    open_client(b, &f->loop, database_url);
    terminate(b, a);
    run_until(a, &a->n_up, 2);
    assert_int_equal(a->n_down, 1);
    query(a, "SELECT 1", NULL);
    end(a);
    expect(a, 2, "1 ok0 ");
}

static void test_server_that_falls_silent_is_lost(void **state) {
    struct client *a = &((struct fixture *)*state)->a;
    query(a, "SELECT set_config('statement_timeout', '0', false)", NULL);
    end(a);
    expect(a, 2, "0 ok0 ");
    query(a, "SELECT pg_sleep(60)", NULL);
    end(a);
    expect(a, 2, "lost: lost: ");
    run_until(a, &a->n_down, 1);
    assert_string_equal(a->why, "the server does not answer");
    run_until(a, &a->n_up, 2);
}

/* The database's URL with that port of this host before its own. */
static void put_before(int port, char ret[static 640]) {
    const char *at = strrchr(database_url, '@'),
               *hosts = at ? at + 1 : strstr(database_url, "//") + 2;
    snprintf(ret, 640, "%.*s127.0.0.1:%d,%s", (int)(hosts - database_url), database_url, port,
             hosts);
}

static void open_at(struct client *c, uv_loop_t *loop, const char *url) {
    c->loop = loop;
    assert_int_equal(db_new(&c->db, loop, url, "test_db", 1000, &callbacks, c), 0);
    run_until(c, &c->n_up, 1);
    query(c, "SELECT 1", NULL);
    end(c);
    expect(c, 2, "1 ok0 ");
}

static void test_a_host_that_refuses_is_passed_over(void **state) {
    struct fixture *f = *state;
    char url[640];
    put_before(1, url);
    open_at(&f->b, &f->loop, url);
    assert_int_equal(f->b.n_down, 1);
}

/* The kernel takes the connection, and nobody ever speaks. */
static void test_a_host_that_swallows_all_has_its_share_of_time_only(void **state) {
    struct fixture *f = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    char url[640];
    put_before(ntohs(address.sin_port), url);
    open_at(&f->b, &f->loop, url);
    assert_int_equal(f->b.n_down, 1);
    assert_string_equal(f->b.why, "the server does not answer (connecting)");
    close(fd);
}

static void test_a_server_that_became_read_only_is_left(void **state) {
    struct fixture *f = *state;
    struct client *a = &f->a;
    query(a, "CREATE TABLE w (id int)", NULL);
    end(a);
    query(a, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", NULL);
    end(a);
    expect(a, 4, "ok0 ok0 ok0 ok0 ");
    query(a, "INSERT INTO w VALUES (1)", NULL);
    end(a);
    expect(a, 2, "lost: lost: ");
    run_until(a, &a->n_down, 1);
    assert_non_null(strstr(a->why, "read-only"));
    run_until(a, &a->n_up, 2);
    query(a, "INSERT INTO w VALUES (1)", NULL);
    end(a);
    expect(a, 2, "ok1 ok0 ");
}

static void test_freed_from_a_callback_still_answers_all(void **state) {
    struct fixture *f = *state;
    struct client *b = &f->b;
    open_client(b, &f->loop, database_url);
    query(b, "SELECT 1", NULL);
    query(b, "SELECT 2", NULL);
    end(b);
    b->free_on_done = b->db;
    run_until(b, &b->n_done, 3);
    assert_string_equal(b->log.data, "1 lost: lost: ");
}

static void test_freed_in_any_state_of_connecting(void **state) {
    struct fixture *f = *state;
    for (int turns = 0; turns < 12; turns++) {
        struct db *d = NULL;
        assert_int_equal(db_new(&d, &f->loop, turns % 2 ? database_url : "postgres://localhost:1/x",
                                "test_db", 1000, NULL, NULL),
                         0);
        for (int i = 0; i < turns / 2; i++)
            uv_run(&f->loop, UV_RUN_NOWAIT);
        assert_null(db_free(d));
    }
}

static void test_server_away_is_told_once_and_tried_again(void **state) {
    struct fixture *f = *state;
    struct client *b = &f->b;
    b->loop = &f->loop;
    assert_int_equal(
        db_new(&b->db, &f->loop, "postgres://localhost:1/x", "test_db", 1000, &callbacks, b), 0);
    run_until(b, &b->n_down, 1);
    if (!strstr(b->why, "refused"))
        fail_msg("%s", b->why);
    assert_int_equal(db_query(b->db, "SELECT 1", 0, NULL, on_done, b), -ENOTCONN);
}

static void test_url_that_is_none_is_refused(void **state) {
    struct fixture *f = *state;
    static const char *const urls[] = {"",
                                       "localhost",
                                       "http://localhost/",
                                       "postgres://[::1/x",
                                       "postgres://a:1,b:65536/x",
                                       "host=localhost"};
    for (size_t i = 0; i < N_ELEMENTS(urls); i++) {
        struct db *d = NULL;
        assert_int_equal(db_new(&d, &f->loop, urls[i], "test_db", 1000, NULL, NULL), -EINVAL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(test_connection_lost_in_flight_fails_all_that_waits_and_comes_back),
        TEST(test_connection_lost_while_idle_comes_back),
        TEST(test_server_that_falls_silent_is_lost),
        TEST(test_a_host_that_refuses_is_passed_over),
        TEST(test_a_host_that_swallows_all_has_its_share_of_time_only),
        TEST(test_a_server_that_became_read_only_is_left),
        TEST(test_freed_from_a_callback_still_answers_all),
        TEST(test_freed_in_any_state_of_connecting),
        TEST(test_server_away_is_told_once_and_tried_again),
        TEST(test_url_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, make_database, drop_database);
}
