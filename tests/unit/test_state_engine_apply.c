/* The engine's pure heart: what each command does to a session, and what is refused. */
#include "tests/unit/apply_fixture.h"

static void test_create_makes_version_1_with_one_event(void **state) {
    (void)state;
    struct world w = {0};
    w.command = command_of(COMMAND_CREATE, "phone");
    w.command.name = must_strdup("n");
    strcpy(w.command.type, "t");
    w.command.status = SESSION_ACTIVE;
    assert_int_equal(apply(&w, NULL), 0);
    const struct session *s = &w.change.next;
    assert_true(w.change.saves);
    assert_int_equal(s->position.version, 1);
    assert_int_equal(s->position.epoch, 1);
    assert_string_equal(s->data_text, "{}");
    assert_string_equal(s->active_device, "phone");
    assert_int_equal(s->ttl_seconds, SESSION_TTL_DEFAULT_S);
    assert_int_equal(session_expires_at(s), NOW + SESSION_TTL_DEFAULT_S * 1000LL);
    assert_int_equal(w.change.n_events, 1);
    assert_int_equal(w.change.events[0].type, EVENT_SESSION_CREATED);
    world_done(&w);
}

static void test_create_pending_has_no_active_device(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_PENDING, "{}");
    assert_string_equal(w.session.active_device, "");
    world_done(&w);
}

static void test_create_on_an_existing_session_is_refused(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.command = command_of(COMMAND_CREATE, "phone");
    w.command.name = must_strdup("n");
    assert_int_equal(apply(&w, &w.session), FAULT_INVALID_VALUE);
    world_done(&w);
}

static void test_every_transition_is_as_the_table_says(void **state) {
    (void)state;
    static const bool allowed[SESSION_N_STATUSES][SESSION_N_STATUSES] = {
        [SESSION_PENDING] = {[SESSION_ACTIVE] = true, [SESSION_CANCELLED] = true},
        [SESSION_ACTIVE] =
            {[SESSION_PAUSED] = true, [SESSION_COMPLETED] = true, [SESSION_CANCELLED] = true},
        [SESSION_PAUSED] =
            {[SESSION_ACTIVE] = true, [SESSION_COMPLETED] = true, [SESSION_CANCELLED] = true},
    };
    for (int from = 0; from < SESSION_N_STATUSES; from++)
        for (int to = 0; to < SESSION_N_STATUSES; to++) {
            struct world w = {0};
            create(&w, (enum session_status)from, "{}");
            int r = transition(&w, "phone", (enum session_status)to);
            if (session_is_final((enum session_status)from))
                assert_int_equal(r, FAULT_SESSION_ENDED);
            else if (from == to)
                assert_true(r == 0 && !w.change.saves);
            else if (allowed[from][to])
                assert_true(r == 0 && w.change.saves &&
                            w.change.next.status == (enum session_status)to);
            else
                assert_int_equal(r, FAULT_INVALID_TRANSITION);
            world_done(&w);
        }
}

static void test_pause_clears_the_active_device_and_snapshots(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    assert_int_equal(transition(&w, "phone", SESSION_PAUSED), 0);
    assert_string_equal(w.change.next.active_device, "");
    assert_int_equal(w.change.n_events, 2);
    assert_int_equal(w.change.events[0].type, EVENT_STATUS_CHANGED);
    assert_int_equal(w.change.events[1].type, EVENT_SNAPSHOT);
    assert_string_equal(w.change.snapshot_id, w.change.events[1].message_id);
    assert_string_equal(w.change.next.snapshots, "2");
    world_done(&w);
}

static void test_resume_by_another_device_joins_it(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_PAUSED, "{}");
    assert_int_equal(transition(&w, "laptop", SESSION_ACTIVE), 0);
    assert_string_equal(w.change.next.active_device, "laptop");
    assert_int_equal(w.change.n_events, 3);
    assert_int_equal(w.change.events[1].type, EVENT_DEVICE_JOINED);
    world_done(&w);
}

