/* A session within a batch: what its jobs need loaded, and what is known of their commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "base/buf.h"
#include "services/state_engine/slot.h"

static struct slot new_slot(void) {
    return (struct slot){.load.deltas_since = JOB_NO_LOOK};
}

static void test_every_job_needs_the_state_and_the_usual_one_no_window(void **state) {
    (void)state;
    static const enum command_kind kinds[] = {COMMAND_PATCH, COMMAND_LOAD, COMMAND_HEARTBEAT};
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        struct slot slot = new_slot();
        struct job j = {.command = {.kind = kinds[i]}, .look_since = JOB_NO_LOOK};
        slot_add_job(&slot, &j, 1);
        assert_true(slot.load.wants_state); /* each answer has the checksum */
        assert_false(slot.load.wants_deltas);
        slot_done(&slot);
    }
}

static void test_the_earliest_look_says_how_much_of_the_window(void **state) {
    (void)state;
    struct slot slot = new_slot();
    struct job jobs[] = {{.look_since = 7}, {.look_since = 3}, {.look_since = JOB_NO_LOOK}};
    for (size_t i = 0; i < N_ELEMENTS(jobs); i++)
        slot_add_job(&slot, &jobs[i], N_ELEMENTS(jobs));
    assert_true(slot.load.wants_deltas);
    assert_int_equal(slot.load.deltas_since, 3);
    slot_done(&slot);
}

#define NOW 1770897600000
#define OWN "0190aaaa-bbbb-4ccc-8ddd-eeeeffff0001"
#define FOREIGN "0190aaaa-bbbb-4ccc-8ddd-eeeeffff0002"

static struct slot saved_by(const char *saver, uint64_t version) {
    struct slot slot = new_slot();
    struct session *s = &slot.load.session;
    snprintf(s->saver, sizeof(s->saver), "%s", saver);
    s->updated_at = NOW - 10;
    s->saver_since = NOW - 2000;
    s->position = (struct position){version, 1};
    return slot;
}

static void test_a_command_is_looked_for_in_what_others_saved_since_it_was_sent(void **state) {
    (void)state;
    static const struct {
        const char *saver;
        int64_t sent_at;
        enum command_kind kind;
        bool looks;
        int64_t from;
    } cases[] = {
        {FOREIGN, NOW - 9, COMMAND_PATCH, false, 0},
        {FOREIGN, NOW - 10, COMMAND_PATCH, true, NOW - 10},
        {FOREIGN, NOW - 10, COMMAND_CREATE, true, NOW - 10},
        {FOREIGN, NOW - 10, COMMAND_HEARTBEAT, false, 0},
        {FOREIGN, NOW - 10, COMMAND_SNAPSHOT, false, 0},
        {OWN, NOW - 10, COMMAND_PATCH, false, 0},
        {OWN, NOW - 1999, COMMAND_PATCH, false, 0},
        {OWN, NOW - 2000, COMMAND_PATCH, true, NOW - 2000},
        {"", NOW - 10, COMMAND_PATCH, true, NOW - 10},
        {OWN, 0, COMMAND_PATCH, true, NOW - COMMAND_LIFETIME_MS},
        {FOREIGN, NOW + 1, COMMAND_PATCH, true, NOW - COMMAND_LIFETIME_MS}, /* another's clock */
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct slot slot = saved_by(cases[i].saver, 20);
        struct job j = {.command = {.kind = cases[i].kind, .sent_at = cases[i].sent_at}};
        if (slot_may_hide(&slot, &j, OWN, NOW) != cases[i].looks)
            fail_msg("case %zu", i);
        assert_int_equal(slot.is_behind, cases[i].looks);
        assert_int_equal(slot.look_from, cases[i].from);
        assert_int_equal(slot.load.deltas_since, cases[i].looks ? 4 : JOB_NO_LOOK);
    }
}

static void test_the_oldest_command_says_how_far_to_look(void **state) {
    (void)state;
    struct slot slot = saved_by(FOREIGN, 16);
    struct job young = {.command = {.sent_at = NOW - 20}}, old = {.command = {.sent_at = NOW - 30}};
    assert_true(slot_may_hide(&slot, &young, OWN, NOW));
    assert_true(slot_may_hide(&slot, &old, OWN, NOW));
    assert_true(slot_may_hide(&slot, &young, OWN, NOW));
    assert_int_equal(slot.look_from, NOW - 30);
    assert_int_equal(slot.load.deltas_since, 0);
}

static void test_a_window_is_short_while_its_first_entry_is_younger_than_the_command(void **state) {
    (void)state;
    struct store_entry entries[] = {{.version = 5, .time = NOW - 30}, {.version = 6, .time = NOW}};
    struct slot slot = {.load = {.wants_deltas = true, .deltas_since = 4, .entries = entries}};
    slot.load.n_entries = 2;
    assert_false(slot_is_short(&slot)); /* nothing is looked for */
    slot.look_from = NOW - 30;
    assert_true(slot_is_short(&slot));
    slot.look_from = NOW - 29;
    assert_false(slot_is_short(&slot));
    slot.look_from = NOW - 30;
    entries[0].version = 6; /* those before are not kept any more */
    assert_false(slot_is_short(&slot));
    slot.load.deltas_since = 0;
    entries[0].version = 1;
    assert_false(slot_is_short(&slot));
    slot.load.deltas_since = 4;
    slot.load.n_entries = 0;
    assert_false(slot_is_short(&slot));
}

