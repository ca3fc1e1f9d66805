/* common/store_slots: the hash slots of keys by the specification's own examples, CLUSTER SLOTS,
 * redirections, and which attention set is whose. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/store_private.h"

static const struct store_address asked = {"10.0.0.1", 7000};

static unsigned slot(const char *key) {
    return store_slot_of(key, strlen(key));
}

static void test_slots_are_the_specifications(void **state) {
    (void)state;
    assert_int_equal(slot("123456789"), 0x31C3 % STORE_N_SLOTS);
    assert_int_equal(slot(""), 0);
    assert_int_equal(slot("foo"), 12182);
    assert_int_equal(slot("bar"), 5061);
    assert_int_equal(slot("hello"), 866);
}

static void test_the_tag_alone_counts(void **state) {
    (void)state;
    assert_int_equal(slot("{user1000}.following"), slot("{user1000}.followers"));
    assert_int_equal(slot("{user1000}.following"), slot("user1000"));
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));
    assert_int_equal(slot("foo{bar}{zap}"), slot("bar"));
    assert_int_not_equal(slot("foo{}{bar}"), slot("bar")); /* an empty tag is none */
    assert_int_equal(slot("foo}{bar"), store_slot_of("foo}{bar", 8));
    assert_int_not_equal(slot("foo{bar"), slot("bar"));
}

static void test_all_keys_of_a_session_share_a_slot(void **state) {
    (void)state;
    const char *id = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001";
    char key[STORE_KEY_CAP];
    for (int i = STORE_STATE; i <= STORE_CONFIRMED; i++) {
        store_key((enum store_key)i, id, key);
        assert_int_equal(slot(key), slot(id));
    }
    store_key_snapshot(id, 50, key);
    assert_int_equal(slot(key), slot(id));
    store_key_tries(id, id, key);
    assert_int_equal(slot(key), slot(id));
}

static void test_a_command_goes_by_its_first_key(void **state) {
    (void)state;
    struct store_command c = {0};
    store_command_begin(&c, "PING");
    assert_int_equal(store_command_slot(&c), -1);
    store_command_begin(&c, "EVALSHA");
    store_puts(&c, "bar");
    store_put_name(&c, "foo");
    store_put_name(&c, "hello");
    assert_int_equal(store_command_slot(&c), 12182);
    store_command_begin(&c, "TIME");
    assert_int_equal(store_command_slot(&c), -1);
    store_command_done(&c);
}

/* ---- answers ---- */

