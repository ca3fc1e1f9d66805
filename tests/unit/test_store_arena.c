/* common/store_arena.c: replies in blocks are what hiredis makes by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "common/store_private.h"

static redisReply *read_with(redisReplyObjectFunctions *functions, const char *text, size_t len) {
    void *reply = NULL;
    redisReader *reader =
        functions ? redisReaderCreateWithFunctions(functions) : redisReaderCreate();
    for (size_t i = 0; i < len; i++) { /* as it comes when the network is at its worst */
        assert_int_equal(redisReaderFeed(reader, text + i, 1), REDIS_OK);
        assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
        assert_int_equal(reply != NULL, i + 1 == len);
    }
    redisReaderFree(reader);
    return reply;
}

static void assert_same(const redisReply *a, const redisReply *b) {
    assert_true(a && b);
    if (!a || !b)
        return;
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->integer, b->integer);
    assert_int_equal(a->len, b->len);
    assert_int_equal(a->elements, b->elements);
    assert_int_equal(!a->str, !b->str);
    if (a->str)
        assert_memory_equal(a->str, b->str, a->len + 1);
    for (size_t i = 0; i < a->elements; i++)
        assert_same(a->element[i], b->element[i]);
}

static void check(const char *text, size_t len) {
    redisReply *ours = read_with(&store_arena_functions, text, len);
    redisReply *theirs = read_with(NULL, text, len);
    assert_same(ours, theirs);
    store_reply_free(ours);
    freeReplyObject(theirs);
}

static void test_every_kind_is_as_hiredis_makes_it(void **state) {
    static const char *const texts[] = {"+OK\r\n",
                                        "-ERR no\r\n",
                                        ":-42\r\n",
                                        "$-1\r\n",
                                        "*-1\r\n",
                                        "*0\r\n",
                                        "$0\r\n\r\n",
                                        "$5\r\na\tb c\r\n",
                                        "*1\r\n*0\r\n",
                                        "*3\r\n$1\r\na\r\n$-1\r\n:7\r\n",
                                        "*2\r\n*2\r\n+a\r\n*1\r\n:1\r\n-E x\r\n"};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        check(texts[i], strlen(texts[i]));
    check("$3\r\na\0b\r\n", 9);
}

/* Strings around the size of a block, and many of them. */
static void test_blocks_are_added_as_needed(void **state) {
    (void)state;
    for (size_t size = 850; size < 1100; size += 7) {
        struct buf text = BUF_NULL;
        buf_puts(&text, "*40\r\n");
        for (size_t i = 0; i < 40; i++) {
            size_t len = i % 3 == 0 ? size : i;
            buf_printf(&text, "$%zu\r\n", len);
            for (size_t j = 0; j < len; j++)
                buf_putc(&text, (char)('a' + j % 26));
            buf_puts(&text, "\r\n");
        }
        check(text.data, text.len);
        buf_done(&text);
    }
}

static void test_a_reply_that_breaks_off_is_freed(void **state) {
    static const char text[] = "*3\r\n$1\r\na\r\n*2\r\n:1\r\n?";
    (void)state;
    for (size_t len = 1; len < sizeof(text); len++) {
        void *reply = NULL;
        redisReader *reader = redisReaderCreateWithFunctions(&store_arena_functions);
        assert_int_equal(redisReaderFeed(reader, text, len), REDIS_OK);
        assert_int_equal(redisReaderGetReply(reader, &reply),
                         len + 1 == sizeof(text) ? REDIS_ERR : REDIS_OK);
        assert_null(reply);
        redisReaderFree(reader);
    }
    store_reply_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_is_as_hiredis_makes_it),
        cmocka_unit_test(test_blocks_are_added_as_needed),
        cmocka_unit_test(test_a_reply_that_breaks_off_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
