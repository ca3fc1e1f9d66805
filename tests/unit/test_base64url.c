/* base/base64url: RFC 4648's own examples, every byte, and what is no base64url. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/base64url.h"

static const char *const pairs[][2] =
    {/* section 10, without padding */
     {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
     {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"}};

static void test_the_standards_examples(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(pairs); i++) {
        struct buf text = BUF_NULL;
        char bytes[16];
        buf_puts(&text, "");
        base64url_put(&text, pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(text.data ? text.data : "", pairs[i][1]);
        ssize_t n = base64url_decode(pairs[i][1], strlen(pairs[i][1]), bytes);
        assert_int_equal(n, strlen(pairs[i][0]));
        assert_memory_equal(bytes, pairs[i][0], (size_t)n);
        buf_done(&text);
    }
}

static void test_all_bytes_come_back(void **state) {
    (void)state;
    uint8_t bytes[256], back[256];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + 3);
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        struct buf text = BUF_NULL;
        buf_puts(&text, "");
        base64url_put(&text, bytes, len);
        assert_int_equal(text.len, (len * 4 + 2) / 3);
        assert_int_equal(base64url_decode(text.data, text.len, (char *)back), len);
        assert_memory_equal(bytes, back, len);
        buf_done(&text);
    }
}

static void test_what_is_none_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"A",    "AAAAA", "Zg==", "Zm8=", "Zh",       "Zm9", "+A",
                                      "A/AA", "A A",   "AA\n", "AA.",  "\xc3\xa4", "AAA%"};
    char bytes[16];
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        if (base64url_decode(bad[i], strlen(bad[i]), bytes) != -1)
            fail_msg("%s was taken", bad[i]);
    assert_int_equal(base64url_decode("AA\0A", 4, bytes), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_standards_examples),
        cmocka_unit_test(test_all_bytes_come_back),
        cmocka_unit_test(test_what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