static redisReply *answer(const char *text) {
    void *reply = NULL;
    redisReader *reader = redisReaderCreate();
    assert_int_equal(redisReaderFeed(reader, text, strlen(text)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);
    return reply;
}

static int take(const char *text, struct store_range **ret, size_t *ret_n) {
    redisReply *reply = answer(text);
    int err = store_take_slots(reply, &asked, ret, ret_n);
    freeReplyObject(reply);
    return err;
}

static void test_slots_are_taken_with_their_masters(void **state) {
    (void)state;
    struct store_range *ranges;
    size_t n;
    assert_int_equal(take("*3\r\n"
                          "*4\r\n:0\r\n:5460\r\n*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$2\r\nid\r\n"
                          "*2\r\n$9\r\n127.0.0.2\r\n:7004\r\n"
                          "*3\r\n:5461\r\n:5461\r\n*2\r\n$-1\r\n:7002\r\n"
                          "*3\r\n:5462\r\n:16383\r\n*4\r\n$0\r\n\r\n:7003\r\n$2\r\nid\r\n*0\r\n",
                          &ranges, &n),
                     0);
    assert_int_equal(n, 3);
    assert_int_equal(ranges[0].last, 5460);
    assert_string_equal(ranges[0].master.host, "127.0.0.1");
    assert_int_equal(ranges[0].master.port, 7001);
    assert_int_equal(ranges[1].first, 5461);
    assert_string_equal(ranges[1].master.host, "10.0.0.1"); /* unknown: the one that was asked */
    assert_string_equal(ranges[2].master.host, "10.0.0.1");
    assert_int_equal(ranges[2].master.port, 7003);
    free(ranges);
}

static void test_what_are_no_slots_is_refused(void **state) {
    (void)state;
    char host[700];
    const char *bad[] = {
        "*0\r\n",
        "+OK\r\n",
        "-ERR This instance has cluster support disabled\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:-1\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:2\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:0\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:65536\r\n",
        host,
    };
    snprintf(host, sizeof(host), "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$256\r\n%0256d\r\n:1\r\n", 0);
    struct store_range *ranges;
    size_t n;
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        assert_int_equal(take(bad[i], &ranges, &n), -EBADMSG);
    snprintf(host, sizeof(host), "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$255\r\n%0255d\r\n:1\r\n", 0);
    assert_int_equal(take(host, &ranges, &n), 0);
    free(ranges);
}

static bool redirects(const char *text, struct store_redirect *ret) {
    redisReply *reply = answer(text);
    bool does = store_take_redirect(reply, &asked, ret);
    freeReplyObject(reply);
    return does;
}

static void test_redirections_are_read(void **state) {
    (void)state;
    struct store_redirect r;
    assert_true(redirects("-MOVED 3999 127.0.0.1:6381\r\n", &r));
    assert_false(r.is_ask);
    assert_int_equal(r.slot, 3999);
    assert_string_equal(r.to.host, "127.0.0.1");
    assert_int_equal(r.to.port, 6381);
    assert_true(redirects("-ASK 16383 ::1:6381\r\n", &r));
    assert_true(r.is_ask);
    assert_string_equal(r.to.host, "::1");
    assert_true(redirects("-MOVED 0 :6381\r\n", &r));
    assert_string_equal(r.to.host, "10.0.0.1");
    const char *none[] = {
        "-MOVED\r\n",      "-MOVED 3999\r\n",   "-MOVED 16384 a:1\r\n",     "-MOVED x a:1\r\n",
        "-MOVED 1 a\r\n",  "-MOVED 1 a:0\r\n",  "-MOVED 1 a:65536\r\n",     "-MOVED 1 a:1x\r\n",
        "-MOVED 1 a:\r\n", "-MOVEDX 1 a:1\r\n", "+MOVED 1 127.0.0.1:1\r\n", "-ASK -1 a:1\r\n"};
    for (size_t i = 0; i < N_ELEMENTS(none); i++)
        assert_false(redirects(none[i], &r));
}

static bool temporary(const char *text) {
    redisReply *reply = answer(text);
    bool is = store_is_temporary(reply);
    freeReplyObject(reply);
    return is;
}

static void test_what_passes_is_told_from_what_stays(void **state) {
    (void)state;
    assert_true(temporary("-TRYAGAIN Multiple keys request during rehashing of slot\r\n"));
    assert_true(temporary("-CLUSTERDOWN Hash slot not served\r\n"));
    assert_true(temporary("-LOADING Redis is loading the dataset in memory\r\n"));
    assert_true(temporary("-MASTERDOWN Link with MASTER is down\r\n"));
    assert_true(temporary("-MOVED 1 127.0.0.1:1\r\n"));
    assert_false(temporary("-OOM command not allowed\r\n"));
    assert_false(temporary("-WRONGTYPE Operation against a key\r\n"));
    assert_false(temporary("-NOSCRIPT No matching script\r\n"));
    assert_false(temporary("+TRYAGAIN\r\n"));
}

/* ---- the map ---- */

static void test_what_is_armed_stays_with_its_node(void **state) {
    (void)state;
    static struct store_map m;
    store_map_clear(&m);
    assert_false(store_map_is_whole(&m));
    for (uint16_t i = 0; i < 4; i++)
        store_map_set(&m, i * 4096u, i * 4096u + 4095, i);
    assert_true(store_map_is_whole(&m));
    bool is_used[STORE_N_ATTENTION] = {0};
    for (int i = 0; i < 2000; i++) {
        char id[UUID_LEN + 1], member[64];
        uuid_v4(id);
        unsigned set = store_map_attention(&m, id);
        assert_true(set < STORE_N_ATTENTION);
        assert_int_equal(m.attention[set], m.owners[slot(id)]);
        is_used[set] = true;
        snprintf(member, sizeof(member), STORE_INSTANCE_PREFIX "%s", id);
        assert_int_equal(m.attention[store_map_attention(&m, member)], m.owners[slot(id)]);
        assert_true(store_map_attention(NULL, id) < STORE_N_ATTENTION);
    }
    for (unsigned set = 0; set < STORE_N_ATTENTION; set++)
        assert_true(is_used[set]);
}

/* One slot to a node: most have no set, and the member goes where it would on one Redis. */
static void test_a_node_without_a_set_uses_anothers(void **state) {
    (void)state;
    static struct store_map m;
    for (unsigned i = 0; i < STORE_N_SLOTS; i++)
        m.owners[i] = (uint16_t)i;
    memset(m.attention, 0xff, sizeof(m.attention));
    char id[UUID_LEN + 1];
    uuid_v4(id);
    assert_int_equal(store_map_attention(&m, id), store_map_attention(NULL, id));
}

/* ---- the URL ---- */

static unsigned slot_of_memory(unsigned number) {
    char key[STORE_KEY_CAP];
    store_key_memory(number, key);
    return slot(key);
}

static void test_each_node_has_its_own_memory(void **state) {
    (void)state;
    static struct store_map m;
    store_map_clear(&m);
    for (uint16_t owner = 0; owner < 3; owner++)
        store_map_set(&m, owner * 5000u, owner * 5000u + 4999, owner);
    for (unsigned i = 0; i < 15000; i++) {
        unsigned number = store_map_memory(&m, i);
        assert_int_equal(m.owners[slot_of_memory(number)], m.owners[i]);
        assert_int_equal(number, store_map_memory(&m, i / 5000 * 5000));
        assert_true(number < 10);
    }
}

/* The most nodes that there can be: each has a slot of its own. */
static void test_every_slot_has_a_number(void **state) {
    (void)state;
    static bool has[STORE_N_SLOTS];
    unsigned n = 0;
    for (unsigned number = 0; number < 110000; number++) {
        unsigned at = slot_of_memory(number);
        n += !has[at];
        has[at] = true;
    }
    assert_int_equal(n, STORE_N_SLOTS);
}

/* With each slot that is given to it, or taken from it. */
static void test_a_nodes_slots_are_told_apart(void **state) {
    (void)state;
    static struct store_map m;
    store_map_clear(&m);
    store_map_set(&m, 0, 4999, 1);
    store_map_set(&m, 5000, 16383, 2);
    uint64_t one = store_map_digest(&m, 0), two = store_map_digest(&m, 5000);
    assert_true(one != two);
    assert_true(store_map_digest(&m, 4999) == one);
    store_map_set(&m, 5000, 5000, 1);
    assert_true(store_map_digest(&m, 0) != one);
    assert_true(store_map_digest(&m, 5001) != two);
    store_map_set(&m, 5000, 5000, 2);
    assert_true(store_map_digest(&m, 0) == one);
}

static void test_a_clusters_url_has_seeds(void **state) {
    (void)state;
    struct store_url url;
    assert_int_equal(store_url_parse("redis+cluster://u:p%2c@a:7001,[::1]:7002,c:7003/0", &url), 0);
    assert_true(url.is_cluster);
    assert_int_equal(url.n_seeds, 3);
    assert_string_equal(url.password, "p,");
    assert_string_equal(url.seeds[1].host, "::1");
    assert_int_equal(url.seeds[2].port, 7003);
    store_url_done(&url);
    const char *bad[] = {
        "redis+cluster://",      "redis+cluster://a:1,",  "redis+cluster://,a:1",
        "redis+cluster://a:1,b", "redis+cluster://a:1/1", "redis+cluster://a:1,,b:2",
        "redis://a:1,b:2",       "rediss://a:1",          "redis+cluster://u@a:1,b:2"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        assert_int_equal(store_url_parse(bad[i], &url), -EINVAL);
}

static void test_seeds_are_bounded(void **state) {
    (void)state;
    struct buf text = BUF_NULL;
    struct store_url url;
    buf_puts(&text, "redis+cluster://a:1");
    for (int i = 1; i < STORE_MAX_SEEDS; i++)
        buf_puts(&text, ",a:1");
    assert_int_equal(store_url_parse(text.data, &url), 0);
    assert_int_equal(url.n_seeds, STORE_MAX_SEEDS);
    store_url_done(&url);
    buf_puts(&text, ",a:1");
    assert_int_equal(store_url_parse(text.data, &url), -EINVAL);
    buf_done(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_are_the_specifications),
        cmocka_unit_test(test_the_tag_alone_counts),
        cmocka_unit_test(test_all_keys_of_a_session_share_a_slot),
        cmocka_unit_test(test_a_command_goes_by_its_first_key),
        cmocka_unit_test(test_slots_are_taken_with_their_masters),
        cmocka_unit_test(test_what_are_no_slots_is_refused),
        cmocka_unit_test(test_redirections_are_read),
        cmocka_unit_test(test_what_passes_is_told_from_what_stays),
        cmocka_unit_test(test_what_is_armed_stays_with_its_node),
        cmocka_unit_test(test_a_node_without_a_set_uses_anothers),
        cmocka_unit_test(test_each_node_has_its_own_memory),
        cmocka_unit_test(test_every_slot_has_a_number),
        cmocka_unit_test(test_a_nodes_slots_are_told_apart),
        cmocka_unit_test(test_a_clusters_url_has_seeds),
        cmocka_unit_test(test_seeds_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
