/* What makes a session hot again: written only over what was found, all of it or nothing, and such
 * that engines can go on with it. */
#include "common/store_recover.h"
#include "common/store_slots.h"
#include "tests/integration/store_batch_fixture.h"

#define SNAPSHOT "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0003"
#define OTHER_HASH "3333333333333333333333333333333333333333333333333333333333333333"

static struct store_found look(struct store_batch *b, const struct session *s) {
    struct store_found found;
    assert_int_equal(store_recover_look(b, s->id, &found), 0);
    return found;
}

/* The rebuild of the session in the next epoch, over what was found. */
static struct store_recovery rebuild(struct store_batch *b, struct session *s,
                                     const struct store_found *found, int64_t now) {
    s->position.epoch++;
    s->published = s->position.version - 1;
    snprintf(s->snapshots, sizeof(s->snapshots), "%llu", (unsigned long long)s->position.version);
    snprintf(s->run_id, sizeof(s->run_id), "%s", store_batch_run_id(b, s->id));
    static const char event[] = "{\"type\":\"session_rebuilt\"}";
    return (struct store_recovery){.session = s,
                                   .found = found,
                                   .event = event,
                                   .event_len = sizeof(event) - 1,
                                   .snapshot_id = SNAPSHOT,
                                   .now = now,
                                   .arm_at = now + 2500};
}

static bool write_over(struct store_batch *b, struct session *s, const struct store_found *found) {
    struct store_recovery r = rebuild(b, s, found, timestamp_wall_ms());
    bool is_done = false;
    assert_int_equal(store_recover_write(b, &r, &is_done), 0);
    return is_done;
}

static long exists(redisContext *c, const struct session *s, const char *tail) {
    return FIXTURE_NUMBER(c, "EXISTS session:{%s}:%s", s->id, tail);
}

static void expect_rebuilt(struct store_batch *b, const struct session *s) {
    struct store_load l = fixture_load(b, s->id, true, NULL, 0);
    assert_int_equal(l.err, 0);
    assert_true(position_equal(l.session.position, s->position));
    assert_int_equal(l.session.published, s->position.version - 1);
    assert_string_equal(l.session.data_text, s->data_text);
    assert_string_equal(l.session.run_id, store_batch_run_id(b, s->id));
    assert_int_equal(session_verify(&l.session), 0);
    assert_int_equal(l.n_entries, 1);
    assert_int_equal(l.entries[0].version, s->position.version);
    assert_string_equal(l.entries[0].snapshot_id, SNAPSHOT);
    assert_string_equal(l.entries[0].command_id, "");
    store_load_done(&l);
}

