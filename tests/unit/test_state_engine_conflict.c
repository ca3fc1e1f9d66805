/* What a conflict shows, at its bounds, and which patches merge although the base has moved on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "proto/text.h"
#include "services/state_engine/apply_private.h"
#include "tests/unit/golden_session.h"

#define MOST_EVENTS 128

/* A session at version 1 + n, and the n events that led there from version 1. */
struct world {
    struct session session;
    struct window_entry entries[MOST_EVENTS];
    char *texts[MOST_EVENTS]; /* owned: what the entries borrow */
    struct window window;
};

static char *event_of(const char *path, size_t value_len) {
    struct buf out = BUF_NULL;
    buf_printf(&out, "{\"operations\":[{\"op\":\"add\",\"path\":\"%s\",\"value\":\"", path);
    for (size_t i = 0; i < value_len; i++)
        buf_putc(&out, 'x');
    buf_puts(&out, "\"}]}");
    return buf_take(&out);
}

static size_t event_overhead(const char *path) {
    _cleanup_(freep) char *event = event_of(path, 0);
    return strlen(event);
}

static struct world *world_new(void) {
    struct world *w = must_alloc(sizeof(*w));
    w->session = golden_session();
    w->session.position.version = 1;
    w->window.entries = w->entries;
    return w;
}

static void add_event(struct world *w, const char *path, size_t value_len) {
    size_t i = w->window.n_entries++;
    w->texts[i] = event_of(path, value_len);
    w->entries[i] =
        (struct window_entry){++w->session.position.version, w->texts[i], strlen(w->texts[i])};
}

static void world_free(struct world *w) {
    for (size_t i = 0; i < MOST_EVENTS; i++)
        free(w->texts[i]);
    session_done(&w->session);
    free(w);
}

static json_t *conflict(const struct world *w, bool is_known, uint64_t since) {
    _cleanup_(freep) char *text =
        conflict_print(&w->session, SESSION_ROLE_OWNER, is_known, since, &w->window);
    json_t *value = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &value, &f), 0);
    assert_int_equal(json_number_value(json_object_get(value, "currentVersion")),
                     w->session.position.version);
    assert_true(!json_object_get(value, "deltas") != !json_object_get(value, "session"));
    return value;
}

/* How many deltas are shown; -1: the session is. */
static int n_deltas(const struct world *w, bool is_known, uint64_t since) {
    json_auto_t *shown = conflict(w, is_known, since);
    const json_t *deltas = json_object_get(shown, "deltas");
    return deltas ? (int)json_array_size(deltas) : -1;
}

static void test_a_hundred_deltas_are_shown_and_not_one_more(void **state) {
    (void)state;
    struct world *w = world_new();
    for (size_t i = 0; i < 100; i++)
        add_event(w, "/data/a", 1);
    assert_int_equal(n_deltas(w, true, 1), 100);
    assert_int_equal(n_deltas(w, true, 100), 1);
    assert_int_equal(n_deltas(w, true, 101), 0);
    add_event(w, "/data/a", 1);
    assert_int_equal(n_deltas(w, true, 1), -1);
    assert_int_equal(n_deltas(w, true, 2), 100);
    world_free(w);
}

/* The array's text has at most 64 KiB, brackets and commas counted. */
static int n_deltas_of_size(size_t text_len) {
    struct world *w = world_new();
    size_t rest = text_len - strlen("[,]") - 2 * event_overhead("/data/a");
    add_event(w, "/data/a", 10);
    add_event(w, "/data/a", rest - 10);
    int n = n_deltas(w, true, 1);
    world_free(w);
    return n;
}

static void test_64_kib_of_deltas_are_shown_and_not_a_byte_more(void **state) {
    (void)state;
    assert_int_equal(n_deltas_of_size(CONFLICT_MAX_DELTAS_BYTES), 2);
    assert_int_equal(n_deltas_of_size(CONFLICT_MAX_DELTAS_BYTES + 1), -1);
}

