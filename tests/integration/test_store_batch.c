/* The engine's border to Redis against a real one: what is saved is what is loaded, and no save
 * ever takes effect beside another. */
#include <errno.h>

#include "tests/integration/store_fixture.h"

static void set_id(char ret[static UUID_LEN + 1], const char *id) {
    memcpy(ret, id, UUID_LEN + 1);
}

static struct store_load load(struct store_batch *b, const char *session_id, bool deltas,
                              const char *const *hashes, size_t n_hashes) {
    struct store_load l = {.wants_state = true,
                           .wants_deltas = deltas,
                           .key_hashes = hashes,
                           .n_key_hashes = n_hashes};
    int64_t now;
    set_id(l.session_id, session_id);
    assert_int_equal(store_batch_load(b, &l, 1, &now), 0);
    return l;
}

static uint64_t version_of(struct store_batch *b, const char *session_id) {
    struct store_load l = load(b, session_id, false, NULL, 0);
    assert_int_equal(l.err, 0);
    uint64_t version = l.session.position.version;
    store_load_done(&l);
    return version;
}

static void mark(struct store_batch *b, const struct session *s, uint64_t first, uint64_t last,
                 bool settled) {
    struct store_mark m = {.first = first, .published = {last, s->position.epoch}};
    set_id(m.session_id, s->id);
    assert_int_equal(store_batch_save(b, NULL, 0, NULL, 0, &m, 1), 0);
    assert_int_equal(m.settled, settled);
}

static void create(struct store_batch *b, struct session *s) {
    fixture_session(s);
    assert_int_equal(fixture_save_one(b, fixture_save(s, timestamp_wall_ms())), STORE_SAVED);
}

#define NUMBER(...) strtol(fixture_ask(__VA_ARGS__), NULL, 10)
#define WINDOW_LENGTH(c, s) NUMBER(c, "XLEN session:{%s}:deltas", (s)->id)

/* Every byte of the window, as save.lua counts them. */
static long window_bytes(redisContext *c, const struct session *s) {
    redisReply *all = redisCommand(c, "XRANGE session:{%s}:deltas - +", s->id);
    long n = 0;
    for (size_t i = 0; i < all->elements; i++)
        for (size_t j = 0; j < all->element[i]->element[1]->elements; j++)
            n += (long)all->element[i]->element[1]->element[j]->len;
    freeReplyObject(all);
    return n;
}

/* Saves versions up to `last`, 100 in a pipeline, marking each pipeline's versions when told. */
static enum store_save_result advance(struct store_batch *b, struct session *s, uint64_t last,
                                      int64_t now, bool marks) {
    enum store_save_result worst = STORE_SAVED;
    while (s->position.version < last && worst == STORE_SAVED) {
        static struct session copies[100];
        struct store_save saves[100];
        size_t n = 0;
        uint64_t first = s->position.version + 1;
        for (; n < 100 && s->position.version < last; n++) {
            s->position.version++;
            copies[n] = *s;
            saves[n] = fixture_save(&copies[n], now);
            saves[n].writes_state = false;
        }
        assert_int_equal(store_batch_save(b, saves, n, NULL, 0, NULL, 0), 0);
        for (size_t i = 0; i < n && worst == STORE_SAVED; i++)
            worst = saves[i].result;
        if (marks)
            mark(b, s, first, s->position.version, true);
    }
    return worst;
}

/* ---- round trip ---- */

static void test_every_field_survives_the_round_trip(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct session s;
    fixture_session(&s);
    s.completed_at = 1770897600002;
    s.status = SESSION_COMPLETED;
    struct store_save save = fixture_save(&s, 1770897600009);
    save.extra = "[{\"type\":\"device_joined\"}]";
    save.snapshot_id = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0002";
    save.key_hash = FIXTURE_HASH;
    save.fingerprint = FIXTURE_PRINT;
    save.now = timestamp_wall_ms();
    assert_int_equal(fixture_save_one(b, save), STORE_SAVED);

    const char *hashes[] = {FIXTURE_HASH, FIXTURE_PRINT};
    struct store_load l = load(b, s.id, true, hashes, 2);
    assert_int_equal(l.err, 0);
    const struct session *r = &l.session;
    assert_string_equal(r->id, s.id);
    assert_string_equal(r->user_id, s.user_id);
    assert_string_equal(r->name, s.name);
    assert_string_equal(r->type, s.type);
    assert_int_equal(r->status, s.status);
    assert_true(position_equal(r->position, s.position));
    assert_int_equal(r->created_at, s.created_at);
    assert_int_equal(r->updated_at, s.updated_at);
    assert_int_equal(r->completed_at, s.completed_at);
    assert_int_equal(r->touched_at, s.touched_at);
    assert_int_equal(r->ttl_seconds, s.ttl_seconds);
    assert_int_equal(r->on_idle, s.on_idle);
    assert_string_equal(r->active_device, s.active_device);
    assert_string_equal(r->last_active_device, s.last_active_device);
    assert_int_equal(r->last_modified, s.last_modified);
    assert_string_equal(r->modified_by, s.modified_by);
    assert_int_equal(r->data_len, s.data_len);
    assert_memory_equal(r->data_text, s.data_text, s.data_len);
    assert_string_equal(r->checksum, s.checksum);
    assert_int_equal(session_verify(r), 0);
    assert_false(r->deleted);
    assert_int_equal(r->published, 0);
    assert_string_equal(r->snapshots, s.snapshots);
    assert_string_equal(r->run_id, s.run_id);
    assert_string_equal(r->cooling, "");

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
    assert_true(position_equal(l.idems[0].position, s.position));
    assert_string_equal(l.idems[0].checksum, s.checksum);
    assert_false(l.idems[1].found);
    store_load_done(&l);
    session_done(&s);
    store_batch_free(b);
}

