/* Addresses and networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/network.h"

static void expect_block(const char *text, const char *block) {
    struct address a;
    char printed[ADDRESS_CAP];
    if (!address_parse(text, strlen(text), &a))
        fail_msg("%s is not taken", text);
    address_print_block(&a, printed);
    assert_string_equal(printed, block);
}

static void test_a_block_is_an_address_or_of_ipv6_its_64_bits(void **state) {
    (void)state;
    expect_block("192.0.2.7", "192.0.2.7");
    expect_block("::ffff:192.0.2.7", "192.0.2.7");
    expect_block("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64");
    expect_block("2001:DB8:1:2::ffff", "2001:db8:1:2::/64");
    expect_block("::1", "::/64");
    expect_block("fe80::1%eth0", "fe80::/64");
    expect_block("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::/64");
}

static void test_what_is_no_address_is_refused(void **state) {
    static const char *const texts[] = {
        "",    " ",   "a",     "1.2.3",      "1.2.3.4.", "1.2.3.256", "01.2.3.4", "1.2.3.4 ",
        "1:2", ":::", "[::1]", "1.2.3.4:80", "1::2::3",  "%eth0",     "12345::1", "1.2.3.4/8"};
    struct address a;
    char long_text[200];
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        if (address_parse(texts[i], strlen(texts[i]), &a))
            fail_msg("\"%s\" is taken", texts[i]);
    memset(long_text, '1', sizeof(long_text));
    assert_false(address_parse(long_text, sizeof(long_text), &a));
    assert_false(address_parse("1.2.3.4\0x", 9, &a));
}

static bool has(const char *network, const char *address) {
    struct network n;
    struct address a;
    if (!network_parse(network, strlen(network), &n))
        fail_msg("%s is not taken", network);
    assert_true(address_parse(address, strlen(address), &a));
    return network_has(&n, &a);
}

static void test_a_network_has_what_begins_alike(void **state) {
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.0.1"));
    assert_true(has("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_false(has("10.0.0.0/8", "11.0.0.0"));
    assert_false(has("10.0.0.0/8", "a00::"));
    assert_true(has("192.0.2.4/30", "192.0.2.7"));
    assert_false(has("192.0.2.4/30", "192.0.2.8"));
    assert_true(has("192.0.2.4", "192.0.2.4"));
    assert_false(has("192.0.2.4/32", "192.0.2.5"));
    assert_true(has("0.0.0.0/0", "255.255.255.255"));
    assert_false(has("0.0.0.0/0", "::1"));
    assert_true(has("::/0", "1.2.3.4"));
    assert_true(has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(has("::1/128", "::1"));
}

static void test_what_is_no_network_is_refused(void **state) {
    static const char *const texts[] = {"",           "10.0.0.0/",   "10.0.0.0/33", "10.0.0.0/-1",
                                        "10.0.0.0/a", "10.0.0.0/08", "10.0.0.1/8",  "/8",
                                        "::/129",     "::1/64",      "::/0000",     "10.0.0.0/8/8",
                                        "10.0.0.0 /8"};
    struct network n;
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        if (network_parse(texts[i], strlen(texts[i]), &n))
            fail_msg("\"%s\" is taken", texts[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_block_is_an_address_or_of_ipv6_its_64_bits),
        cmocka_unit_test(test_what_is_no_address_is_refused),
        cmocka_unit_test(test_a_network_has_what_begins_alike),
        cmocka_unit_test(test_what_is_no_network_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
