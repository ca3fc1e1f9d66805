/* Who may do what to a session: each role against each command; participants and devices that are
 * kept out. */
#include "tests/unit/apply_fixture.h"

#define EDITOR "33333333-3333-4333-8333-333333333333"
#define VIEWER "44444444-4444-4444-8444-444444444444"
#define FRIEND "55555555-5555-4555-8555-555555555555"

/* An active session with an editor and a viewer. */
static void share(struct world *w) {
    create(w, SESSION_ACTIVE, "{\"a\":1}");
    assert_true(session_set_participant(&w->session, EDITOR, SESSION_ROLE_EDITOR));
    assert_true(session_set_participant(&w->session, VIEWER, SESSION_ROLE_VIEWER));
}

static int give(struct world *w, const char *user_id, enum session_role role) {
    w->command = command_of(COMMAND_PARTICIPANT, "phone");
    strcpy(w->command.participant_id, user_id);
    w->command.participant_role = role;
    return apply(w, &w->session);
}

static int keep_out(struct world *w, const char *device, bool removed) {
    w->command = command_of(COMMAND_DEVICE, "phone");
    strcpy(w->command.target_device, device);
    w->command.device_removed = removed;
    return apply(w, &w->session);
}

/* The change becomes the session. */
static void go_on(struct world *w) {
    session_done(&w->session);
    session_copy(&w->change.next, &w->session);
    world_clear(w);
}

/* ---- rights ---- */

static const enum command_kind kinds[] = {
    COMMAND_PATCH,       COMMAND_STATUS,    COMMAND_RESTORE,   COMMAND_SNAPSHOT,
    COMMAND_DELETE,      COMMAND_HEARTBEAT, COMMAND_LOAD,      COMMAND_DEVICE,
    COMMAND_PARTICIPANT, COMMAND_SWITCH,    COMMAND_CLOCK_SET, COMMAND_CLOCK_ADJUST};

static enum fault_code expected_for(enum command_kind kind, enum session_role role) {
    enum session_role least = SESSION_ROLE_EDITOR;
    if (role == SESSION_ROLE_NONE)
        return FAULT_NOT_FOUND;
    if (kind == COMMAND_DELETE || kind == COMMAND_DEVICE || kind == COMMAND_PARTICIPANT ||
        kind == COMMAND_CLOCK_SET || kind == COMMAND_CLOCK_ADJUST)
        least = SESSION_ROLE_OWNER;
    if (kind == COMMAND_HEARTBEAT || kind == COMMAND_LOAD)
        least = SESSION_ROLE_VIEWER;
    return role < least ? FAULT_FORBIDDEN : FAULT_NONE;
}

static const struct {
    const char *user_id;
    enum session_role role;
} users[] = {{OWNER, SESSION_ROLE_OWNER},
             {EDITOR, SESSION_ROLE_EDITOR},
             {VIEWER, SESSION_ROLE_VIEWER},
             {STRANGER, SESSION_ROLE_NONE}};

static struct command command_by(enum command_kind kind, const char *user_id, const char *device) {
    struct command c = command_of(kind, device);
    strcpy(c.user_id, user_id);
    strcpy(c.participant_id, FRIEND);
    return c;
}

static void test_each_role_may_what_the_table_says(void **state) {
    (void)state;
    struct world w = {0};
    share(&w);
    for (size_t u = 0; u < N_ELEMENTS(users); u++)
        for (size_t k = 0; k < N_ELEMENTS(kinds); k++) {
            struct command c = command_by(kinds[k], users[u].user_id, "phone");
            struct fault f;
            int r = apply_check_rights(&w.session, &c, &f);
            if (r != (int)expected_for(kinds[k], users[u].role))
                fail_msg("command %d as %s: %d", kinds[k], session_role_name(users[u].role), r);
        }
    world_done(&w);
}

