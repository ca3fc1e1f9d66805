/* audit_writer's schema and statements on a real PostgreSQL (HANDOFF_TEST_DATABASE_URL, as in
 * test_db.c): partitions at the edges of a month, and rows that do not depend on the events' order.
 */
#include "audit_rows.h"

/* ---- Partitions ---- */

#define ADD_EVENT(id)                                                                              \
    "INSERT INTO session_events (session_id, message_id, epoch, version, type, kind, payload, "    \
    "occurred_at) VALUES ('" id "', 'm', 1, 1, 'state_delta', 'update', '{}', now())"
#define PLACES                                                                                     \
    "SELECT tableoid::regclass || ':' || session_id FROM session_events ORDER BY session_id"

static void test_month_begins_and_ends_to_the_millisecond(void **state) {
    struct database *d = *state;
    assert_string_equal(run(d, "SELECT session_id_floor('2024-03-01T00:00:00Z')"),
                        "018df74f-8400-0000-0000-000000000000 ");
    assert_string_equal(run(d, "SELECT session_id_floor('1970-01-01T00:00:00.001Z')"),
                        "00000000-0001-0000-0000-000000000000 ");
    run(d, "SELECT session_events_make_partition('2024-02-29T23:59:59.999Z')");
    run(d, "SELECT session_events_make_partition('2024-03-31T00:00:00Z')");
    run(d, ADD_EVENT("018df74f-83ff-7fff-bfff-ffffffffffff"));
    run(d, ADD_EVENT("018df74f-8400-7000-8000-000000000000"));
    run(d, ADD_EVENT("018e96f4-a7ff-7fff-bfff-ffffffffffff"));
    run(d, ADD_EVENT("018e96f4-a800-7000-8000-000000000000"));
    assert_string_equal(run(d, PLACES),
                        "session_events_2024_02:018df74f-83ff-7fff-bfff-ffffffffffff "
                        "session_events_2024_03:018df74f-8400-7000-8000-000000000000 "
                        "session_events_2024_03:018e96f4-a7ff-7fff-bfff-ffffffffffff "
                        "session_events_default:018e96f4-a800-7000-8000-000000000000 ");
    run(d, "TRUNCATE session_events");
}

static void test_rows_of_the_default_partition_move_into_a_new_one(void **state) {
    struct database *d = *state;
    run(d, ADD_EVENT("018e96f4-a800-7000-8000-000000000000")); /* April 2024 */
    run(d, ADD_EVENT("00000000-0000-4000-8000-000000000000"));
    run(d, "SELECT session_events_make_partition('2024-04-15T00:00:00Z')");
    run(d, "SELECT session_events_make_partition('2024-04-01T00:00:00Z')");
    assert_string_equal(run(d, PLACES),
                        "session_events_default:00000000-0000-4000-8000-000000000000 "
                        "session_events_2024_04:018e96f4-a800-7000-8000-000000000000 ");
    assert_string_equal(run(d, ADD_EVENT("018e96f4-a800-7000-8000-000000000000")), "23505 ");
    run(d, "TRUNCATE session_events");
}

static void test_this_month_and_the_next_two_are_made(void **state) {
    struct database *d = *state;
    run(d, statement_make_partitions);
    run(d, statement_make_partitions);
    assert_string_equal(
        run(d, "SELECT count(*) FROM generate_series(0, 2) AS n WHERE to_regclass("
               "'session_events_' || to_char(date_trunc('month', now()) + n * interval '1 month', "
               "'YYYY_MM')) IS NOT NULL"),
        "3 ");
}

/* ---- Rows ---- */

enum { N_EVENTS = 6 };

