/* The engine's pure heart: what each command does to a session, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/text.h"
#include "services/state_engine/apply.h"

#define OWNER "11111111-1111-4111-8111-111111111111"
#define STRANGER "22222222-2222-4222-8222-222222222222"
#define SESSION_ID "0197a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"
#define COMMAND_ID "0197a1b2-0000-7000-8000-000000000001"
#define NOW 1770897600000LL

/* What one test works with. */
struct world {
    struct session session;
    struct command command;
    struct apply_context context;
    struct change change;
    struct fault fault;
    char *conflict;
};

static json_t *json_of(const char *text) {
    json_t *value = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &value, &f), 0);
    return value;
}

static struct command command_of(enum command_kind kind, const char *device) {
    struct command c = {
        .kind = kind, .rights = COMMAND_READ | COMMAND_WRITE, .deadline = NOW + 5000};
    strcpy(c.id, COMMAND_ID);
    strcpy(c.session_id, SESSION_ID);
    strcpy(c.user_id, OWNER);
    strcpy(c.device_id, device);
    return c;
}

static int apply(struct world *w, const struct session *s) {
    w->context.now = w->context.now ? w->context.now : NOW;
    w->context.snapshot_every = w->context.snapshot_every ? w->context.snapshot_every : 50;
    return session_apply(s, &w->command, &w->context, &w->change, &w->fault, &w->conflict);
}

static void world_clear(struct world *w) {
    command_done(&w->command);
    change_done(&w->change);
    free(w->conflict);
    w->conflict = NULL;
}

static void world_done(struct world *w) {
    world_clear(w);
    session_done(&w->session);
}

/* A session in the given status, made by a create on "phone" and the transitions there. */
static void create(struct world *w, enum session_status status, const char *data) {
    w->command = command_of(COMMAND_CREATE, "phone");
    w->command.name = must_strdup("Evening meditation");
    strcpy(w->command.type, "meditation");
    w->command.status = status == SESSION_PENDING ? SESSION_PENDING : SESSION_ACTIVE;
    w->command.data = json_of(data);
    assert_int_equal(apply(w, NULL), 0);
    session_copy(&w->change.next, &w->session);
    w->session.status = status;
    if (status == SESSION_PAUSED)
        w->session.active_device[0] = '\0';
    world_clear(w);
}

static int patch(struct world *w, const char *operations) {
    w->command = command_of(COMMAND_PATCH, "phone");
    w->command.patch = json_of(operations);
    return apply(w, &w->session);
}

static int transition(struct world *w, const char *device, enum session_status to) {
    w->command = command_of(COMMAND_STATUS, device);
    w->command.status = to;
    return apply(w, &w->session);
}

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

static void test_resume_by_the_same_device_joins_nobody(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_PAUSED, "{}");
    assert_int_equal(transition(&w, "phone", SESSION_ACTIVE), 0);
    assert_int_equal(w.change.n_events, 2);
    world_done(&w);
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
    world_clear(&w);
    assert_int_equal(patch(&w, "[]"), 0);
    assert_false(w.change.saves);
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

/* A session at version 3 whose window holds versions 2 (/data/a) and 3 (/data/list/0 added). */
static void create_with_window(struct world *w, struct window_entry entries[2]) {
    static const char second[] = "{\"type\":\"state_delta\",\"version\":2,\"operations\":[{\"op\":"
                                 "\"replace\",\"path\":\"/data/"
                                 "a\",\"value\":1}]}";
    static const char third[] =
        "{\"type\":\"state_delta\",\"version\":3,\"operations\":[{\"op\":\"add\",\"path\":\"/data/"
        "list/0\",\"value\":1}]}";
    create(w, SESSION_ACTIVE, "{\"a\":1,\"b\":2,\"list\":[1]}");
    w->session.position.version = 3;
    entries[0] = (struct window_entry){2, second, strlen(second)};
    entries[1] = (struct window_entry){3, third, strlen(third)};
    w->context.window = (struct window){entries, 2};
}

static void test_an_old_base_is_a_conflict_with_the_missed_deltas(void **state) {
    (void)state;
    struct world w = {0};
    struct window_entry entries[2];
    create_with_window(&w, entries);
    w.command = command_of(COMMAND_PATCH, "phone");
    w.command.patch = json_of("[{\"op\":\"replace\",\"path\":\"/data/b\",\"value\":3}]");
    w.command.has_base = true;
    w.command.base = (struct position){1, 1};
    uint64_t since = 0;
    assert_true(apply_window_since(&w.session, &w.command, &since));
    assert_int_equal(since, 1);
    assert_int_equal(apply(&w, &w.session), FAULT_VERSION_CONFLICT);
    json_auto_t *conflict = json_of(w.conflict);
    assert_int_equal(json_number_value(json_object_get(conflict, "currentVersion")), 3);
    assert_int_equal(json_array_size(json_object_get(conflict, "deltas")), 2);
    assert_null(json_object_get(conflict, "session"));
    world_done(&w);
}

