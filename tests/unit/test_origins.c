/* Origins of browser pages: what may be configured, and what is allowed by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "common/origins.h"

static void test_origin_is_allowed_whole_or_not(void **state) {
    (void)state;
    static const char allowed[] = "https://a.example, http://b.example:8080";
    assert_string_equal(origins_allow(allowed, "https://a.example"), "https://a.example");
    assert_string_equal(origins_allow(allowed, "http://b.example:8080"), "http://b.example:8080");
    assert_string_equal(origins_allow("*", "http://x.example"), "*");
    assert_null(origins_allow(allowed, "https://a.example.evil"));
    assert_null(origins_allow(allowed, "https://a.example:443"));
    assert_null(origins_allow(allowed, "https://a.exampl"));
    assert_null(origins_allow(allowed, "http://b.example"));
    assert_null(origins_allow(allowed, "null"));
    assert_null(origins_allow(allowed, "*"));
    assert_null(origins_allow(allowed, ""));
    assert_null(origins_allow(allowed, NULL));
    assert_null(origins_allow("", "https://a.example"));
    assert_null(origins_allow("*", NULL));
}

static void test_any_port_of_a_loopback_host(void **state) {
    (void)state;
    static const char allowed[] = "https://a.example,http://localhost:*,http://[::1]:*";
    static const char *const taken[] = {"http://localhost",       "http://localhost:1",
                                        "http://localhost:3000",  "http://localhost:9",
                                        "http://localhost:65535", "http://[::1]:5173",
                                        "https://a.example"};
    for (size_t i = 0; i < N_ELEMENTS(taken); i++)
        assert_string_equal(origins_allow(allowed, taken[i]), taken[i]);
    static const char *const refused[] = {"http://localhost:",
                                          "http://localhost:*",
                                          "http://localhost:0",
                                          "http://localhost:65536",
                                          "http://localhost:99999",
                                          "http://localhost:100000",
                                          "http://localhost:08080",
                                          "http://localhost:+80",
                                          "http://localhost:80 ",
                                          "http://localhost:80/",
                                          "http://localhost:80@evil.example",
                                          "http://localhost:80.evil.example",
                                          "http://localhost.evil.example",
                                          "http://localhost.evil.example:80",
                                          "http://localhostess:80",
                                          "https://localhost:3000",
                                          "http://127.0.0.1:3000",
                                          "http://[::1",
                                          "http://local",
                                          "http://a.localhost:80",
                                          "https://a.example:80"};
    for (size_t i = 0; i < N_ELEMENTS(refused); i++)
        if (origins_allow(allowed, refused[i]))
            fail_msg("%s is allowed", refused[i]);
}

static void test_a_star_is_for_ports_of_loopback_only(void **state) {
    (void)state;
    static const char *const valid[] = {"*", "http://localhost:*", "https://localhost:*",
                                        "http://127.0.0.1:*,http://[::1]:*,https://a.example",
                                        "https://a.example:8443"};
    for (size_t i = 0; i < N_ELEMENTS(valid); i++)
        if (!origins_are_valid(valid[i]))
            fail_msg("%s is refused", valid[i]);
    static const char *const bad[] = {"",
                                      "https://a.example\thttps://b.example",
                                      "https://a.ex\xc3\xa4mple",
                                      "http://*",
                                      "http://:*",
                                      "http://*:*",
                                      "http://a.example:*",
                                      "https://*.example.com",
                                      "http://localhost:8*",
                                      "http://localhost*",
                                      "http://localhost:*:*",
                                      "http://localhost:*/",
                                      "http://localhost.:*",
                                      "http://xlocalhost:*",
                                      "http://localhost.evil.example:*",
                                      "http://127.0.0.2:*",
                                      "http://[::]:*",
                                      "http://0.0.0.0:*",
                                      "ftp://localhost:*",
                                      "localhost:*",
                                      "http://localhost:*,*",
                                      "https://a.example,"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        if (origins_are_valid(bad[i]))
            fail_msg("%s is taken", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origin_is_allowed_whole_or_not),
        cmocka_unit_test(test_any_port_of_a_loopback_host),
        cmocka_unit_test(test_a_star_is_for_ports_of_loopback_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
