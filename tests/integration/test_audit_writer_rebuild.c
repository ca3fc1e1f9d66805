/* What is read again from the rows that audit_writer wrote: a session (common/db_session.h), and
 * the data of its versions (common/db_rebuild.h), on a real PostgreSQL with the real schema.
 * Version v of the story has data {"n":v}. */
#include "db_fixture.h"

#include "base/timestamp.h"
#include "common/db_rebuild.h"
#include "common/db_schema.h"
#include "common/db_session.h"
#include "proto/rebuild.h"

#define ID "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"
#define OWNER "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define FRIEND "11111111-2222-4333-8444-555555555555"

/* ---- rows ---- */

/* sql: a literal, with up to three numbers. */
static void run_with(struct fixture *f, const char *sql, size_t n, const int *numbers) {
    char texts[3][16];
    const char *params[3];
    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%d", numbers[i]);
        params[i] = texts[i];
    }
    assert_int_equal(db_query(f->a.db, sql, n, params, on_done, &f->a), 0);
    end(&f->a);
    run_until(&f->a, &f->a.n_done, 2);
    if (strncmp(f->a.log.data, "ok", 2) != 0)
        fail_msg("%s: %s", sql, f->a.log.data);
    buf_clear(&f->a.log);
    f->a.n_done = 0;
}

static void run(struct fixture *f, const char *sql) {
    run_with(f, sql, 0, NULL);
}

#define CHECKSUM(data) "encode(sha256(convert_to(" data ", 'UTF8')), 'hex')"
#define DATA_OF(version) "'{\"n\":' || " version " || '}'"

static void add_events(struct fixture *f, int epoch, int from, int to) {
    run_with(
        f,
        "INSERT INTO session_events (session_id, message_id, epoch, version, type, kind, "
        "payload, occurred_at) SELECT '" ID "', '" ID ":' || $1::integer || ':' || v, "
        "$1::integer, v, 'state_delta', 'update', json_build_object("
        "'type', 'state_delta', 'sessionId', '" ID "', 'epoch', $1::integer, 'version', v, "
        "'timestamp', '2026-02-12T12:00:00.000Z', 'userId', '" OWNER "', 'deviceId', 'tab', "
        "'baseVersion', v - 1, 'operations', json_build_array(json_build_object("
        "'op', 'add', 'path', '/data/n', 'value', v)), "
        "'checksum', " CHECKSUM(DATA_OF("v")) "), now() "
                                              "FROM generate_series($2::integer, $3::integer) AS v",
        3, (const int[]){epoch, from, to});
}

static void add_snapshot(struct fixture *f, int epoch, int version) {
    run_with(f,
             "INSERT INTO session_snapshots SELECT '" ID "', $1::integer, $2::integer, "
             "(" DATA_OF("$2::integer") ")::json, " CHECKSUM(DATA_OF("$2::integer")) ", NULL, "
                                                                                     "now()",
             2, (const int[]){epoch, version});
}

static void add_creation(struct fixture *f) {
    run(f, "INSERT INTO session_events (session_id, message_id, epoch, version, type, kind, "
           "payload, occurred_at) VALUES ('" ID "', '" ID ":1:1', 1, 1, 'session_created', "
           "'created', json_build_object('session', json_build_object('data', '{\"n\":1}'::json, "
           "'checksum', " CHECKSUM("'{\"n\":1}'") ")), now())");
}

static void set_position(struct fixture *f, int epoch, int version) {
    run_with(f, "UPDATE sessions SET epoch = $1::integer, version = $2::integer", 2,
             (const int[]){epoch, version});
}

static void begin_story(struct fixture *f, int last) {
    run(f, "TRUNCATE sessions, session_events, session_snapshots, session_participants, "
           "session_devices");
    run(f, "INSERT INTO sessions (id, user_id, name, type, status, created_at, updated_at, "
           "ttl_seconds, on_idle, due_at, active_device_id, last_active_device_id, last_modified, "
           "modified_by, checksum) VALUES ('" ID "', '" OWNER "', 'Na\xc3\xafve', 'chess', "
           "'active', '2026-02-12T12:00:00.001Z', '2026-02-12T12:00:02Z', 60, 'expire', "
           "'2026-02-12T12:05:00Z', 'tab', 'phone', '2026-02-12T12:00:01Z', 'tv', " CHECKSUM(
               "'x'") ")");
    add_creation(f);
    if (last > 1)
        add_events(f, 1, 2, last);
    set_position(f, 1, last);
}

/* ---- rebuilds ---- */

struct told {
    unsigned n;
    int err;
    struct position position;
    char data[64];
    char checksum[HASH_HEX_LEN + 1];
};

