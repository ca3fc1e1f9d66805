/* common/db.h against a real PostgreSQL: pipelines, refusals, migrations. */
#include "tests/integration/db_fixture.h"

#include "common/db_schema.h"

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

/* ---- Migrations ---- */

static const struct embedded steps[] = {
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

static const struct embedded later[] = {
    {"0001_a.sql", ""},
    {"0002_b.sql", ""},
    {"0007_c.sql", "-- works from: 0002_b.sql\nCREATE TABLE later (n int);"},
};

static void test_newer_migration_that_says_from_which_one_on_is_worked_with(void **state) {
    struct fixture *f = *state;
    char *error = NULL;
    assert_int_equal(db_migrate(database_url, later, 3, &error), 0);
    assert_int_equal(db_migrate(database_url, later, 2, &error), 0);
    assert_int_equal(db_migrate(database_url, later, 1, &error), -EIO);
    assert_non_null(strstr(error, "0002_b.sql"));
    free(error);
    query(&f->a, "SELECT name FROM schema_migrations WHERE works_from = '0002_b.sql'", NULL);
    end(&f->a);
    expect(&f->a, 2, "0007_c.sql ok0 ");
}

static void test_what_there_is_is_told_one_by_one(void **state) {
    (void)state;
    _cleanup_(freep) char *error = NULL;
    _cleanup_(db_blocking_closep) struct db_blocking *db = NULL;
    _cleanup_(db_schema_steps_done) struct db_schema_steps s = {0};
    const struct embedded known[] = {later[0], later[1], {"0003_d.sql", ""}};
    assert_int_equal(db_blocking_open(&db, database_url, "test", &error), 0);
    assert_int_equal(db_schema_look(db, known, 3, &s, &error), 0);
    static const enum db_schema_state states[] = {DB_SCHEMA_APPLIED, DB_SCHEMA_APPLIED,
                                                  DB_SCHEMA_MISSING, DB_SCHEMA_NEWER};
    assert_int_equal(s.n, 4);
    for (size_t i = 0; i < s.n; i++)
        assert_int_equal(s.items[i].state, states[i]);
    assert_string_equal(s.items[2].applied_at, "");
    assert_int_equal(strlen(s.items[3].applied_at), strlen("2026-01-01T00:00:00Z"));
    assert_int_equal(db_schema_count(&s, DB_SCHEMA_APPLIED), 2);
}

static void test_a_first_line_that_is_none_promises_nothing(void **state) {
    (void)state;
    char from[DB_SCHEMA_NAME_CAP];
    static const char *const none[] = {"", "-- works from:0001_a.sql\n", "-- works from: \nx",
                                       "\n-- works from: 0001_a.sql"};
    for (size_t i = 0; i < N_ELEMENTS(none); i++) {
        db_schema_works_from(none[i], from);
        assert_string_equal(from, "");
    }
    char text[200] = "-- works from: ";
    memset(text + strlen(text), 'x', DB_SCHEMA_NAME_CAP - 1);
    db_schema_works_from(text, from);
    assert_int_equal(strlen(from), DB_SCHEMA_NAME_CAP - 1);
    strcat(text, "x");
    db_schema_works_from(text, from);
    assert_string_equal(from, "");
}

static void test_migration_without_a_server_says_so(void **state) {
    (void)state;
    char *error = NULL;
    assert_int_equal(db_migrate("postgres://127.0.0.1:1/x", steps, 1, &error), -ENOTCONN);
    assert_non_null(strstr(error, "refused"));
    free(error);
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
        TEST(test_concurrent_migrators_apply_each_step_once),
        TEST(test_migration_that_fails_leaves_nothing_and_says_which),
        TEST(test_newer_migration_in_the_database_is_refused),
        TEST(test_newer_migration_that_says_from_which_one_on_is_worked_with),
        TEST(test_what_there_is_is_told_one_by_one),
        TEST(test_a_first_line_that_is_none_promises_nothing),
        TEST(test_migration_without_a_server_says_so),
    };
    return cmocka_run_group_tests(tests, make_database, drop_database);
}
