/* Saves that were made from what their engine kept of a session (docs/decisions/0014): what they
 * compare, and that what they leave out is in Redis already. */
#include "tests/integration/store_batch_fixture.h"

/* s as its last save left it, and the next version of it. */
static struct store_save next_save(struct session *s, struct session *before,
                                   const struct store_save *last) {
    session_done(before);
    session_copy(s, before);
    s->position.version++;
    struct store_save save = fixture_save(s, 5);
    save.before = before;
    save.token = last->saved_token;
    return save;
}

static enum store_save_result save_it(struct fixture *f, struct store_save *save) {
    assert_int_equal(store_batch_save(f->batch, save, 1, NULL, 0, NULL, 0), 0);
    return save->result;
}

static struct store_save save_first(struct fixture *f, struct session *s) {
    fixture_session(s);
    struct store_save first = fixture_save(s, 5);
    assert_int_equal(save_it(f, &first), STORE_SAVED);
    return first;
}

static void test_a_save_leaves_the_token_that_it_tells(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session, before = {0};
    struct store_save first = save_first(f, s);
    struct store_load l = fixture_load(f->batch, s->id, false, NULL, 0);
    assert_string_equal(l.token, first.saved_token);
    store_load_done(&l);
    struct store_save second = next_save(s, &before, &first);
    assert_int_equal(save_it(f, &second), STORE_SAVED);
    assert_string_not_equal(second.saved_token, first.saved_token);
    l = fixture_load(f->batch, s->id, false, NULL, 0);
    assert_string_equal(l.token, second.saved_token);
    store_load_done(&l);
    session_done(&before);
}

/* Everything that a later save would write over, or was judged on, without the position telling. */
static void test_a_save_from_an_older_copy_is_lost(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session, before = {0}, theirs;
    struct store_save first = save_first(f, s);
    struct store_save save = next_save(s, &before, &first);

    fixture_ask(f->redis, "HSET session:{%s}:meta token other:1", s->id); /* made hot again */
    assert_int_equal(save_it(f, &save), STORE_LOST);
    fixture_ask(f->redis, "HSET session:{%s}:meta token %s", s->id, first.saved_token);

    session_copy(&before, &theirs); /* a warning was told */
    theirs.clock_told = theirs.clock_at = 7;
    struct store_save told = fixture_save(&theirs, 5);
    told.event = NULL;
    told.expected = before.position;
    told.tells_clock = true;
    assert_int_equal(save_it(f, &told), STORE_SAVED);
    assert_int_equal(save_it(f, &save), STORE_LOST);
    save.before = &theirs;
    save.token = told.saved_token;
    assert_int_equal(save_it(f, &save), STORE_SAVED);

    fixture_ask(f->redis, "DEL session:{%s}:meta", s->id); /* cold, or lost */
    struct store_save next = next_save(s, &before, &save);
    assert_int_equal(save_it(f, &next), STORE_LOST);
    session_done(&theirs);
    session_done(&before);
}

static void test_a_save_from_a_copy_needs_the_state(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session, before = {0};
    struct store_save first = save_first(f, s);
    struct store_save save = next_save(s, &before, &first);
    save.is_unseen = true;
    fixture_ask(f->redis, "DEL session:{%s}:state", s->id);
    assert_int_equal(save_it(f, &save), STORE_LOST);
    save.is_unseen = false;
    assert_int_equal(save_it(f, &save), STORE_SAVED);
    session_done(&before);
}

static void test_a_heartbeat_leaves_copies_as_they_are(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session, before = {0};
    struct store_save first = save_first(f, s);
    struct store_save heartbeat = fixture_save(s, 5);
    heartbeat.event = NULL;
    heartbeat.expected = s->position;
    assert_int_equal(save_it(f, &heartbeat), STORE_SAVED);
    struct store_save save = next_save(s, &before, &first);
    assert_int_equal(save_it(f, &save), STORE_SAVED);
    session_done(&before);
}

/* Beside a full write: the same fields, whichever they are that changed. */
static void test_what_differs_is_written_and_nothing_is_left_old(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session, before = {0};
    struct store_save first = save_first(f, s);
    fixture_ask(f->redis, "HSET session:{%s}:meta cooling mark published 1", s->id);
    struct store_save save = next_save(s, &before, &first);
    free(s->name);
    s->name = must_strdup("another name");
    s->status = SESSION_PAUSED;
    s->active_device[0] = '\0';
    s->participants = must_strdup(",0190aaaa-bbbb-7ccc-8ddd-eeeeffff0009:editor,");
    s->updated_at = s->touched_at = 1770897700000;
    assert_int_equal(save_it(f, &save), STORE_SAVED);
    struct store_load l = fixture_load(f->batch, s->id, false, NULL, 0);
    const struct session *r = &l.session;
    assert_int_equal(r->position.version, 2);
    assert_string_equal(r->name, "another name");
    assert_int_equal(r->status, SESSION_PAUSED);
    assert_string_equal(r->active_device, "");
    assert_string_equal(r->last_active_device, s->last_active_device);
    assert_string_equal(r->participants, s->participants);
    assert_int_equal(r->updated_at, s->updated_at);
    assert_int_equal(r->touched_at, s->touched_at);
    assert_string_equal(r->cooling, "");
    assert_int_equal(r->published, 1);
    assert_int_equal(r->ttl_seconds, s->ttl_seconds);
    store_load_done(&l);
    session_done(&before);
}

static void test_a_key_that_was_not_looked_for_is_seen(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session, before = {0};
    struct store_save first = save_first(f, s);
    struct store_save save = next_save(s, &before, &first);
    save.key_hash = FIXTURE_HASH;
    save.fingerprint = FIXTURE_PRINT;
    save.is_unseen = true;
    save.now = timestamp_wall_ms();
    assert_int_equal(save_it(f, &save), STORE_SAVED);
    struct store_save again = next_save(s, &before, &save);
    again.key_hash = FIXTURE_HASH;
    again.fingerprint = FIXTURE_PRINT;
    again.is_unseen = true;
    assert_int_equal(save_it(f, &again), STORE_SEEN);
    assert_int_equal(fixture_version(f->batch, s->id), 2);
    again.is_unseen = false; /* looked for: it is a day old */
    again.now = save.now;
    assert_int_equal(save_it(f, &again), STORE_SAVED);
    session_done(&before);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_free)
    const struct CMUnitTest tests[] = {
        TEST(test_a_save_leaves_the_token_that_it_tells),
        TEST(test_a_save_from_an_older_copy_is_lost),
        TEST(test_a_save_from_a_copy_needs_the_state),
        TEST(test_a_heartbeat_leaves_copies_as_they_are),
        TEST(test_what_differs_is_written_and_nothing_is_left_old),
        TEST(test_a_key_that_was_not_looked_for_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
