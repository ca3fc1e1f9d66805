/* common/db.h against a real PostgreSQL: HANDOFF_TEST_DATABASE_URL names a server where this test
 * may make and drop databases of its own (handoff_test_db_<pid>). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "common/db.h"

#define STATEMENT_TIMEOUT_MS 1000

struct client {
    uv_loop_t *loop;
    struct db *db;
    unsigned n_up, n_down;
    char why[256];
    struct buf log; /* what the answers said, in order */
    unsigned n_done;
    struct db *free_on_done;
};

static char database_url[512]; /* of this run's own database */

/* ---- Helpers ---- */

static void on_up(void *arg) {
    ((struct client *)arg)->n_up++;
}

static void on_down(void *arg, const char *why) {
    struct client *c = arg;
    c->n_down++;
    snprintf(c->why, sizeof(c->why), "%s", why);
}

static const struct db_callbacks callbacks = {on_up, on_down};

static void on_done(void *arg, int err, const struct db_result *r) {
    struct client *c = arg;
    c->n_done++;
    if (err)
        buf_printf(&c->log, "%s:%s ",
                   err == -ENOTCONN ? "lost"
                   : err == -EIO    ? "refused"
                                    : "aborted",
                   r ? db_sqlstate(r) : "");
    else if (!db_n_rows(r))
        buf_printf(&c->log, "ok%zu ", db_n_affected(r));
    for (size_t i = 0; !err && i < db_n_rows(r); i++) {
        const char *value = db_value(r, i, 0, NULL);
        buf_printf(&c->log, "%s ", value ? value : "NULL");
    }
    if (c->free_on_done)
        c->db = db_free(TAKE_PTR(c->free_on_done));
}

static void run_until(const struct client *c, const unsigned *counter, unsigned n) {
    while (*counter < n)
        assert_true(uv_run(c->loop, UV_RUN_ONCE));
}

static void open_client(struct client *c, uv_loop_t *loop, const char *url) {
    *c = (struct client){.loop = loop};
    assert_int_equal(db_new(&c->db, loop, url, "test_db", STATEMENT_TIMEOUT_MS, &callbacks, c), 0);
    run_until(c, &c->n_up, 1);
}

static void close_client(struct client *c) {
    c->db = db_free(c->db);
    buf_done(&c->log);
}

static void query(struct client *c, const char *sql, const char *parameter) {
    assert_int_equal(db_query(c->db, sql, parameter ? 1 : 0, &parameter, on_done, c), 0);
}

static void end(struct client *c) {
    assert_int_equal(db_end(c->db, on_done, c), 0);
}

/* The answers since the last call. */
static void expect(struct client *c, unsigned n_answers, const char *said) {
    run_until(c, &c->n_done, n_answers);
    assert_string_equal(c->log.data, said);
    assert_int_equal(c->n_done, n_answers);
    assert_int_equal(db_n_waiting(c->db), 0);
    buf_clear(&c->log);
    c->n_done = 0;
}

struct fixture {
    uv_loop_t loop;
    struct client a, b; /* b: for those tests that open it; closed here, also after a failure */
};

static int set_up(void **state) {
    struct fixture *f = must_alloc(sizeof(*f));
    uv_loop_init(&f->loop);
    open_client(&f->a, &f->loop, database_url);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    close_client(&f->a);
    close_client(&f->b);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    int err = uv_loop_close(&f->loop);
    free(f);
    return err;
}

/* ---- Pipelines ---- */

static void test_answers_come_later_and_in_order(void **state) {
    struct client *a = &((struct fixture *)*state)->a;
    query(a, "SELECT $1::int + 1", "1");
    end(a);
    query(a, "SELECT $1::int + 1", "2");
    query(a, "SELECT 'x' WHERE $1::int > 9", "9");
    end(a);
    assert_int_equal(a->n_done, 0);
    assert_int_equal(db_n_waiting(a->db), 3);
    expect(a, 5, "2 ok0 3 ok0 ok0 ");
}

static void test_statement_sent_again_while_prepared_or_not_works(void **state) {
    struct client *a = &((struct fixture *)*state)->a;
    char digits[16];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            snprintf(digits, sizeof(digits), "%d", i);
            query(a, "SELECT $1::int", digits);
            query(a, "SELECT $1::int * 10", digits);
            end(a);
        }
        expect(a, 12, "0 0 ok0 1 10 ok0 2 20 ok0 3 30 ok0 ");
    }
}

