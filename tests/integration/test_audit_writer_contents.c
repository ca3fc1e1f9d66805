/* What has a row already is compared with what came: services/audit_writer/contents.c's statement,
 * on a real PostgreSQL. */
#include "tests/integration/audit_rows.h"

#define ID "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"

static void test_those_with_another_content_are_named_by_their_numbers(void **state) {
    struct database *d = *state;
    struct entry *entries[] = {
        event(ID, "session_deleted", 9, ""),
        event(ID, "session_deleted", 9, ",\"more\":[]"),
        event(ID, "snapshot", 8, ",\"data\":{},\"checksum\":\"c\""),
        event(ID, "snapshot", 8, ",\"data\":{},\"checksum\":\"d\""),
        event(ID, "device_joined", 9, ""),
        event(ID, "device_joined", 9, ",\"deviceCount\":2"),
    };
    for (size_t i = 0; i < N_ELEMENTS(entries); i += 2)
        write_batch(d, entries + i, 1);
    struct batch_statement s;
    batch_build_comparison(entries, N_ELEMENTS(entries), &s);
    buf_clear(&d->said);
    buf_puts(&d->said, "");
    send_statement(d, &s);
    end(d);
    assert_string_equal(d->said.data, "1 3 "); /* who came may be told with another count */
    batch_statement_done(&s);
    for (size_t i = 0; i < N_ELEMENTS(entries); i++)
        entry_free(entries[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_those_with_another_content_are_named_by_their_numbers),
    };
    return run_group(tests, N_ELEMENTS(tests));
}