static void test_a_device_that_has_joined_does_not_join_again(void **state) {
    (void)state;
    struct world w = {0};
    struct apply_device device = {.has_joined = true, .is_counted = true, .n_of_user = 10};
    create(&w, SESSION_PAUSED, "{}");
    w.context.device = &device;
    assert_int_equal(transition(&w, "laptop", SESSION_ACTIVE), 0);
    assert_int_equal(w.change.n_events, 2);
    assert_false(w.change.joins);
    world_done(&w);
}

/* Also the one that was active last: whether it is in is for presence to know. */
static void test_resume_joins_a_device_that_is_not_in(void **state) {
    (void)state;
    struct world w = {0};
    struct apply_device device = {.n_of_user = 9,
                                  .n_joined = 12,
                                  .last_moment = NOW + 5,
                                  .name = "My phone",
                                  .platform = "ios"};
    create(&w, SESSION_PAUSED, "{}");
    w.context.device = &device;
    assert_int_equal(transition(&w, "phone", SESSION_ACTIVE), 0);
    assert_int_equal(w.change.n_events, 3);
    assert_true(w.change.joins);
    assert_int_equal(w.change.joined_at, NOW + 6); /* later than it left */
    const struct event *joined = &w.change.events[1];
    assert_int_equal(joined->type, EVENT_DEVICE_JOINED);
    assert_int_equal(joined->timestamp, NOW + 6);
    assert_int_equal(joined->position.version, w.change.next.position.version);
    assert_non_null(strstr(joined->body, "\"name\":\"My phone\",\"platform\":\"ios\""));
    assert_non_null(strstr(joined->body, "\"deviceCount\":13"));
    assert_non_null(strstr(joined->body, "\"activeDeviceId\":\"phone\""));
    world_done(&w);
}

static void test_the_eleventh_device_does_not_become_active(void **state) {
    (void)state;
    static const struct {
        bool has_joined, is_counted;
        uint64_t n_of_user;
        int expected;
    } rows[] = {{false, false, 9, 0},
                {false, false, 10, FAULT_TOO_MANY_DEVICES},
                {false, true, 10, 0},
                {true, true, 10, 0}};
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct world w = {0};
        struct apply_device device = {.has_joined = rows[i].has_joined,
                                      .is_counted = rows[i].is_counted,
                                      .n_of_user = rows[i].n_of_user,
                                      .name = "",
                                      .platform = ""};
        create(&w, SESSION_ACTIVE, "{}");
        w.context.device = &device;
        assert_int_equal(transition(&w, "laptop", SESSION_ACTIVE), rows[i].expected);
        world_clear(&w);
        assert_int_equal(transition(&w, "laptop", SESSION_PAUSED), 0); /* needs no place */
        world_done(&w);
    }
}

static void test_active_by_another_device_is_a_takeover(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    assert_int_equal(transition(&w, "laptop", SESSION_ACTIVE), 0);
    assert_true(w.change.saves);
    assert_string_equal(w.change.next.active_device, "laptop");
    assert_non_null(strstr(w.change.events[0].body, "\"reason\":\"takeover\""));
    world_done(&w);
}

static void test_a_final_status_completes(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    assert_int_equal(transition(&w, "phone", SESSION_COMPLETED), 0);
    assert_int_equal(w.change.next.completed_at, NOW);
    assert_int_equal(session_expires_at(&w.change.next), 0);
    world_done(&w);
}

static void test_patch_makes_a_delta(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{\"progress\":0}");
    assert_int_equal(patch(&w, "[{\"op\":\"test\",\"path\":\"/data/progress\",\"value\":0},"
                               "{\"op\":\"replace\",\"path\":\"/data/progress\",\"value\":75}]"),
                     0);
    assert_string_equal(w.change.next.data_text, "{\"progress\":75}");
    assert_int_equal(w.change.next.position.version, 2);
    assert_int_equal(w.change.n_events, 1);
    assert_null(strstr(w.change.events[0].body, "\"test\""));
    assert_string_equal(w.session.data_text, "{\"progress\":0}");
    world_done(&w);
}

