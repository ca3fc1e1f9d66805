/* Versions made again from a base and the events after it. */
#include <errno.h>

#include "golden_session.h"
#include "proto/event.h"
#include "proto/rebuild.h"

#define CREATED_CHECKSUM "41d69b57ef63eac3326259123bca48b066294564d128161d5deca7ee48247302"

static struct position at(uint64_t version, uint64_t epoch) {
    return (struct position){version, epoch};
}

/* The event of a delta that leads to data; owned. */
static char *delta_to(struct position p, const char *operations, const char *data) {
    struct session s = golden_session();
    json_auto_t *value = golden_value(data);
    json_auto_t *list = golden_value(operations);
    struct event e;
    session_set_data(&s, value);
    s.position = p;
    event_state_delta(&s, GOLDEN_USER, "phone-1", p.version - 1, list, false, &e);
    session_done(&s);
    return e.body;
}

static int add_delta(struct rebuild *r, struct position p, const char *operations,
                     const char *data) {
    _cleanup_(freep) char *event = delta_to(p, operations, data);
    return rebuild_add(r, event, strlen(event));
}

static int add_golden(struct rebuild *r, const char *name) {
    _cleanup_(freep) char *event = golden_text(name);
    return rebuild_add(r, event, strlen(event));
}

static void expect_data(struct rebuild *r, const char *data) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    assert_int_equal(rebuild_end(r, &out), 0);
    assert_string_equal(out.data, data);
}

static void test_creation_is_a_base(void **state) {
    (void)state;
    struct rebuild r = REBUILD_NULL;
    assert_int_equal(add_golden(&r, "event_session_created"), 0);
    expect_data(&r, "{\"preferences\":{\"theme\":\"dark\"},\"progress\":0}");
    assert_string_equal(r.checksum, CREATED_CHECKSUM);
    assert_int_equal(r.position.version, 1);
    assert_int_equal(add_golden(&r, "event_session_created"), -EBADMSG);
    rebuild_done(&r);
}

static void test_deltas_lead_from_version_to_version(void **state) {
    (void)state;
    struct rebuild r = REBUILD_NULL;
    char checksum[HASH_HEX_LEN + 1];
    hash_sha256_hex("{\"a\":[1]}", 9, checksum);
    assert_int_equal(rebuild_begin(&r, at(7, 2), "{ \"a\" : [1.0] }", 15, checksum), 0);
    expect_data(&r, "{\"a\":[1]}");
    assert_int_equal(add_delta(&r, at(8, 2),
                               "[{\"op\":\"add\",\"path\":\"/data/a/-\",\"value\":2}]",
                               "{\"a\":[1,2]}"),
                     0);
    expect_data(&r, "{\"a\":[1,2]}");
    assert_int_equal(rebuild_skip(&r, at(9, 2)), 0);
    assert_int_equal(add_delta(&r, at(10, 2),
                               "[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"N\"},"
                               "{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/data/b\"}]",
                               "{\"a\":[1,2],\"b\":[1,2]}"),
                     0);
    expect_data(&r, "{\"a\":[1,2],\"b\":[1,2]}");
    assert_int_equal(add_delta(&r, at(11, 2),
                               "[{\"op\":\"replace\",\"path\":\"/data\",\"value\":null}]", "null"),
                     0);
    expect_data(&r, "null");
    assert_int_equal(r.position.version, 11);
    rebuild_done(&r);
}

static void test_other_versioned_events_leave_data_alone(void **state) {
    (void)state;
    struct rebuild r = REBUILD_NULL;
    char checksum[HASH_HEX_LEN + 1];
    struct session s = golden_session();
    struct event e;
    s.position = at(2, 1);
    event_status_changed(&s, GOLDEN_USER, "phone-1", SESSION_PENDING, "request", &e);
    hash_sha256_hex("1", 1, checksum);
    assert_int_equal(rebuild_begin(&r, at(1, 1), "1", 1, checksum), 0);
    assert_int_equal(rebuild_add(&r, e.body, e.body_len), 0);
    expect_data(&r, "1");
    assert_int_equal(r.position.version, 2);
    event_done(&e);
    session_done(&s);
    rebuild_done(&r);
}

