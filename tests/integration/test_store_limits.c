/* Token buckets in Redis: the bound, what is told of it, and that all who ask share them. */
#include <unistd.h>

#include "tests/integration/store_run.h"

#define USER "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"
#define KEY "rate:{user:" USER "}"

struct asker {
    struct run run;
    int n_answers;
    int err;
    struct store_token token;
};

static void on_token(void *arg, int err, const struct store_token *token) {
    struct asker *a = arg;
    assert_true((err == 0) == (token != NULL));
    assert_false(a->run.is_asking);
    a->err = err;
    a->token = token ? *token : (struct store_token){0};
    a->n_answers++;
}

static void send_ask(struct asker *a, enum store_bucket bucket, const char *who, int64_t rate,
                     int64_t burst) {
    a->run.is_asking = true;
    store_take_token(a->run.store, bucket, who, rate, burst, on_token, a);
    a->run.is_asking = false;
}

static struct store_token take(struct asker *a, int64_t rate, int64_t burst) {
    int n = a->n_answers;
    send_ask(a, STORE_BUCKET_USER, USER, rate, burst);
    RUN_UNTIL(&a->run, a->n_answers > n);
    assert_int_equal(a->err, 0);
    return a->token;
}

static void begin(struct asker *a) {
    redisContext *c = fixture_redis();
    a->n_answers = 0;
    start_up(&a->run);
    fixture_ask(c, "DEL " KEY);
    redisFree(c);
}

static void test_a_burst_is_given_and_then_no_more(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    for (int i = 0; i < 5; i++) {
        struct store_token t = take(&a, 1, 5);
        assert_true(t.is_taken);
        assert_int_equal(t.n_left, 4 - i);
        assert_int_equal(t.retry_after_ms, 0);
        assert_in_range(t.full_after_ms, 1, (i + 1) * 1000);
    }
    struct store_token t = take(&a, 1, 5);
    assert_false(t.is_taken);
    assert_int_equal(t.n_left, 0);
    assert_in_range(t.retry_after_ms, 1, 1000);
    assert_in_range(t.full_after_ms, 1, 5000);
    stop(&a.run);
}

static void test_a_burst_is_whole_at_every_rate(void **state) {
    static const int64_t rates[] = {3, 7, 11, 13, 17, 19};
    (void)state;
    struct asker a;
    begin(&a);
    redisContext *c = fixture_redis();
    for (size_t i = 0; i < N_ELEMENTS(rates); i++) {
        fixture_ask(c, "DEL " KEY);
        for (int n = 0; n < 50; n++)
            assert_true(take(&a, rates[i], 50).is_taken);
    }
    redisFree(c);
    stop(&a.run);
}

static void test_it_is_there_after_the_time_that_was_told(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    while (take(&a, 20, 2).is_taken)
        ;
    assert_in_range(a.token.retry_after_ms, 1, 50);
    usleep((useconds_t)a.token.retry_after_ms * 1000); /* the time itself is what is tested */
    assert_true(take(&a, 20, 2).is_taken);
    stop(&a.run);
}

static void test_two_instances_share_a_bucket(void **state) {
    (void)state;
    struct asker a, b;
    begin(&a), begin(&b);
    for (int i = 0; i < 3; i++) {
        assert_true(take(&a, 1, 6).is_taken);
        assert_true(take(&b, 1, 6).is_taken);
    }
    assert_false(take(&a, 1, 6).is_taken);
    assert_false(take(&b, 1, 6).is_taken);
    stop(&a.run), stop(&b.run);
}

static void test_others_have_buckets_of_their_own(void **state) {
    (void)state;
    struct asker a;
    redisContext *c = fixture_redis();
    begin(&a);
    fixture_ask(c, "DEL rate:{address:192.0.2.1}");
    assert_true(take(&a, 1, 1).is_taken);
    assert_false(take(&a, 1, 1).is_taken);
    send_ask(&a, STORE_BUCKET_ADDRESS, "192.0.2.1", 1, 1);
    RUN_UNTIL(&a.run, a.n_answers == 3);
    assert_true(a.token.is_taken);
    assert_string_equal(fixture_ask(c, "EXISTS rate:{address:192.0.2.1}"), "1");
    redisFree(c);
    stop(&a.run);
}

static void test_a_bucket_that_is_full_again_is_forgotten(void **state) {
    (void)state;
    struct asker a;
    redisContext *c = fixture_redis();
    begin(&a);
    assert_true(take(&a, 1, 3).is_taken);
    assert_in_range(strtol(fixture_ask(c, "PTTL " KEY), NULL, 10), 1, 1000);
    assert_true(take(&a, 1, 3).is_taken);
    assert_in_range(strtol(fixture_ask(c, "PTTL " KEY), NULL, 10), 1001, 2000);
    redisFree(c);
    stop(&a.run);
}

static void test_a_smaller_bucket_holds_nobody_longer_than_itself(void **state) {
    (void)state;
    struct asker a;
    begin(&a);
    for (int i = 0; i < 100; i++)
        assert_true(take(&a, 1, 100).is_taken);
    struct store_token t = take(&a, 10, 2);
    assert_false(t.is_taken);
    assert_in_range(t.retry_after_ms, 1, 100);
    stop(&a.run);
}

static void test_an_error_is_told(void **state) {
    (void)state;
    struct asker a;
    redisContext *c = fixture_redis();
    begin(&a);
    fixture_ask(c, "LPUSH " KEY " x");
    send_ask(&a, STORE_BUCKET_USER, USER, 1, 1);
    RUN_UNTIL(&a.run, a.n_answers == 1);
    assert_int_equal(a.err, -EBADMSG);
    fixture_ask(c, "DEL " KEY);
    fixture_ask(c, "SCRIPT FLUSH"); /* loaded again by the next who asks */
    assert_true(take(&a, 1, 1).is_taken);
    send_ask(&a, STORE_BUCKET_USER, USER, 1, 1);
    a.run.store = store_free(a.run.store);
    assert_int_equal(a.n_answers, 3);
    assert_int_equal(a.err, -ECANCELED);
    redisFree(c);
    stop(&a.run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_burst_is_given_and_then_no_more),
        cmocka_unit_test(test_a_burst_is_whole_at_every_rate),
        cmocka_unit_test(test_it_is_there_after_the_time_that_was_told),
        cmocka_unit_test(test_two_instances_share_a_bucket),
        cmocka_unit_test(test_others_have_buckets_of_their_own),
        cmocka_unit_test(test_a_bucket_that_is_full_again_is_forgotten),
        cmocka_unit_test(test_a_smaller_bucket_holds_nobody_longer_than_itself),
        cmocka_unit_test(test_an_error_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
