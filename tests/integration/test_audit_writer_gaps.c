/* What is missing in the trail, on a real PostgreSQL (HANDOFF_TEST_DATABASE_URL, as in test_db.c):
 * how it is found, kept in session_gaps until it has come, and marked as lost. */
#include "audit_rows.h"

#define STORY_ID "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"
#define A_DELTA ",\"operations\":[],\"checksum\":\"c\""

/* Versions 1 to 4, and nothing else. */
static void write_new_story(struct database *d) {
    run(d, "TRUNCATE sessions, session_events, session_gaps");
    struct entry *entries[4];
    for (unsigned i = 0; i < N_ELEMENTS(entries); i++)
        entries[i] = event(STORY_ID, "state_delta", i + 1, A_DELTA);
    write_batch(d, entries, N_ELEMENTS(entries));
    for (size_t i = 0; i < N_ELEMENTS(entries); i++)
        entry_free(entries[i]);
}

#define GAPS                                                                                       \
    "SELECT concat(epoch, ':', version, CASE WHEN told_at IS NULL THEN ' open' ELSE ' told' END) " \
    "FROM session_gaps ORDER BY session_id, epoch, version"

static void expect_missing(struct database *d, struct entry *e, const char *missing) {
    write_one(d, e);
    buf_puts(&d->missing, "");
    assert_string_equal(d->missing.data, missing);
}

static void test_missing_version_is_found_by_the_next_event(void **state) {
    struct database *d = *state;
    write_new_story(d);
    expect_missing(d, event(STORY_ID, "device_left", 4, ""), "");
    expect_missing(d, event(STORY_ID, "device_left", 5, ""), STORY_ID " ");
    expect_missing(d, event(STORY_ID, "state_delta", 6, A_DELTA), ""); /* known already */
    assert_string_equal(run(d, GAPS), "1:5 open ");
    run(d, "DELETE FROM session_gaps");
    expect_missing(d, event(STORY_ID, "state_delta", 6, A_DELTA), STORY_ID " ");
    expect_missing(d, event(STORY_ID, "state_delta", 5, A_DELTA), "");
    expect_missing(d, event(STORY_ID, "state_delta", 6, A_DELTA), "");
    expect_missing(d, event_at(STORY_ID, "state_delta", 2, 7, A_DELTA), STORY_ID " ");
    expect_missing(d, event_at(STORY_ID, "session_rebuilt", 2, 6, ",\"checksum\":\"c\""), "");
    expect_missing(d, event_at(STORY_ID, "state_delta", 2, 7, A_DELTA), "");
}

static void send_find_before(struct database *d, const char *const versions) {
    const char *parameters[] = {"{" STORY_ID "," STORY_ID "," STORY_ID "}", "{1,1,2}", versions};
    buf_clear(&d->said);
    assert_int_equal(db_query(d->db, statement_find_before, 3, parameters, on_answer, d), 0);
    end(d);
}

static void test_newest_version_before_a_gap(void **state) {
    struct database *d = *state;
    write_new_story(d);
    write_one(d, event_at(STORY_ID, "session_rebuilt", 2, 9, ",\"checksum\":\"c\""));
    send_find_before(d, "{3,99,8}");
    assert_string_equal(d->said.data, "3 4 NULL ");
    send_find_before(d, "{1,4,10}");
    assert_string_equal(d->said.data, "1 4 9 ");
}

/* What has come leaves the table, and only that. */
static void test_gap_goes_when_its_version_has_come(void **state) {
    struct database *d = *state;
    write_new_story(d);
    run(d, "INSERT INTO session_gaps (session_id, epoch, version) VALUES ('" STORY_ID
           "', 1, 3), ('" STORY_ID "', 1, 4), ('" STORY_ID "', 1, 99), ('" STORY_ID
           "', 2, 4), ('" STORY_ID "', 1, 2)");
    send_find_before(d, "{3,99,4}");
    assert_string_equal(d->said.data, "3 4 NULL ");
    assert_string_equal(run(d, GAPS), "1:2 open 1:4 open 1:99 open 2:4 open ");
}

static void ask(struct database *d, const char *sql, size_t n, const char *const *parameters) {
    buf_clear(&d->said);
    buf_puts(&d->said, "");
    assert_int_equal(db_query(d->db, sql, n, parameters, on_answer, d), 0);
    end(d);
}

static void test_gap_is_marked_as_lost_once(void **state) {
    struct database *d = *state;
    const char *parameters[] = {"{" STORY_ID "," STORY_ID "," STORY_ID "}", "{1,1,2}", "{7,8,9}"};
    run(d, "TRUNCATE session_gaps");
    run(d, "INSERT INTO session_gaps (session_id, epoch, version) VALUES ('" STORY_ID
           "', 1, 7), ('" STORY_ID "', 2, 9), ('" STORY_ID "', 2, 8)");
    ask(d, statement_mark_lost, 3, parameters);
    assert_true(strcmp(d->said.data, "1 3 ") == 0 || strcmp(d->said.data, "3 1 ") == 0);
    ask(d, statement_mark_lost, 3, parameters);
    assert_string_equal(d->said.data, "");
    assert_string_equal(run(d, GAPS), "1:7 told 2:8 open 2:9 told ");
}

static void test_pages_join_and_leave_out_what_was_told(void **state) {
    struct database *d = *state;
    const char *parameters[] = {"00000000-0000-0000-0000-000000000000", "0", "0", "0", "3"};
    run(d, "TRUNCATE session_gaps");
    run(d, "INSERT INTO session_gaps (session_id, epoch, version, since, told_at) "
           "SELECT '" STORY_ID "', 1 + n / 4, n, now() - n * interval '1 second', "
           "CASE WHEN n = 2 THEN now() END FROM generate_series(1, 7) AS n");
    ask(d, statement_read_gaps, 5, parameters);
    assert_string_equal(d->said.data, STORY_ID " " STORY_ID " " STORY_ID " ");
    parameters[0] = STORY_ID;
    parameters[1] = "2";
    parameters[2] = "5";
    ask(d, statement_read_gaps, 5, parameters);
    assert_string_equal(d->said.data, STORY_ID " " STORY_ID " ");
    parameters[3] = "6500";
    ask(d, statement_read_gaps, 5, parameters);
    assert_string_equal(d->said.data, STORY_ID " ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_version_is_found_by_the_next_event),
        cmocka_unit_test(test_newest_version_before_a_gap),
        cmocka_unit_test(test_gap_goes_when_its_version_has_come),
        cmocka_unit_test(test_gap_is_marked_as_lost_once),
        cmocka_unit_test(test_pages_join_and_leave_out_what_was_told),
    };
    return run_group(tests, N_ELEMENTS(tests));
}