static void test_a_window_that_does_not_reach_back_shows_the_session(void **state) {
    (void)state;
    struct world *w = world_new();
    for (size_t i = 0; i < 5; i++)
        add_event(w, "/data/a", 1);
    assert_int_equal(n_deltas(w, false, 0), -1);
    assert_int_equal(n_deltas(w, true, 1), 5);
    w->window.n_entries--; /* the newest is missing */
    assert_int_equal(n_deltas(w, true, 1), -1);
    w->window.n_entries++;
    w->window.entries++; /* the oldest is */
    w->window.n_entries--;
    assert_int_equal(n_deltas(w, true, 1), -1);
    assert_int_equal(n_deltas(w, true, 2), 4);
    world_free(w);
}

/* ---- merging ---- */

static bool is_disjoint(const struct world *w, uint64_t base, const char *path) {
    json_auto_t *operations = json_pack("[{s:s, s:s, s:i}]", "op", "add", "path", path, "value", 1);
    return patch_is_disjoint(&w->session, (struct position){base, 1}, operations, &w->window);
}

static void test_every_missed_event_counts(void **state) {
    (void)state;
    struct world *w = world_new();
    for (size_t i = 0; i < 50; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/data/m%zu", i);
        add_event(w, path, 1);
    }
    assert_true(is_disjoint(w, 1, "/data/other"));
    assert_false(is_disjoint(w, 1, "/data/m0"));
    assert_false(is_disjoint(w, 1, "/data/m49"));
    assert_true(is_disjoint(w, 2, "/data/m0"));
    assert_false(is_disjoint(w, 52, "/data/other"));
    world_free(w);
}

/* What takes an engine too long to read is a conflict: at most 2 MiB of events. */
static void test_a_missed_part_that_is_too_large_is_a_conflict(void **state) {
    (void)state;
    struct world *w = world_new();
    for (size_t i = 0; i < 4; i++)
        add_event(w, "/data/a", (512u << 10) - event_overhead("/data/a"));
    assert_true(is_disjoint(w, 1, "/data/b"));
    add_event(w, "/data/a", 1);
    assert_false(is_disjoint(w, 1, "/data/b"));
    assert_true(is_disjoint(w, 2, "/data/b"));
    world_free(w);
}

static struct command patch_command(bool disjoint, uint64_t base) {
    return (struct command){.kind = COMMAND_PATCH,
                            .has_base = true,
                            .base = {base, 1},
                            .disjoint = disjoint,
                            .rights = COMMAND_WRITE};
}

/* Beyond what a conflict may show the window is not read, but to merge. */
static void test_the_window_is_read_only_when_it_can_be_used(void **state) {
    (void)state;
    struct session s = golden_session();
    uint64_t since = 0;
    s.position.version = 201;
    struct command c = patch_command(false, 100);
    assert_false(apply_window_since(&s, &c, &since));
    c = patch_command(false, 101);
    assert_true(apply_window_since(&s, &c, &since));
    assert_int_equal(since, 101);
    c = patch_command(true, 1);
    assert_true(apply_window_since(&s, &c, &since));
    assert_int_equal(since, 1);
    c = patch_command(true, 201);
    assert_false(apply_window_since(&s, &c, &since));
    session_done(&s);
}

/* It names no operations that could be held against the missed ones. */
static void test_a_merge_patch_is_never_taken_for_disjoint(void **state) {
    (void)state;
    struct world *w = world_new();
    add_event(w, "/data/a", 1);
    struct command c = patch_command(true, 1);
    c.format = COMMAND_PATCH_MERGE;
    c.patch = json_pack("{s:{s:i}}", "data", "a", 2);
    strcpy(c.user_id, w->session.user_id);
    struct apply_context context = {.now = 1, .snapshot_every = 50, .window = w->window};
    struct change change = {0};
    struct fault f;
    _cleanup_(freep) char *shown = NULL;
    assert_int_equal(session_apply(&w->session, &c, &context, &change, &f, &shown),
                     FAULT_VERSION_CONFLICT);
    command_done(&c);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hundred_deltas_are_shown_and_not_one_more),
        cmocka_unit_test(test_64_kib_of_deltas_are_shown_and_not_a_byte_more),
        cmocka_unit_test(test_a_window_that_does_not_reach_back_shows_the_session),
        cmocka_unit_test(test_every_missed_event_counts),
        cmocka_unit_test(test_a_missed_part_that_is_too_large_is_a_conflict),
        cmocka_unit_test(test_the_window_is_read_only_when_it_can_be_used),
        cmocka_unit_test(test_a_merge_patch_is_never_taken_for_disjoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