static void test_nulls_and_large_values_pass_both_ways(void **state) {
    struct client *a = &((struct fixture *)*state)->a;
    query(a, "SELECT $1::text", NULL);
    end(a);
    const char *null = NULL;
    assert_int_equal(db_query(a->db, "SELECT $1::text || 'x'", 1, &null, on_done, a), 0);
    end(a);
    run_until(a, &a->n_done, 4);
    /* the first was sent without its parameter */
    assert_string_equal(a->log.data, "refused:08P01 aborted: NULL ok0 ");
    buf_clear(&a->log);
    a->n_done = 0;

    enum { SIZE = 1 << 20, N = 12 };
    _cleanup_(freep) char *large = must_alloc(SIZE + 1);
    memset(large, 'x', SIZE);
    for (int i = 0; i < N; i++) {
        large[0] = (char)('a' + i);
        query(a, "SELECT $1::text", large);
    }
    end(a);
    run_until(a, &a->n_done, N + 1);
    assert_int_equal(a->log.len, (SIZE + 1) * N + 4);
    for (int i = 0; i < N; i++)
        assert_int_equal(a->log.data[(size_t)(SIZE + 1) * (size_t)i], 'a' + i);
    buf_clear(&a->log);
}

/* ---- Failures ---- */

static void test_one_failure_rolls_its_transaction_back_and_no_other(void **state) {
    struct client *a = &((struct fixture *)*state)->a;
    query(a,
          "CREATE TABLE IF NOT EXISTS t (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY "
          "DEFERRED)",
          NULL);
    query(a, "TRUNCATE t", NULL);
    end(a);
    query(a, "INSERT INTO t VALUES ($1::int)", "1");
    query(a, "SELECT 1 / $1::int", "0");
    query(a, "INSERT INTO t VALUES ($1::int)", "2");
    query(a, "SELECT 'never prepared before'", NULL);
    end(a);
    query(a, "INSERT INTO t VALUES ($1::int)", "3");
    query(a, "SELECT 'never prepared before'", NULL);
    end(a);
    query(a, "SELECT id FROM t", NULL);
    query(a, "SELECT 'never prepared before'", NULL);
    end(a);
    expect(a, 14,
           "ok0 ok0 ok0 ok1 refused:22012 aborted: aborted: aborted: ok1 never prepared before "
           "ok0 3 never prepared before ok0 ");
}

static void test_statement_that_cannot_be_prepared_says_why(void **state) {
    struct client *a = &((struct fixture *)*state)->a;
    query(a, "SELECT nonsense", NULL);
    query(a, "SELECT nonsense", NULL);
    end(a);
    query(a, "SELECT nonsense", NULL);
    end(a);
    query(a, "SELECT 1", NULL);
    end(a);
    expect(a, 7, "refused:42703 aborted: aborted: refused:42703 aborted: 1 ok0 ");
}

static void test_commit_that_is_refused_is_told_to_the_end(void **state) {
    struct client *a = &((struct fixture *)*state)->a;
    query(a, "TRUNCATE t", NULL);
    query(a, "INSERT INTO t VALUES (1, 7), (2, 7)", NULL);
    end(a);
    query(a, "SELECT count(*) FROM t WHERE id < 3", NULL);
    end(a);
    expect(a, 5, "ok0 ok2 refused:23505 0 ok0 ");
}

static void test_statement_timeout_is_a_refusal_and_the_connection_stays(void **state) {
    struct client *a = &((struct fixture *)*state)->a;
    query(a, "SELECT pg_sleep(60)", NULL);
    end(a);
    query(a, "SELECT current_setting('application_name') || current_setting('TimeZone')", NULL);
    end(a);
    expect(a, 4, "refused:57014 aborted: test_dbUTC ok0 ");
    assert_int_equal(a->n_down, 0);
}

static void test_bound_of_waiting_statements_refuses_a_new_transaction_only(void **state) {
    struct client *a = &((struct fixture *)*state)->a;
    for (int i = 0; i < 999; i++) {
        query(a, "SELECT 1", NULL);
        end(a);
    }
    query(a, "SELECT 1", NULL);
    query(a, "SELECT 1", NULL); /* the 1001st, but within a transaction */
    end(a);
    assert_int_equal(db_n_waiting(a->db), 1001);
    assert_int_equal(db_query(a->db, "SELECT 1", 0, NULL, on_done, a), -EAGAIN);
    run_until(a, &a->n_done, 1001 + 1000);
    query(a, "SELECT 1", NULL);
    end(a);
    run_until(a, &a->n_done, 1001 + 1000 + 2);
    buf_clear(&a->log);
}

/* ---- Losses ---- */

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
    terminate(b, a);
    query(a, "SELECT pg_sleep(0.9)", NULL);
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
    static const char *const urls[] = {"", "localhost", "http://localhost/", "postgres://[::1/x",
                                       "host=localhost"};
    for (size_t i = 0; i < N_ELEMENTS(urls); i++) {
        struct db *d = NULL;
        assert_int_equal(db_new(&d, &f->loop, urls[i], "test_db", 1000, NULL, NULL), -EINVAL);
    }
}

/* ---- Migrations ---- */

static const struct db_migration steps[] = {
    {"0001_a.sql", "CREATE TABLE m (n int); INSERT INTO m VALUES (1);"},
    {"0002_b.sql", "INSERT INTO m SELECT n + 1 FROM m; SELECT pg_sleep(0.2);"},
    {"0003_bad.sql", "INSERT INTO m VALUES (9); SELECT nonsense;"},
};

