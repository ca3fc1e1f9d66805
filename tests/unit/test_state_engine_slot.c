/* A session within a batch: what its jobs need loaded, and what is known of their commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_job_needs_the_state_and_the_usual_one_no_window),
        cmocka_unit_test(test_the_earliest_look_says_how_much_of_the_window),
        cmocka_unit_test(test_a_window_is_whole_from_its_first_entry_on),
        cmocka_unit_test(test_what_a_batch_saves_is_known_to_its_later_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
