/* The engine's border to Redis against a real one: what is saved is what is loaded, and no save
 * ever takes effect beside another. */
#include <errno.h>

#include "tests/integration/store_batch_fixture.h"

/* ---- round trip ---- */

static void test_every_field_survives_the_round_trip(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_session(s);
    s->completed_at = 1770897600002;
    s->status = SESSION_COMPLETED;
    memcpy(s->saver, store_batch_saver(f->batch), sizeof(s->saver));
    s->saver_since = 1770897600003;
    struct store_save save = fixture_save(s, 1770897600009);
    save.extra = "[{\"type\":\"device_joined\"}]";
    save.snapshot_id = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0002";
    save.key_hash = FIXTURE_HASH;
    save.fingerprint = FIXTURE_PRINT;
    save.now = timestamp_wall_ms();
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);

    const char *hashes[] = {FIXTURE_HASH, FIXTURE_PRINT};
    struct store_load l = fixture_load(f->batch, s->id, true, hashes, 2);
    assert_int_equal(l.err, 0);
    const struct session *r = &l.session;
    assert_string_equal(r->id, s->id);
    assert_string_equal(r->user_id, s->user_id);
    assert_string_equal(r->name, s->name);
    assert_string_equal(r->type, s->type);
    assert_int_equal(r->status, s->status);
    assert_true(position_equal(r->position, s->position));
    assert_int_equal(r->created_at, s->created_at);
    assert_int_equal(r->updated_at, s->updated_at);
    assert_int_equal(r->completed_at, s->completed_at);
    assert_int_equal(r->touched_at, s->touched_at);
    assert_int_equal(r->ttl_seconds, s->ttl_seconds);
    assert_int_equal(r->on_idle, s->on_idle);
    assert_string_equal(r->active_device, s->active_device);
    assert_string_equal(r->last_active_device, s->last_active_device);
    assert_int_equal(r->last_modified, s->last_modified);
    assert_string_equal(r->modified_by, s->modified_by);
    assert_int_equal(r->data_len, s->data_len);
    assert_memory_equal(r->data_text, s->data_text, s->data_len);
    assert_string_equal(r->checksum, s->checksum);
    assert_int_equal(session_verify(r), 0);
    assert_false(r->deleted);
    assert_int_equal(r->published, 0);
    assert_string_equal(r->snapshots, s->snapshots);
    assert_string_equal(r->run_id, s->run_id);
    assert_string_equal(r->cooling, "");
    assert_string_equal(r->saver, s->saver);
    assert_int_equal(r->saver_since, s->saver_since);

    assert_int_equal(l.n_entries, 1);
    assert_int_equal(l.entries[0].version, 1);
    assert_int_equal(l.entries[0].time, save.now);
    assert_string_equal(l.entries[0].command_id, FIXTURE_COMMAND);
    assert_string_equal(l.entries[0].event, save.event);
    assert_int_equal(l.entries[0].event_len, save.event_len);
    assert_string_equal(l.entries[0].extra, save.extra);
    assert_string_equal(l.entries[0].snapshot_id, save.snapshot_id);

    assert_true(l.idems[0].found);
    assert_string_equal(l.idems[0].fingerprint, FIXTURE_PRINT);
    assert_true(position_equal(l.idems[0].position, s->position));
    assert_string_equal(l.idems[0].checksum, s->checksum);
    assert_false(l.idems[1].found);
    store_load_done(&l);
}

static void test_load_tells_absent_from_impossible(void **state) {
    struct fixture *f = *state;
    struct session s[5];
    struct store_load l[6] = {0};
    for (int i = 0; i < 5; i++) {
        fixture_create(f->batch, &s[i]);
        l[i].wants_state = true;
        fixture_set_id(l[i].session_id, s[i].id);
    }
    uuid_v4(l[5].session_id);
    fixture_ask(f->redis, "DEL session:{%s}:state", s[1].id);
    fixture_ask(f->redis, "SET session:{%s}:meta x", s[2].id);
    fixture_ask(f->redis, "HSET session:{%s}:meta epoch x", s[3].id);
    fixture_ask(f->redis, "DEL session:{%s}:deltas", s[4].id);
    fixture_ask(f->redis, "SET session:{%s}:deltas x", s[4].id);
    l[4].wants_deltas = true;
    int64_t now = 0;
    assert_int_equal(store_batch_load(f->batch, l, 6, &now), 0);
    assert_true(llabs((long long)(now - timestamp_wall_ms())) < 5000);
    static const int expected[] = {0, -EBADMSG, -EBADMSG, -EBADMSG, -EBADMSG, -ENOENT};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(l[i].err, expected[i]);
        store_load_done(&l[i]);
    }
    for (int i = 0; i < 5; i++)
        session_done(&s[i]);
}