static void test_a_role_needs_the_tokens_scope_too(void **state) {
    (void)state;
    struct world w = {0};
    share(&w);
    for (size_t u = 0; u < 3; u++)
        for (size_t k = 0; k < N_ELEMENTS(kinds); k++) {
            struct command c = command_by(kinds[k], users[u].user_id, "phone");
            struct fault f;
            c.rights = COMMAND_READ;
            int expected = kinds[k] == COMMAND_LOAD ? 0 : FAULT_FORBIDDEN;
            assert_int_equal(apply_check_rights(&w.session, &c, &f), expected);
        }
    world_done(&w);
}

/* Admins read, cancel and delete; they do not share, restore or keep out. */
static void test_an_admins_rights_are_as_before(void **state) {
    (void)state;
    struct world w = {0};
    share(&w);
    for (size_t k = 0; k < N_ELEMENTS(kinds); k++) {
        struct command c = command_by(kinds[k], STRANGER, "desk");
        struct fault f;
        c.rights = COMMAND_ADMIN | COMMAND_WRITE;
        c.status = SESSION_PAUSED;
        bool may = kinds[k] == COMMAND_LOAD || kinds[k] == COMMAND_DELETE;
        assert_int_equal(apply_check_rights(&w.session, &c, &f), may ? 0 : FAULT_FORBIDDEN);
    }
    world_done(&w);
}

static void test_one_may_leave_and_take_nobody_along(void **state) {
    (void)state;
    struct world w = {0};
    struct fault f;
    share(&w);
    struct command c = command_by(COMMAND_PARTICIPANT, VIEWER, "phone");
    strcpy(c.participant_id, VIEWER);
    assert_int_equal(apply_check_rights(&w.session, &c, &f), 0);
    c.participant_role = SESSION_ROLE_EDITOR;
    assert_int_equal(apply_check_rights(&w.session, &c, &f), FAULT_FORBIDDEN);
    c.participant_role = SESSION_ROLE_NONE;
    strcpy(c.participant_id, EDITOR);
    assert_int_equal(apply_check_rights(&w.session, &c, &f), FAULT_FORBIDDEN);
    strcpy(c.user_id, STRANGER);
    strcpy(c.participant_id, STRANGER);
    assert_int_equal(apply_check_rights(&w.session, &c, &f), FAULT_NOT_FOUND);
    world_done(&w);
}

static void test_a_removed_device_may_nothing_whoever_has_it(void **state) {
    (void)state;
    struct world w = {0};
    share(&w);
    assert_true(session_set_device_removed(&w.session, "lost", true));
    for (size_t u = 0; u < N_ELEMENTS(users); u++)
        for (size_t k = 0; k < N_ELEMENTS(kinds); k++) {
            struct command c = command_by(kinds[k], users[u].user_id, "lost");
            struct fault f;
            int expected = users[u].role == SESSION_ROLE_NONE ? FAULT_NOT_FOUND
                           : kinds[k] == COMMAND_LOAD         ? 0
                                                              : FAULT_DEVICE_REMOVED;
            assert_int_equal(apply_check_rights(&w.session, &c, &f), expected);
            strcpy(c.device_id, "losts"); /* another one */
            assert_int_not_equal(apply_check_rights(&w.session, &c, &f), FAULT_DEVICE_REMOVED);
        }
    world_done(&w);
}

/* ---- participants ---- */

static void test_a_role_is_a_version_with_its_event(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.context.now = NOW + 1000;
    assert_int_equal(give(&w, FRIEND, SESSION_ROLE_VIEWER), 0);
    assert_true(w.change.saves && change_n_versions(&w.change) == 1);
    assert_int_equal(w.change.next.position.version, 2);
    assert_int_equal(w.change.next.updated_at, NOW + 1000);
    assert_int_equal(w.change.next.last_modified, NOW); /* of data and name */
    assert_int_equal(w.change.n_events, 1);
    assert_int_equal(w.change.events[0].type, EVENT_PARTICIPANT_CHANGED);
    assert_string_equal(w.change.events[0].user_id, OWNER);
    assert_non_null(
        strstr(w.change.events[0].body, "\"participant\":\"" FRIEND "\",\"role\":\"viewer\""));
    assert_int_equal(session_role_of(&w.change.next, FRIEND), SESSION_ROLE_VIEWER);
    assert_int_equal(session_role_of(&w.session, FRIEND), SESSION_ROLE_NONE);
    go_on(&w);
    assert_int_equal(give(&w, FRIEND, SESSION_ROLE_EDITOR), 0);
    assert_int_equal(w.change.next.position.version, 3);
    go_on(&w);
    assert_int_equal(give(&w, FRIEND, SESSION_ROLE_NONE), 0);
    assert_non_null(strstr(w.change.events[0].body, "\"role\":null"));
    assert_int_equal(session_role_of(&w.change.next, FRIEND), SESSION_ROLE_NONE);
    world_done(&w);
}