static void test_load_tells_absent_from_impossible(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s[5];
    struct store_load l[6] = {0};
    for (int i = 0; i < 5; i++) {
        create(b, &s[i]);
        l[i].wants_state = true;
        set_id(l[i].session_id, s[i].id);
    }
    uuid_v4(l[5].session_id);
    fixture_ask(c, "DEL session:{%s}:state", s[1].id);
    fixture_ask(c, "SET session:{%s}:meta x", s[2].id);
    fixture_ask(c, "HSET session:{%s}:meta epoch x", s[3].id);
    fixture_ask(c, "DEL session:{%s}:deltas", s[4].id);
    fixture_ask(c, "SET session:{%s}:deltas x", s[4].id);
    l[4].wants_deltas = true;
    int64_t now = 0;
    assert_int_equal(store_batch_load(b, l, 6, &now), 0);
    assert_true(llabs((long long)(now - timestamp_wall_ms())) < 5000);
    static const int expected[] = {0, -EBADMSG, -EBADMSG, -EBADMSG, -EBADMSG, -ENOENT};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(l[i].err, expected[i]);
        store_load_done(&l[i]);
    }
    for (int i = 0; i < 5; i++)
        session_done(&s[i]);
    redisFree(c);
    store_batch_free(b);
}

static void test_status_change_keeps_the_state_and_meta_has_the_position(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct session s;
    create(b, &s);
    s.position.version = 2;
    s.status = SESSION_PAUSED;
    s.active_device[0] = '\0';
    struct store_save save = fixture_save(&s, 5);
    save.writes_state = false;
    assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
    struct store_load l = load(b, s.id, false, NULL, 0);
    assert_int_equal(l.err, 0);
    assert_int_equal(l.session.position.version, 2);
    assert_int_equal(l.session.status, SESSION_PAUSED);
    assert_string_equal(l.session.active_device, "");
    assert_memory_equal(l.session.data_text, s.data_text, s.data_len);
    store_load_done(&l);
    session_done(&s);
    store_batch_free(b);
}

static void test_deltas_since_come_in_order(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct session s;
    create(b, &s);
    assert_int_equal(advance(b, &s, 12, 5, false), STORE_SAVED);
    static const uint64_t since[] = {0, 9, 12, 500, UINT64_MAX};
    static const size_t expected[] = {12, 3, 0, 0, 0};
    for (size_t i = 0; i < N_ELEMENTS(since); i++) {
        struct store_load l = {.wants_deltas = true, .deltas_since = since[i]};
        int64_t now;
        set_id(l.session_id, s.id);
        assert_int_equal(store_batch_load(b, &l, 1, &now), 0);
        assert_int_equal(l.err, 0);
        assert_int_equal(l.n_entries, expected[i]);
        for (size_t j = 0; j < l.n_entries; j++)
            assert_int_equal(l.entries[j].version, since[i] + 1 + j);
        store_load_done(&l);
    }
    session_done(&s);
    store_batch_free(b);
}

/* ---- compare and set ---- */

static void test_save_from_another_position_is_lost(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct session s;
    create(b, &s);
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_LOST); /* created twice */
    s.position.version = 2;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_SAVED);
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_LOST);
    struct store_save save = fixture_save(&s, 5);
    save.expected = (struct position){2, 2};
    s.position.version = 3;
    assert_int_equal(fixture_save_one(b, save), STORE_LOST); /* another epoch */
    s.position.version = 4;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_LOST); /* ahead */
    assert_int_equal(version_of(b, s.id), 2);
    session_done(&s);
    store_batch_free(b);
}

