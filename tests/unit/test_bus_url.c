/* The broker's addresses: one, several, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/buf.h"
#include "common/bus_url.h"

static void test_one_address_is_read_with_its_escapes(void **state) {
    (void)state;
    static const struct {
        const char *url, *address, *user, *password, *vhost;
    } cases[] = {
        {"amqp://h", "h:5672", "guest", "guest", "/"},
        {"amqp://h/", "h:5672", "guest", "guest", "/"},
        {"amqp://u:p%40%3A%2Fx%2C@h:1/a%20b", "h:1", "u", "p@:/x,", "a b"},
        {"amqp://u:p@[::1]:5682/%2F", "[::1]:5682", "u", "p", "/"},
        {"amqp://u:a,b@h:65535/v", "h:65535", "u", "a,b", "v"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct bus_url u;
        char address[BUS_ADDRESS_CAP];
        assert_int_equal(bus_url_parse(&u, cases[i].url), 0);
        assert_int_equal(u.n_addresses, 1);
        bus_address_print(&u.addresses[0], address);
        assert_string_equal(address, cases[i].address);
        assert_string_equal(u.user, cases[i].user);
        assert_string_equal(u.password, cases[i].password);
        assert_string_equal(u.vhost, cases[i].vhost);
        bus_url_done(&u);
        assert_int_equal(u.n_addresses, 0);
    }
}

static void test_several_addresses_keep_their_order_and_share_the_rest(void **state) {
    (void)state;
    struct bus_url u;
    static const char *const wanted[] = {"a:1", "b.example:5672", "[fd00::1]:2", "[::1]:5672"};
    assert_int_equal(bus_url_parse(&u, "amqp://me:x@a:1,b.example,[fd00::1]:2,[::1]/v%2Fw"), 0);
    assert_int_equal(u.n_addresses, N_ELEMENTS(wanted));
    for (size_t i = 0; i < N_ELEMENTS(wanted); i++) {
        char address[BUS_ADDRESS_CAP];
        bus_address_print(&u.addresses[i], address);
        assert_string_equal(address, wanted[i]);
    }
    assert_string_equal(u.user, "me");
    assert_string_equal(u.password, "x");
    assert_string_equal(u.vhost, "v/w");
    bus_url_done(&u);
}

static void test_what_is_no_address_is_refused_wherever_it_stands(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "h:1",
        "http://h",
        "amqps://h",
        "amqp://",
        "amqp:///v",
        "amqp://u:p@/v",
        "amqp://h:70000",
        "amqp://h:x",
        "amqp://h:0",
        "amqp://h/a/b",
        "amqp://%zz@h",
        "amqp://:5672",
        "amqp://a,",
        "amqp://,a",
        "amqp://a,,b/v",
        "amqp://a:1,:2/v",
        "amqp://a:1,b:65536/v",
        "amqp://a:1,b:0/v",
        "amqp://a:1,b:-1/v",
        "amqp://a:1,[::1/v",
        "amqp://a:1,::1/v",
        "amqp://a,amqp://b",
    };
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct bus_url u;
        if (bus_url_parse(&u, bad[i]) != -EINVAL)
            fail_msg("%s was taken", bad[i]);
    }
}

static void test_sixteen_addresses_are_taken_and_no_more(void **state) {
    (void)state;
    struct buf url = BUF_NULL;
    buf_puts(&url, "amqp://u:p@h");
    for (int i = 1; i < BUS_ADDRESSES_MAX; i++)
        buf_puts(&url, ",h");
    struct bus_url u;
    assert_int_equal(bus_url_parse(&u, url.data), 0);
    assert_int_equal(u.n_addresses, BUS_ADDRESSES_MAX);
    bus_url_done(&u);
    buf_puts(&url, ",h");
    assert_int_equal(bus_url_parse(&u, url.data), -EINVAL);
    buf_done(&url);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_address_is_read_with_its_escapes),
        cmocka_unit_test(test_several_addresses_keep_their_order_and_share_the_rest),
        cmocka_unit_test(test_what_is_no_address_is_refused_wherever_it_stands),
        cmocka_unit_test(test_sixteen_addresses_are_taken_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
