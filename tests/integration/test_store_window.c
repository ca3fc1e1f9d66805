/* What a session's keys hold and for how long: the delta window and its marks, snapshots,
 * idempotency keys, and what a deletion leaves. */
#include <errno.h>

#include "tests/integration/store_batch_fixture.h"

static void expect_published(struct fixture *f, const char *expected) {
    assert_string_equal(fixture_ask(f->redis, "HGET session:{%s}:meta published", f->session.id),
                        expected);
}

static void expect_bytes_are_counted(struct fixture *f) {
    assert_int_equal(FIXTURE_NUMBER(f->redis, "HGET session:{%s}:meta deltaBytes", f->session.id),
                     fixture_window_bytes(f->redis, &f->session));
}

/* ---- window ---- */

static void test_a_thousand_unpublished_versions_are_full(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    assert_int_equal(fixture_advance(f->batch, s, 1000, 5, false), STORE_SAVED);
    s->position.version = 1001;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_FULL);
    assert_int_equal(fixture_version(f->batch, s->id), 1000);
    s->position.version = 1000;
    fixture_mark(f->batch, s, 2, 3, true); /* remembered: nobody confirmed 1 */
    s->position.version = 1001;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_FULL);
    s->position.version = 1000;
    fixture_mark(f->batch, s, 1, 1, true);
    for (s->position.version = 1001; s->position.version <= 1003; s->position.version++)
        assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_SAVED);
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_FULL);
}

static void test_window_is_trimmed_to_a_thousand_entries_when_they_may_go(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    const int64_t then = 1770897600000;
    fixture_session(s);
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, then)), STORE_SAVED);
    fixture_mark(f->batch, s, 1, 1, true);
    assert_int_equal(fixture_advance(f->batch, s, 1100, then, true), STORE_SAVED);
    assert_int_equal(fixture_advance(f->batch, s, 1150, then + 14999, false), STORE_SAVED);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 1150); /* too young to go */
    s->position.version++;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, then + 15000)), STORE_SAVED);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 1151 - 64); /* a save trims 64 at most */
    assert_int_equal(fixture_advance(f->batch, s, 1160, then + 15000, false), STORE_SAVED);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 1000);
    assert_int_equal(fixture_advance(f->batch, s, 2099, then + 15000, false), STORE_SAVED);
    /* 1101 … are not published: they stay, young or old */
    s->position.version++;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, then + 60000)), STORE_SAVED);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 1000);
    s->position.version++;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, then + 60000)), STORE_FULL);
    expect_bytes_are_counted(f);
}

static void test_window_is_trimmed_to_a_mebibyte_and_full_at_sixteen(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    const int64_t then = 1770897600000;
    static char event[512 << 10];
    memset(event, 'e', sizeof(event));
    fixture_session(s);
    int n_saved = 0;
    for (;; n_saved++, s->position.version++) {
        struct store_save save = fixture_save(s, then);
        save.event = event;
        save.event_len = sizeof(event);
        enum store_save_result result = fixture_save_one(f->batch, save);
        fixture_mark(f->batch, s, s->position.version, s->position.version, true);
        if (result == STORE_FULL)
            break;
        assert_int_equal(result, STORE_SAVED);
        assert_true(n_saved < 40);
    }
    assert_int_equal(n_saved, 31); /* 32 and their ids are over 16 MiB */
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, then)),
                     STORE_SAVED); /* a small one fits */
    fixture_mark(f->batch, s, s->position.version, s->position.version, true);
    s->position.version++;
    struct store_save save = fixture_save(s, then + 15000);
    save.event = event;
    save.event_len = sizeof(event);
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    assert_true(fixture_window_bytes(f->redis, s) <= 1 << 20);
    expect_bytes_are_counted(f);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 2);
}

/* Who is to publish them finds them here. */
static void test_what_is_not_published_stays_however_large_and_old(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    const int64_t then = 1770897600000;
    static char event[512 << 10];
    memset(event, 'e', sizeof(event));
    fixture_session(s);
    for (; s->position.version <= 5; s->position.version++) {
        struct store_save save = fixture_save(s, then + (int64_t)s->position.version * 60000);
        save.event = event;
        save.event_len = sizeof(event);
        assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    }
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s), 5);
    s->position.version = 5;
    fixture_mark(f->batch, s, 1, 3, true);
    s->position.version = 6;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, then + 600000)), STORE_SAVED);
    assert_int_equal(FIXTURE_WINDOW_LENGTH(f->redis, s),
                     3); /* 4 and 5 are over the bound, and stay */
    expect_bytes_are_counted(f);
}

/* 16 MiB of small old entries: one save may trim 64 of them, too few for a big event. It is
 * refused, but trims, so that a later one gets through. */
