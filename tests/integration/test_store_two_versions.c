/* Two versions of one save, such as a deadline that ends the session: both come, or none does, and
 * each is an entry of the window as any other. */
#include "tests/integration/store_batch_fixture.h"

static const char first_event[] = "{\"n\":1}", event[] = "{\"n\":2}";

/* The save of the session's version and of the one before it. */
static struct store_save both(const struct session *s, int64_t now) {
    struct store_save save = fixture_save(s, now);
    save.expected.version = s->position.version - 2;
    save.event = event;
    save.event_len = sizeof(event) - 1;
    save.first_event = first_event;
    save.first_event_len = sizeof(first_event) - 1;
    return save;
}

static void expect_entry(const struct store_entry *e, uint64_t version, const char *expected) {
    assert_int_equal(e->version, version);
    assert_int_equal(e->time, 6);
    assert_string_equal(e->command_id, FIXTURE_COMMAND);
    assert_int_equal(e->event_len, strlen(expected));
    assert_memory_equal(e->event, expected, e->event_len);
}

static void test_both_are_entries_and_what_is_beside_them_is_the_lasts(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_session(s);
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_SAVED);
    s->position.version = 3;
    struct store_save save = both(s, 6);
    save.extra = "[]";
    save.snapshot_id = FIXTURE_COMMAND;
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    struct store_load l = fixture_load(f->batch, s->id, true, NULL, 0);
    assert_int_equal(l.err, 0);
    assert_int_equal(l.session.position.version, 3);
    assert_int_equal(l.n_entries, 3);
    expect_entry(&l.entries[1], 2, first_event);
    expect_entry(&l.entries[2], 3, event);
    assert_null(l.entries[1].extra);
    assert_string_equal(l.entries[1].snapshot_id, "");
    assert_string_equal(l.entries[2].extra, "[]");
    assert_string_equal(l.entries[2].snapshot_id, FIXTURE_COMMAND);
    assert_int_equal(FIXTURE_NUMBER(f->redis, "HGET session:{%s}:meta deltaBytes", s->id),
                     fixture_window_bytes(f->redis, s));
    store_load_done(&l);
    fixture_mark(f->batch, s, 1, 2, true); /* each may be confirmed alone */
    assert_string_equal(fixture_ask(f->redis, "HGET session:{%s}:meta published", s->id), "2");
    fixture_mark(f->batch, s, 3, 3, true);
    assert_string_equal(fixture_ask(f->redis, "HGET session:{%s}:meta published", s->id), "3");
}

static void test_a_lost_save_leaves_neither(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    s->position.version = 2;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 6)), STORE_SAVED);
    s->position.version = 3;
    assert_int_equal(fixture_save_one(f->batch, both(s, 6)), STORE_LOST);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 2);
    assert_int_equal(fixture_version(f->batch, s->id), 2);
}

static void test_the_next_save_of_the_batch_builds_on_both(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    struct session third = *s, fourth = *s; /* borrow */
    third.position.version = 3;
    fourth.position.version = 4;
    struct store_save saves[] = {both(&third, 6), fixture_save(&fourth, 6)};
    assert_int_equal(store_batch_save(f->batch, saves, 2, NULL, 0, NULL, 0), 0);
    assert_int_equal(saves[0].result, STORE_SAVED);
    assert_int_equal(saves[1].result, STORE_SAVED);
    assert_int_equal(fixture_version(f->batch, s->id), 4);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 4);
}

static void test_both_have_room_or_the_window_is_full(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    assert_int_equal(fixture_advance(f->batch, s, 999, 5, false), STORE_SAVED);
    s->position.version = 1001;
    assert_int_equal(fixture_save_one(f->batch, both(s, 5)), STORE_FULL);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 999);
    s->position.version = 999;
    fixture_mark(f->batch, s, 1, 1, true);
    s->position.version = 1001;
    assert_int_equal(fixture_save_one(f->batch, both(s, 5)), STORE_SAVED);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 1001); /* too young to go */
    s->position.version = 1002;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_FULL);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_free)
    const struct CMUnitTest tests[] = {
        TEST(test_both_are_entries_and_what_is_beside_them_is_the_lasts),
        TEST(test_a_lost_save_leaves_neither),
        TEST(test_the_next_save_of_the_batch_builds_on_both),
        TEST(test_both_have_room_or_the_window_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
