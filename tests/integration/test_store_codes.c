/* Handoff codes in Redis: one claimant, places, tries; what is there when an answer cannot be. */
#include <inttypes.h>

#include "common/store_codes.h"
#include "tests/integration/store_run.h"

#define SESSION "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"
#define OWNER "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define OTHER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define ADDRESS "2001:db8:0:7::/64"
#define PLACES "handoff:{" SESSION "}:codes"
#define TRIES "handoff:{" ADDRESS "}:tries"

struct asker {
    struct run run;
    redisContext *redis; /* behind its back */
    int n_answers, n_claimed;
    int err;
    int64_t moment;
    struct store_code code;
    struct store_try try;
};

static void answer(struct asker *a, int err) {
    assert_false(a->run.is_asking);
    a->err = err;
    a->n_answers++;
}

static void on_issued(void *arg, int err, int64_t moment) {
    struct asker *a = arg;
    a->moment = moment;
    answer(a, err);
}

static void on_code(void *arg, int err, const struct store_code *code) {
    struct asker *a = arg;
    assert_true((err == 0) == (code != NULL));
    a->code = code ? *code : (struct store_code){0};
    a->n_claimed += err == 0;
    answer(a, err);
}

static void on_try(void *arg, int err, const struct store_try *try) {
    struct asker *a = arg;
    assert_true((err == 0) == (try != NULL));
    a->try = try ? *try:
        (struct store_try){0};
    answer(a, err);
}

static const char *hash_of(int i) {
    static char hash[HASH_HEX_LEN + 1];
    hash_sha256_hex(&i, sizeof(i), hash);
    return hash;
}

static const char *key_of(int i) {
    static char key[STORE_KEY_CAP];
    store_key_handoff(hash_of(i), "", key);
    return key;
}

#define ASK(a, call)                                                                               \
    do {                                                                                           \
        int n_before = (a)->n_answers;                                                             \
        (a)->run.is_asking = true;                                                                 \
        call;                                                                                      \
        (a)->run.is_asking = false;                                                                \
        RUN_UNTIL(&(a)->run, (a)->n_answers > n_before);                                           \
    } while (0)

static int issue(struct asker *a, int i, enum session_role role, int64_t ttl_ms) {
    struct store_code code = {SESSION, OWNER, role, "phone", "", "", ""};
    ASK(a, store_issue_code(a->run.store, hash_of(i), &code, ttl_ms, on_issued, a));
    return a->err;
}

static int find(struct asker *a, int i) {
    ASK(a, store_find_code(a->run.store, hash_of(i), on_code, a));
    return a->err;
}

/* claimant: a hash of that number. */
static int claim(struct asker *a, int i, const char *asker, int claimant, const char *user) {
    char hash[HASH_HEX_LEN + 1];
    strcpy(hash, hash_of(1000 + claimant));
    struct store_code_claim c = {asker, hash, user, "tablet"};
    ASK(a, store_claim_code(a->run.store, hash_of(i), &c, on_code, a));
    return a->err;
}

static bool try_one(struct asker *a) {
    ASK(a, store_try_code(a->run.store, ADDRESS, on_try, a));
    assert_int_equal(a->err, 0);
    assert_true(a->try.moment > 0 ? a->try.retry_after_ms == 0
                                  : a->try.retry_after_ms >= 1 && a->try.retry_after_ms <= 60000);
    return a->try.moment > 0;
}

static void begin(struct asker *a) {
    *a = (struct asker){0};
    a->redis = fixture_redis();
    fixture_ask(a->redis, "DEL " PLACES " " TRIES);
    for (int i = 0; i < 20; i++)
        fixture_ask(a->redis, "DEL %s", key_of(i));
    start_up(&a->run);
}

static void end(struct asker *a) {
    redisFree(a->redis);
    stop(&a->run);
}

static long pttl(struct asker *a, const char *key) {
    return strtol(fixture_ask(a->redis, "PTTL %s", key), NULL, 10);
}

static void test_a_code_is_there_until_it_ends(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    int64_t before = store_now(a.run.store);
    assert_int_equal(issue(&a, 1, SESSION_ROLE_EDITOR, 30000), 0);
    assert_in_range(a.moment, before + 29000, before + 60000);
    assert_int_equal(find(&a, 1), 0);
    assert_string_equal(a.code.session_id, SESSION);
    assert_string_equal(a.code.owner_id, OWNER);
    assert_string_equal(a.code.device_id, "phone");
    assert_int_equal(a.code.role, SESSION_ROLE_EDITOR);
    assert_string_equal(a.code.claimant, "");
    assert_in_range(pttl(&a, key_of(1)), 1, 30000);
    assert_in_range(pttl(&a, PLACES), 1, 30000);
    assert_int_equal(find(&a, 2), -ENOENT);
    fixture_ask(a.redis, "DEL %s", key_of(1));
    assert_int_equal(find(&a, 1), -ENOENT);
    assert_int_equal(claim(&a, 1, OWNER, 1, OWNER), -ENOENT);
    end(&a);
}