static void test_a_window_is_whole_from_its_first_entry_on(void **state) {
    (void)state;
    struct store_entry entries[] = {{.version = 5}, {.version = 6}};
    struct slot slot = {.load = {.wants_deltas = true, .deltas_since = 0, .entries = entries}};
    slot.loaded_version = 6;
    slot.load.n_entries = 2;
    assert_true(slot_window_is_whole(&slot, 4));
    assert_true(slot_window_is_whole(&slot, 5));
    assert_false(slot_window_is_whole(&slot, 3));
    assert_false(slot_window_is_whole(&slot, 0));
    slot.load.deltas_since = 5;
    assert_false(slot_window_is_whole(&slot, 4));
    slot.load.n_entries = 0; /* nothing after the version that is there */
    assert_true(slot_window_is_whole(&slot, 6));
    assert_false(slot_window_is_whole(&slot, 5));
    slot.load.wants_deltas = false;
    assert_false(slot_window_is_whole(&slot, 6));
}

static void test_what_a_batch_saves_is_known_to_its_later_jobs(void **state) {
    (void)state;
    struct slot slot = new_slot();
    assert_false(slot_saves_command(&slot, "a"));
    slot_note_command(&slot, "a");
    slot_note_command(&slot, "b");
    assert_true(slot_saves_command(&slot, "a"));
    assert_true(slot_saves_command(&slot, "b"));
    assert_false(slot_saves_command(&slot, "c"));
    slot_done(&slot);
}

#define RUN "0123456789012345678901234567890123456789"

static void test_it_is_looked_at_by_the_earliest_of_its_clocks_moments(void **state) {
    (void)state;
    static const int64_t moments[] = {0, 700, 500, 0, 600};
    static const int64_t expected[] = {0, 700, 500, 500, 500};
    struct slot slot = new_slot();
    assert_false(slot.arms);
    for (size_t i = 0; i < N_ELEMENTS(moments); i++) {
        slot_arm(&slot, &(struct session){.clock_at = moments[i]});
        assert_true(slot.arms);
        assert_int_equal(slot.clock_at, expected[i]);
    }
}

static void test_both_versions_of_a_change_are_in_its_window(void **state) {
    (void)state;
    static char bodies[][8] = {"first", "second"};
    struct slot slot = new_slot();
    struct change change = {.n_events = 3, .next.position = {9, 1}};
    for (size_t i = 0; i < 2; i++)
        change.events[i] = (struct event){.type = i ? EVENT_STATUS_CHANGED : EVENT_CLOCK_EXPIRED,
                                          .position = {8 + i, 1},
                                          .body = bodies[i],
                                          .body_len = strlen(bodies[i])};
    change.events[2].type = EVENT_SNAPSHOT;
    assert_int_equal(change_n_versions(&change), 2);
    slot_apply(&slot, &change);
    assert_ptr_equal(slot.current, &change.next);
    assert_int_equal(slot.n_entries, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(slot.entries[i].version, 8 + i);
        assert_ptr_equal(slot.entries[i].event, bodies[i]);
    }
    slot_done(&slot);
}

static struct slot loaded_slot(void) {
    struct slot slot = new_slot();
    slot.load.session.position = (struct position){7, 2};
    strcpy(slot.load.session.run_id, RUN);
    return slot;
}

static void test_a_session_of_another_run_is_not_believed(void **state) {
    (void)state;
    struct slot slot = loaded_slot();
    slot_ready(&slot, RUN);
    assert_false(slot.is_stale);
    assert_ptr_equal(slot.current, &slot.load.session);
    slot_done(&slot);
    slot = loaded_slot();
    slot_ready(&slot, "another");
    assert_true(slot.is_stale);
    assert_null(slot.current);
    slot_done(&slot);
    slot = loaded_slot();
    slot.load.session.run_id[0] = '\0'; /* as no engine writes it */
    slot_ready(&slot, RUN);
    assert_true(slot.is_stale);
    slot_done(&slot);
    slot = loaded_slot();
    slot.load.err = -ENOENT;
    slot_ready(&slot, RUN);
    assert_false(slot.is_stale);
    assert_null(slot.current);
    slot_done(&slot);
}

static struct store_entry entry_of(uint64_t version, const char *event) {
    return (struct store_entry){
        .version = version, .event = must_strdup(event), .event_len = strlen(event)};
}

static void test_a_rebuild_is_no_change_that_was_missed(void **state) {
    (void)state;
    struct slot slot = loaded_slot();
    slot.load.entries = must_alloc(4 * sizeof(*slot.load.entries));
    slot.load.entries[0] = entry_of(6, "{\"type\":\"session_rebuilt\",\"checksum\":\"\"}");
    slot.load.entries[1] = entry_of(7, "{\"type\":\"state_delta\"}");
    slot.load.entries[2] = entry_of(8, "{}");
    slot.load.entries[3] = entry_of(9, "");
    slot.load.n_entries = 4;
    slot_ready(&slot, RUN);
    assert_int_equal(slot.n_entries, 3);
    assert_int_equal(slot.entries[0].version, 7);
    slot_done(&slot);
}

