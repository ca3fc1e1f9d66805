/* common/bus_acks: what may be said at once, and never more than was done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/bus_acks.h"

#define N_TAGS 2000

struct said {
    char text[256];
    bool is_acked[N_TAGS + 1], was_added[N_TAGS + 1];
    size_t n;
};

static void say(void *arg, uint64_t tag, bool multiple) {
    char *text = arg;
    size_t len = strlen(text);
    snprintf(text + len, 256 - len, "%s%s%u", len ? " " : "", multiple ? "to " : "", (unsigned)tag);
}

static void expect(struct bus_acks *a, const uint64_t *tags, size_t n, const char *expected) {
    char text[256] = "";
    for (size_t i = 0; i < n; i++)
        bus_acks_add(a, tags[i]);
    bus_acks_put(a, say, text);
    assert_string_equal(text, expected);
}

#define EXPECT(a, expected, ...)                                                                   \
    expect(a, (uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),     \
           expected)

static void test_what_has_no_gap_before_it_leaves_as_one(void **state) {
    (void)state;
    struct bus_acks a = {0};
    EXPECT(&a, "1", 1);
    EXPECT(&a, "to 4", 4, 2, 3);
    EXPECT(&a, "5 7", 7, 5);
    EXPECT(&a, "9", 9);
    EXPECT(&a, "8", 8);
    bus_acks_done(&a);
}

static void test_an_open_one_is_never_covered(void **state) {
    (void)state;
    struct bus_acks a = {0};
    EXPECT(&a, "2 3", 3, 2);
    EXPECT(&a, "5", 5);
    EXPECT(&a, "to 4", 4, 1);
    EXPECT(&a, "to 7", 7, 6);
    assert_int_equal(a.n_apart, 0);
    bus_acks_done(&a);
}

static void test_all_up_to_one_by_the_caller(void **state) {
    (void)state;
    struct bus_acks a = {0};
    EXPECT(&a, "3 6", 3, 6);
    bus_acks_skip_to(&a, 5);
    assert_int_equal(a.all_to, 6);
    EXPECT(&a, "to 8", 7, 8);
    bus_acks_done(&a);
}

/* As the broker does it: each tag once, and what is acknowledged already is an error. */
static void broker(void *arg, uint64_t tag, bool multiple) {
    struct said *s = arg;
    assert_false(s->is_acked[tag]);
    for (uint64_t t = multiple ? 1 : tag; t <= tag; t++) {
        assert_true(s->was_added[t]);
        s->n += !s->is_acked[t];
        s->is_acked[t] = true;
    }
}

/* xorshift: the same order in every run. */
static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void test_any_order_says_each_once(void **state) {
    (void)state;
    struct bus_acks a = {0};
    struct said *s = calloc(1, sizeof(*s));
    uint64_t open[64], next = 1;
    size_t n_open = 0, n_added = 0;
    uint64_t random = 7;
    while (n_added < N_TAGS) {
        while (n_open < 64 && next <= N_TAGS)
            open[n_open++] = next++;
        size_t at = next_random(&random) % n_open;
        bus_acks_add(&a, open[at]);
        s->was_added[open[at]] = true;
        open[at] = open[--n_open];
        n_added++;
        if (next_random(&random) % 8 == 0)
            bus_acks_put(&a, broker, s);
        assert_true(a.n_apart <= 64);
    }
    bus_acks_put(&a, broker, s);
    assert_int_equal(s->n, N_TAGS);
    assert_int_equal(a.all_to, N_TAGS);
    assert_int_equal(a.n_apart, 0);
    free(s);
    bus_acks_done(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_has_no_gap_before_it_leaves_as_one),
        cmocka_unit_test(test_an_open_one_is_never_covered),
        cmocka_unit_test(test_all_up_to_one_by_the_caller),
        cmocka_unit_test(test_any_order_says_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