static void test_status_change_keeps_the_state_and_meta_has_the_position(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    s->position.version = 2;
    s->status = SESSION_PAUSED;
    s->active_device[0] = '\0';
    struct store_save save = fixture_save(s, 5);
    save.writes_state = false;
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    struct store_load l = fixture_load(f->batch, s->id, false, NULL, 0);
    assert_int_equal(l.err, 0);
    assert_int_equal(l.session.position.version, 2);
    assert_int_equal(l.session.status, SESSION_PAUSED);
    assert_string_equal(l.session.active_device, "");
    assert_memory_equal(l.session.data_text, s->data_text, s->data_len);
    store_load_done(&l);
}

static void test_deltas_since_come_in_order(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    assert_int_equal(fixture_advance(f->batch, s, 12, 5, false), STORE_SAVED);
    static const uint64_t since[] = {0, 9, 12, 500, UINT64_MAX};
    static const size_t expected[] = {12, 3, 0, 0, 0};
    for (size_t i = 0; i < N_ELEMENTS(since); i++) {
        struct store_load l = {.wants_deltas = true, .deltas_since = since[i]};
        int64_t now;
        fixture_set_id(l.session_id, s->id);
        assert_int_equal(store_batch_load(f->batch, &l, 1, &now), 0);
        assert_int_equal(l.err, 0);
        assert_int_equal(l.n_entries, expected[i]);
        for (size_t j = 0; j < l.n_entries; j++)
            assert_int_equal(l.entries[j].version, since[i] + 1 + j);
        store_load_done(&l);
    }
}

/* For who publishes it when its engine died: of a sampled trace, and of both versions that a save
 * makes. */
static void test_an_entry_keeps_a_trace_that_is_sampled(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    struct trace_context trace;
    fixture_create(f->batch, s);
    for (int is_sampled = 0; is_sampled < 2; is_sampled++) {
        trace_context_take("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &trace);
        trace.is_sampled = is_sampled;
        s->position.version += 2;
        struct store_save save = fixture_save(s, 5);
        save.expected.version = s->position.version - 2;
        save.first_event = save.event;
        save.first_event_len = save.event_len;
        save.trace = &trace;
        assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    }
    struct store_load l = {.wants_deltas = true};
    int64_t now;
    fixture_set_id(l.session_id, s->id);
    assert_int_equal(store_batch_load(f->batch, &l, 1, &now), 0);
    assert_int_equal(l.n_entries, 5);
    for (size_t i = 0; i < 3; i++)
        assert_false(l.entries[i].trace.is_set);
    for (size_t i = 3; i < 5; i++)
        assert_memory_equal(&l.entries[i].trace, &trace, sizeof(trace));
    store_load_done(&l);
}

/* ---- compare and set ---- */

static void test_save_from_another_position_is_lost(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)),
                     STORE_LOST); /* created twice */
    s->position.version = 2;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_SAVED);
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_LOST);
    struct store_save save = fixture_save(s, 5);
    save.expected = (struct position){2, 2};
    s->position.version = 3;
    assert_int_equal(fixture_save_one(f->batch, save), STORE_LOST); /* another epoch */
    s->position.version = 4;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_LOST); /* ahead */
    assert_int_equal(fixture_version(f->batch, s->id), 2);
}