static void make_story(const char *id, struct entry *ret[static N_EVENTS]) {
    ret[0] = event(id, "session_created", 1,
                   ",\"session\":{\"userId\":\"" OWNER "\",\"name\":\"A\",\"type\":\"chess\","
                   "\"status\":\"pending\",\"createdAt\":\"2026-02-12T12:00:01.000Z\","
                   "\"ttlSeconds\":60,\"onIdle\":\"expire\",\"activeDeviceId\":null,"
                   "\"lastModified\":\"2026-02-12T12:00:01.000Z\",\"modifiedBy\":\"phone\","
                   "\"checksum\":\"c1\"}");
    ret[1] = event(id, "state_delta", 2,
                   ",\"operations\":[{\"op\":\"add\",\"path\":\"/name\",\"value\":"
                   "\"\\\"B\\\\ {x,NULL} \xc3\xa9\"}],\"checksum\":\"c2\"");
    ret[2] = event(id, "status_changed", 3, ",\"to\":\"active\",\"activeDeviceId\":\"tab\"");
    ret[3] = event(id, "state_delta", 4, ",\"operations\":[],\"checksum\":\"c4\"");
    ret[4] = event(id, "snapshot", 4, ",\"checksum\":\"c4\",\"data\":{\"n\":1e-7, \"n2\":1E+2}");
    ret[5] = event(id, "device_joined", 3, ",\"activeDeviceId\":\"tab\"");
}

static const char expected_row[] =
    OWNER "|\"B\\ {x,NULL} \xc3\xa9|chess|active|4|1|2026-02-12 12:00:01+00|2026-02-12 12:00:04+00|"
          "NULL|60|expire|2026-02-12 12:01:04+00|tab|2026-02-12 12:00:04+00|tab|c4|NULL ";

static const char select_row[] =
    "SELECT DISTINCT concat_ws('|', user_id, name, type, status, version, epoch, created_at, "
    "updated_at, coalesce(completed_at::text, 'NULL'), ttl_seconds, on_idle, due_at, "
    "active_device_id, last_modified, modified_by, checksum, coalesce(deleted_at::text, 'NULL')) "
    "FROM sessions";

static void test_rows_are_the_same_in_every_order_and_split(void **state) {
    struct database *d = *state;
    for (unsigned order = 0; order < 720; order += 7) {
        char id[UUID_LEN + 1];
        snprintf(id, sizeof(id), "019c51b8-ee00-7a3b-8f21-%012u", order);
        struct entry *entries[N_EVENTS];
        make_story(id, entries);
        shuffle(order, entries, N_EVENTS);
        size_t cut = order % N_EVENTS;
        if (cut)
            write_batch(d, entries, cut);
        write_batch(d, entries + cut, N_EVENTS - cut);
        write_batch(d, entries + cut / 2, N_EVENTS - cut); /* delivered again */
        for (size_t i = 0; i < N_EVENTS; i++)
            entry_free(entries[i]);
    }
    assert_string_equal(run(d, select_row), expected_row);
    assert_string_equal(run(d, "SELECT count(*) FROM session_events"), "618 ");
    assert_string_equal(run(d, "SELECT DISTINCT data::text || checksum FROM session_snapshots"),
                        "{\"n\":1e-7, \"n2\":1E+2}c4 ");
}

static void test_end_and_deletion_leave_nothing_due(void **state) {
    struct database *d = *state;
    run(d, "TRUNCATE sessions, session_events, session_snapshots");
    struct entry *entries[N_EVENTS];
    make_story("019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01", entries);
    write_batch(d, entries, N_EVENTS);
    assert_string_equal(run(d, "SELECT due_at IS NULL FROM sessions"), "f ");
    struct entry *ended = event("019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01", "status_changed", 5,
                                ",\"to\":\"completed\",\"activeDeviceId\":null");
    write_batch(d, &ended, 1);
    assert_string_equal(run(d, "SELECT due_at IS NULL AND completed_at = updated_at AND "
                               "active_device_id IS NULL FROM sessions"),
                        "t ");
    struct entry *deleted = event("019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01", "session_deleted", 6, "");
    write_batch(d, &deleted, 1);
    write_batch(d, entries, N_EVENTS);
    assert_string_equal(run(d, "SELECT deleted_at || '|' || version FROM sessions"),
                        "2026-02-12 12:00:06+00|6 ");
    entry_free(ended);
    entry_free(deleted);
    for (size_t i = 0; i < N_EVENTS; i++)
        entry_free(entries[i]);
}