static void test_a_full_window_of_small_entries_does_not_stay_full(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    const int64_t then = 1770897600000;
    static char event[640 << 10];
    memset(event, 'e', sizeof(event));
    fixture_session(s);
    for (; s->position.version <= 2000; s->position.version++) {
        struct store_save save = fixture_save(s, then);
        save.event = event;
        save.event_len = 8000;
        save.writes_state = false;
        assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
        fixture_mark(f->batch, s, s->position.version, s->position.version, true);
    }
    fixture_ask(f->redis, "HSET session:{%s}:meta deltaBytes %ld", s->id,
                fixture_window_bytes(f->redis, s) + 700000); /* as if they were bigger */
    struct store_save save = fixture_save(s, then + 15000);
    save.event = event;
    save.event_len = sizeof(event);
    assert_int_equal(fixture_save_one(f->batch, save), STORE_FULL);
    int n_refused = 1;
    while (fixture_save_one(f->batch, save) == STORE_FULL)
        assert_true(++n_refused < 10);
    assert_int_equal(fixture_version(f->batch, s->id), 2001);
}

/* Two engines that write one session in turns confirm every other run. */
static void test_runs_of_several_engines_come_together(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    assert_int_equal(fixture_advance(f->batch, s, 20, 5, false), STORE_SAVED);
    for (uint64_t v = 20; v > 1; v -= 2)
        fixture_mark(f->batch, s, v, v, true);
    s->position.epoch = 2;
    fixture_mark(f->batch, s, 3, 3, true); /* of another epoch: nothing is noted */
    s->position.epoch = 1;
    expect_published(f, "0");
    for (uint64_t v = 3; v < 20; v += 2)
        fixture_mark(f->batch, s, v, v, true);
    expect_published(f, "0");
    fixture_mark(f->batch, s, 1, 1, true);
    expect_published(f, "20");
    assert_string_equal(fixture_ask(f->redis, "EXISTS session:{%s}:confirmed", s->id), "0");
}

/* What is remembered has a bound; past it the engine asks again. */
static void test_remembered_runs_are_bounded(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    assert_int_equal(fixture_advance(f->batch, s, 10, 5, false), STORE_SAVED);
    for (int i = 0; i < 1000; i++)
        fixture_ask(f->redis, "ZADD session:{%s}:confirmed 5 1:5-%d", s->id, 5 + i);
    fixture_mark(f->batch, s, 7, 8, false);
    fixture_ask(f->redis, "ZREM session:{%s}:confirmed 1:5-900", s->id);
    fixture_mark(f->batch, s, 7, 8, true);
}

static void test_mark_moves_forward_only_in_its_epoch(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    assert_int_equal(fixture_advance(f->batch, s, 10, 5, false), STORE_SAVED);
    fixture_mark(f->batch, s, 1, 5, true);
    fixture_mark(f->batch, s, 1, 3, true); /* stands later already */
    expect_published(f, "5");
    fixture_mark(f->batch, s, 7, 8, true); /* 6 is missing */
    expect_published(f, "5");
    fixture_mark(f->batch, s, 1, 11, true); /* a version that is not there */
    expect_published(f, "5");
    s->position.epoch = 2;
    fixture_mark(f->batch, s, 6, 8, true);
    s->position.epoch = 1;
    expect_published(f, "5");
    s->published = 2; /* what a stale engine thinks: a save does not carry it */
    s->position.version = 11;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_SAVED);
    expect_published(f, "5");
    session_done(s);
    fixture_session(s); /* not in Redis */
    fixture_mark(f->batch, s, 1, 5, true);
    assert_string_equal(fixture_ask(f->redis, "EXISTS session:{%s}:meta", s->id), "0");
}

/* ---- snapshots, keys, deletion ---- */

static void test_snapshot_is_written_and_the_dropped_one_goes(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    for (uint64_t version = 2; version <= 13; version++) {
        s->position.version = version;
        struct store_save save = fixture_save(s, 5);
        save.snapshot_id = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0002";
        save.writes_state = version % 2;
        save.dropped_snapshot = version > 11 ? version - 10 : 0;
        assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    }
    for (uint64_t version = 1; version <= 14; version++) {
        char *text = NULL;
        size_t len;
        int err = store_batch_snapshot(f->batch, s->id, version, &text, &len);
        assert_int_equal(err, version >= 4 && version <= 13 ? 0 : -ENOENT);
        if (err)
            continue;
        struct session r = {0};
        assert_int_equal(session_parse_state(&r, text, len), 0);
        assert_int_equal(r.position.version, version);
        assert_string_equal(r.checksum, s->checksum);
        session_done(&r);
        free(text);
    }
}