static void test_one_claims_it_and_may_again(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    assert_int_equal(issue(&a, 1, SESSION_ROLE_VIEWER, 30000), 0);
    assert_int_equal(claim(&a, 1, "", 1, OTHER), 0);
    assert_string_equal(a.code.user_id, OTHER);
    assert_string_equal(a.code.user_device, "tablet");
    assert_in_range(pttl(&a, key_of(1)), 1, 30000);
    assert_int_equal(claim(&a, 1, "", 2, OTHER), -ENOENT);
    assert_int_equal(claim(&a, 1, OWNER, 3, OWNER), -ENOENT);
    assert_int_equal(claim(&a, 1, "", 1, SESSION), 0); /* as it was the first time */
    assert_string_equal(a.code.user_id, OTHER);
    assert_int_equal(find(&a, 1), 0);
    assert_string_equal(a.code.claimant, hash_of(1001));
    end(&a);
}

static void test_for_the_owners_account(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    assert_int_equal(issue(&a, 1, SESSION_ROLE_OWNER, 30000), 0);
    assert_int_equal(issue(&a, 2, SESSION_ROLE_OWNER, 30000), 0);
    assert_int_equal(claim(&a, 1, OTHER, 1, OTHER), -ENOENT);
    assert_int_equal(claim(&a, 1, OWNER, 2, OWNER), 0); /* nobody has used it up */
    assert_string_equal(a.code.user_id, OWNER);
    assert_int_equal(claim(&a, 1, OTHER, 2, OTHER), -ENOENT);
    assert_int_equal(claim(&a, 2, "", 1, OTHER), 0); /* a guest: for the owner */
    assert_string_equal(a.code.user_id, OWNER);
    end(&a);
}

static void test_one_of_many_at_once(void **state) {
    (void)state;
    static char claimants[200][HASH_HEX_LEN + 1];
    struct asker a, b;
    begin(&a), begin(&b);
    assert_int_equal(issue(&a, 1, SESSION_ROLE_EDITOR, 30000), 0);
    for (int i = 0; i < 200; i++) {
        struct asker *asker = i % 2 ? &a : &b;
        strcpy(claimants[i], hash_of(i));
        struct store_code_claim c = {OTHER, claimants[i], OTHER, "tablet"};
        store_claim_code(asker->run.store, hash_of(1), &c, on_code, asker);
    }
    RUN_UNTIL(&a.run, a.n_answers == 101);
    RUN_UNTIL(&b.run, b.n_answers == 100);
    assert_int_equal(a.n_claimed + b.n_claimed, 1);
    end(&a), end(&b);
}

static void test_places(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    for (int i = 0; i < STORE_CODES_PER_SESSION; i++)
        assert_int_equal(issue(&a, i, SESSION_ROLE_EDITOR, 30000 + 1000 * i), 0);
    assert_int_equal(issue(&a, 10, SESSION_ROLE_EDITOR, 300000), -EDQUOT);
    assert_in_range(a.moment, 1, 30000);
    assert_int_equal(find(&a, 10), -ENOENT);
    assert_in_range(pttl(&a, PLACES), 30001, 39000);
    store_release_code(a.run.store, SESSION, hash_of(5));
    store_release_code(a.run.store, SESSION, hash_of(15));
    assert_int_equal(find(&a, 5), 0); /* by then it was asked, also where Redis had no script yet */
    assert_int_equal(issue(&a, 10, SESSION_ROLE_EDITOR, 300000), 0);
    assert_in_range(pttl(&a, PLACES), 40000, 300000);
    assert_int_equal(issue(&a, 11, SESSION_ROLE_EDITOR, 10000), -EDQUOT);
    end(&a);
}

static void test_places_of_codes_that_ended_are_free(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    struct buf places = BUF_NULL;
    for (int i = 0; i < STORE_CODES_PER_SESSION; i++)
        buf_printf(&places, "%s%s %d", i ? " " : "", hash_of(i), 1 + i);
    fixture_ask(a.redis, "SET " PLACES " %s", places.data);
    buf_done(&places);
    assert_int_equal(issue(&a, 10, SESSION_ROLE_EDITOR, 30000), 0);
    assert_null(strstr(fixture_ask(a.redis, "GET " PLACES), hash_of(1)));
    assert_non_null(strstr(fixture_ask(a.redis, "GET " PLACES), hash_of(10)));
    end(&a);
}