static void on_rebuilt(void *arg, int err, const struct db_rebuilt *rebuilt) {
    struct told *told = arg;
    told->n++;
    told->err = err;
    assert_int_equal(err == 0, rebuilt != NULL);
    if (err)
        return;
    told->position = rebuilt->position;
    snprintf(told->data, sizeof(told->data), "%.*s", (int)rebuilt->data_len, rebuilt->data);
    snprintf(told->checksum, sizeof(told->checksum), "%s", rebuilt->checksum);
    assert_int_equal(json_number_value(json_object_get(rebuilt->value, "n")),
                     rebuilt->position.version);
}

static struct told rebuild(struct fixture *f, uint64_t epoch, uint64_t version,
                           enum db_rebuild_reach reach) {
    struct told told = {0};
    db_rebuild_start(&f->loop, f->a.db, ID, (struct position){version, epoch}, reach, on_rebuilt,
                     &told);
    assert_int_equal(told.n, 0); /* never from within */
    while (!told.n)
        assert_true(uv_run(&f->loop, UV_RUN_ONCE));
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(told.n, 1);
    return told;
}

static void expect_reached(struct told told, uint64_t epoch, uint64_t version) {
    char data[64], checksum[HASH_HEX_LEN + 1];
    int len = snprintf(data, sizeof(data), "{\"n\":%d}", (int)version);
    hash_sha256_hex(data, (size_t)len, checksum);
    assert_int_equal(told.err, 0);
    assert_int_equal(told.position.epoch, epoch);
    assert_int_equal(told.position.version, version);
    assert_string_equal(told.data, data);
    assert_string_equal(told.checksum, checksum);
}

static void expect_exact(struct fixture *f, uint64_t version) {
    expect_reached(rebuild(f, 1, version, DB_REBUILD_EXACT), 1, version);
}

static void expect_furthest(struct fixture *f, uint64_t epoch, uint64_t version,
                            uint64_t reached_epoch, uint64_t reached) {
    expect_reached(rebuild(f, epoch, version, DB_REBUILD_FURTHEST), reached_epoch, reached);
}

static void expect_err(struct fixture *f, uint64_t epoch, uint64_t version,
                       enum db_rebuild_reach reach, int err) {
    assert_int_equal(rebuild(f, epoch, version, reach).err, err);
}

static void test_any_version_is_made_from_the_base_before_it(void **state) {
    struct fixture *f = *state;
    begin_story(f, 9);
    add_snapshot(f, 1, 6);
    for (uint64_t version = 1; version <= 9; version++)
        expect_exact(f, version);
    run(f, "DELETE FROM session_events WHERE version < 6");
    expect_exact(f, 9);
    expect_err(f, 1, 5, DB_REBUILD_EXACT, -ENODATA);
    expect_furthest(f, 1, 9, 1, 9);
    expect_furthest(f, 1, 7, 1, 7);
}

static void test_what_postgresql_has_not_heard_of_may_still_come(void **state) {
    struct fixture *f = *state;
    begin_story(f, 3);
    expect_err(f, 1, 4, DB_REBUILD_EXACT, -EAGAIN);
    expect_err(f, 2, 3, DB_REBUILD_EXACT, -EAGAIN);
    expect_furthest(f, 1, 4, 1, 3);
    set_position(f, 1, 4);
    expect_err(f, 1, 4, DB_REBUILD_EXACT, -ENODATA);
    expect_err(f, 1, (uint64_t)INT32_MAX + 1, DB_REBUILD_FURTHEST, -ENODATA);
    run(f, "TRUNCATE sessions");
    expect_err(f, 1, 1, DB_REBUILD_FURTHEST, -ENODATA);
}

static void test_gap_ends_what_can_be_reached(void **state) {
    struct fixture *f = *state;
    begin_story(f, 20);
    run(f, "DELETE FROM session_events WHERE version = 12");
    expect_furthest(f, 1, 20, 1, 11);
    expect_err(f, 1, 20, DB_REBUILD_EXACT, -ENODATA);
    add_snapshot(f, 1, 15);
    expect_furthest(f, 1, 20, 1, 20);
}

static void test_damage_ends_what_can_be_reached(void **state) {
    struct fixture *f = *state;
    for (int damaged = 2; damaged <= 9; damaged++) {
        begin_story(f, 9);
        run_with(f,
                 "UPDATE session_events SET payload = replace(payload::text, '/data/n', '/data/m')"
                 "::json WHERE version >= $1::integer",
                 1, &damaged);
        expect_furthest(f, 1, 9, 1, (uint64_t)damaged - 1);
        expect_err(f, 1, 9, DB_REBUILD_EXACT, -ENODATA);
    }
}

static void test_damaged_base_is_passed_over(void **state) {
    struct fixture *f = *state;
    begin_story(f, 9);
    add_snapshot(f, 1, 4);
    add_snapshot(f, 1, 6);
    run(f, "UPDATE session_snapshots SET data = '{\"m\":0}'");
    expect_furthest(f, 1, 9, 1, 9);
    run(f, "DELETE FROM session_events WHERE version = 1");
    expect_err(f, 1, 9, DB_REBUILD_FURTHEST, -ENODATA);
}

