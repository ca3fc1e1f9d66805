#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "clients/c/handoff.h"

#define SESSION "0197a1b2-0000-7000-8000-000000000001"

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof(folder), "%s/handoff-store-XXXXXX", P_tmpdir);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    char path[160];
    (void)state;
    snprintf(path, sizeof(path), "%s/" SESSION ".log", folder);
    unlink(path);
    return rmdir(folder);
}

static void list(void *arg, const char *key, const char *text) {
    buf_printf(arg, "%s=%s ", key, text);
}

static void assert_kept(const char *expected) {
    struct handoff_store *store = handoff_file_store_new(folder);
    struct buf kept = BUF_NULL;
    assert_non_null(store);
    assert_int_equal(store->load(store->user, SESSION, list, &kept), 0);
    assert_string_equal(kept.data ? kept.data : "", expected);
    buf_done(&kept);
    handoff_file_store_free(store);
}

static void append(const char *bytes) {
    char path[160];
    snprintf(path, sizeof(path), "%s/" SESSION ".log", folder);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs(bytes, file);
    fclose(file);
}

static long size_of_file(void) {
    char path[160];
    struct stat about;
    snprintf(path, sizeof(path), "%s/" SESSION ".log", folder);
    assert_int_equal(stat(path, &about), 0);
    return (long)about.st_size;
}

static void test_commands_stay_in_their_order_until_they_are_taken_out(void **state) {
    struct handoff_store *store = handoff_file_store_new(folder);
    (void)state;
    assert_int_equal(store->put(store->user, SESSION, "a", "{\"n\":1}"), 0);
    assert_int_equal(store->put(store->user, SESSION, "b", "{\"n\":2}"), 0);
    assert_int_equal(store->put(store->user, SESSION, "c", "{\"n\":3}"), 0);
    assert_int_equal(store->put(store->user, SESSION, "a", "{\"n\":4}"), 0);
    assert_int_equal(store->remove(store->user, SESSION, "b"), 0);
    assert_int_equal(store->remove(store->user, SESSION, "none"), 0);
    handoff_file_store_free(store);
    assert_kept("a={\"n\":4} c={\"n\":3} ");
    assert_kept("a={\"n\":4} c={\"n\":3} ");
}

static void test_half_a_line_and_what_is_none_are_left_out(void **state) {
    (void)state;
    append("{\"key\":\"d\",\"stored\":{}}\nnot JSON\n[]\n{\"key\":\"e\",\"sto");
    assert_kept("a={\"n\":4} c={\"n\":3} d={} ");
    struct handoff_store *store = handoff_file_store_new(folder);
    assert_int_equal(store->put(store->user, SESSION, "f", "{}"), 0);
    handoff_file_store_free(store);
    assert_kept("a={\"n\":4} c={\"n\":3} d={} f={} ");
}

static void test_a_second_one_is_refused_what_the_first_has(void **state) {
    struct handoff_store *first = handoff_file_store_new(folder);
    struct handoff_store *second = handoff_file_store_new(folder);
    (void)state;
    assert_int_equal(first->put(first->user, SESSION, "a", "{}"), 0);
    assert_int_equal(second->put(second->user, SESSION, "a", "{}"), -EWOULDBLOCK);
    handoff_file_store_free(first);
    assert_int_equal(second->put(second->user, SESSION, "a", "{}"), 0);
    handoff_file_store_free(second);
}

static void test_the_file_does_not_grow_without_an_end(void **state) {
    struct handoff_store *store = handoff_file_store_new(folder);
    char text[20000];
    (void)state;
    snprintf(text, sizeof(text), "{\"x\":\"%*s\"}", 19000, "");
    for (int n = 0; n < 300; n++) {
        assert_int_equal(store->put(store->user, SESSION, "large", text), 0);
        assert_int_equal(store->remove(store->user, SESSION, "large"), 0);
        assert_true(size_of_file() < (1 << 20) + 50000);
    }
    assert_int_equal(store->put(store->user, SESSION, "last", "{}"), 0);
    handoff_file_store_free(store);
    assert_kept("a={} c={\"n\":3} d={} f={} last={} ");
}

static void test_what_is_no_folder_and_no_session_is_refused(void **state) {
    struct handoff_store *store = handoff_file_store_new(folder);
    (void)state;
    assert_int_equal(store->put(store->user, "../" SESSION, "a", "{}"), -EINVAL);
    handoff_file_store_free(store);
    assert_null(handoff_file_store_new("/dev/null"));
    assert_int_equal(errno, ENOTDIR);
    assert_null(handoff_file_store_new("/nowhere/at/all"));
    handoff_file_store_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_stay_in_their_order_until_they_are_taken_out),
        cmocka_unit_test(test_half_a_line_and_what_is_none_are_left_out),
        cmocka_unit_test(test_a_second_one_is_refused_what_the_first_has),
        cmocka_unit_test(test_the_file_does_not_grow_without_an_end),
        cmocka_unit_test(test_what_is_no_folder_and_no_session_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