static void test_saves_of_one_session_in_a_pipeline_build_on_each_other(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct session s[3];
    create(b, &s[0]);
    struct store_save saves[3];
    for (int i = 0; i < 3; i++) {
        if (i)
            session_copy(&s[0], &s[i]);
        s[i].position.version = 2 + (uint64_t)i;
        saves[i] = fixture_save(&s[i], 5);
    }
    assert_int_equal(store_batch_save(b, saves, 3, NULL, 0, NULL, 0), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(saves[i].result, STORE_SAVED);
    assert_int_equal(version_of(b, s[0].id), 4);
    for (int i = 0; i < 3; i++)
        session_done(&s[i]);
    store_batch_free(b);
}

/* The first of a chain loses to another engine's version 2: the second, which expects version 2,
 * must not be written over that one. */
static void test_a_chain_whose_first_lost_is_lost_as_a_whole(void **state) {
    (void)state;
    struct store_batch *mine = fixture_batch(), *other = fixture_batch();
    struct session s, theirs, next;
    create(mine, &s);
    session_copy(&s, &theirs);
    theirs.position.version = 2;
    strcpy(theirs.modified_by, "theirs");
    assert_int_equal(fixture_save_one(other, fixture_save(&theirs, 5)), STORE_SAVED);
    session_copy(&s, &next);
    s.position.version = 2;
    next.position.version = 3;
    struct store_save saves[] = {fixture_save(&s, 5), fixture_save(&next, 5)};
    assert_int_equal(store_batch_save(mine, saves, 2, NULL, 0, NULL, 0), 0);
    assert_int_equal(saves[0].result, STORE_LOST);
    assert_int_equal(saves[1].result, STORE_LOST);
    struct store_load l = load(mine, s.id, false, NULL, 0);
    assert_int_equal(l.session.position.version, 2);
    assert_string_equal(l.session.modified_by, "theirs");
    store_load_done(&l);
    session_done(&s);
    session_done(&theirs);
    session_done(&next);
    store_batch_free(mine);
    store_batch_free(other);
}

static void test_heartbeat_touches_only_and_keeps_the_chain(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s[3];
    create(b, &s[0]);
    fixture_ask(c, "HSET session:{%s}:meta cooling mark", s[0].id);
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
    assert_int_equal(store_batch_save(b, saves, 2, NULL, 0, NULL, 0), 0);
    struct store_load l = load(b, s[0].id, true, NULL, 0);
    assert_int_equal(l.session.touched_at, 1770999999999);
    assert_int_equal(l.session.status, SESSION_ACTIVE);
    assert_string_equal(l.session.cooling, "");
    assert_int_equal(l.n_entries, 2);
    store_load_done(&l);
    assert_int_equal(store_batch_save(b, saves, 3, NULL, 0, NULL, 0), 0);
    assert_int_equal(saves[0].result, STORE_LOST); /* the same once more */
    assert_int_equal(saves[2].result, STORE_LOST);
    for (int i = 0; i < 3; i++)
        session_done(&s[i]);
    redisFree(c);
    store_batch_free(b);
}

/* ---- window ---- */

static void test_a_thousand_unpublished_versions_are_full(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct session s;
    create(b, &s);
    assert_int_equal(advance(b, &s, 1000, 5, false), STORE_SAVED);
    s.position.version = 1001;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_FULL);
    assert_int_equal(version_of(b, s.id), 1000);
    s.position.version = 1000;
    mark(b, &s, 2, 3, false); /* nobody confirmed 1 */
    mark(b, &s, 1, 1, true);
    s.position.version = 1001;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_SAVED);
    s.position.version = 1002;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_FULL);
    session_done(&s);
    store_batch_free(b);
}

