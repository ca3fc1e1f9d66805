/* Where the console's page finds WebSockets: what goes into its policy, and what must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "services/session_api/console.h"
#include "services/session_api/headers.h"

static void expect_sources(const char *public_url, const char *host, const char *url,
                           const char *policy) {
    struct console_sources s;
    assert_true(console_find_sources(public_url, host, &s));
    assert_string_equal(s.url, url);
    assert_string_equal(s.policy, policy);
}

static void test_the_host_that_was_asked_for_has_the_sockets(void **state) {
    (void)state;
    expect_sources("", "localhost:8080", "ws://localhost:8081",
                   " ws://localhost:8081 http://localhost:8081");
    expect_sources("", "a.example", "ws://a.example", " ws://a.example http://a.example");
    expect_sources("", "10.0.0.1:9000", "ws://10.0.0.1:9000",
                   " ws://10.0.0.1:9000 http://10.0.0.1:9000");
    expect_sources("", "8080", "ws://8080", " ws://8080 http://8080");
    expect_sources("", "a:18080", "ws://a:18080", " ws://a:18080 http://a:18080");
}

static void test_a_host_that_no_policy_names_leads_nowhere(void **state) {
    (void)state;
    static const char *const hosts[] = {
        "",   "a;b",   "a b",      "a'unsafe-inline'", "a,b",  "a/b",  "a:b",      "a:",
        ":1", "a:1:2", "a:123456", "[::1]:8080",       "a\"b", "a\\b", "u@a:8080", "a*.b"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++)
        expect_sources("", hosts[i], "", "");
    expect_sources("", NULL, "", "");
}

static void test_a_host_is_taken_up_to_its_bound(void **state) {
    (void)state;
    char host[264];
    struct console_sources s;
    memset(host, 'x', sizeof(host));
    host[260] = '\0';
    assert_true(console_find_sources("", host, &s));
    assert_int_equal(strlen(s.url), 5 + 260);
    assert_int_equal(strlen(s.policy), 2 * 260 + strlen(" ws:// http://"));
    host[260] = 'x';
    host[261] = '\0';
    expect_sources("", host, "", "");
}

static void test_what_is_configured_goes_before(void **state) {
    (void)state;
    expect_sources("ws://b:1", "localhost:8080", "ws://b:1", " ws://b:1 http://b:1");
    expect_sources("wss://b.example/x/y", "a", "wss://b.example/x/y",
                   " wss://b.example https://b.example");
}

static void test_what_cannot_be_a_source_is_refused(void **state) {
    (void)state;
    static const char *const urls[] = {
        "ws://a;b",  "ws://u:p@a", "wss://a:1:2",  "ws://[::1]:1", "ws://a?b", "ws://a/?b",
        "ws://a/#b", "ws://a/\\",  "ws://a/\xc3(", "ws:///a",      "wss:///a", "ws://a:99999999"};
    struct console_sources s;
    for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++)
        if (console_find_sources(urls[i], "a", &s))
            fail_msg("%s is taken", urls[i]);
    char longest[CONSOLE_URL_CAP + 1] = "ws://a/";
    memset(longest + 7, 'x', CONSOLE_URL_CAP - 7);
    assert_false(console_find_sources(longest, "a", &s));
    longest[CONSOLE_URL_CAP - 1] = '\0';
    assert_true(console_find_sources(longest, "a", &s));
    assert_string_equal(s.url, longest);
}

static void test_if_none_match_finds_a_tag(void **state) {
    (void)state;
    assert_true(headers_if_none_match_tag("\"ab\"", "\"ab\""));
    assert_true(headers_if_none_match_tag("W/\"ab\"", "\"ab\""));
    assert_true(headers_if_none_match_tag("\"x\" , \"ab\"", "\"ab\""));
    assert_true(headers_if_none_match_tag("*", "\"ab\""));
    assert_false(headers_if_none_match_tag("\"a\"", "\"ab\""));
    assert_false(headers_if_none_match_tag("\"abc\"", "\"ab\""));
    assert_false(headers_if_none_match_tag("ab", "\"ab\""));
    assert_false(headers_if_none_match_tag("\"ab", "\"ab\""));
    assert_false(headers_if_none_match_tag(NULL, "\"ab\""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_host_that_was_asked_for_has_the_sockets),
        cmocka_unit_test(test_a_host_that_no_policy_names_leads_nowhere),
        cmocka_unit_test(test_a_host_is_taken_up_to_its_bound),
        cmocka_unit_test(test_what_is_configured_goes_before),
        cmocka_unit_test(test_what_cannot_be_a_source_is_refused),
        cmocka_unit_test(test_if_none_match_finds_a_tag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
