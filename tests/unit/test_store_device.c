/* Records of devices: what is printed is read back, and what cannot be is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/store_device.h"

#define USER "11111111-1111-4111-8111-111111111111"
#define OTHER "22222222-2222-4222-8222-222222222222"

static struct store_device_record sample(void) {
    return (struct store_device_record){.user_id = USER,
                                        .state = STORE_DEVICE_JOINED,
                                        .n_connections = 2,
                                        .first_seen = 1770897600001,
                                        .last_seen = 1770897600002,
                                        .moment = 1770897600003,
                                        .has_connected = true,
                                        .leaves_at = 1770897600004,
                                        .owed_join = 1770897600005,
                                        .owed_leave = 1770897600006,
                                        .lease = 1770897600007,
                                        .name = "My phone \xf0\x9f\x93\xb1\n 7",
                                        .platform = " ios 19"};
}

static void test_a_record_is_read_as_it_was_printed(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct store_device_record d = sample(), read;
        struct buf text = BUF_NULL, again = BUF_NULL;
        d.state = (enum store_device_state)i;
        if (i == 2) {
            memset(d.name, 'n', SESSION_DEVICE_NAME_MAX_BYTES);
            memset(d.platform, 'p', SESSION_DEVICE_PLATFORM_MAX_BYTES);
        }
        if (i == 1)
            d.name[0] = d.platform[0] = '\0';
        store_device_print(&d, &text);
        assert_int_equal(store_device_parse(text.data, text.len, &read), 0);
        assert_int_equal(read.state, d.state);
        assert_string_equal(read.name, d.name);
        assert_string_equal(read.platform, d.platform);
        store_device_print(&read, &again);
        assert_string_equal(again.data, text.data);
        buf_done(&text);
        buf_done(&again);
    }
}

static void test_what_is_no_record_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "nonsense",
        USER " j 1 2 3 4 1 5 6 7 8",
        USER " j 1 2 3 4 1 5 6 7 8 0",
        USER " x 1 2 3 4 1 5 6 7 8 0 ",
        USER "  1 2 3 4 1 5 6 7 8 0 ",
        USER " jj 1 2 3 4 1 5 6 7 8 0 ",
        "me j 1 2 3 4 1 5 6 7 8 0 ",
        USER " j -1 2 3 4 1 5 6 7 8 0 ",
        USER " j 1 2 3 4 1 5 6 7 8 5 name",
        USER " j 1 2 3 4 1 5 6 7 9223372036854775808 0 ",
    };
    for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
        struct store_device_record read = {.lease = 77};
        assert_int_equal(store_device_parse(texts[i], strlen(texts[i]), &read), -EBADMSG);
        assert_int_equal(read.lease, 77);
    }
}

static void test_a_join_by_request(void **state) {
    (void)state;
    struct store_device_record d = {0};
    assert_int_equal(store_device_join(&d, USER, 1000), 1000 + PRESENCE_REQUEST_LEFT_AFTER_MS);
    assert_int_equal(d.state, STORE_DEVICE_JOINED);
    assert_string_equal(d.user_id, USER);
    assert_true(d.first_seen == 1000 && d.last_seen == 1000 && d.moment == 1000);
    assert_false(d.has_connected);

    struct store_device_record here = sample(); /* connected, and not judged yet */
    here.state = STORE_DEVICE_NEW;
    here.owed_join = here.owed_leave = here.lease = 0;
    assert_int_equal(store_device_join(&here, OTHER, 2000), 0);
    assert_string_equal(here.user_id, USER);
    assert_int_equal(here.n_connections, 2);
    assert_int_equal(here.first_seen, sample().first_seen);

    struct store_device_record left = sample(); /* whose leave would be told after this join */
    left.state = STORE_DEVICE_LEFT;
    left.n_connections = 0;
    left.lease = 2500;
    assert_int_equal(store_device_join(&left, OTHER, 2000), 2000 + PRESENCE_REQUEST_LEFT_AFTER_MS);
    assert_string_equal(left.user_id, OTHER);
    assert_true(left.owed_join == 0 && left.owed_leave == 0 && left.lease == 0);
    assert_int_equal(left.leaves_at, 2000 + PRESENCE_REQUEST_LEFT_AFTER_MS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_is_read_as_it_was_printed),
        cmocka_unit_test(test_what_is_no_record_is_refused),
        cmocka_unit_test(test_a_join_by_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
