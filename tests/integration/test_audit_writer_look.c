/* When the backstop has to look at a row: at due_at or earlier, and rarely moved, so that a new
 * version changes no index. Real PostgreSQL. */
#include "tests/integration/audit_rows.h"

#define ID "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"

#define SAID                                                                                       \
    "SELECT concat_ws('|', to_char(due_at, 'HH24:MI:SS'), to_char(look_at, 'HH24:MI:SS')) "        \
    "FROM sessions"

static void begin(struct database *d) {
    run(d, "TRUNCATE sessions, session_events");
    write_one(d, event(ID, "session_created", 1,
                       ",\"session\":{\"userId\":\"" OWNER
                       "\",\"name\":\"A\",\"type\":\"chess\",\"status\":\"active\",\"createdAt\":"
                       "\"2026-02-12T12:00:01.000Z\",\"ttlSeconds\":60,\"onIdle\":\"pause\","
                       "\"checksum\":\"c1\"}"));
    assert_string_equal(run(d, SAID), "12:01:01|12:01:01 ");
}

static void write_delta(struct database *d, unsigned version) {
    write_one(d, event(ID, "state_delta", version, ",\"operations\":[],\"checksum\":\"c\""));
}

static void test_it_moves_when_it_lags_by_half(void **state) {
    struct database *d = *state;
    begin(d);
    write_delta(d, 2);
    assert_string_equal(run(d, SAID), "12:01:02|12:01:01 ");
    write_delta(d, 31);
    assert_string_equal(run(d, SAID), "12:01:31|12:01:01 ");
    write_delta(d, 32);
    assert_string_equal(run(d, SAID), "12:01:32|12:01:32 ");
}

static void test_it_is_never_later_and_goes_with_due_at(void **state) {
    struct database *d = *state;
    begin(d);
    run(d, "UPDATE sessions SET due_at = due_at - interval '1 second'");
    assert_string_equal(run(d, SAID), "12:01:00|12:01:00 ");
    run(d, "UPDATE sessions SET due_at = due_at - interval '1 hour'"); /* before updated_at */
    assert_string_equal(run(d, SAID), "11:01:00|11:01:00 ");
    write_one(d, event(ID, "session_deleted", 2, ""));
    assert_string_equal(run(d, SAID), " ");
    assert_string_equal(run(d, "SELECT count(*) FROM sessions WHERE look_at IS NULL"), "1 ");
}

/* The version before: it inserts and updates due_at alone. */
static void test_a_writer_that_knows_nothing_of_it_is_followed(void **state) {
    struct database *d = *state;
    run(d, "TRUNCATE sessions");
    run(d, "INSERT INTO sessions (id, user_id, status, created_at, updated_at, ttl_seconds, due_at)"
           " VALUES ('" ID "', '" OWNER "', 'active', '2026-02-12T12:00:00Z',"
           " '2026-02-12T12:00:00Z', 60, '2026-02-12T12:01:00Z') ON CONFLICT DO NOTHING");
    assert_string_equal(run(d, SAID), "12:01:00|12:01:00 ");
    run(d, "UPDATE sessions SET updated_at = updated_at + interval '1 second',"
           " due_at = due_at + interval '1 second'");
    assert_string_equal(run(d, SAID), "12:01:01|12:01:00 ");
    run(d, "UPDATE sessions SET due_at = '2026-02-12T12:00:05Z'");
    assert_string_equal(run(d, SAID), "12:00:05|12:00:05 ");
    run(d, "UPDATE sessions SET status = 'completed', due_at = NULL");
    assert_string_equal(run(d, SAID), " ");
    run(d, "UPDATE sessions SET status = 'active', due_at = '2026-02-12T12:02:00Z'");
    assert_string_equal(run(d, SAID), "12:02:00|12:02:00 ");
}

/* No index knows of a column that a new version changes: PostgreSQL can keep the row's new version
 * beside the old one. */
static void test_no_index_has_what_moves_with_each_version(void **state) {
    struct database *d = *state;
    assert_string_equal(
        run(d,
            "SELECT count(*) FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid"
            " AND a.attnum = ANY (i.indkey) WHERE i.indrelid = 'sessions'::regclass"
            " AND a.attname IN ('due_at', 'updated_at', 'version', 'epoch', 'data_position',"
            " 'last_modified', 'modified_by', 'checksum', 'clock_position')"),
        "0 ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_moves_when_it_lags_by_half),
        cmocka_unit_test(test_it_is_never_later_and_goes_with_due_at),
        cmocka_unit_test(test_a_writer_that_knows_nothing_of_it_is_followed),
        cmocka_unit_test(test_no_index_has_what_moves_with_each_version),
    };
    return run_group(tests, N_ELEMENTS(tests));
}