static void test_window_is_trimmed_to_a_thousand_entries_when_they_may_go(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    const int64_t then = 1770897600000;
    fixture_session(&s);
    assert_int_equal(fixture_save_one(b, fixture_save(&s, then)), STORE_SAVED);
    mark(b, &s, 1, 1, true);
    assert_int_equal(advance(b, &s, 1100, then, true), STORE_SAVED);
    assert_int_equal(advance(b, &s, 1150, then + 14999, false), STORE_SAVED);
    assert_int_equal(WINDOW_LENGTH(c, &s), 1150); /* too young to go */
    s.position.version++;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, then + 15000)), STORE_SAVED);
    assert_int_equal(WINDOW_LENGTH(c, &s), 1151 - 64); /* a save trims 64 at most */
    assert_int_equal(advance(b, &s, 1160, then + 15000, false), STORE_SAVED);
    assert_int_equal(WINDOW_LENGTH(c, &s), 1000);
    assert_int_equal(advance(b, &s, 2099, then + 15000, false), STORE_SAVED);
    /* 1101 … are not published: they stay, young or old */
    s.position.version++;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, then + 60000)), STORE_SAVED);
    assert_int_equal(WINDOW_LENGTH(c, &s), 1000);
    s.position.version++;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, then + 60000)), STORE_FULL);
    assert_int_equal(NUMBER(c, "HGET session:{%s}:meta deltaBytes", s.id), window_bytes(c, &s));
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_window_is_trimmed_to_a_mebibyte_and_full_at_sixteen(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    const int64_t then = 1770897600000;
    static char event[512 << 10];
    memset(event, 'e', sizeof(event));
    fixture_session(&s);
    int n_saved = 0;
    for (;; n_saved++, s.position.version++) {
        struct store_save save = fixture_save(&s, then);
        save.event = event;
        save.event_len = sizeof(event);
        enum store_save_result result = fixture_save_one(b, save);
        mark(b, &s, s.position.version, s.position.version, true);
        if (result == STORE_FULL)
            break;
        assert_int_equal(result, STORE_SAVED);
        assert_true(n_saved < 40);
    }
    assert_int_equal(n_saved, 31); /* 32 and their ids are over 16 MiB */
    assert_int_equal(fixture_save_one(b, fixture_save(&s, then)),
                     STORE_SAVED); /* a small one fits */
    mark(b, &s, s.position.version, s.position.version, true);
    s.position.version++;
    struct store_save save = fixture_save(&s, then + 15000);
    save.event = event;
    save.event_len = sizeof(event);
    assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
    assert_true(window_bytes(c, &s) <= 1 << 20);
    assert_int_equal(NUMBER(c, "HGET session:{%s}:meta deltaBytes", s.id), window_bytes(c, &s));
    assert_int_equal(WINDOW_LENGTH(c, &s), 2);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

/* 16 MiB of small old entries: one save may trim 64 of them, too few for a big event. It is
 * refused, but trims, so that a later one gets through. */
static void test_a_full_window_of_small_entries_does_not_stay_full(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    const int64_t then = 1770897600000;
    static char event[640 << 10];
    memset(event, 'e', sizeof(event));
    fixture_session(&s);
    for (; s.position.version <= 2000; s.position.version++) {
        struct store_save save = fixture_save(&s, then);
        save.event = event;
        save.event_len = 8000;
        save.writes_state = false;
        assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
        mark(b, &s, s.position.version, s.position.version, true);
    }
    fixture_ask(c, "HINCRBY session:{%s}:meta deltaBytes 700000",
                s.id); /* as if they were bigger */
    struct store_save save = fixture_save(&s, then + 15000);
    save.event = event;
    save.event_len = sizeof(event);
    assert_int_equal(fixture_save_one(b, save), STORE_FULL);
    int n_refused = 1;
    while (fixture_save_one(b, save) == STORE_FULL)
        assert_true(++n_refused < 10);
    assert_int_equal(version_of(b, s.id), 2001);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_mark_moves_forward_only_in_its_epoch(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    create(b, &s);
    assert_int_equal(advance(b, &s, 10, 5, false), STORE_SAVED);
    mark(b, &s, 1, 5, true);
    mark(b, &s, 1, 3, true); /* stands later already */
    assert_string_equal(fixture_ask(c, "HGET session:{%s}:meta published", s.id), "5");
    mark(b, &s, 7, 8, false); /* 6 is missing */
    assert_string_equal(fixture_ask(c, "HGET session:{%s}:meta published", s.id), "5");
    mark(b, &s, 1, 11, true); /* a version that is not there */
    assert_string_equal(fixture_ask(c, "HGET session:{%s}:meta published", s.id), "5");
    s.position.epoch = 2;
    mark(b, &s, 6, 8, true);
    s.position.epoch = 1;
    assert_string_equal(fixture_ask(c, "HGET session:{%s}:meta published", s.id), "5");
    s.published = 2; /* what a stale engine thinks: a save does not carry it */
    s.position.version = 11;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_SAVED);
    assert_string_equal(fixture_ask(c, "HGET session:{%s}:meta published", s.id), "5");
    session_done(&s);
    fixture_session(&s); /* not in Redis */
    mark(b, &s, 1, 5, true);
    assert_string_equal(fixture_ask(c, "EXISTS session:{%s}:meta", s.id), "0");
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

/* ---- snapshots, keys, deletion ---- */

static void test_snapshot_is_written_and_the_dropped_one_goes(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct session s;
    create(b, &s);
    for (uint64_t version = 2; version <= 13; version++) {
        s.position.version = version;
        struct store_save save = fixture_save(&s, 5);
        save.snapshot_id = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0002";
        save.writes_state = version % 2;
        save.dropped_snapshot = version > 11 ? version - 10 : 0;
        assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
    }
    for (uint64_t version = 1; version <= 14; version++) {
        char *text = NULL;
        size_t len;
        int err = store_batch_snapshot(b, s.id, version, &text, &len);
        assert_int_equal(err, version >= 4 && version <= 13 ? 0 : -ENOENT);
        if (err)
            continue;
        struct session r = {0};
        assert_int_equal(session_parse_state(&r, text, len), 0);
        assert_int_equal(r.position.version, version);
        assert_string_equal(r.checksum, s.checksum);
        session_done(&r);
        free(text);
    }
    session_done(&s);
    store_batch_free(b);
}

static void test_keys_are_kept_to_a_thousand_and_a_day(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    create(b, &s);
    const int64_t now = timestamp_wall_ms(), day = 24LL * 3600 * 1000;
    char hashes[1003][HASH_HEX_LEN + 1];
    for (int i = 0; i < 1003; i++) {
        snprintf(hashes[i], sizeof(hashes[i]), "%064d", i);
        s.position.version++;
        mark(b, &s, s.position.version - 1, s.position.version - 1, true);
        struct store_save save = fixture_save(&s, i < 2 ? now - day + 5000 : now);
        save.writes_state = false;
        save.key_hash = hashes[i];
        save.fingerprint = FIXTURE_PRINT;
        assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
    }
    assert_int_equal(NUMBER(c, "HLEN session:{%s}:idem", s.id), 1000);
    assert_int_equal(NUMBER(c, "ZCARD session:{%s}:idem_order", s.id), 1000);
    const char *asked[] = {hashes[0], hashes[2], hashes[3], hashes[1002]};
    struct store_load l = load(b, s.id, false, asked, 4);
    assert_false(l.idems[0].found);
    assert_false(l.idems[1].found);
    assert_true(l.idems[2].found);
    assert_int_equal(l.idems[2].position.version, 5);
    assert_true(l.idems[3].found);
    store_load_done(&l);
    /* a day later all of them are old: 64 go with each save */
    s.position.version++;
    struct store_save save = fixture_save(&s, now + day);
    save.key_hash = hashes[0];
    save.fingerprint = FIXTURE_PRINT;
    assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
    assert_int_equal(NUMBER(c, "HLEN session:{%s}:idem", s.id), 1001 - 64);
    session_done(&s);

    create(b, &s);
    s.position.version = 2;
    save = fixture_save(&s, now - day);
    save.key_hash = FIXTURE_HASH;
    save.fingerprint = FIXTURE_PRINT;
    assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
    asked[0] = FIXTURE_HASH;
    l = load(b, s.id, false, asked, 1);
    assert_false(l.idems[0].found); /* kept until the next save, but a day old */
    store_load_done(&l);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_delete_leaves_a_tombstone_and_what_is_unpublished(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    create(b, &s);
    s.position.version = 2;
    struct store_save save = fixture_save(&s, 5);
    save.snapshot_id = FIXTURE_COMMAND;
    save.key_hash = FIXTURE_HASH;
    save.fingerprint = FIXTURE_PRINT;
    assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
    assert_int_equal(advance(b, &s, 5, 5, false), STORE_SAVED);
    mark(b, &s, 1, 3, true);
    s.position.version = 6;
    s.deleted = true;
    strcpy(s.snapshots, "2");
    save = fixture_save(&s, 5);
    assert_int_equal(fixture_save_one(b, save), STORE_SAVED);

    redisReply *keys = redisCommand(c, "KEYS session:{%s}:*", s.id);
    assert_int_equal(keys->elements, 2); /* meta, deltas */
    freeReplyObject(keys);
    struct store_load l = load(b, s.id, true, NULL, 0);
    assert_int_equal(l.err, 0);
    assert_true(l.session.deleted);
    assert_int_equal(l.session.position.version, 6);
    assert_int_equal(l.session.published, 3);
    assert_string_equal(l.session.snapshots, "");
    assert_string_equal(l.session.user_id, s.user_id);
    assert_int_equal(l.n_entries, 3); /* 4, 5 and the deletion */
    assert_int_equal(l.entries[0].version, 4);
    store_load_done(&l);

    mark(b, &s, 4, 6, true);
    assert_string_equal(fixture_ask(c, "HGET session:{%s}:meta published", s.id), "6");
    s.deleted = false; /* nothing comes after a deletion, nor in its place */
    s.position.version = 7;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_LOST);
    s.position.version = 1;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_LOST);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

/* ---- what goes wrong ---- */

static void test_lost_scripts_are_hidden(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s[4];
    create(b, &s[0]);
    fixture_session(&s[3]);
    struct store_save saves[4];
    for (int i = 0; i < 3; i++) {
        if (i)
            session_copy(&s[0], &s[i]);
        s[i].position.version = 2 + (uint64_t)i;
        saves[i] = fixture_save(&s[i], 5);
    }
    saves[3] = fixture_save(&s[3], 5);
    struct store_mark m = {.first = 1, .published = {1, 1}};
    set_id(m.session_id, s[0].id);
    fixture_ask(c, "SCRIPT FLUSH");
    assert_int_equal(store_batch_save(b, saves, 4, NULL, 0, &m, 1), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(saves[i].result, STORE_SAVED);
    assert_true(m.settled);
    assert_int_equal(version_of(b, s[0].id), 4);
    fixture_ask(c, "SCRIPT FLUSH");
    assert_int_equal(version_of(b, s[0].id), 4);
    fixture_ask(c, "SCRIPT FLUSH");
    unsigned n = 0;
    assert_int_equal(store_batch_count_try(b, s[0].id, FIXTURE_COMMAND, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(store_batch_count_try(b, s[0].id, FIXTURE_COMMAND, &n), 0);
    assert_int_equal(n, 2);
    long ttl = NUMBER(c, "PTTL session:{%s}:tries:%s", s[0].id, FIXTURE_COMMAND);
    assert_true(ttl > 50000 && ttl <= 60000);
    for (int i = 0; i < 4; i++)
        session_done(&s[i]);
    redisFree(c);
    store_batch_free(b);
}

static void test_a_killed_connection_is_made_again(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    char why[256];
    fixture_ask(c, "CLIENT KILL TYPE normal SKIPME yes");
    assert_true(store_batch_ping(b) < 0);
    assert_false(store_batch_is_connected(b));
    assert_int_equal(store_batch_ping(b), -ENOTCONN);
    assert_int_equal(store_batch_save(b, NULL, 0, NULL, 0, NULL, 0), -ENOTCONN);
    assert_int_equal(store_batch_connect(b, why), 0);
    assert_int_equal(store_batch_ping(b), 0);
    assert_int_equal(strlen(store_batch_run_id(b)), 40);
    redisFree(c);
    store_batch_free(b);
}

static void test_out_of_memory_refuses_and_writes_nothing(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s, fresh;
    create(b, &s);
    fixture_session(&fresh);
    char before[64], size[64];
    snprintf(size, sizeof(size), "%s", fixture_ask(c, "DBSIZE"));
    snprintf(before, sizeof(before), "%s", fixture_ask(c, "CONFIG GET maxmemory"));
    fixture_ask(c, "CONFIG SET maxmemory 1");
    s.position.version = 2;
    struct store_save saves[] = {fixture_save(&s, 5), fixture_save(&fresh, 5), fixture_save(&s, 5)};
    saves[2].event = NULL;
    saves[2].expected.version = 1;
    struct store_arm arm = {.at = 5};
    set_id(arm.session_id, s.id);
    struct store_mark m = {.first = 1, .published = {1, 1}};
    set_id(m.session_id, s.id);
    int err = store_batch_save(b, saves, 3, &arm, 1, &m, 1);
    struct store_load l = {.wants_state = true};
    int64_t now;
    set_id(l.session_id, s.id);
    int load_err = store_batch_load(b, &l, 1, &now); /* reads go on */
    fixture_ask(c, "CONFIG SET maxmemory %s", before);
    assert_int_equal(err, 0);
    assert_int_equal(load_err, 0);
    assert_int_equal(l.err, 0);
    assert_int_equal(l.session.position.version, 1);
    store_load_done(&l);
    assert_int_equal(saves[0].result, STORE_REFUSED);
    assert_non_null(strstr(saves[0].text, "OOM"));
    assert_int_equal(saves[1].result, STORE_REFUSED);
    assert_int_equal(saves[2].result, STORE_LOST); /* it builds on the first */
    assert_false(m.settled);
    assert_string_equal(fixture_ask(c, "DBSIZE"), size);
    assert_int_equal(WINDOW_LENGTH(c, &s), 1);
    assert_int_equal(fixture_save_one(b, fixture_save(&s, 5)), STORE_SAVED);
    session_done(&s);
    session_done(&fresh);
    redisFree(c);
    store_batch_free(b);
}

static void test_wrong_types_refuse_and_write_nothing(void **state) {
    (void)state;
    static const char *const parts[] = {"meta", "deltas", "idem", "idem_order"};
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
        struct session s;
        create(b, &s);
        fixture_ask(c, "DEL session:{%s}:%s", s.id, parts[i]);
        fixture_ask(c, "SET session:{%s}:%s x", s.id, parts[i]);
        char text[4096];
        snprintf(text, sizeof(text), "%s", fixture_ask(c, "GET session:{%s}:state", s.id));
        s.position.version = 2;
        struct store_save save = fixture_save(&s, 5);
        save.key_hash = FIXTURE_HASH;
        save.fingerprint = FIXTURE_PRINT;
        assert_int_equal(store_batch_save(b, &save, 1, NULL, 0, NULL, 0), 0);
        assert_int_equal(save.result, STORE_REFUSED);
        assert_non_null(strstr(save.text, "WRONGTYPE"));
        assert_string_equal(fixture_ask(c, "GET session:{%s}:state", s.id), text);
        if (i > 0)
            assert_string_equal(fixture_ask(c, "HGET session:{%s}:meta version", s.id), "1");
        if (i != 1)
            assert_int_equal(WINDOW_LENGTH(c, &s), 1);
        session_done(&s);
    }
    redisFree(c);
    store_batch_free(b);
}

static void test_a_silent_server_times_out_and_comes_back(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    char why[256];
    create(b, &s);
    pid_t pid = fixture_pid(c);
    s.position.version = 2;
    struct store_save save = fixture_save(&s, 5);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    int err = store_batch_save(b, &save, 1, NULL, 0, NULL, 0);
    int again = store_batch_connect(b, why);
    kill(pid, SIGCONT);
    assert_int_equal(err, -ETIMEDOUT);
    assert_int_equal(again, -ETIMEDOUT);
    assert_true(strlen(why) > 0);
    assert_int_equal(store_batch_connect(b, why), 0);
    assert_int_equal(version_of(b, s.id), 2); /* unknown then, found now */
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_connect_says_why_not(void **state) {
    (void)state;
    struct store_batch *b = NULL;
    redisContext *c = fixture_redis();
    char why[256], url[256];
    int port;
    assert_int_equal(store_batch_new(&b, "redis://127.0.0.1:1"), 0);
    assert_int_equal(store_batch_connect(b, why), -ENOTCONN);
    assert_non_null(strstr(why, "refused"));
    b = store_batch_free(b);
    assert_int_equal(store_batch_new(&b, "http://127.0.0.1:1"), -EINVAL);

    b = store_batch_free(fixture_batch());
    fixture_ask(c, "CONFIG SET maxmemory-policy allkeys-lru");
    assert_int_equal(store_batch_new(&b, fixture_url()), 0);
    int err = store_batch_connect(b, why);
    fixture_ask(c, "CONFIG SET maxmemory-policy noeviction");
    assert_true(err < 0);
    assert_non_null(strstr(why, "allkeys-lru"));
    b = store_batch_free(b);

    fixture_ask(c, "ACL SETUSER tester reset on >p@ss:w/%%rd ~* +@all -config");
    assert_int_equal(sscanf(fixture_url(), "redis://%*[^:]:%d", &port), 1);
    snprintf(url, sizeof(url), "redis://tester:p%%40ss%%3aw%%2F%%25rd@127.0.0.1:%d/3", port);
    assert_int_equal(store_batch_new(&b, url), 0);
    err = store_batch_connect(b, why);
    b = store_batch_free(b);
    snprintf(url, sizeof(url), "redis://tester:wrong@127.0.0.1:%d", port);
    assert_int_equal(store_batch_new(&b, url), 0);
    int wrong = store_batch_connect(b, why);
    b = store_batch_free(b);
    fixture_ask(c, "ACL DELUSER tester");
    assert_int_equal(err, 0);
    assert_int_equal(wrong, -EACCES);
    assert_non_null(strstr(why, "WRONGPASS"));
    assert_null(strstr(why, "wrong@"));
    redisFree(c);
}

/* ---- claims and attention ---- */

static void test_a_create_is_claimed_once(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    char user[UUID_LEN + 1], first[UUID_LEN + 1], second[UUID_LEN + 1], got[UUID_LEN + 1];
    bool same = false;
    uuid_v4(user);
    uuid_v4(first);
    uuid_v4(second);
    assert_int_equal(
        store_batch_claim_create(b, user, FIXTURE_HASH, first, FIXTURE_PRINT, got, &same), 0);
    assert_string_equal(got, first);
    assert_true(same);
    assert_int_equal(
        store_batch_claim_create(b, user, FIXTURE_HASH, second, FIXTURE_PRINT, got, &same), 0);
    assert_string_equal(got, first);
    assert_true(same);
    assert_int_equal(
        store_batch_claim_create(b, user, FIXTURE_HASH, second, FIXTURE_HASH, got, &same), 0);
    assert_string_equal(got, first);
    assert_false(same);
    redisContext *c = fixture_redis();
    long ttl = NUMBER(c, "PTTL user:{%s}:idem:%s", user, FIXTURE_HASH);
    assert_true(ttl > 86300000 && ttl <= 86400000);
    redisFree(c);
    store_batch_free(b);
}

/* 0 when it is not due by `until`. */
static int64_t due_at(struct store_batch *b, const char *session_id, int64_t until) {
    struct store_due *due = NULL;
    size_t n = 0;
    int64_t at = 0;
    assert_int_equal(store_batch_due(b, until, 1000, &due, &n), 0);
    for (size_t i = 0; i < n; i++)
        if (strcmp(due[i].session_id, session_id) == 0)
            at = due[i].at;
    free(due);
    return at;
}

static void arm(struct store_batch *b, const char *session_id, int64_t at) {
    struct store_arm a = {.at = at};
    set_id(a.session_id, session_id);
    assert_int_equal(store_batch_save(b, NULL, 0, &a, 1, NULL, 0), 0);
}

static void test_attention_is_armed_earlier_only_and_found(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    char id[UUID_LEN + 1];
    uuid_v7(timestamp_wall_ms(), id);
    arm(b, id, 1000);
    arm(b, id, 2000);
    assert_int_equal(due_at(b, id, 999), 0);
    assert_int_equal(due_at(b, id, 1000), 1000);
    arm(b, id, 500);
    assert_int_equal(due_at(b, id, 999), 500);
    assert_int_equal(store_batch_rearm(b, id, 500, 0), 0);
    assert_int_equal(due_at(b, id, INT64_MAX / 4096), 0);
    for (int i = 0; i < 200; i++) { /* over all slots */
        uuid_v4(id);
        arm(b, id, 100);
        assert_int_equal(due_at(b, id, 100), 100);
        assert_int_equal(store_batch_rearm(b, id, 100, 0), 0);
    }
    store_batch_free(b);
}

static void test_one_of_two_claimers_gets_a_due_entry(void **state) {
    (void)state;
    struct store_batch *one = fixture_batch(), *two = fixture_batch();
    struct store_due due = {.at = 1000};
    bool claimed = false;
    uuid_v7(timestamp_wall_ms(), due.session_id);
    assert_int_equal(store_batch_claim_due(one, &due, 5000, &claimed), 0);
    assert_false(claimed); /* was never there */
    arm(one, due.session_id, 1000);
    assert_int_equal(store_batch_claim_due(one, &due, 1770897600123, &claimed), 0);
    assert_true(claimed);
    assert_int_equal(store_batch_claim_due(two, &due, 1770897600124, &claimed), 0);
    assert_false(claimed);
    assert_int_equal(due_at(one, due.session_id, 1770897600123), 1770897600123);

    assert_int_equal(store_batch_rearm(one, due.session_id, 1770897600123, 1770897700000), 0);
    assert_int_equal(due_at(one, due.session_id, INT64_MAX / 4096), 1770897700000);
    arm(two, due.session_id, 3000); /* meanwhile, earlier than the lease: stays */
    assert_int_equal(store_batch_rearm(one, due.session_id, 1770897700000, 1770897800000), 0);
    assert_int_equal(due_at(one, due.session_id, INT64_MAX / 4096), 3000);
    assert_int_equal(store_batch_rearm(one, due.session_id, 1770897700000, 0), 0);
    assert_int_equal(due_at(one, due.session_id, INT64_MAX / 4096), 3000);
    assert_int_equal(store_batch_rearm(one, due.session_id, 3000, 0), 0);
    store_batch_free(one);
    store_batch_free(two);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_survives_the_round_trip),
        cmocka_unit_test(test_load_tells_absent_from_impossible),
        cmocka_unit_test(test_status_change_keeps_the_state_and_meta_has_the_position),
        cmocka_unit_test(test_deltas_since_come_in_order),
        cmocka_unit_test(test_save_from_another_position_is_lost),
        cmocka_unit_test(test_saves_of_one_session_in_a_pipeline_build_on_each_other),
        cmocka_unit_test(test_a_chain_whose_first_lost_is_lost_as_a_whole),
        cmocka_unit_test(test_heartbeat_touches_only_and_keeps_the_chain),
        cmocka_unit_test(test_a_thousand_unpublished_versions_are_full),
        cmocka_unit_test(test_window_is_trimmed_to_a_thousand_entries_when_they_may_go),
        cmocka_unit_test(test_window_is_trimmed_to_a_mebibyte_and_full_at_sixteen),
        cmocka_unit_test(test_a_full_window_of_small_entries_does_not_stay_full),
        cmocka_unit_test(test_mark_moves_forward_only_in_its_epoch),
        cmocka_unit_test(test_snapshot_is_written_and_the_dropped_one_goes),
        cmocka_unit_test(test_keys_are_kept_to_a_thousand_and_a_day),
        cmocka_unit_test(test_delete_leaves_a_tombstone_and_what_is_unpublished),
        cmocka_unit_test(test_lost_scripts_are_hidden),
        cmocka_unit_test(test_a_killed_connection_is_made_again),
        cmocka_unit_test(test_out_of_memory_refuses_and_writes_nothing),
        cmocka_unit_test(test_wrong_types_refuse_and_write_nothing),
        cmocka_unit_test(test_a_silent_server_times_out_and_comes_back),
        cmocka_unit_test(test_connect_says_why_not),
        cmocka_unit_test(test_a_create_is_claimed_once),
        cmocka_unit_test(test_attention_is_armed_earlier_only_and_found),
        cmocka_unit_test(test_one_of_two_claimers_gets_a_due_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
