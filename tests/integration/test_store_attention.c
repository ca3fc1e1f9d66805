/* The attention set and the claims of creates: one of several engines gets what all of them see. */
#include <errno.h>

#include "tests/integration/store_batch_fixture.h"

/* ---- claims and attention ---- */

/* The id to use, and whether the claim was this request's. */
static bool claim_create(struct store_batch *b, const char *user, const char *wanted,
                         const char *print, char got[static UUID_LEN + 1]) {
    struct store_claim claim = {
        .user_id = user, .key_hash = FIXTURE_HASH, .fingerprint = print, .wanted_id = wanted};
    assert_int_equal(store_batch_claim_creates(b, &claim, 1), 0);
    assert_int_equal(claim.err, 0);
    memcpy(got, claim.session_id, UUID_LEN + 1);
    return claim.same_request;
}

static void test_a_create_is_claimed_once(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    char user[UUID_LEN + 1], first[UUID_LEN + 1], second[UUID_LEN + 1], got[UUID_LEN + 1];
    uuid_v4(user);
    uuid_v4(first);
    uuid_v4(second);
    assert_true(claim_create(b, user, first, FIXTURE_PRINT, got));
    assert_string_equal(got, first);
    assert_true(claim_create(b, user, second, FIXTURE_PRINT, got));
    assert_string_equal(got, first);
    assert_false(claim_create(b, user, second, FIXTURE_HASH, got));
    assert_string_equal(got, first);
    redisContext *c = fixture_redis();
    long ttl = FIXTURE_NUMBER(c, "PTTL user:{%s}:idem:%s", user, FIXTURE_HASH);
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
    fixture_set_id(a.session_id, session_id);
    assert_int_equal(store_batch_save(b, NULL, 0, &a, 1, NULL, 0), 0);
}

static void rearm(struct store_batch *b, const char *session_id, int64_t lease, int64_t next) {
    struct store_due due = {.lease = lease, .next = next};
    fixture_set_id(due.session_id, session_id);
    assert_int_equal(store_batch_rearm(b, &due, 1), 0);
}

static bool claim(struct store_batch *b, struct store_due *due, int64_t lease) {
    assert_int_equal(store_batch_claim_due(b, due, 1, lease), 0);
    return due->is_claimed;
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
    rearm(b, id, 500, 0);
    assert_int_equal(due_at(b, id, INT64_MAX / 4096), 0);
    for (int i = 0; i < 200; i++) { /* over all slots */
        uuid_v4(id);
        arm(b, id, 100);
        assert_int_equal(due_at(b, id, 100), 100);
        rearm(b, id, 100, 0);
    }
    store_batch_free(b);
}

static void test_one_of_two_claimers_gets_a_due_entry(void **state) {
    (void)state;
    struct store_batch *one = fixture_batch(), *two = fixture_batch();
    struct store_due due = {.at = 1000};
    uuid_v7(timestamp_wall_ms(), due.session_id);
    assert_false(claim(one, &due, 5000)); /* was never there */
    arm(one, due.session_id, 1000);
    assert_true(claim(one, &due, 1770897600123));
    assert_false(claim(two, &due, 1770897600124));
    assert_int_equal(due_at(one, due.session_id, 1770897600123), 1770897600123);

    rearm(one, due.session_id, 1770897600123, 1770897700000);
    assert_int_equal(due_at(one, due.session_id, INT64_MAX / 4096), 1770897700000);
    arm(two, due.session_id, 3000); /* meanwhile, earlier than the lease: stays */
    rearm(one, due.session_id, 1770897700000, 1770897800000);
    assert_int_equal(due_at(one, due.session_id, INT64_MAX / 4096), 3000);
    rearm(one, due.session_id, 1770897700000, 0);
    assert_int_equal(due_at(one, due.session_id, INT64_MAX / 4096), 3000);
    rearm(one, due.session_id, 3000, 0);
    store_batch_free(one);
    store_batch_free(two);
}

/* More than one pipeline's worth of sessions, and no script known: each is claimed, by one only. */
static void test_many_are_claimed_together_also_without_scripts(void **state) {
    (void)state;
    struct store_batch *one = fixture_batch(), *two = fixture_batch();
    redisContext *c = fixture_redis();
    struct store_due due[100] = {0};
    for (size_t i = 0; i < N_ELEMENTS(due); i++) {
        uuid_v4(due[i].session_id);
        due[i].at = 100;
        if (i % 2 == 0)
            arm(one, due[i].session_id, 100);
    }
    fixture_ask(c, "SCRIPT FLUSH");
    assert_int_equal(store_batch_claim_due(one, due, N_ELEMENTS(due), 5000), 0);
    for (size_t i = 0; i < N_ELEMENTS(due); i++)
        assert_int_equal(due[i].is_claimed, i % 2 == 0);
    assert_int_equal(store_batch_claim_due(two, due, N_ELEMENTS(due), 6000), 0);
    for (size_t i = 0; i < N_ELEMENTS(due); i++)
        assert_false(due[i].is_claimed);
    for (size_t i = 0; i < N_ELEMENTS(due); i++)
        due[i].lease = 5000; /* the other one claimed none of them */
    fixture_ask(c, "SCRIPT FLUSH");
    assert_int_equal(store_batch_rearm(one, due, N_ELEMENTS(due)), 0); /* next 0: none */
    assert_int_equal(due_at(one, due[0].session_id, INT64_MAX / 4096), 0);
    redisFree(c);
    store_batch_free(one);
    store_batch_free(two);
}

static void test_only_what_is_missing_is_armed(void **state) {
    (void)state;
    struct store_batch *b = fixture_batch();
    struct store_arm arms[2] = {{.at = 700}, {.at = 700}};
    uuid_v4(arms[0].session_id);
    uuid_v4(arms[1].session_id);
    arm(b, arms[0].session_id, 900);
    assert_int_equal(store_batch_arm_missing(b, arms, 2), 0);
    assert_int_equal(due_at(b, arms[0].session_id, 1000), 900);
    assert_int_equal(due_at(b, arms[1].session_id, 1000), 700);
    rearm(b, arms[0].session_id, 900, 0);
    rearm(b, arms[1].session_id, 700, 0);
    store_batch_free(b);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    fixture_url();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_create_is_claimed_once),
        cmocka_unit_test(test_attention_is_armed_earlier_only_and_found),
        cmocka_unit_test(test_one_of_two_claimers_gets_a_due_entry),
        cmocka_unit_test(test_many_are_claimed_together_also_without_scripts),
        cmocka_unit_test(test_only_what_is_missing_is_armed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
