/* The table: its hash is SipHash-2-4, and what is added is found until it is removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

static void keep(struct table_node *node) {
    (void)node;
}

/* The vectors of the reference implementation: key 00 01 … 0f, message 00 01 02 … of each length.
 */
static void test_hash_is_siphash(void **state) {
    (void)state;
    struct table t;
    uint8_t message[15];
    table_init(&t);
    t.secret[0] = 0x0706050403020100u;
    t.secret[1] = 0x0f0e0d0c0b0a0908u;
    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (uint8_t)i;
    assert_true(table_hash(&t, message, 0) == 0x726fdb47dd0e0e31u);
    assert_true(table_hash(&t, message, 1) == 0x74f839c593dc67fdu);
    assert_true(table_hash(&t, message, 8) == 0x93f5f5799a932462u);
    assert_true(table_hash(&t, message, 15) == 0xa129ca6149be45e5u);
    table_done(&t, keep);
}

struct number {
    struct table_node node;
    unsigned n;
};

static bool is_number(const struct table_node *node, const void *key) {
    return ((const struct number *)node)->n == *(const unsigned *)key;
}

/* Nodes of one hash are told apart by their key. */
static void test_nodes_of_one_hash(void **state) {
    (void)state;
    struct table t;
    struct number numbers[] = {{.n = 1}, {.n = 2}, {.n = 3}};
    const unsigned two = 2, four = 4;
    table_init(&t);
    for (size_t i = 0; i < 3; i++)
        table_add(&t, &numbers[i].node, 7);
    assert_ptr_equal(table_find(&t, 7, is_number, &two), &numbers[1]);
    assert_null(table_find(&t, 7, is_number, &four));
    assert_null(table_find(&t, 8, is_number, &two));
    table_remove(&t, &numbers[1].node);
    assert_null(table_find(&t, 7, is_number, &two));
    assert_int_equal(t.n, 2);
    table_done(&t, keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_is_siphash),
        cmocka_unit_test(test_nodes_of_one_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