static void test_what_does_not_follow_is_refused(void **state) {
    (void)state;
    static const char operations[] = "[{\"op\":\"replace\",\"path\":\"/data\",\"value\":2}]";
    struct rebuild r = REBUILD_NULL;
    char checksum[HASH_HEX_LEN + 1];
    struct buf out = BUF_NULL;
    hash_sha256_hex("1", 1, checksum);
    assert_int_equal(add_delta(&r, at(2, 1), operations, "2"), -EBADMSG);
    assert_int_equal(rebuild_skip(&r, at(1, 1)), -EBADMSG);
    assert_int_equal(rebuild_end(&r, &out), -EBADMSG);
    assert_int_equal(rebuild_begin(&r, at(1, 1), "[", 1, checksum), -EBADMSG);
    assert_int_equal(rebuild_begin(&r, at(1, 1), "1", 1, "abc"), -EBADMSG);
    assert_int_equal(rebuild_begin(&r, at(1, 1), "1", 1, checksum), 0);
    assert_int_equal(rebuild_add(&r, "{}", 2), -EBADMSG);
    assert_int_equal(rebuild_add(&r, "", 0), -EBADMSG);
    assert_int_equal(add_delta(&r, at(1, 1), operations, "2"), -EBADMSG);
    assert_int_equal(add_delta(&r, at(3, 1), operations, "2"), -EBADMSG);
    assert_int_equal(add_delta(&r, at(2, 2), operations, "2"), -EBADMSG);
    assert_int_equal(rebuild_skip(&r, at(3, 1)), -EBADMSG);
    assert_int_equal(add_delta(&r, at(2, 1), "[{\"op\":\"remove\",\"path\":\"/data/x\"}]", "1"), 0);
    assert_int_equal(rebuild_end(&r, &out), -EBADMSG);
    rebuild_done(&r);
}

/* More than are applied together, some too much for one patch together. */
static void test_many_deltas_are_one_after_the_other(void **state) {
    (void)state;
    struct rebuild r = REBUILD_NULL;
    struct buf big = BUF_NULL, operation = BUF_NULL;
    char checksum[HASH_HEX_LEN + 1];
    buf_puts(&big, "{\"a\":\"");
    for (int i = 0; i < 200000; i++)
        buf_putc(&big, 'x');
    buf_puts(&big, "\",\"n\":1}");
    hash_sha256_hex(big.data, big.len, checksum);
    assert_int_equal(rebuild_begin(&r, at(1, 1), big.data, big.len, checksum), 0);
    for (uint64_t n = 2; n <= 60;
         n++) { /* each copies 200 000 bytes: 20 are over a patch's bound */
        buf_clear(&operation);
        buf_printf(&operation,
                   "[{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/data/b\"},"
                   "{\"op\":\"remove\",\"path\":\"/data/b\"},"
                   "{\"op\":\"copy\",\"from\":\"/data/a\",\"path\":\"/data/b\"},"
                   "{\"op\":\"remove\",\"path\":\"/data/b\"},"
                   "{\"op\":\"replace\",\"path\":\"/data/n\",\"value\":%d}]",
                   (int)n);
        big.len = strlen("{\"a\":\"") + 200000;
        buf_printf(&big, "\",\"n\":%d}", (int)n);
        assert_int_equal(add_delta(&r, at(n, 1), operation.data, big.data), 0);
    }
    expect_data(&r, big.data);
    buf_done(&big);
    buf_done(&operation);
    rebuild_done(&r);
}

static void test_data_without_its_checksum_is_refused(void **state) {
    (void)state;
    struct rebuild r = REBUILD_NULL;
    struct buf out = BUF_NULL;
    char checksum[HASH_HEX_LEN + 1];
    hash_sha256_hex("2", 1, checksum);
    assert_int_equal(rebuild_begin(&r, at(1, 1), "1", 1, checksum), 0);
    assert_int_equal(rebuild_end(&r, &out), -EBADMSG);
    assert_null(out.data);
    assert_int_equal(
        add_delta(&r, at(2, 1), "[{\"op\":\"replace\",\"path\":\"/data\",\"value\":3}]", "2"), 0);
    assert_int_equal(rebuild_end(&r, &out), -EBADMSG);
    /* what was wrong on the way may be right at the end */
    assert_int_equal(
        add_delta(&r, at(3, 1), "[{\"op\":\"replace\",\"path\":\"/data\",\"value\":4}]", "4"), 0);
    expect_data(&r, "4");
    rebuild_done(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_creation_is_a_base),
        cmocka_unit_test(test_deltas_lead_from_version_to_version),
        cmocka_unit_test(test_other_versioned_events_leave_data_alone),
        cmocka_unit_test(test_what_does_not_follow_is_refused),
        cmocka_unit_test(test_many_deltas_are_one_after_the_other),
        cmocka_unit_test(test_data_without_its_checksum_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