static void test_bound_is_for_an_exact_version_alone(void **state) {
    struct fixture *f = *state;
    begin_story(f, 1);
    add_events(f, 1, 2, 2 * REBUILD_MAX_EVENTS + 7);
    set_position(f, 1, 2 * REBUILD_MAX_EVENTS + 7);
    expect_exact(f, 1 + REBUILD_MAX_EVENTS);
    expect_err(f, 1, 2 + REBUILD_MAX_EVENTS, DB_REBUILD_EXACT, -ENODATA);
    expect_furthest(f, 1, 2 + REBUILD_MAX_EVENTS, 1, 2 + REBUILD_MAX_EVENTS);
    expect_furthest(f, 1, 2 * REBUILD_MAX_EVENTS + 7, 1, 2 * REBUILD_MAX_EVENTS + 7);
    run(f, "DELETE FROM session_events WHERE version = 1500");
    expect_furthest(f, 1, 2 * REBUILD_MAX_EVENTS + 7, 1, 1499);
}

static void test_epoch_begins_with_its_snapshot(void **state) {
    struct fixture *f = *state;
    begin_story(f, 9);
    add_snapshot(f, 2, 7); /* 8 and 9 of epoch 1 were lost */
    add_events(f, 2, 8, 12);
    set_position(f, 2, 12);
    expect_reached(rebuild(f, 2, 10, DB_REBUILD_EXACT), 2, 10);
    expect_exact(f, 9);
    expect_err(f, 2, 6, DB_REBUILD_EXACT, -ENODATA);
    expect_furthest(f, 2, 12, 2, 12);
    run(f, "DELETE FROM session_snapshots");
    expect_err(f, 2, 12, DB_REBUILD_EXACT, -ENODATA);
    expect_furthest(f, 2, 12, 1, 9);
}

static struct db_rebuild *start(struct fixture *f, struct db *db, struct told *told) {
    const struct position wanted = {9, 1};
    return db_rebuild_start(&f->loop, db, ID, wanted, DB_REBUILD_EXACT, on_rebuilt, told);
}

/* After any turn of the loop: while PostgreSQL is asked, or the thread works. */
static void test_who_left_is_not_called(void **state) {
    struct fixture *f = *state;
    begin_story(f, 9);
    for (unsigned n_turns = 0; n_turns < 12; n_turns++) {
        struct told told = {0};
        struct db_rebuild *r = start(f, f->a.db, &told);
        for (unsigned i = 0; i < n_turns && !told.n; i++)
            uv_run(&f->loop, UV_RUN_ONCE);
        if (!told.n)
            db_rebuild_forget(r);
        expect_exact(f, 9);
        assert_true(told.n <= 1);
    }
}

static void test_lost_connection_is_told(void **state) {
    struct fixture *f = *state;
    struct told told = {0}, gone = {0}, early = {0};
    struct db *connecting = NULL;
    assert_int_equal(db_new(&connecting, &f->loop, database_url, "test", 1000, NULL, NULL), 0);
    start(f, connecting, &early);
    assert_int_equal(early.n, 0);
    open_client(&f->b, &f->loop, database_url);
    start(f, f->b.db, &told);
    db_rebuild_forget(start(f, f->b.db, &gone));
    f->b.db = db_free(f->b.db);
    assert_int_equal(told.n, 1);
    assert_int_equal(told.err, -ENOTCONN);
    while (!early.n)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(early.err, -ENOTCONN);
    assert_int_equal(gone.n, 0);
    db_free(connecting);
}

/* ---- a session's row ---- */

struct read {
    unsigned n;
    int err;
    struct db_session found;
};

static void on_session_row(void *arg, int err, const struct db_result *rows) {
    struct read *read = arg;
    assert_int_equal(err, 0);
    read->err = db_session_read(rows, &read->found);
    read->n++;
}

static struct read read_session(struct fixture *f) {
    struct read read = {0};
    const char *const params[] = {ID};
    assert_int_equal(db_query(f->a.db, db_session_sql, 1, params, on_session_row, &read), 0);
    end(&f->a);
    run_until(&f->a, &f->a.n_done, 1);
    f->a.n_done = 0;
    buf_clear(&f->a.log);
    assert_int_equal(read.n, 1);
    return read;
}