static void test_patch_of_tests_alone_changes_nothing(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{\"a\":1}");
    assert_int_equal(patch(&w, "[{\"op\":\"test\",\"path\":\"/data/a\",\"value\":1}]"), 0);
    assert_false(w.change.saves);
    assert_string_equal(w.change.next.data_text, "{\"a\":1}");
    world_clear(&w);
    assert_int_equal(patch(&w, "[]"), 0);
    assert_false(w.change.saves);
    assert_string_equal(w.change.next.data_text, "{\"a\":1}");
    world_done(&w);
}

static void test_merge_patch_becomes_operations(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{\"a\":1,\"b\":2}");
    w.command = command_of(COMMAND_PATCH, "phone");
    w.command.format = COMMAND_PATCH_MERGE;
    w.command.patch = json_of("{\"data\":{\"a\":null,\"c\":{\"d\":3}},\"name\":\"New\"}");
    assert_int_equal(apply(&w, &w.session), 0);
    assert_string_equal(w.change.next.data_text, "{\"b\":2,\"c\":{\"d\":3}}");
    assert_string_equal(w.change.next.name, "New");
    assert_int_equal(w.change.events[0].type, EVENT_STATE_DELTA);
    assert_non_null(strstr(w.change.events[0].body, "/data/c"));
    world_done(&w);
}

static void test_checksum_must_be_the_results(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.command = command_of(COMMAND_PATCH, "phone");
    w.command.patch = json_of("[{\"op\":\"add\",\"path\":\"/data/a\",\"value\":1}]");
    memset(w.command.checksum, '0', HASH_HEX_LEN);
    assert_int_equal(apply(&w, &w.session), FAULT_CHECKSUM_MISMATCH);
    const char *data = "{\"a\":1}";
    hash_sha256_hex(data, strlen(data), w.command.checksum);
    assert_int_equal(apply(&w, &w.session), 0);
    world_done(&w);
}

static void test_every_50th_version_is_a_snapshot(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{\"n\":0}");
    w.session.position.version = 49;
    strcpy(w.session.snapshots, "1,2,3,4,5,6,7,8,9,10");
    assert_int_equal(patch(&w, "[{\"op\":\"replace\",\"path\":\"/data/n\",\"value\":1}]"), 0);
    assert_non_null(w.change.snapshot_id);
    assert_int_equal(w.change.dropped_snapshot, 1);
    assert_string_equal(w.change.next.snapshots, "2,3,4,5,6,7,8,9,10,50");
    world_clear(&w);
    w.session.position.version = 50;
    assert_int_equal(patch(&w, "[{\"op\":\"replace\",\"path\":\"/data/n\",\"value\":1}]"), 0);
    assert_null(w.change.snapshot_id);
    world_done(&w);
}

static void test_time_never_goes_back(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{\"n\":0}");
    w.context.now = NOW - 60000;
    assert_int_equal(patch(&w, "[{\"op\":\"replace\",\"path\":\"/data/n\",\"value\":1}]"), 0);
    assert_int_equal(w.change.next.updated_at, NOW);
    world_done(&w);
}

static void test_delete_leaves_a_tombstone(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_COMPLETED, "{}");
    w.command = command_of(COMMAND_DELETE, "phone");
    assert_int_equal(apply(&w, &w.session), 0);
    assert_true(w.change.next.deleted);
    assert_int_equal(w.change.next.position.version, 2);
    assert_int_equal(w.change.events[0].type, EVENT_SESSION_DELETED);
    world_done(&w);
}