static void test_tries(void **state) {
    (void)state;
    struct asker a, b;
    begin(&a), begin(&b);
    for (int i = 0; i < STORE_CODE_TRIES; i++)
        assert_true(try_one(i % 2 ? &a : &b));
    assert_false(try_one(&a));
    assert_false(try_one(&b));
    assert_in_range(pttl(&a, TRIES), 1, 60000);
    store_untry_code(b.run.store, ADDRESS, 1); /* none of them */
    assert_int_equal(find(&b, 1), -ENOENT);
    assert_false(try_one(&b));
    assert_int_equal(sscanf(fixture_ask(a.redis, "GET " TRIES), "%" SCNd64, &a.moment), 1);
    store_untry_code(b.run.store, ADDRESS, a.moment);
    assert_int_equal(find(&b, 1), -ENOENT); /* as above */
    assert_true(try_one(&b));
    assert_false(try_one(&a));
    end(&a), end(&b);
}

static void test_a_try_counts_for_a_minute(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    for (int i = 0; i < STORE_CODE_TRIES; i++)
        assert_true(try_one(&a));
    int64_t first = strtoll(fixture_ask(a.redis, "GET " TRIES), NULL, 10);
    struct buf tries = BUF_NULL;
    buf_printf(&tries, "%" PRId64, first - 60000000);
    buf_puts(&tries, strchr(fixture_ask(a.redis, "GET " TRIES), ' '));
    fixture_ask(a.redis, "SET " TRIES " %s", tries.data);
    buf_done(&tries);
    assert_true(try_one(&a));
    assert_false(try_one(&a));
    end(&a);
}

static void test_what_cannot_be(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    fixture_ask(a.redis, "SET %s nonsense", key_of(1));
    assert_int_equal(find(&a, 1), -EBADMSG);
    assert_int_equal(claim(&a, 1, OWNER, 1, OWNER), -ENOENT); /* nobody gets in by it */
    fixture_ask(a.redis, "DEL %s", key_of(2));
    fixture_ask(a.redis, "LPUSH %s x", key_of(2));
    assert_int_equal(find(&a, 2), -EBADMSG);
    assert_int_equal(claim(&a, 2, OWNER, 1, OWNER), -EBADMSG);
    fixture_ask(a.redis, "LPUSH " PLACES " x");
    assert_int_equal(issue(&a, 3, SESSION_ROLE_EDITOR, 30000), -EBADMSG);
    fixture_ask(a.redis, "LPUSH " TRIES " x");
    ASK(&a, store_try_code(a.run.store, ADDRESS, on_try, &a));
    assert_int_equal(a.err, -EBADMSG);
    fixture_ask(a.redis, "DEL %s " PLACES " " TRIES, key_of(2));
    fixture_ask(a.redis, "SCRIPT FLUSH"); /* loaded again by the next who asks */
    assert_int_equal(issue(&a, 4, SESSION_ROLE_EDITOR, 30000), 0);
    end(&a);
}

/* What waits hears of the end; what nobody waits for goes with it. */
static void test_the_end(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    struct store_code code = {SESSION, OWNER, SESSION_ROLE_EDITOR, "phone", "", "", ""};
    int n = a.n_answers;
    store_issue_code(a.run.store, hash_of(1), &code, 30000, on_issued, &a);
    store_find_code(a.run.store, hash_of(1), on_code, &a);
    store_try_code(a.run.store, ADDRESS, on_try, &a);
    store_release_code(a.run.store, SESSION, hash_of(1));
    store_untry_code(a.run.store, ADDRESS, 1);
    a.run.store = store_free(a.run.store);
    assert_int_equal(a.n_answers, n + 3);
    assert_int_equal(a.err, -ECANCELED);
    end(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_code_is_there_until_it_ends),
        cmocka_unit_test(test_one_claims_it_and_may_again),
        cmocka_unit_test(test_for_the_owners_account),
        cmocka_unit_test(test_one_of_many_at_once),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_places_of_codes_that_ended_are_free),
        cmocka_unit_test(test_tries),
        cmocka_unit_test(test_a_try_counts_for_a_minute),
        cmocka_unit_test(test_what_cannot_be),
        cmocka_unit_test(test_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