static void test_who_leaves_is_who_acts(void **state) {
    (void)state;
    struct world w = {0};
    share(&w);
    w.command = command_by(COMMAND_PARTICIPANT, VIEWER, "tv");
    strcpy(w.command.participant_id, VIEWER);
    assert_int_equal(apply(&w, &w.session), 0);
    assert_string_equal(w.change.events[0].user_id, VIEWER);
    assert_string_equal(w.change.events[0].device_id, "tv");
    world_done(&w);
}

static void test_what_is_so_already_is_no_change(void **state) {
    (void)state;
    struct world w = {0};
    share(&w);
    assert_true(session_set_device_removed(&w.session, "lost", true));
    assert_int_equal(give(&w, EDITOR, SESSION_ROLE_EDITOR), 0);
    assert_false(w.change.saves);
    world_clear(&w);
    assert_int_equal(give(&w, FRIEND, SESSION_ROLE_NONE), 0);
    assert_false(w.change.saves);
    world_clear(&w);
    assert_int_equal(keep_out(&w, "lost", true), 0);
    assert_false(w.change.saves);
    world_clear(&w);
    assert_int_equal(keep_out(&w, "tablet", false), 0);
    assert_false(w.change.saves);
    assert_int_equal(w.change.n_events, 0);
    world_done(&w);
}

static void test_the_owner_is_no_participant(void **state) {
    (void)state;
    struct world w = {0};
    share(&w);
    static const enum session_role roles[] = {SESSION_ROLE_NONE, SESSION_ROLE_VIEWER,
                                              SESSION_ROLE_EDITOR};
    for (size_t i = 0; i < N_ELEMENTS(roles); i++) {
        assert_int_equal(give(&w, OWNER, roles[i]), FAULT_INVALID_VALUE);
        assert_string_equal(w.fault.field, "participant");
        world_clear(&w);
    }
    world_done(&w);
}

static void test_the_101st_participant_is_refused(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    for (int i = 0; i < SESSION_MAX_PARTICIPANTS; i++) {
        char user_id[UUID_LEN + 1];
        snprintf(user_id, sizeof(user_id), "%08x-0000-4000-8000-000000000000", (unsigned)i);
        assert_int_equal(give(&w, user_id, SESSION_ROLE_VIEWER), 0);
        go_on(&w);
    }
    assert_int_equal(give(&w, FRIEND, SESSION_ROLE_VIEWER), FAULT_INVALID_VALUE);
    assert_string_equal(w.fault.field, "participant");
    world_done(&w);
}

/* ---- devices ---- */

static void test_a_device_is_kept_out_and_let_in(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    assert_int_equal(keep_out(&w, "phone", true), 0);
    assert_int_equal(w.change.next.position.version, 2);
    assert_int_equal(w.change.n_events, 1);
    assert_int_equal(w.change.events[0].type, EVENT_DEVICE_CHANGED);
    assert_non_null(strstr(w.change.events[0].body, "\"device\":\"phone\",\"removed\":true"));
    assert_true(session_device_is_removed(&w.change.next, "phone"));
    assert_string_equal(w.change.next.active_device, "phone"); /* it informs, it locks nothing */
    go_on(&w);
    assert_int_equal(keep_out(&w, "phone", false), 0);
    assert_false(session_device_is_removed(&w.change.next, "phone"));
    assert_int_equal(w.change.next.position.version, 3);
    world_done(&w);
}