static void test_a_lost_session_is_written_whole(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    fixture_session(&s);
    struct store_found found = look(b, &s);
    assert_int_equal(found.kind, STORE_FOUND_ABSENT);
    struct store_remembered keys[] = {
        {.time = timestamp_wall_ms(),
         .hash = FIXTURE_HASH,
         .fingerprint = FIXTURE_PRINT,
         .position = {1, 1}},
        {.time = timestamp_wall_ms(), .hash = OTHER_HASH, .position = {2, 1}},
    };
    struct store_recovery r = rebuild(b, &s, &found, timestamp_wall_ms());
    r.keys = keys;
    r.n_keys = N_ELEMENTS(keys);
    bool is_done = false;
    assert_int_equal(store_recover_write(b, &r, &is_done), 0);
    assert_true(is_done);
    expect_rebuilt(b, &s);
    const char *hashes[] = {FIXTURE_HASH, OTHER_HASH};
    struct store_load l = fixture_load(b, s.id, false, hashes, 2);
    assert_true(l.idems[0].found && l.idems[1].found);
    assert_string_equal(l.idems[0].fingerprint, FIXTURE_PRINT);
    assert_true(position_equal(l.idems[0].position, keys[0].position));
    assert_string_equal(l.idems[1].fingerprint, "");
    assert_true(position_equal(l.idems[1].position, keys[1].position));
    store_load_done(&l);
    assert_int_equal(FIXTURE_NUMBER(c, "ZCARD session:{%s}:idem_order", s.id), 2);
    assert_int_equal(strtol(fixture_ask(c, "HGET session:{%s}:meta deltaBytes", s.id), NULL, 10),
                     fixture_window_bytes(c, &s));
    char key[STORE_KEY_CAP];
    store_key_attention_slot(store_map_attention(NULL, s.id), key);
    assert_int_equal(FIXTURE_NUMBER(c, "ZSCORE %s %s", key, s.id), r.arm_at);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_a_save_goes_on_behind_it_and_the_mark_moves_over_it(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct session s;
    fixture_session(&s);
    struct store_found found = look(b, &s);
    assert_true(write_over(b, &s, &found));
    s.position.version++;
    assert_int_equal(fixture_save_one(b, fixture_save(&s, timestamp_wall_ms())), STORE_SAVED);
    fixture_mark(b, &s, s.position.version - 1, s.position.version, true);
    struct store_load l = fixture_load(b, s.id, true, NULL, 0);
    assert_int_equal(l.session.published, s.position.version);
    assert_int_equal(l.n_entries, 2);
    store_load_done(&l);
    session_done(&s);
    store_batch_free(b);
}

static void test_of_two_engines_one_writes(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct session s, other;
    fixture_session(&s);
    session_copy(&s, &other);
    struct store_found found = look(b, &s);
    assert_true(write_over(b, &s, &found));
    assert_false(write_over(b, &other, &found));
    expect_rebuilt(b, &s);
    found = look(b, &s);
    struct store_found again = look(b, &s);
    assert_true(store_found_equal(&found, &again));
    assert_true(write_over(b, &s, &found));
    assert_false(write_over(b, &s, &found)); /* the token is another one */
    session_done(&s);
    session_done(&other);
    store_batch_free(b);
}

/* What was recovered from one loss is not written after the next: something was saved in between.
 */
static void test_another_loss_is_not_that_which_was_found(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s, other;
    struct store_found slow, fast, again;
    fixture_session(&s);
    session_copy(&s, &other);
    assert_int_equal(store_recover_look_at_loss(b, s.id, &slow), 0);
    assert_int_equal(store_recover_look_at_loss(b, s.id, &fast), 0);
    assert_int_equal(slow.kind, STORE_FOUND_ABSENT);
    assert_true(store_found_equal(&slow, &fast)); /* of two engines, one writes */
    long lifetime = FIXTURE_NUMBER(c, "PTTL session:{%s}:loss", s.id);
    assert_in_range(lifetime, 1, STORE_LOSS_MS);
    assert_true(write_over(b, &s, &fast));
    assert_int_equal(exists(c, &s, "loss"), 0);
    fixture_ask(c, "DEL session:{%s}:meta", s.id);
    assert_false(write_over(b, &other, &slow));
    assert_int_equal(store_recover_look_at_loss(b, s.id, &again), 0);
    assert_false(store_found_equal(&slow, &again));
    assert_false(write_over(b, &other, &slow));
    assert_true(write_over(b, &other, &again));
    fixture_ask(c, "DEL session:{%s}:meta", s.id);
    fixture_ask(c, "RPUSH session:{%s}:loss x", s.id);
    assert_int_equal(store_recover_look_at_loss(b, s.id, &again), 0);
    assert_string_equal(again.token, "");
    assert_true(write_over(b, &other, &again)); /* whatever somebody put there */
    assert_int_equal(exists(c, &s, "loss"), 0);
    session_done(&s);
    session_done(&other);
    redisFree(c);
    store_batch_free(b);
}

static void test_what_stood_there_goes_but_who_is_there_stays(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    fixture_create(b, &s);
    fixture_ask(c, "SET session:{%s}:snapshot:7 old", s.id);
    fixture_ask(c, "HSET session:{%s}:meta snapshots 7", s.id);
    fixture_ask(c, "HSET session:{%s}:idem %s x", s.id, OTHER_HASH);
    fixture_ask(c, "ZADD session:{%s}:confirmed 3 1:3-4", s.id);
    fixture_ask(c, "HSET session:{%s}:devices phone there", s.id);
    fixture_ask(c, "ZADD session:{%s}:presence 1 phone", s.id);
    fixture_ask(c, "HSET session:{%s}:meta run_id another cooling x leftOver y", s.id);
    struct store_found found = look(b, &s);
    assert_string_equal(found.run_id, "another");
    assert_true(found.has_position);
    assert_true(position_equal(found.position, s.position));
    assert_true(write_over(b, &s, &found));
    expect_rebuilt(b, &s);
    assert_int_equal(exists(c, &s, "snapshot:7"), 0);
    assert_int_equal(exists(c, &s, "idem"), 0);
    assert_int_equal(exists(c, &s, "confirmed"), 0);
    assert_int_equal(FIXTURE_NUMBER(c, "HEXISTS session:{%s}:meta leftOver", s.id), 0);
    assert_string_equal(fixture_ask(c, "HGET session:{%s}:devices phone", s.id), "there");
    assert_int_equal(FIXTURE_NUMBER(c, "ZCARD session:{%s}:presence", s.id), 1);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_wrong_types_are_written_over(void **state) {
    (void)state;
    static const char *const tails[] = {"meta",       "state",     "deltas",  "idem",
                                        "idem_order", "confirmed", "devices", "presence"};
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    fixture_create(b, &s);
    for (size_t i = 0; i < N_ELEMENTS(tails); i++) {
        fixture_ask(c, "DEL session:{%s}:%s", s.id, tails[i]);
        fixture_ask(c, "RPUSH session:{%s}:%s x", s.id, tails[i]);
        struct store_found found = look(b, &s);
        assert_int_equal(found.kind, i == 0 ? STORE_FOUND_OTHER : STORE_FOUND_HASH);
        assert_int_equal(found.has_position, i > 0);
        assert_true(write_over(b, &s, &found));
        expect_rebuilt(b, &s);
        if (i > 2)
            assert_int_equal(exists(c, &s, tails[i]), 0);
    }
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

/* What cannot be a list of versions names no keys. */
static void test_values_that_cannot_be_are_no_values(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    fixture_create(b, &s);
    fixture_ask(c, "HSET session:{%s}:meta snapshots 1,x version many", s.id);
    struct store_found found = look(b, &s);
    assert_string_equal(found.snapshots, "");
    assert_false(found.has_position);
    fixture_ask(c, "HSET session:{%s}:meta version 18446744073709551615", s.id);
    assert_false(look(b, &s).has_position);
    fixture_ask(c, "DEL session:{%s}:meta", s.id);
    fixture_ask(c, "HSET session:{%s}:meta x y", s.id);
    found = look(b, &s);
    assert_int_equal(found.kind, STORE_FOUND_HASH);
    assert_string_equal(found.token, "");
    assert_true(write_over(b, &s, &found));
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_the_most_keys_are_remembered(void **state) {
    (void)state;
    enum { N = 2000 };
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    fixture_session(&s);
    struct store_found found = look(b, &s);
    struct store_remembered *keys = must_alloc(N * sizeof(*keys));
    for (size_t i = 0; i < N; i++) {
        keys[i] = (struct store_remembered){.time = 1000 + (int64_t)i, .position = {i + 1, 1}};
        snprintf(keys[i].hash, sizeof(keys[i].hash), "%064zu", i);
    }
    struct store_recovery r = rebuild(b, &s, &found, timestamp_wall_ms());
    r.keys = keys;
    r.n_keys = N;
    bool is_done = false;
    assert_int_equal(store_recover_write(b, &r, &is_done), 0);
    assert_true(is_done);
    assert_int_equal(FIXTURE_NUMBER(c, "HLEN session:{%s}:idem", s.id), N);
    free(keys);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_an_adopted_session_changes_its_run_alone(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    bool is_done = false;
    fixture_create(b, &s);
    fixture_ask(c, "HSET session:{%s}:meta run_id another", s.id);
    long n = FIXTURE_NUMBER(c, "HLEN session:{%s}:meta", s.id);
    struct store_found found = look(b, &s);
    assert_int_equal(store_recover_adopt(b, s.id, &found, &is_done), 0);
    assert_true(is_done);
    assert_string_equal(look(b, &s).run_id, store_batch_run_id(b, s.id));
    assert_int_equal(FIXTURE_NUMBER(c, "HLEN session:{%s}:meta", s.id), n);
    assert_int_equal(fixture_version(b, s.id), s.position.version);
    assert_int_equal(store_recover_adopt(b, s.id, &found, &is_done), 0);
    assert_false(is_done); /* another engine was faster */
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

static void test_a_deleted_one_becomes_a_tombstone(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    fixture_create(b, &s);
    fixture_ask(c, "HSET session:{%s}:devices phone there", s.id);
    struct store_found found = look(b, &s);
    s.deleted = true;
    s.position.version++;
    s.published = s.position.version;
    struct store_recovery r = {.session = &s, .found = &found, .now = 1, .arm_at = 2500};
    bool is_done = false;
    assert_int_equal(store_recover_write(b, &r, &is_done), 0);
    assert_true(is_done);
    struct store_load l = fixture_load(b, s.id, false, NULL, 0);
    assert_int_equal(l.err, 0);
    assert_true(l.session.deleted);
    store_load_done(&l);
    static const char *const gone[] = {"state", "deltas", "idem", "devices", "snapshot:1"};
    for (size_t i = 0; i < N_ELEMENTS(gone); i++)
        assert_int_equal(exists(c, &s, gone[i]), 0);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

__attribute__((format(printf, 1, 2))) static const char *text_of(const char *format, ...) {
    static char text[128];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return text;
}

#define MEMORY "store:{0}:memory"

static struct store_memory memory_of(struct store_batch *b) {
    struct store_memory m = {.user_id = FIXTURE_COMMAND};
    assert_int_equal(store_batch_memories(b, &m, 1), 0);
    assert_int_equal(m.err, 0);
    assert_int_equal(m.number, 0);
    return m;
}

static void test_memory_begins_where_it_is_missing_or_of_another_run(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    int64_t now;
    assert_int_equal(store_batch_load(b, NULL, 0, &now), 0);
    struct store_memory first = memory_of(b);
    assert_true(first.is_young && first.since >= now);
    assert_int_equal(memory_of(b).since, first.since);
    const char *run_id = store_batch_run_id(b, FIXTURE_COMMAND);
    long long a_day_ago = (long long)(first.since - STORE_MEMORY_MS);
    fixture_ask(c, "SET " MEMORY " %s", text_of("%lld %s", a_day_ago, run_id));
    assert_false(memory_of(b).is_young);
    assert_int_equal(memory_of(b).since, a_day_ago);
    /* another run's, and what cannot be */
    fixture_ask(c, "SET " MEMORY " %s", text_of("%lld another", a_day_ago));
    assert_true(memory_of(b).since >= first.since);
    fixture_ask(c, "SET " MEMORY " %s", text_of("1%018d %s", 0, run_id));
    assert_true(memory_of(b).since >= first.since);
    fixture_ask(c, "DEL " MEMORY);
    fixture_ask(c, "RPUSH " MEMORY " x");
    assert_true(memory_of(b).since >= first.since);
    assert_true(memory_of(b).is_young);
    redisFree(c);
    store_batch_free(b);
}

static void test_a_claim_is_corrected(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct session s;
    fixture_session(&s);
    struct store_claim claim = {.user_id = s.user_id,
                                .key_hash = FIXTURE_HASH,
                                .fingerprint = OTHER_HASH,
                                .wanted_id = FIXTURE_COMMAND};
    assert_int_equal(store_batch_claim_creates(b, &claim, 1), 0);
    assert_int_equal(store_batch_correct_claim(b, s.user_id, FIXTURE_HASH, s.id, FIXTURE_PRINT), 0);
    assert_int_equal(store_batch_claim_creates(b, &claim, 1), 0);
    assert_string_equal(claim.session_id, s.id);
    assert_false(claim.same_request);
    session_done(&s);
    store_batch_free(b);
}

/* What a later loss needs: the audit trail is told of it also by who publishes again. */
static void test_an_entry_has_its_commands_key(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    redisContext *c = fixture_redis();
    struct session s;
    fixture_create(b, &s);
    s.position.version++;
    struct store_save save = fixture_save(&s, timestamp_wall_ms());
    save.key_hash = FIXTURE_HASH;
    save.fingerprint = FIXTURE_PRINT;
    assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
    struct store_load l = fixture_load(b, s.id, true, NULL, 0);
    assert_int_equal(l.n_entries, 2);
    assert_string_equal(l.entries[0].key_hash, "");
    assert_string_equal(l.entries[0].fingerprint, "");
    assert_string_equal(l.entries[1].key_hash, FIXTURE_HASH);
    assert_string_equal(l.entries[1].fingerprint, FIXTURE_PRINT);
    assert_int_equal(strtol(fixture_ask(c, "HGET session:{%s}:meta deltaBytes", s.id), NULL, 10),
                     fixture_window_bytes(c, &s));
    store_load_done(&l);
    session_done(&s);
    redisFree(c);
    store_batch_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lost_session_is_written_whole),
        cmocka_unit_test(test_a_save_goes_on_behind_it_and_the_mark_moves_over_it),
        cmocka_unit_test(test_of_two_engines_one_writes),
        cmocka_unit_test(test_another_loss_is_not_that_which_was_found),
        cmocka_unit_test(test_what_stood_there_goes_but_who_is_there_stays),
        cmocka_unit_test(test_wrong_types_are_written_over),
        cmocka_unit_test(test_values_that_cannot_be_are_no_values),
        cmocka_unit_test(test_the_most_keys_are_remembered),
        cmocka_unit_test(test_an_adopted_session_changes_its_run_alone),
        cmocka_unit_test(test_a_deleted_one_becomes_a_tombstone),
        cmocka_unit_test(test_memory_begins_where_it_is_missing_or_of_another_run),
        cmocka_unit_test(test_a_claim_is_corrected),
        cmocka_unit_test(test_an_entry_has_its_commands_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