static void test_a_base_ahead_or_of_another_epoch_shows_the_session(void **state) {
    (void)state;
    static const struct position bases[] = {{4, 1}, {3, 2}};
    for (size_t i = 0; i < N_ELEMENTS(bases); i++) {
        struct world w = {0};
        struct window_entry entries[2];
        create_with_window(&w, entries);
        w.command = command_of(COMMAND_PATCH, "phone");
        w.command.patch = json_of("[]");
        w.command.has_base = true;
        w.command.base = bases[i];
        assert_int_equal(apply(&w, &w.session), FAULT_VERSION_CONFLICT);
        json_auto_t *conflict = json_of(w.conflict);
        assert_true(json_is_object(json_object_get(conflict, "session")));
        world_done(&w);
    }
}

static void test_if_match_is_judged_before_the_base_version(void **state) {
    (void)state;
    struct world w = {0};
    struct window_entry entries[2];
    create_with_window(&w, entries);
    w.command = command_of(COMMAND_PATCH, "phone");
    w.command.patch = json_of("[]");
    w.command.has_base = true;
    w.command.base = w.command.if_match[0] = (struct position){2, 1};
    w.command.n_if_match = 1;
    assert_int_equal(apply(&w, &w.session), FAULT_PRECONDITION_FAILED);
    free(w.conflict);
    w.command.if_match[1] = (struct position){3, 1};
    w.command.n_if_match = 2;
    assert_int_equal(apply(&w, &w.session), FAULT_VERSION_CONFLICT);
    world_done(&w);
}

static int disjoint_patch(struct world *w, const char *operations, uint64_t base) {
    w->command = command_of(COMMAND_PATCH, "phone");
    w->command.patch = json_of(operations);
    w->command.has_base = w->command.disjoint = true;
    w->command.base = (struct position){base, 1};
    return apply(w, &w->session);
}

static void test_disjoint_changes_are_rebased(void **state) {
    (void)state;
    struct world w = {0};
    struct window_entry entries[2];
    create_with_window(&w, entries);
    assert_int_equal(
        disjoint_patch(&w, "[{\"op\":\"replace\",\"path\":\"/data/b\",\"value\":3}]", 1), 0);
    assert_true(w.change.rebased);
    assert_int_equal(w.change.next.position.version, 4);
    world_clear(&w);
    assert_int_equal(
        disjoint_patch(&w, "[{\"op\":\"replace\",\"path\":\"/data/b\",\"value\":3}]", 3), 0);
    assert_false(w.change.rebased);
    world_done(&w);
}

static void test_overlapping_changes_are_not(void **state) {
    (void)state;
    static const char *const overlapping[] = {
        "[{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":3}]",
        "[{\"op\":\"replace\",\"path\":\"/data\",\"value\":{}}]",
        "[{\"op\":\"replace\",\"path\":\"/data/list/0\",\"value\":3}]",
        "[{\"op\":\"test\",\"path\":\"/data/a\",\"value\":1}]",
    };
    for (size_t i = 0; i < N_ELEMENTS(overlapping); i++) {
        struct world w = {0};
        struct window_entry entries[2];
        create_with_window(&w, entries);
        assert_int_equal(disjoint_patch(&w, overlapping[i], 1), FAULT_VERSION_CONFLICT);
        world_done(&w);
    }
}

static void test_a_window_with_a_hole_is_a_conflict(void **state) {
    (void)state;
    struct world w = {0};
    struct window_entry entries[2];
    create_with_window(&w, entries);
    w.context.window.entries = &entries[1];
    w.context.window.n_entries = 1;
    assert_int_equal(
        disjoint_patch(&w, "[{\"op\":\"replace\",\"path\":\"/data/b\",\"value\":3}]", 1),
        FAULT_VERSION_CONFLICT);
    json_auto_t *conflict = json_of(w.conflict);
    assert_true(json_is_object(json_object_get(conflict, "session")));
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
        cmocka_unit_test(test_resume_by_the_same_device_joins_nobody),
        cmocka_unit_test(test_active_by_another_device_is_a_takeover),
        cmocka_unit_test(test_a_final_status_completes),
        cmocka_unit_test(test_patch_makes_a_delta),
        cmocka_unit_test(test_patch_of_tests_alone_changes_nothing),
        cmocka_unit_test(test_merge_patch_becomes_operations),
        cmocka_unit_test(test_checksum_must_be_the_results),
        cmocka_unit_test(test_every_50th_version_is_a_snapshot),
        cmocka_unit_test(test_time_never_goes_back),
        cmocka_unit_test(test_an_old_base_is_a_conflict_with_the_missed_deltas),
        cmocka_unit_test(test_a_base_ahead_or_of_another_epoch_shows_the_session),
        cmocka_unit_test(test_if_match_is_judged_before_the_base_version),
        cmocka_unit_test(test_disjoint_changes_are_rebased),
        cmocka_unit_test(test_overlapping_changes_are_not),
        cmocka_unit_test(test_a_window_with_a_hole_is_a_conflict),
        cmocka_unit_test(test_delete_leaves_a_tombstone),
        cmocka_unit_test(test_heartbeat_touches_without_a_version),
        cmocka_unit_test(test_rights_are_the_tokens_and_the_role),
        cmocka_unit_test(test_an_admin_cancels_and_deletes_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
