/* Changes from an old base: refused with what was missed, or rebased where nothing overlaps. */
#include "tests/unit/apply_fixture.h"

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

static void refuse_unguarded(struct world *w) {
    world_clear(w);
    w->command = command_of(COMMAND_SWITCH, "phone");
    assert_int_equal(apply(w, &w->session), FAULT_PRECONDITION_REQUIRED);
    assert_string_equal(w->fault.field, "currentParticipantId");
}

static void judge_stale(struct world *w, bool is_tag, int code) {
    world_clear(w);
    w->command = command_of(COMMAND_SWITCH, "phone");
    w->command.n_if_match = is_tag;
    w->command.has_base = !is_tag;
    w->command.base = w->command.if_match[0] = (struct position){2, 1};
    assert_int_equal(apply(w, &w->session), code);
}

static void test_a_switch_says_which_turn_it_means(void **state) {
    (void)state;
    struct world w = {0};
    struct window_entry entries[2];
    create_with_window(&w, entries);
    refuse_unguarded(&w);
    judge_stale(&w, true, FAULT_PRECONDITION_FAILED);
    judge_stale(&w, false, FAULT_VERSION_CONFLICT);
    world_clear(&w);
    w.command = command_of(COMMAND_SWITCH, "phone");
    strcpy(w.command.current_participant, "white");
    assert_int_not_equal(apply(&w, &w.session), FAULT_PRECONDITION_REQUIRED);
    world_clear(&w);
    w.command = command_of(COMMAND_SWITCH, "phone");
    w.command.if_match_any = true; /* whichever turn it is */
    assert_int_not_equal(apply(&w, &w.session), FAULT_PRECONDITION_REQUIRED);
    world_done(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_old_base_is_a_conflict_with_the_missed_deltas),
        cmocka_unit_test(test_a_base_ahead_or_of_another_epoch_shows_the_session),
        cmocka_unit_test(test_if_match_is_judged_before_the_base_version),
        cmocka_unit_test(test_disjoint_changes_are_rebased),
        cmocka_unit_test(test_overlapping_changes_are_not),
        cmocka_unit_test(test_a_window_with_a_hole_is_a_conflict),
        cmocka_unit_test(test_a_switch_says_which_turn_it_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