static void test_heartbeat_touches_without_a_version(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.command = command_of(COMMAND_HEARTBEAT, "phone");
    w.context.now = NOW + 1000;
    assert_int_equal(apply(&w, &w.session), 0);
    assert_true(w.change.saves);
    assert_int_equal(w.change.n_events, 0);
    assert_int_equal(w.change.next.position.version, 1);
    assert_int_equal(w.change.next.touched_at, NOW + 1000);
    world_done(&w);
}

static void test_rights_are_the_tokens_and_the_role(void **state) {
    (void)state;
    struct world w = {0};
    struct fault f;
    create(&w, SESSION_ACTIVE, "{}");
    struct command c = command_of(COMMAND_PATCH, "phone");
    assert_int_equal(apply_check_rights(&w.session, &c, &f), 0);
    assert_int_equal(apply_check_rights(NULL, &c, &f), FAULT_NOT_FOUND);
    c.rights = COMMAND_READ;
    assert_int_equal(apply_check_rights(&w.session, &c, &f), FAULT_FORBIDDEN);
    c = command_of(COMMAND_PATCH, "");
    assert_int_equal(apply_check_rights(&w.session, &c, &f), FAULT_INVALID_REQUEST);
    c = command_of(COMMAND_PATCH, "phone");
    strcpy(c.user_id, STRANGER);
    assert_int_equal(apply_check_rights(&w.session, &c, &f), FAULT_NOT_FOUND);
    w.session.deleted = true;
    strcpy(c.user_id, OWNER);
    assert_int_equal(apply_check_rights(&w.session, &c, &f), FAULT_NOT_FOUND);
    world_done(&w);
}

static void test_an_admin_cancels_and_deletes_and_no_more(void **state) {
    (void)state;
    struct world w = {0};
    struct fault f;
    create(&w, SESSION_ACTIVE, "{}");
    struct command c = command_of(COMMAND_DELETE, "desk");
    strcpy(c.user_id, STRANGER);
    c.rights = COMMAND_ADMIN;
    assert_int_equal(apply_check_rights(&w.session, &c, &f), 0);
    c.kind = COMMAND_STATUS;
    c.status = SESSION_CANCELLED;
    assert_int_equal(apply_check_rights(&w.session, &c, &f), 0);
    c.status = SESSION_PAUSED;
    assert_int_equal(apply_check_rights(&w.session, &c, &f), FAULT_FORBIDDEN);
    c.kind = COMMAND_PATCH;
    assert_int_equal(apply_check_rights(&w.session, &c, &f), FAULT_FORBIDDEN);
    world_done(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_makes_version_1_with_one_event),
        cmocka_unit_test(test_create_pending_has_no_active_device),
        cmocka_unit_test(test_create_on_an_existing_session_is_refused),
        cmocka_unit_test(test_every_transition_is_as_the_table_says),
        cmocka_unit_test(test_pause_clears_the_active_device_and_snapshots),
        cmocka_unit_test(test_resume_by_another_device_joins_it),
        cmocka_unit_test(test_a_device_that_has_joined_does_not_join_again),
        cmocka_unit_test(test_resume_joins_a_device_that_is_not_in),
        cmocka_unit_test(test_the_eleventh_device_does_not_become_active),
        cmocka_unit_test(test_active_by_another_device_is_a_takeover),
        cmocka_unit_test(test_a_final_status_completes),
        cmocka_unit_test(test_patch_makes_a_delta),
        cmocka_unit_test(test_patch_of_tests_alone_changes_nothing),
        cmocka_unit_test(test_merge_patch_becomes_operations),
        cmocka_unit_test(test_checksum_must_be_the_results),
        cmocka_unit_test(test_every_50th_version_is_a_snapshot),
        cmocka_unit_test(test_time_never_goes_back),
        cmocka_unit_test(test_delete_leaves_a_tombstone),
        cmocka_unit_test(test_heartbeat_touches_without_a_version),
        cmocka_unit_test(test_rights_are_the_tokens_and_the_role),
        cmocka_unit_test(test_an_admin_cancels_and_deletes_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