static void test_the_101st_device_is_refused(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    for (int i = 0; i < SESSION_MAX_REMOVED_DEVICES; i++) {
        char device[32];
        snprintf(device, sizeof(device), "device-%d", i);
        assert_int_equal(keep_out(&w, device, true), 0);
        go_on(&w);
    }
    assert_int_equal(keep_out(&w, "one-more", true), FAULT_INVALID_VALUE);
    assert_string_equal(w.fault.field, "device");
    world_done(&w);
}

/* ---- what all writes have ---- */

static void test_a_session_that_ended_takes_none_of_them(void **state) {
    (void)state;
    for (int status = SESSION_COMPLETED; status < SESSION_N_STATUSES; status++) {
        struct world w = {0};
        create(&w, (enum session_status)status, "{}");
        assert_int_equal(give(&w, FRIEND, SESSION_ROLE_VIEWER), FAULT_SESSION_ENDED);
        world_clear(&w);
        assert_int_equal(keep_out(&w, "lost", true), FAULT_SESSION_ENDED);
        world_done(&w);
    }
}

static void test_if_match_and_base_are_judged(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.command = command_by(COMMAND_PARTICIPANT, OWNER, "phone");
    w.command.participant_role = SESSION_ROLE_VIEWER;
    w.command.n_if_match = 1;
    w.command.if_match[0] = (struct position){.version = 7, .epoch = 1};
    assert_int_equal(apply(&w, &w.session), FAULT_PRECONDITION_FAILED);
    assert_non_null(w.conflict);
    world_clear(&w);
    w.command = command_by(COMMAND_DEVICE, OWNER, "phone");
    w.command.has_base = true;
    w.command.base = (struct position){.version = 7, .epoch = 1};
    assert_int_equal(apply(&w, &w.session), FAULT_VERSION_CONFLICT);
    world_done(&w);
}

static void test_every_50th_version_is_a_snapshot_whatever_it_is(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.session.position.version = 49;
    assert_int_equal(give(&w, FRIEND, SESSION_ROLE_VIEWER), 0);
    assert_int_equal(w.change.n_events, 2);
    assert_int_equal(w.change.events[1].type, EVENT_SNAPSHOT);
    assert_string_equal(w.change.next.snapshots, "50");
    world_done(&w);
}

static void test_a_viewers_heartbeat_does_not_extend(void **state) {
    (void)state;
    struct world w = {0};
    share(&w);
    w.context.now = NOW + 1000;
    w.command = command_by(COMMAND_HEARTBEAT, VIEWER, "tv");
    assert_int_equal(apply(&w, &w.session), 0);
    assert_false(w.change.saves);
    assert_int_equal(w.change.next.touched_at, NOW);
    world_clear(&w);
    w.command = command_by(COMMAND_HEARTBEAT, EDITOR, "tv");
    assert_int_equal(apply(&w, &w.session), 0);
    assert_true(w.change.saves);
    assert_int_equal(w.change.next.touched_at, NOW + 1000);
    world_done(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_role_may_what_the_table_says),
        cmocka_unit_test(test_a_role_needs_the_tokens_scope_too),
        cmocka_unit_test(test_an_admins_rights_are_as_before),
        cmocka_unit_test(test_one_may_leave_and_take_nobody_along),
        cmocka_unit_test(test_a_removed_device_may_nothing_whoever_has_it),
        cmocka_unit_test(test_a_role_is_a_version_with_its_event),
        cmocka_unit_test(test_who_leaves_is_who_acts),
        cmocka_unit_test(test_what_is_so_already_is_no_change),
        cmocka_unit_test(test_the_owner_is_no_participant),
        cmocka_unit_test(test_the_101st_participant_is_refused),
        cmocka_unit_test(test_a_device_is_kept_out_and_let_in),
        cmocka_unit_test(test_the_101st_device_is_refused),
        cmocka_unit_test(test_a_session_that_ended_takes_none_of_them),
        cmocka_unit_test(test_if_match_and_base_are_judged),
        cmocka_unit_test(test_every_50th_version_is_a_snapshot_whatever_it_is),
        cmocka_unit_test(test_a_viewers_heartbeat_does_not_extend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