/* ---- What a recovery needs ---- */

#define STORY_ID "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"

static void write_new_story(struct database *d) {
    struct entry *entries[N_EVENTS];
    run(d, "TRUNCATE sessions, session_events, session_snapshots");
    make_story(STORY_ID, entries);
    write_batch(d, entries, N_EVENTS);
    for (size_t i = 0; i < N_EVENTS; i++)
        entry_free(entries[i]);
}

static void test_rebuilt_session_moves_to_its_new_epoch(void **state) {
    struct database *d = *state;
    static const char row[] = "SELECT concat_ws('|', epoch, version, updated_at, due_at, status, "
                              "checksum) FROM sessions";
    static const char rebuilt[] = "2|4|2026-02-12 12:00:04+00|2026-02-12 12:01:04+00|active|c2 ";
    static const char who[] = "SELECT concat_ws('|', last_modified, modified_by) FROM sessions";
    write_new_story(d);
    _cleanup_(freep) char *modified = must_strdup(run(d, who));
    write_one(d, event_at(STORY_ID, "session_rebuilt", 2, 4, ",\"checksum\":\"c2\""));
    assert_string_equal(run(d, who), modified);
    assert_string_equal(run(d, row), rebuilt);
    write_one(d, event(STORY_ID, "device_left", 9, ""));
    assert_string_equal(run(d, row), rebuilt); /* of the old epoch */
    assert_string_equal(run(d, "SELECT epoch || ':' || version || ':' || kind FROM session_events "
                               "WHERE type = 'session_rebuilt'"),
                        "2:4:rebuilt ");
    write_one(d, event_at(STORY_ID, "state_delta", 2, 5, ",\"operations\":[],\"checksum\":\"c5\""));
    assert_string_equal(run(d, row),
                        "2|5|2026-02-12 12:00:05+00|2026-02-12 12:01:05+00|active|c5 ");
}

static void test_newer_position_clears_the_cold_mark_and_no_other(void **state) {
    struct database *d = *state;
    static const char mark[] = "SELECT coalesce(cold_epoch || ':' || cold_version, 'none') "
                               "FROM sessions";
    write_new_story(d);
    run(d, "UPDATE sessions SET cold_epoch = 1, cold_version = 4");
    write_one(d, event(STORY_ID, "device_left", 4, ""));
    write_one(d, event(STORY_ID, "state_delta", 2, ",\"operations\":[],\"checksum\":\"c2\""));
    assert_string_equal(run(d, mark), "1:4 ");
    write_one(d, event(STORY_ID, "state_delta", 5, ",\"operations\":[],\"checksum\":\"c5\""));
    assert_string_equal(run(d, mark), "none ");
    run(d, "UPDATE sessions SET cold_epoch = 1, cold_version = 5");
    write_one(d, event_at(STORY_ID, "session_rebuilt", 2, 5, ",\"checksum\":\"c5\""));
    assert_string_equal(run(d, mark), "none ");
}

static void test_last_active_device_stays_when_paused(void **state) {
    struct database *d = *state;
    static const char devices[] = "SELECT coalesce(active_device_id, 'none') || ':' || "
                                  "coalesce(last_active_device_id, 'none') FROM sessions";
    for (unsigned order = 0; order < 6; order++) {
        run(d, "TRUNCATE sessions, session_events");
        struct entry *entries[] = {
            event(STORY_ID, "status_changed", 2, ",\"to\":\"active\",\"activeDeviceId\":\"tv\""),
            event(STORY_ID, "status_changed", 3, ",\"to\":\"active\",\"activeDeviceId\":\"tab\""),
            event(STORY_ID, "status_changed", 4, ",\"to\":\"paused\",\"activeDeviceId\":null")};
        shuffle(order, entries, 3);
        write_batch(d, entries, order % 3 + 1);
        write_batch(d, entries, 3);
        assert_string_equal(run(d, devices), "none:tab ");
        for (size_t i = 0; i < 3; i++)
            entry_free(entries[i]);
    }
}