static void test_a_command_that_looks_is_looked_for_among_the_keys(void **state) {
    (void)state;
    struct slot slot = new_slot();
    struct job jobs[] = {
        {.command.id = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001", .look_since = 0},
        {.command.id = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0002", .look_since = JOB_NO_LOOK},
        {.command.id = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0003", .look_since = 3, .key_hash = "key"},
    };
    for (size_t i = 0; i < N_ELEMENTS(jobs); i++)
        slot_add_job(&slot, &jobs[i], N_ELEMENTS(jobs));
    assert_int_equal(slot.load.n_key_hashes, 3);
    assert_string_equal(slot.load.key_hashes[0], job_hash_id(&jobs[0]));
    assert_string_equal(slot.load.key_hashes[1], job_hash_id(&jobs[2]));
    assert_string_equal(slot.load.key_hashes[2], "key");
    assert_int_equal(strlen(jobs[0].id_hash), HASH_HEX_LEN);
    assert_string_not_equal(jobs[0].id_hash, jobs[2].id_hash);
    slot_done(&slot);
}

static void test_the_usual_command_may_be_judged_on_a_kept_copy(void **state) {
    (void)state;
    json_auto_t *few = json_pack("[{ss}{ss}]", "op", "add", "op", "test");
    json_auto_t *dear = json_pack("[{ss}{ss}{ss}{ss}{ss}]", "op", "copy", "op", "test", "op",
                                  "copy", "op", "test", "op", "copy");
    json_auto_t *many = json_array();
    for (int i = 0; i < 257; i++)
        json_array_append_new(many, json_pack("{ss}", "op", "add"));
    struct job usual = {
        .look_since = JOB_NO_LOOK,
        .key_hash = "key",
        .command = {.kind = COMMAND_PATCH, .format = COMMAND_PATCH_OPERATIONS, .patch = few}};
    assert_true(slot_may_use_kept(&usual));
    struct job others[] = {usual, usual, usual, usual, usual, usual, usual};
    others[0].look_since = 0; /* it came again */
    others[1].needs_load = true;
    others[2].is_uncertain = true;
    others[3].command.kind = COMMAND_HEARTBEAT;
    others[4].command.kind = COMMAND_CREATE;
    others[5].command.patch = dear;
    others[6].command.patch = many;
    for (size_t i = 0; i < N_ELEMENTS(others); i++)
        assert_false(slot_may_use_kept(&others[i]));
}

static void test_a_kept_copy_settles_what_needs_no_window(void **state) {
    (void)state;
    struct session s = {
        .saver = OWN, .saver_since = NOW - 2000, .updated_at = NOW - 10, .position = {20, 1}};
    struct job j = {.command = {.kind = COMMAND_PATCH, .sent_at = NOW - 5, .has_base = true}};
    static const struct {
        struct position base;
        bool settles;
    } bases[] = {{{20, 1}, true}, {{19, 1}, false}, {{19, 2}, true}, {{21, 1}, true}};
    for (size_t i = 0; i < N_ELEMENTS(bases); i++) {
        j.command.base = bases[i].base;
        if (slot_is_settled_by(&s, &j, OWN, NOW) != bases[i].settles)
            fail_msg("base %zu", i);
    }
    j.command.has_base = false;
    assert_true(slot_is_settled_by(&s, &j, OWN, NOW));
    j.command.sent_at = NOW - 2000; /* another engine's version is not older */
    assert_false(slot_is_settled_by(&s, &j, OWN, NOW));
    j.command.sent_at = 0;
    assert_false(slot_is_settled_by(&s, &j, OWN, NOW));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_job_needs_the_state_and_the_usual_one_no_window),
        cmocka_unit_test(test_the_earliest_look_says_how_much_of_the_window),
        cmocka_unit_test(test_a_command_is_looked_for_in_what_others_saved_since_it_was_sent),
        cmocka_unit_test(test_the_oldest_command_says_how_far_to_look),
        cmocka_unit_test(test_a_window_is_short_while_its_first_entry_is_younger_than_the_command),
        cmocka_unit_test(test_a_window_is_whole_from_its_first_entry_on),
        cmocka_unit_test(test_what_a_batch_saves_is_known_to_its_later_jobs),
        cmocka_unit_test(test_it_is_looked_at_by_the_earliest_of_its_clocks_moments),
        cmocka_unit_test(test_both_versions_of_a_change_are_in_its_window),
        cmocka_unit_test(test_a_session_of_another_run_is_not_believed),
        cmocka_unit_test(test_a_rebuild_is_no_change_that_was_missed),
        cmocka_unit_test(test_a_command_that_looks_is_looked_for_among_the_keys),
        cmocka_unit_test(test_the_usual_command_may_be_judged_on_a_kept_copy),
        cmocka_unit_test(test_a_kept_copy_settles_what_needs_no_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