static void test_saves_of_one_session_in_a_pipeline_build_on_each_other(void **state) {
    struct fixture *f = *state;
    struct session s[3];
    fixture_create(f->batch, &s[0]);
    struct store_save saves[3];
    for (int i = 0; i < 3; i++) {
        if (i)
            session_copy(&s[0], &s[i]);
        s[i].position.version = 2 + (uint64_t)i;
        saves[i] = fixture_save(&s[i], 5);
    }
    assert_int_equal(store_batch_save(f->batch, saves, 3, NULL, 0, NULL, 0), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(saves[i].result, STORE_SAVED);
    assert_int_equal(fixture_version(f->batch, s[0].id), 4);
    for (int i = 0; i < 3; i++)
        session_done(&s[i]);
}

/* The first of a chain loses to another engine's version 2: the second, which expects version 2,
 * must not be written over that one. */
static void test_a_chain_whose_first_lost_is_lost_as_a_whole(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session, theirs, next;
    struct store_batch *other = fixture_batch();
    fixture_create(f->batch, s);
    session_copy(s, &theirs);
    theirs.position.version = 2;
    strcpy(theirs.modified_by, "theirs");
    assert_int_equal(fixture_save_one(other, fixture_save(&theirs, 5)), STORE_SAVED);
    session_copy(s, &next);
    s->position.version = 2;
    next.position.version = 3;
    struct store_save saves[] = {fixture_save(s, 5), fixture_save(&next, 5)};
    assert_int_equal(store_batch_save(f->batch, saves, 2, NULL, 0, NULL, 0), 0);
    assert_int_equal(saves[0].result, STORE_LOST);
    assert_int_equal(saves[1].result, STORE_LOST);
    struct store_load l = fixture_load(f->batch, s->id, false, NULL, 0);
    assert_int_equal(l.session.position.version, 2);
    assert_string_equal(l.session.modified_by, "theirs");
    store_load_done(&l);
    session_done(&theirs);
    session_done(&next);
    store_batch_free(other);
}

static void test_heartbeat_touches_only_and_keeps_the_chain(void **state) {
    struct fixture *f = *state;
    struct session s[3];
    fixture_create(f->batch, &s[0]);
    fixture_ask(f->redis, "HSET session:{%s}:meta cooling mark", s[0].id);
    struct store_save saves[3];
    for (int i = 1; i < 3; i++)
        session_copy(&s[0], &s[i]);
    s[0].position.version = 2;
    saves[0] = fixture_save(&s[0], 5);
    s[1].position.version = 2;
    s[1].touched_at = 1770999999999;
    s[1].status = SESSION_PAUSED; /* must not be written */
    saves[1] = fixture_save(&s[1], 5);
    saves[1].event = NULL;
    saves[1].expected.version = 2;
    s[2].position.version = 3;
    s[2].touched_at = 1770999999999;
    saves[2] = fixture_save(&s[2], 5);
    assert_int_equal(store_batch_save(f->batch, saves, 2, NULL, 0, NULL, 0), 0);
    struct store_load l = fixture_load(f->batch, s[0].id, true, NULL, 0);
    assert_int_equal(l.session.touched_at, 1770999999999);
    assert_int_equal(l.session.status, SESSION_ACTIVE);
    assert_string_equal(l.session.cooling, "");
    assert_int_equal(l.n_entries, 2);
    store_load_done(&l);
    assert_int_equal(store_batch_save(f->batch, saves, 3, NULL, 0, NULL, 0), 0);
    assert_int_equal(saves[0].result, STORE_LOST); /* the same once more */
    assert_int_equal(saves[2].result, STORE_LOST);
    for (int i = 0; i < 3; i++)
        session_done(&s[i]);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_free)
    const struct CMUnitTest tests[] = {
        TEST(test_every_field_survives_the_round_trip),
        TEST(test_load_tells_absent_from_impossible),
        TEST(test_status_change_keeps_the_state_and_meta_has_the_position),
        TEST(test_deltas_since_come_in_order),
        TEST(test_an_entry_keeps_a_trace_that_is_sampled),
        TEST(test_save_from_another_position_is_lost),
        TEST(test_saves_of_one_session_in_a_pipeline_build_on_each_other),
        TEST(test_a_chain_whose_first_lost_is_lost_as_a_whole),
        TEST(test_heartbeat_touches_only_and_keeps_the_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