#define FOUND                                                                                      \
    "SELECT session_id::text || command_id || fingerprint FROM session_events "                    \
    "WHERE user_id = '" OWNER "' AND key_hash = 'k' AND type = 'session_created'"

static void test_create_is_found_by_its_key(void **state) {
    struct database *d = *state;
    struct entry *entries[N_EVENTS];
    run(d, "TRUNCATE sessions, session_events, session_snapshots");
    make_story(STORY_ID, entries);
    for (size_t i = 0; i < 2; i++) {
        strcpy(entries[i]->event.command_id, OWNER);
        strcpy(entries[i]->event.key_hash, "k");
        strcpy(entries[i]->event.fingerprint, "f");
    }
    write_batch(d, entries, N_EVENTS);
    assert_string_equal(run(d, FOUND), STORY_ID OWNER "f ");
    assert_string_equal(run(d, "SELECT count(*) FROM session_events WHERE command_id IS NULL"),
                        "4 ");
    for (size_t i = 0; i < N_EVENTS; i++)
        entry_free(entries[i]);
    run(d, "SET enable_seqscan = off");
    assert_non_null(strstr(run(d, "EXPLAIN (COSTS OFF) " FOUND), "user_id_key_hash_idx"));
    run(d, "RESET enable_seqscan");
}

/* ---- Participants, devices, labels ---- */

#define FRIEND "7a1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define OTHER "8b1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
enum { N_SHARED = 12 };

static struct entry *participant(const char *id, unsigned version, const char *user,
                                 const char *role) {
    char more[128];
    snprintf(more, sizeof(more), ",\"participant\":\"%s\",\"role\":%s", user, role);
    return event(id, "participant_changed", version, more);
}

static void make_shared_story(const char *id, struct entry *ret[static N_SHARED]) {
    struct entry *story[N_EVENTS];
    make_story(id, story);
    ret[0] = story[0];
    ret[1] = story[2];
    ret[2] = participant(id, 5, FRIEND, "\"viewer\"");
    ret[3] = participant(id, 6, OTHER, "\"editor\"");
    ret[4] = participant(id, 7, FRIEND, "\"editor\"");
    ret[5] = participant(id, 8, OTHER, "null");
    ret[6] = event(id, "device_changed", 9, ",\"device\":\"lost\",\"removed\":true");
    ret[7] = event(id, "device_changed", 10, ",\"device\":\"tab\",\"removed\":true");
    ret[8] = event(id, "device_changed", 11, ",\"device\":\"tab\",\"removed\":false");
    ret[9] = event(id, "device_joined", 12,
                   ",\"activeDeviceId\":\"tab\",\"name\":\"My \\\"tab\\\"\",\"platform\":null");
    ret[10] = event(id, "device_left", 13,
                    ",\"activeDeviceId\":\"tab\",\"name\":null,\"platform\":\"ios\"");
    ret[11] = event(id, "snapshot", 4, ",\"checksum\":\"c4\",\"data\":1,\"label\":\"before\"");
    for (size_t i = 1; i < N_EVENTS; i++)
        if (i != 2)
            entry_free(story[i]);
}

static void forget_all(struct database *d) {
    run(d, "TRUNCATE sessions, session_events, session_snapshots, session_participants, "
           "session_devices");
}

static void write_shared_story(struct database *d, unsigned order) {
    char id[UUID_LEN + 1];
    snprintf(id, sizeof(id), "019c51b8-ee00-7a3b-8f21-%012u", order);
    struct entry *entries[N_SHARED];
    make_shared_story(id, entries);
    shuffle(order * 7919, entries, N_SHARED);
    size_t cut = order % N_SHARED;
    if (cut)
        write_batch(d, entries, cut);
    write_batch(d, entries + cut, N_SHARED - cut);
    write_batch(d, entries + cut / 2, N_SHARED - cut); /* delivered again */
    for (size_t i = 0; i < N_SHARED; i++)
        entry_free(entries[i]);
}

