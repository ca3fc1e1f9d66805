/* What a batch makes of a session's changes, in whatever order they come:
 * services/audit_writer/batch.h. */
#include "tests/unit/audit_entry_fixture.h"

static void test_order_of_a_sessions_events_makes_no_difference(void **state) {
    (void)state;
    static const size_t orders[][6] = {
        {0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {3, 0, 5, 1, 4, 2}, {4, 2, 0, 1, 5, 3}};
    for (size_t o = 0; o < N_ELEMENTS(orders); o++) {
        struct entry *told[] = {created(ID_A),
                                delta(ID_A, 2, RENAME("B")),
                                status(3, "paused", "null"),
                                delta(ID_A, 4, WRITE),
                                event(ID_A, "device_joined", 4, ",\"activeDeviceId\":\"tab\""),
                                event(ID_A, "session_deleted", 5, "")};
        struct entry *entries[6];
        for (size_t i = 0; i < 6; i++)
            entries[i] = told[orders[o][i]];
        struct batch b;
        batch_build(entries, 6, NULL, &b);
        assert_int_equal(b.sessions.n_rows, 1);
        expect_parameter(&b.sessions, 3, "{\"5\"}");
        expect_parameter(&b.sessions, 4, "{\"2026-02-12T12:00:05.000Z\"}");
        expect_parameter(&b.sessions, 6, "{\"" OWNER "\"}");
        expect_parameter(&b.sessions, 10, "{\"4294967298\"}"); /* epoch 1, version 2 */
        expect_parameter(&b.sessions, 11, "{\"B\"}");
        expect_parameter(&b.sessions, 13, "{\"paused\"}");
        expect_parameter(&b.sessions, 14, "{NULL}");
        expect_parameter(&b.sessions, 18, "{\"tab\"}");
        expect_parameter(&b.sessions, 19, "{\"c4\"}");
        expect_parameter(&b.sessions, 20, "{\"2026-02-12T12:00:05.000Z\"}");
        expect_parameter(&b.sessions, 21, "{\"4294967297\"}"); /* nobody was active later */
        expect_parameter(&b.sessions, 22, "{\"phone\"}");
        expect_parameter(&b.sessions, 23, "{\"0\"}"); /* nobody told a clock */
        expect_parameter(&b.sessions, 24, "{NULL}");
        batch_done(&b);
        free_all(entries, 6);
    }
}

/* Snapshots, comings and goings and a rebuild carry a position that others made. */
static void test_only_what_makes_a_version_is_an_update(void **state) {
    (void)state;
    static const char *const later[] = {"device_joined", "device_left", "snapshot"};
    for (size_t i = 0; i < N_ELEMENTS(later); i++) {
        struct entry *e = event(ID_A, later[i], 30, ",\"data\":{},\"checksum\":\"c\"");
        assert_string_equal(e->reason, "");
        assert_int_equal(e->change.updated_at, 0);
        entry_free(e);
    }
    struct entry *e =
        event(ID_A, "participant_changed", 30, ",\"participant\":\"" OTHER "\",\"role\":null");
    assert_int_equal(e->change.updated_at, MADE_AT + 30000);
    entry_free(e);
}

static void test_a_rebuild_tells_the_checksum_and_no_more(void **state) {
    (void)state;
    static const char rebuilt[] =
        "{\"type\":\"session_rebuilt\",\"sessionId\":\"" ID_A "\",\"epoch\":2,\"version\":2,"
        "\"timestamp\":\"2026-02-12T12:30:00.000Z\",\"userId\":\"" OWNER "\",\"deviceId\":null,"
        "\"checksum\":\"c1\"}";
    for (size_t o = 0; o < 2; o++) {
        struct entry *told[] = {delta(ID_A, 2, WRITE), read_bytes(rebuilt, strlen(rebuilt), "m")};
        struct entry *entries[] = {told[o], told[1 - o]};
        struct batch b;
        assert_string_equal(told[1]->reason, "");
        batch_build(entries, 2, NULL, &b);
        expect_parameter(&b.sessions, 2, "{\"2\"}");
        expect_parameter(&b.sessions, 4, "{\"2026-02-12T12:00:02.000Z\"}");
        expect_parameter(&b.sessions, 16, "{\"8589934594\"}"); /* epoch 2, version 2 */
        expect_parameter(&b.sessions, 17, "{\"2026-02-12T12:00:02.000Z\"}");
        expect_parameter(&b.sessions, 18, "{\"tab\"}");
        expect_parameter(&b.sessions, 19, "{\"c1\"}");
        batch_done(&b);
        free_all(entries, 2);
    }
}

static void expect_name(const char *operations, const char *name) {
    struct entry *e = delta(ID_A, 2, operations);
    assert_string_equal(e->reason, "");
    if (name)
        assert_string_equal(e->change.name, name);
    else
        assert_null(e->change.name);
    assert_int_equal(e->change.name_position != 0, name != NULL);
    entry_free(e);
}

static void test_name_is_what_the_last_operation_on_it_says(void **state) {
    (void)state;
    expect_name(WRITE, NULL);
    expect_name("[]", NULL);
    expect_name(RENAME("B"), "B");
    expect_name("[{\"op\":\"add\",\"path\":\"/name\",\"value\":\"B\"},"
                "{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"C\"}]",
                "C");
    /* moved there: the operations do not tell */
    expect_name("[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"B\"},"
                "{\"op\":\"copy\",\"from\":\"/data/x\",\"path\":\"/name\"}]",
                NULL);
    expect_name("[{\"op\":\"add\",\"path\":\"/data/name\",\"value\":\"B\"}]", NULL);
}

static void test_final_status_sets_the_end_and_no_other_does(void **state) {
    (void)state;
    static const struct {
        const char *status;
        bool ends;
    } cases[] = {{"active", false},   {"paused", false},   {"pending", false},
                 {"completed", true}, {"cancelled", true}, {"expired", true}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct entry *e = status(9, cases[i].status, "\"tab\"");
        assert_string_equal(e->reason, "");
        assert_int_equal(e->change.completed_at, cases[i].ends ? MADE_AT + 9000 : 0);
        assert_string_equal(e->change.active_device, "tab");
        entry_free(e);
    }
}

static void test_greater_epoch_wins_whatever_the_versions(void **state) {
    (void)state;
    assert_true(entry_position((struct position){.epoch = 2, .version = 1}) >
                entry_position((struct position){.epoch = 1, .version = INT_MAX}));
    assert_true(entry_position((struct position){.epoch = INT_MAX, .version = INT_MAX}) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_a_sessions_events_makes_no_difference),
        cmocka_unit_test(test_only_what_makes_a_version_is_an_update),
        cmocka_unit_test(test_a_rebuild_tells_the_checksum_and_no_more),
        cmocka_unit_test(test_name_is_what_the_last_operation_on_it_says),
        cmocka_unit_test(test_final_status_sets_the_end_and_no_other_does),
        cmocka_unit_test(test_greater_epoch_wins_whatever_the_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
