#include "tests/unit/patch_fixture.h"

static void assert_overlap(const char *operations, const char *since, bool expected) {
    json_auto_t *ours = parse(operations), *theirs = parse(since);
    assert_int_equal(patch_overlaps(ours, theirs), expected);
}

#define ADD(path) "{\"op\":\"add\",\"path\":\"" path "\",\"value\":1}"
#define REPLACE(path) "{\"op\":\"replace\",\"path\":\"" path "\",\"value\":1}"
#define TEST(path) "{\"op\":\"test\",\"path\":\"" path "\",\"value\":1}"
#define COPY(from, path) "{\"op\":\"copy\",\"from\":\"" from "\",\"path\":\"" path "\"}"
#define MOVE(from, path) "{\"op\":\"move\",\"from\":\"" from "\",\"path\":\"" path "\"}"

static void test_overlap_looks_above_and_below(void **state) {
    (void)state;
    assert_overlap("[" ADD("/data/a") "]", "[" ADD("/data/a") "]", true);
    assert_overlap("[" ADD("/data/a/b") "]", "[" ADD("/data/a") "]", true);
    assert_overlap("[" ADD("/data/a") "]", "[" ADD("/data/a/b") "]", true);
    assert_overlap("[" ADD("/data/a") "]", "[" ADD("/data/b") "," ADD("/data/ab") "]", false);
    assert_overlap("[" ADD("/name") "]", "[" ADD("/data") "]", false);
    assert_overlap("[" ADD("/data/b") "]",
                   "[" ADD("/data/a") "," ADD("/data/a/b") "," ADD("/data/c") "]", false);
    assert_overlap("[" ADD("/data/a/c/d") "]",
                   "[" ADD("/data/a/b") "," ADD("/data/a") "," ADD("/data/a/z") "]", true);
    assert_overlap("[]", "[" ADD("/data") "]", false);
    assert_overlap("[" ADD("/data") "]", "[]", false);
}

static void test_overlap_counts_reads_of_ours_only(void **state) {
    (void)state;
    assert_overlap("[" TEST("/data/a") "]", "[" ADD("/data/a") "]", true);
    assert_overlap("[" TEST("") "]", "[" ADD("/data/a") "]", true);
    assert_overlap("[" TEST("/version") "]", "[" ADD("/data/a") "]", false);
    assert_overlap("[" ADD("/data/a") "]", "[" TEST("/data/a") "]", false);
    assert_overlap("[" COPY("/data/a", "/data/b") "]", "[" ADD("/data/a") "]", true);
    assert_overlap("[" ADD("/data/a") "]", "[" COPY("/data/a", "/data/b") "]", false);
    assert_overlap("[" ADD("/data/a") "]", "[" MOVE("/data/a", "/data/b") "]", true);
}

static void test_overlap_takes_digits_for_the_array(void **state) {
    (void)state;
    assert_overlap("[" REPLACE("/data/l/5") "]", "[" ADD("/data/l/0") "]", true);
    assert_overlap("[" ADD("/data/l/5") "]", "[" REPLACE("/data/l/0") "]", true);
    assert_overlap("[" REPLACE("/data/l/5") "]", "[" REPLACE("/data/l/0") "]", false);
    assert_overlap("[" ADD("/data/l/-") "]", "[" ADD("/data/l/-") "]", true);
    assert_overlap("[" TEST("/data/l/5") "]", "[" REPLACE("/data/l/0") "]", false);
    assert_overlap("[" COPY("/data/l/5", "/data/x") "]", "[" REPLACE("/data/l/0") "]", false);
    assert_overlap("[" MOVE("/data/l/5", "/data/x") "]", "[" REPLACE("/data/l/0") "]", true);
    assert_overlap("[" COPY("/data/x", "/data/l/5") "]", "[" REPLACE("/data/l/0") "]", true);
    assert_overlap("[" ADD("/data/l/a") "]", "[" ADD("/data/l/b") "]", false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap_looks_above_and_below),
        cmocka_unit_test(test_overlap_counts_reads_of_ours_only),
        cmocka_unit_test(test_overlap_takes_digits_for_the_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
