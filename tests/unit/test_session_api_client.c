/* Clients behind proxies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "services/session_api/client.h"

#define TRUSTED "10.0.0.0/8,127.0.0.1,fd00::/8"

static void expect_client(const char *trusted, const char *peer, const char *forwarded,
                          const char *client) {
    struct proxies p;
    char found[ADDRESS_CAP];
    proxies_init(&p, trusted);
    client_address(&p, peer, forwarded, found);
    proxies_done(&p);
    if (strcmp(found, client) != 0)
        fail_msg("%s, %s: %s instead of %s", peer, forwarded ? forwarded : "-", found, client);
}

static void test_a_peer_that_is_not_trusted_is_the_client(void **state) {
    (void)state;
    expect_client("", "192.0.2.1", NULL, "192.0.2.1");
    expect_client("", "192.0.2.1", "198.51.100.1", "192.0.2.1");
    expect_client(TRUSTED, "192.0.2.1", "198.51.100.1", "192.0.2.1");
    expect_client(TRUSTED, "2001:db8::1", "198.51.100.1", "2001:db8::/64");
    expect_client(TRUSTED, "", "198.51.100.1", "unknown");
}

static void test_the_last_address_that_is_no_trusted_proxy_is_the_client(void **state) {
    (void)state;
    expect_client(TRUSTED, "127.0.0.1", "198.51.100.1", "198.51.100.1");
    expect_client(TRUSTED, "127.0.0.1", "198.51.100.1, 10.1.1.1", "198.51.100.1");
    expect_client(TRUSTED, "::ffff:10.2.2.2", "198.51.100.1,10.1.1.1 ,\tfd00::5", "198.51.100.1");
    expect_client(TRUSTED, "127.0.0.1", "203.0.113.9, 198.51.100.1, 10.1.1.1", "198.51.100.1");
    expect_client(TRUSTED, "127.0.0.1", "10.3.3.3, 10.1.1.1", "10.3.3.3");
    expect_client(TRUSTED, "127.0.0.1", NULL, "127.0.0.1");
    expect_client(TRUSTED, "127.0.0.1", "", "127.0.0.1");
}

static void test_elements_may_have_ports_and_brackets(void **state) {
    (void)state;
    expect_client(TRUSTED, "127.0.0.1", "198.51.100.1:4711", "198.51.100.1");
    expect_client(TRUSTED, "127.0.0.1", "[2001:db8:0:1::7]:4711", "2001:db8:0:1::/64");
    expect_client(TRUSTED, "127.0.0.1", "[2001:db8:0:1::7]", "2001:db8:0:1::/64");
    expect_client(TRUSTED, "127.0.0.1", "2001:db8:0:1::7", "2001:db8:0:1::/64");
}

static void test_what_is_no_address_counts_for_the_proxy_that_said_it(void **state) {
    static const char *const texts[] = {
        "unknown", "_hidden", ",", " , ", "[::1", "1.2.3.4.5", "[]", "198.51.100.1, ", ":", "["};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        expect_client(TRUSTED, "127.0.0.1", texts[i], "127.0.0.1");
    expect_client(TRUSTED, "127.0.0.1", "198.51.100.1, unknown, 10.1.1.1", "10.1.1.1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_peer_that_is_not_trusted_is_the_client),
        cmocka_unit_test(test_the_last_address_that_is_no_trusted_proxy_is_the_client),
        cmocka_unit_test(test_elements_may_have_ports_and_brackets),
        cmocka_unit_test(test_what_is_no_address_counts_for_the_proxy_that_said_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