static void test_row_tells_the_whole_resource(void **state) {
    struct fixture *f = *state;
    begin_story(f, 3);
    run(f,
        "INSERT INTO session_participants VALUES ('" ID "', '" FRIEND "', 'editor', 1, 1, now(), "
        "now()), ('" ID "', '" OWNER "', NULL, 1, 1, now(), now())");
    run(f,
        "INSERT INTO session_devices (session_id, device_id, removed) VALUES ('" ID "', 'b', true)"
        ", ('" ID "', 'a', true), ('" ID "', 'c', false)");
    struct read read = read_session(f);
    const struct session *s = &read.found.session;
    assert_int_equal(read.err, 0);
    assert_true(read.found.is_whole && !read.found.is_cold && !read.found.is_deleted);
    assert_string_equal(s->id, ID);
    assert_string_equal(s->user_id, OWNER);
    assert_string_equal(s->name, "Na\xc3\xafve");
    assert_string_equal(s->type, "chess");
    assert_int_equal(s->status, SESSION_ACTIVE);
    assert_true(position_equal(s->position, (struct position){3, 1}));
    assert_int_equal(s->updated_at - s->created_at, 1999);
    assert_int_equal(s->last_modified - s->created_at, 999);
    assert_int_equal(s->completed_at, 0);
    assert_int_equal(s->ttl_seconds, 60);
    assert_int_equal(s->on_idle, SESSION_IDLE_EXPIRE);
    assert_int_equal(session_expires_at(s) - s->created_at, 299999);
    assert_string_equal(s->active_device, "tab");
    assert_string_equal(s->last_active_device, "phone");
    assert_string_equal(s->modified_by, "tv");
    assert_int_equal(strlen(s->checksum), HASH_HEX_LEN);
    assert_null(s->data_text);
    assert_string_equal(s->participants, "," FRIEND ":editor,");
    assert_string_equal(s->removed_devices, ",a,b,");
    db_session_done(&read.found);
}

static void expect_flags(struct fixture *f, bool is_cold, bool is_deleted, bool is_whole) {
    struct read read = read_session(f);
    assert_int_equal(read.err, 0);
    assert_int_equal(read.found.is_cold, is_cold);
    assert_int_equal(read.found.is_deleted, is_deleted);
    assert_int_equal(read.found.session.deleted, is_deleted);
    assert_int_equal(read.found.is_whole, is_whole);
    db_session_done(&read.found);
}

static void test_cold_mark_counts_at_the_rows_position_alone(void **state) {
    struct fixture *f = *state;
    begin_story(f, 3);
    expect_flags(f, false, false, true);
    run(f, "UPDATE sessions SET cold_epoch = 1, cold_version = 3");
    expect_flags(f, true, false, true);
    run(f, "UPDATE sessions SET version = 4");
    expect_flags(f, false, false, true);
    run(f, "UPDATE sessions SET version = 3, epoch = 2");
    expect_flags(f, false, false, true);
}

static void test_due_follows_from_what_the_row_says(void **state) {
    struct fixture *f = *state;
    begin_story(f, 3);
    run(f, "UPDATE sessions SET status = 'paused', due_at = updated_at + interval '31 days'");
    struct read read = read_session(f);
    assert_int_equal(session_expires_at(&read.found.session) - read.found.session.updated_at,
                     31LL * 24 * 3600 * 1000);
    db_session_done(&read.found);
    run(f, "UPDATE sessions SET status = 'completed', due_at = NULL, completed_at = updated_at");
    read = read_session(f);
    assert_int_equal(session_expires_at(&read.found.session), 0);
    assert_int_equal(read.found.session.touched_at, read.found.session.updated_at);
    db_session_done(&read.found);
}

static void test_row_may_be_deleted_not_whole_or_none(void **state) {
    struct fixture *f = *state;
    begin_story(f, 3);
    run(f, "UPDATE sessions SET deleted_at = now()");
    expect_flags(f, false, true, true);
    run(f, "UPDATE sessions SET deleted_at = NULL, type = NULL, on_idle = NULL");
    expect_flags(f, false, false, false);
    run(f, "UPDATE sessions SET on_idle = 'sing'");
    assert_int_equal(read_session(f).err, -EBADMSG);
    run(f, "TRUNCATE sessions");
    assert_int_equal(read_session(f).err, -ENOENT);
}

/* ---- the program's own database ---- */

static int make_schema(void **state) {
    size_t n = 0;
    const struct embedded *migrations = db_schema_known(&n);
    (void)make_database(state);
    _cleanup_(freep) char *error = NULL;
    return db_migrate(database_url, migrations, n, &error);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_any_version_is_made_from_the_base_before_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_postgresql_has_not_heard_of_may_still_come,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gap_ends_what_can_be_reached, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_ends_what_can_be_reached, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_base_is_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bound_is_for_an_exact_version_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_epoch_begins_with_its_snapshot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_left_is_not_called, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_connection_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_row_tells_the_whole_resource, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cold_mark_counts_at_the_rows_position_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_due_follows_from_what_the_row_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_row_may_be_deleted_not_whole_or_none, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, make_schema, drop_database);
}