struct migrator {
    uv_work_t work;
    size_t n;
    int err;
    char *error;
};

static void migrate(uv_work_t *work) {
    struct migrator *m = work->data;
    m->err = db_migrate(database_url, steps, m->n, &m->error);
}

static void migrated(uv_work_t *work, int status) {
    (void)work;
    assert_int_equal(status, 0);
}

static void test_concurrent_migrators_apply_each_step_once(void **state) {
    struct fixture *f = *state;
    struct migrator m[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        m[i].n = 2;
        m[i].work.data = &m[i];
        uv_queue_work(&f->loop, &m[i].work, migrate, migrated);
    }
    /* the three are done when the loop knows of nothing but the client */
    while (m[0].work.loop && uv_run(&f->loop, UV_RUN_NOWAIT) && f->loop.active_reqs.count)
        ;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(m[i].err, 0);
    query(&f->a, "SELECT n FROM m ORDER BY n", NULL);
    query(&f->a, "SELECT name FROM schema_migrations ORDER BY name", NULL);
    end(&f->a);
    expect(&f->a, 3, "1 2 0001_a.sql 0002_b.sql ok0 ");
}

static void test_migration_that_fails_leaves_nothing_and_says_which(void **state) {
    struct fixture *f = *state;
    char *error = NULL;
    assert_int_equal(db_migrate(database_url, steps, 3, &error), -EIO);
    assert_non_null(strstr(error, "0003_bad.sql"));
    assert_non_null(strstr(error, "nonsense"));
    free(error);
    query(&f->a, "SELECT count(*) FROM m WHERE n = 9", NULL);
    query(&f->a, "SELECT count(*) FROM schema_migrations", NULL);
    end(&f->a);
    expect(&f->a, 3, "0 2 ok0 ");
}

static void test_newer_migration_in_the_database_is_refused(void **state) {
    (void)state;
    char *error = NULL;
    assert_int_equal(db_migrate(database_url, steps, 1, &error), -EIO);
    assert_non_null(strstr(error, "0002_b.sql"));
    assert_non_null(strstr(error, "newer"));
    free(error);
}

static void test_migration_without_a_server_says_so(void **state) {
    (void)state;
    char *error = NULL;
    assert_int_equal(db_migrate("postgres://127.0.0.1:1/x", steps, 1, &error), -ENOTCONN);
    assert_non_null(strstr(error, "refused"));
    free(error);
}

/* ---- The run's own database ---- */

static void admin(const char *url, const char *sql) {
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct client c;
    open_client(&c, &loop, url);
    query(&c, sql, NULL);
    end(&c);
    run_until(&c, &c.n_done, 2);
    if (strncmp(c.log.data, "ok", 2) != 0) {
        fprintf(stderr, "test_db: %s: %s\n", sql, c.log.data);
        exit(1);
    }
    close_client(&c);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(test_answers_come_later_and_in_order),
        TEST(test_statement_sent_again_while_prepared_or_not_works),
        TEST(test_nulls_and_large_values_pass_both_ways),
        TEST(test_one_failure_rolls_its_transaction_back_and_no_other),
        TEST(test_statement_that_cannot_be_prepared_says_why),
        TEST(test_commit_that_is_refused_is_told_to_the_end),
        TEST(test_statement_timeout_is_a_refusal_and_the_connection_stays),
        TEST(test_bound_of_waiting_statements_refuses_a_new_transaction_only),
        TEST(test_connection_lost_in_flight_fails_all_that_waits_and_comes_back),
        TEST(test_connection_lost_while_idle_comes_back),
        TEST(test_server_that_falls_silent_is_lost),
        TEST(test_freed_from_a_callback_still_answers_all),
        TEST(test_freed_in_any_state_of_connecting),
        TEST(test_server_away_is_told_once_and_tried_again),
        TEST(test_url_that_is_none_is_refused),
        TEST(test_concurrent_migrators_apply_each_step_once),
        TEST(test_migration_that_fails_leaves_nothing_and_says_which),
        TEST(test_newer_migration_in_the_database_is_refused),
        TEST(test_migration_without_a_server_says_so),
    };
    const char *server = getenv("HANDOFF_TEST_DATABASE_URL");
    if (!server || !*server) {
        fputs("test_db: set HANDOFF_TEST_DATABASE_URL, such as postgres://postgres@127.0.0.1:5442/"
              "postgres\n",
              stderr);
        return 1;
    }
    char name[64], sql[128];
    snprintf(name, sizeof(name), "handoff_test_db_%d", (int)getpid());
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    admin(server, sql);
    const char *path = strrchr(server, '/');
    snprintf(database_url, sizeof(database_url), "%.*s/%s", (int)(path - server), server, name);
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(sql, sizeof(sql), "DROP DATABASE %s WITH (FORCE)", name);
    admin(server, sql);
    return n_failed ? 1 : 0;
}