static void test_keys_are_kept_to_a_thousand_and_a_day(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    const int64_t now = timestamp_wall_ms(), day = 24LL * 3600 * 1000;
    char hashes[1003][HASH_HEX_LEN + 1];
    for (int i = 0; i < 1003; i++) {
        snprintf(hashes[i], sizeof(hashes[i]), "%064d", i);
        s->position.version++;
        fixture_mark(f->batch, s, s->position.version - 1, s->position.version - 1, true);
        struct store_save save = fixture_save(s, i < 2 ? now - day + 5000 : now);
        save.writes_state = false;
        save.key_hash = hashes[i];
        save.fingerprint = FIXTURE_PRINT;
        assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    }
    assert_int_equal(FIXTURE_NUMBER(f->redis, "HLEN session:{%s}:idem", s->id), 1000);
    assert_int_equal(FIXTURE_NUMBER(f->redis, "ZCARD session:{%s}:idem_order", s->id), 1000);
    const char *asked[] = {hashes[0], hashes[2], hashes[3], hashes[1002]};
    struct store_load l = fixture_load(f->batch, s->id, false, asked, 4);
    assert_false(l.idems[0].found);
    assert_false(l.idems[1].found);
    assert_true(l.idems[2].found);
    assert_int_equal(l.idems[2].position.version, 5);
    assert_true(l.idems[3].found);
    store_load_done(&l);
    /* A day later all of them are old: each 16 versions 64 go. */
    for (int i = 0; i < 16; i++) {
        s->position.version++;
        fixture_mark(f->batch, s, s->position.version - 1, s->position.version - 1, true);
        struct store_save save = fixture_save(s, now + day);
        save.key_hash = hashes[0];
        save.fingerprint = FIXTURE_PRINT;
        assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    }
    assert_int_equal(FIXTURE_NUMBER(f->redis, "HLEN session:{%s}:idem", s->id), 1000 - 64);
    session_done(s);

    fixture_create(f->batch, s);
    s->position.version = 2;
    struct store_save save = fixture_save(s, now - day);
    save.key_hash = FIXTURE_HASH;
    save.fingerprint = FIXTURE_PRINT;
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    asked[0] = FIXTURE_HASH;
    l = fixture_load(f->batch, s->id, false, asked, 1);
    assert_false(l.idems[0].found); /* kept until the next save, but a day old */
    store_load_done(&l);
}

static void test_delete_leaves_a_tombstone_and_what_is_unpublished(void **state) {
    struct fixture *f = *state;
    struct session *s = &f->session;
    fixture_create(f->batch, s);
    s->position.version = 2;
    struct store_save save = fixture_save(s, 5);
    save.snapshot_id = FIXTURE_COMMAND;
    save.key_hash = FIXTURE_HASH;
    save.fingerprint = FIXTURE_PRINT;
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);
    assert_int_equal(fixture_advance(f->batch, s, 5, 5, false), STORE_SAVED);
    fixture_mark(f->batch, s, 1, 3, true);
    s->position.version = 6;
    s->deleted = true;
    strcpy(s->snapshots, "2");
    save = fixture_save(s, 5);
    assert_int_equal(fixture_save_one(f->batch, save), STORE_SAVED);

    redisReply *keys = redisCommand(f->redis, "KEYS session:{%s}:*", s->id);
    assert_int_equal(keys->elements, 2); /* meta, deltas */
    freeReplyObject(keys);
    struct store_load l = fixture_load(f->batch, s->id, true, NULL, 0);
    assert_int_equal(l.err, 0);
    assert_true(l.session.deleted);
    assert_int_equal(l.session.position.version, 6);
    assert_int_equal(l.session.published, 3);
    assert_string_equal(l.session.snapshots, "");
    assert_string_equal(l.session.user_id, s->user_id);
    assert_int_equal(l.n_entries, 3); /* 4, 5 and the deletion */
    assert_int_equal(l.entries[0].version, 4);
    store_load_done(&l);

    fixture_mark(f->batch, s, 4, 6, true);
    expect_published(f, "6");
    s->deleted = false; /* nothing comes after a deletion, nor in its place */
    s->position.version = 7;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_LOST);
    s->position.version = 1;
    assert_int_equal(fixture_save_one(f->batch, fixture_save(s, 5)), STORE_LOST);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_free)
    const struct CMUnitTest tests[] = {
        TEST(test_a_thousand_unpublished_versions_are_full),
        TEST(test_window_is_trimmed_to_a_thousand_entries_when_they_may_go),
        TEST(test_window_is_trimmed_to_a_mebibyte_and_full_at_sixteen),
        TEST(test_what_is_not_published_stays_however_large_and_old),
        TEST(test_a_full_window_of_small_entries_does_not_stay_full),
        TEST(test_mark_moves_forward_only_in_its_epoch),
        TEST(test_runs_of_several_engines_come_together),
        TEST(test_remembered_runs_are_bounded),
        TEST(test_snapshot_is_written_and_the_dropped_one_goes),
        TEST(test_keys_are_kept_to_a_thousand_and_a_day),
        TEST(test_delete_leaves_a_tombstone_and_what_is_unpublished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
