/* What an earlier version is made of again, and whether a key was used, asked without waiting. */
#include "tests/integration/store_batch_fixture.h"
#include "tests/integration/store_run.h"

struct told {
    struct fixture f;
    struct run run;
    bool is_there;
    uint64_t epoch;
    char state[4096];
};

static void on_past(void *arg, int err, const struct store_past *past) {
    struct told *told = arg;
    assert_true((err == 0) == (past != NULL));
    told->epoch = past ? past->epoch : 0;
    told->state[0] = '\0';
    if (past && past->state)
        snprintf(told->state, sizeof(told->state), "%.*s", (int)past->state_len, past->state);
    on_deltas(&told->run, err, past ? past->deltas : NULL, past ? past->n_deltas : 0);
}

static void on_key(void *arg, int err, bool is_there) {
    struct told *told = arg;
    told->is_there = is_there;
    note(&told->run, err);
}

static int read_past(struct told *told, const char *id, uint64_t kept, uint64_t version) {
    struct run *run = &told->run;
    int n = run->n_answers;
    memset(run->n_errors, 0, sizeof(run->n_errors));
    run->is_asking = true;
    store_read_past(run->store, id, kept, version, on_past, told);
    run->is_asking = false;
    RUN_UNTIL(run, run->n_answers > n);
    for (int err = 1; err < 256; err++)
        if (run->n_errors[err])
            return -err;
    return 0;
}

static int has_key(struct told *told, const char *id, const char *hash) {
    struct run *run = &told->run;
    int n = run->n_answers;
    memset(run->n_errors, 0, sizeof(run->n_errors));
    store_has_key(run->store, id, hash, on_key, told);
    RUN_UNTIL(run, run->n_answers > n);
    for (int err = 1; err < 256; err++)
        if (run->n_errors[err])
            return -err;
    return told->is_there;
}

static int told_new(void **state) {
    struct told *told = must_alloc(sizeof(*told));
    fixture_open(&told->f);
    fixture_create(told->f.batch, &told->f.session);
    start_up(&told->run);
    *state = told;
    return 0;
}

static int told_free(void **state) {
    struct told *told = *state;
    stop(&told->run);
    fixture_close(&told->f);
    free(told);
    return 0;
}

static void test_kept_state_and_what_followed(void **state) {
    struct told *told = *state;
    redisContext *c = told->f.redis;
    struct session *s = &told->f.session;
    assert_int_equal(fixture_advance(told->f.batch, s, 9, 5, false), STORE_SAVED);
    fixture_ask(c, "SET session:{%s}:snapshot:4 kept", s->id);
    assert_int_equal(read_past(told, s->id, 4, 7), 0);
    assert_int_equal(told->epoch, 1);
    assert_string_equal(told->state, "kept");
    assert_int_equal(told->run.n_versions, 3);
    assert_int_equal(told->run.versions[0], 5);
    assert_int_equal(told->run.versions[2], 7);
    assert_int_equal(read_past(told, s->id, 4, 4), 0);
    assert_int_equal(told->run.n_versions, 0);
    assert_int_equal(read_past(told, s->id, 0, 2), 0);
    assert_string_equal(told->state, "");
    assert_int_equal(told->run.versions[0], 1);
    assert_int_equal(told->run.n_versions, 2);
    assert_int_equal(read_past(told, s->id, 5, 900), 0);
    assert_string_equal(told->state, "");
    assert_int_equal(told->run.n_versions, 4);
    fixture_ask(c, "SCRIPT FLUSH");
    assert_int_equal(read_past(told, s->id, 4, 7), 0);
    assert_string_equal(told->state, "kept");
    assert_int_equal(read_past(told, FIXTURE_COMMAND, 4, 7), -ENOENT);
    fixture_ask(c, "HSET session:{%s}:meta run_id 0123456789012345678901234567890123456789", s->id);
    assert_int_equal(read_past(told, s->id, 4, 7), -ESTALE);
    fixture_ask(c, "HDEL session:{%s}:meta run_id", s->id);
    assert_int_equal(read_past(told, s->id, 4, 7), -ESTALE);
}

static void test_past_that_cannot_be_is_no_answer(void **state) {
    struct told *told = *state;
    redisContext *c = told->f.redis;
    struct session *s = &told->f.session;
    fixture_ask(c, "LPUSH session:{%s}:snapshot:3 x", s->id);
    assert_int_equal(read_past(told, s->id, 3, 7), -EBADMSG);
    fixture_ask(c, "XADD session:{%s}:deltas 7-1 e x", s->id);
    assert_int_equal(read_past(told, s->id, 2, 9), -EBADMSG);
    fixture_ask(c, "HSET session:{%s}:meta epoch x", s->id);
    assert_int_equal(read_past(told, s->id, 1, 1), -EBADMSG);
}

static void test_a_key_is_remembered_or_not(void **state) {
    struct told *told = *state;
    redisContext *c = told->f.redis;
    struct session *s = &told->f.session;
    fixture_ask(c, "HSET session:{%s}:idem " FIXTURE_HASH " x", s->id);
    assert_int_equal(has_key(told, s->id, FIXTURE_HASH), 1);
    assert_int_equal(has_key(told, s->id, FIXTURE_PRINT), 0);
    assert_int_equal(has_key(told, FIXTURE_COMMAND, FIXTURE_HASH), 0);
    fixture_ask(c, "DEL session:{%s}:idem", s->id);
    fixture_ask(c, "SET session:{%s}:idem x", s->id);
    assert_int_equal(has_key(told, s->id, FIXTURE_HASH), -EBADMSG);
}

static void test_without_redis_both_are_told_so(void **state) {
    (void)state;
    struct told told;
    memset(&told, 0, sizeof(told));
    start(&told.run, "redis://127.0.0.1:1");
    assert_int_equal(read_past(&told, FIXTURE_COMMAND, 1, 2), -ENOTCONN);
    assert_int_equal(has_key(&told, FIXTURE_COMMAND, FIXTURE_HASH), -ENOTCONN);
    stop(&told.run);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, told_new, told_free)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_kept_state_and_what_followed),
        TEST(test_past_that_cannot_be_is_no_answer),
        TEST(test_a_key_is_remembered_or_not),
        cmocka_unit_test(test_without_redis_both_are_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