static void test_sharing_and_devices_are_the_same_in_every_order(void **state) {
    struct database *d = *state;
    forget_all(d);
    for (unsigned order = 0; order < 200; order++)
        write_shared_story(d, order);
    assert_string_equal(
        run(d, "SELECT DISTINCT concat_ws('|', user_id, coalesce(role, 'none'), epoch, version, "
               "updated_at, session_created_at) AS row FROM session_participants ORDER BY row"),
        FRIEND "|editor|1|7|2026-02-12 12:00:07+00|2026-02-12 12:00:01+00 " OTHER
               "|none|1|8|2026-02-12 12:00:08+00|2026-02-12 12:00:01+00 ");
    assert_string_equal(
        run(d, "SELECT DISTINCT concat_ws('|', device_id, coalesce(user_id::text, 'nobody'), "
               "coalesce(first_seen::text, 'never'), coalesce(last_seen::text, 'never'), name, "
               "platform, removed) AS row FROM session_devices ORDER BY row"),
        "lost|nobody|never|never|t tab|" OWNER
        "|2026-02-12 12:00:01+00|2026-02-12 12:00:13+00|My \"tab\"|ios|f ");
    assert_string_equal(run(d, "SELECT count(*) FROM session_participants"), "400 ");
}

static void test_label_joins_the_snapshot_that_was_there(void **state) {
    struct database *d = *state;
    static const char id[] = "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01";
    static const char row[] =
        "SELECT concat_ws('|', version, coalesce(label, 'none'), occurred_at, data) "
        "FROM session_snapshots ORDER BY version";
    struct entry *own = event(id, "snapshot", 4, ",\"checksum\":\"c4\",\"data\":1");
    struct entry *asked =
        event(id, "snapshot", 4, ",\"checksum\":\"c4\",\"data\":1,\"label\":\"L\"");
    asked->event.timestamp += 5000;
    struct entry *both[] = {asked, own};
    forget_all(d);
    static const char labelled[] = "4|L|2026-02-12 12:00:04+00|1 ";
    write_batch(d, &own, 1);
    assert_string_equal(run(d, row), "4|none|2026-02-12 12:00:04+00|1 ");
    write_batch(d, &asked, 1);
    assert_string_equal(run(d, row), labelled);
    write_batch(d, &own, 1);
    assert_string_equal(run(d, row), labelled);
    run(d, "TRUNCATE session_snapshots");
    write_batch(d, &asked, 1);
    assert_string_equal(run(d, row), "4|L|2026-02-12 12:00:09+00|1 ");
    write_batch(d, both, 2);
    assert_string_equal(run(d, row), labelled);
    run(d, "TRUNCATE session_snapshots");
    write_batch(d, both, 2);
    assert_string_equal(run(d, row), labelled);
    entry_free(own);
    entry_free(asked);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_month_begins_and_ends_to_the_millisecond),
        cmocka_unit_test(test_rows_of_the_default_partition_move_into_a_new_one),
        cmocka_unit_test(test_this_month_and_the_next_two_are_made),
        cmocka_unit_test(test_rows_are_the_same_in_every_order_and_split),
        cmocka_unit_test(test_end_and_deletion_leave_nothing_due),
        cmocka_unit_test(test_rebuilt_session_moves_to_its_new_epoch),
        cmocka_unit_test(test_newer_position_clears_the_cold_mark_and_no_other),
        cmocka_unit_test(test_last_active_device_stays_when_paused),
        cmocka_unit_test(test_create_is_found_by_its_key),
        cmocka_unit_test(test_sharing_and_devices_are_the_same_in_every_order),
        cmocka_unit_test(test_label_joins_the_snapshot_that_was_there),
    };
    return run_group(tests, N_ELEMENTS(tests));
}
