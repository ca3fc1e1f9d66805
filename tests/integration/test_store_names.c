/* The engine's border to Redis while names are looked up: a name server that is silent holds nobody
 * up. That a call comes back at all is what is tested: slow.test has no answer before it is given.
 */
#include <errno.h>
#include <unistd.h>

#include "tests/integration/store_fixture.h"
#include "tests/slow_names.h"

#define GUARD_S 60 /* no test takes longer, however busy the machine is */

static struct store_batch *batch_at(const char *host) {
    char url[128];
    struct store_batch *b = NULL;
    snprintf(url, sizeof(url), "redis://%s%s", host, strrchr(fixture_url(), ':'));
    assert_int_equal(store_batch_new(&b, url), 0);
    return b;
}

static void check_fails(struct store_batch *b, int err, const char *text) {
    char why[256];
    assert_int_equal(store_batch_connect(b, why), err);
    assert_string_equal(why, text);
    assert_false(store_batch_is_connected(b));
}

static void connect_in_the_end(struct store_batch *b) {
    char why[256];
    while (store_batch_connect(b, why) != 0)
        sched_yield();
    assert_string_equal(why, "");
    assert_int_equal(store_batch_ping(b), 0);
}

static void test_a_name_without_an_answer_holds_nobody_up(void **state) {
    (void)state;
    static const char text[] = "the host's name cannot be resolved: slow.test: no answer yet";
    unsigned n_asked = slow_n_asked;
    struct store_batch *b = batch_at("slow.test");
    for (int i = 0; i < 20; i++)
        check_fails(b, -ETIMEDOUT, text);
    assert_int_equal(slow_n_asked, n_asked + 1); /* the tries share one question */
    slow_give_answers(1);
    connect_in_the_end(b);
    assert_int_equal(slow_n_asked, n_asked + 1);
    store_batch_free(b);
    slow_await_threads();
}

static void test_a_name_that_nobody_knows_is_told(void **state) {
    (void)state;
    struct store_batch *b = batch_at("none.test");
    for (int i = 0; i < 3; i++)
        check_fails(b, -ENOTCONN,
                    "the host's name cannot be resolved: none.test: Name or service not known");
    store_batch_free(b);
}

/* Redis is at the second one. */
static void test_an_address_that_refuses_is_followed_by_the_next(void **state) {
    (void)state;
    char why[256];
    struct store_batch *b = batch_at("two.test");
    redisContext *c = fixture_redis();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_batch_connect(b, why), 0);
        fixture_ask(c, "CLIENT KILL TYPE normal SKIPME yes");
        assert_true(store_batch_ping(b) < 0);
    }
    redisFree(c);
    store_batch_free(b);
}

static void test_it_is_told_that_every_address_refuses(void **state) {
    (void)state;
    struct store_batch *b = NULL;
    assert_int_equal(store_batch_new(&b, "redis://many.test:1"), 0);
    check_fails(b, -ENOTCONN, "Connection refused");
    store_batch_free(b);
}

static void test_a_batch_that_is_freed_leaves_its_lookup_alone(void **state) {
    (void)state;
    char why[256];
    struct store_batch *b = batch_at("slow.test");
    slow_await_threads();
    assert_true(store_batch_connect(b, why) < 0);
    store_batch_free(b);
    assert_int_equal(slow_n_threads(), 1);
    slow_give_answers(1);
    slow_await_threads();
}

/* Its nodes are known by their addresses: the seed's name is of no more use then. */
static void test_a_cluster_is_reached_by_another_seed(void **state) {
    (void)state;
    unsigned n_asked = slow_n_asked;
    char url[256], why[256];
    struct store_batch *b = NULL;
    const char *cluster = getenv("HANDOFF_TEST_REDIS_CLUSTER_URL");
    assert_non_null(cluster);
    const char *seeds = strrchr(cluster, '@');
    seeds = seeds ? seeds + 1 : strstr(cluster, "//") + 2;
    snprintf(url, sizeof(url), "%.*sslow.test:6379,%s", (int)(seeds - cluster), cluster, seeds);
    assert_int_equal(store_batch_new(&b, url), 0);
    assert_int_equal(store_batch_connect(b, why), 0);
    assert_int_equal(slow_n_asked, n_asked + 1);
    assert_int_equal(store_batch_ping(b), 0);
    store_batch_free(b);
    slow_give_answers(1);
    slow_await_threads();
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    alarm(GUARD_S);
    slow_begin();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_without_an_answer_holds_nobody_up),
        cmocka_unit_test(test_a_name_that_nobody_knows_is_told),
        cmocka_unit_test(test_an_address_that_refuses_is_followed_by_the_next),
        cmocka_unit_test(test_it_is_told_that_every_address_refuses),
        cmocka_unit_test(test_a_batch_that_is_freed_leaves_its_lookup_alone),
        cmocka_unit_test(test_a_cluster_is_reached_by_another_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
