/* base/uuid: versions and variant, order by time, the form that is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/uuid.h"

static void test_v7_carries_its_moment(void **state) {
    (void)state;
    char id[UUID_LEN + 1];
    uuid_v7(0x017f22e279b0LL, id); /* RFC 9562, appendix A.6 */
    assert_memory_equal(id, "017f22e2-79b0-7", 15);
    assert_non_null(strchr("89ab", id[19]));
    assert_true(uuid_is(id, strlen(id)));
}

static void test_v7_sorts_by_moment(void **state) {
    (void)state;
    char before[UUID_LEN + 1], after[UUID_LEN + 1];
    for (int64_t ms = 1; ms < 1LL << 47; ms *= 2) {
        uuid_v7(ms - 1, before);
        uuid_v7(ms, after);
        assert_true(strcmp(before, after) < 0);
    }
}

static void test_v4_is_random(void **state) {
    (void)state;
    char one[UUID_LEN + 1], other[UUID_LEN + 1];
    uuid_v4(one);
    uuid_v4(other);
    assert_string_not_equal(one, other);
    assert_int_equal(one[14], '4');
    assert_non_null(strchr("89ab", one[19]));
}

static void test_v5_equals_the_rfc(void **state) {
    (void)state;
    char id[UUID_LEN + 1];
    const char *dns = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    uuid_v5(dns, "www.example.com", 15, id); /* RFC 9562, appendix A.4 */
    assert_string_equal(id, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    char again[UUID_LEN + 1];
    uuid_v5(dns, "www.example.com\0", 16, again);
    assert_string_not_equal(id, again);
}

static void test_is_takes_the_canonical_form_only(void **state) {
    (void)state;
    const char *good = "0197f22e-79b0-7cc3-98c4-dc0c0c07398f";
    assert_true(uuid_is(good, UUID_LEN));
    assert_false(uuid_is(good, UUID_LEN - 1));
    const char *const bad[] = {"0197F22E-79b0-7cc3-98c4-dc0c0c07398f",
                               "0197f22e-79b0-7cc3-98c4-dc0c0c07398g",
                               "0197f22e079b0-7cc3-98c4-dc0c0c07398f",
                               "{197f22e-79b0-7cc3-98c4-dc0c0c07398}",
                               "0197f22e-79b0-7cc3-98c4-dc0c0c07398f0",
                               "0197f22e79b07cc398c4dc0c0c07398f",
                               "",
                               "0197f22e-79b0-7cc3-98c4-dc0c0c0739-f"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(uuid_is(bad[i], strlen(bad[i])));
}

static void test_lower_leaves_ret_when_it_is_none(void **state) {
    (void)state;
    char id[UUID_LEN + 1] = "untouched";
    assert_false(uuid_lower("0197F22E-79B0-7CC3-98C4-DC0C0C07398X", UUID_LEN, id));
    assert_string_equal(id, "untouched");
    assert_true(uuid_lower("0197F22E-79B0-7CC3-98C4-DC0C0C07398F", UUID_LEN, id));
    assert_string_equal(id, "0197f22e-79b0-7cc3-98c4-dc0c0c07398f");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v7_carries_its_moment),
        cmocka_unit_test(test_v7_sorts_by_moment),
        cmocka_unit_test(test_v4_is_random),
        cmocka_unit_test(test_v5_equals_the_rfc),
        cmocka_unit_test(test_is_takes_the_canonical_form_only),
        cmocka_unit_test(test_lower_leaves_ret_when_it_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
