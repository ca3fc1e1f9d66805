/* Which versions have to be there: services/audit_writer/expected.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "services/audit_writer/expected.h"
#include "tests/unit/array_text.h"

#define ID_A "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"
#define ID_B "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f02"

struct told {
    const char *id;
    enum event_type type;
    unsigned epoch, version;
};

/* expected: "<epoch>:<version>@<last digit of the session's id> …" */
static void expect(const struct told *told, size_t n, const char *expected) {
    struct entry entries[16] = {0}, *pointers[16];
    struct batch_statement s;
    struct buf ids = BUF_NULL, epochs = BUF_NULL, versions = BUF_NULL;
    for (size_t i = 0; i < n; i++) {
        struct event *e = &entries[i].event;
        memcpy(e->session_id, told[i].id, sizeof(e->session_id));
        e->type = told[i].type;
        e->position = (struct position){told[i].version, told[i].epoch};
        pointers[n - 1 - i] = &entries[i]; /* events come in any order */
    }
    expected_build(pointers, n, NULL, &s);
    for (const char *at = expected; *at;) {
        char version[8], epoch[8], digit;
        int len;
        assert_int_equal(sscanf(at, "%7[0-9]:%7[0-9]@%c %n", epoch, version, &digit, &len), 3);
        at += len;
        buf_printf(&ids, "%c\"%s\"", ids.len ? ',' : '{', digit == '1' ? ID_A : ID_B);
        buf_printf(&epochs, "%c\"%s\"", epochs.len ? ',' : '{', epoch);
        buf_printf(&versions, "%c\"%s\"", versions.len ? ',' : '{', version);
    }
    if (*expected) {
        buf_putc(&ids, '}');
        buf_putc(&epochs, '}');
        buf_putc(&versions, '}');
        array_text_is(&s.parameters[0], ids.data);
        array_text_is(&s.parameters[1], epochs.data);
        array_text_is(&s.parameters[2], versions.data);
    } else {
        assert_int_equal(s.n_rows, 0);
    }
    buf_done(&ids);
    buf_done(&epochs);
    buf_done(&versions);
    batch_statement_done(&s);
}

#define EXPECT(expected, ...)                                                                      \
    expect((const struct told[]){__VA_ARGS__}, N_ELEMENTS(((const struct told[]){__VA_ARGS__})),   \
           expected)

static void test_the_version_before_each_unbroken_row(void **state) {
    (void)state;
    EXPECT("", {ID_A, EVENT_SESSION_CREATED, 1, 1}, {ID_A, EVENT_STATE_DELTA, 1, 2});
    EXPECT("1:4@1 ", {ID_A, EVENT_STATE_DELTA, 1, 5}, {ID_A, EVENT_STATUS_CHANGED, 1, 6});
    EXPECT("1:4@1 1:7@1 ", {ID_A, EVENT_STATE_DELTA, 1, 5}, {ID_A, EVENT_STATE_DELTA, 1, 8});
    EXPECT("1:4@1 ", {ID_A, EVENT_STATE_DELTA, 1, 5}, {ID_A, EVENT_STATE_DELTA, 1, 5});
    EXPECT("1:4@1 1:8@2 ", {ID_A, EVENT_STATE_DELTA, 1, 5}, {ID_B, EVENT_STATE_DELTA, 1, 9});
}

static void test_an_epoch_begins_with_its_rebuild(void **state) {
    (void)state;
    EXPECT("", {ID_A, EVENT_SESSION_REBUILT, 2, 5}, {ID_A, EVENT_STATE_DELTA, 2, 6});
    EXPECT("2:5@1 ", {ID_A, EVENT_STATE_DELTA, 2, 6});
    EXPECT("1:3@1 2:5@1 ", {ID_A, EVENT_STATE_DELTA, 1, 4}, {ID_A, EVENT_STATE_DELTA, 2, 6});
}

static void test_what_has_no_version_tells_of_one(void **state) {
    (void)state;
    EXPECT("1:5@1 ", {ID_A, EVENT_DEVICE_JOINED, 1, 5}, {ID_A, EVENT_SNAPSHOT, 1, 5});
    EXPECT("1:4@1 ", {ID_A, EVENT_SNAPSHOT, 1, 5}, {ID_A, EVENT_STATE_DELTA, 1, 5});
    EXPECT("1:5@1 ", {ID_A, EVENT_DEVICE_LEFT, 1, 5}, {ID_A, EVENT_STATE_DELTA, 1, 6});
    EXPECT("1:5@1 1:6@1 ", {ID_A, EVENT_DEVICE_LEFT, 1, 5}, {ID_A, EVENT_DEVICE_LEFT, 1, 6});
    EXPECT("", {ID_A, EVENT_SESSION_REBUILT, 2, 5}, {ID_A, EVENT_DEVICE_LEFT, 2, 5});
}

static void test_what_becomes_no_row_tells_nothing(void **state) {
    (void)state;
    struct entry dead = {.reason = "no", .event = {.type = EVENT_STATE_DELTA}};
    struct entry *entries[] = {&dead};
    struct batch_statement s;
    expected_build(entries, 1, NULL, &s);
    assert_int_equal(s.n_rows, 0);
    batch_statement_done(&s);
}

static void test_what_was_seen_committed_is_not_asked_for(void **state) {
    (void)state;
    struct entry next = {
        .event = {.session_id = ID_A, .type = EVENT_STATE_DELTA, .position = {6, 1}}};
    struct entry *entries[] = {&next};
    struct written *known = written_new();
    static const struct {
        const char *id;
        struct position written; /* version, epoch */
    } steps[] = {{ID_B, {5, 1}}, {ID_A, {4, 1}}, {ID_A, {5, 2}}, {ID_A, {5, 1}}};
    for (size_t i = 0; i < N_ELEMENTS(steps); i++) {
        struct batch_statement s;
        written_note(known, steps[i].id, steps[i].written);
        expected_build(entries, 1, known, &s);
        assert_int_equal(s.n_rows, 1); /* of A the newest stays, of epoch 2 */
        batch_statement_done(&s);
    }
    written_forget(known);
    assert_false(written_has(known, ID_A, (struct position){5, 2}));
    written_note(known, ID_A, (struct position){5, 1});
    struct batch_statement s;
    expected_build(entries, 1, known, &s);
    assert_int_equal(s.n_rows, 0);
    batch_statement_done(&s);
    assert_false(written_has(NULL, ID_A, (struct position){5, 1}));
    written_free(known);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_version_before_each_unbroken_row),
        cmocka_unit_test(test_an_epoch_begins_with_its_rebuild),
        cmocka_unit_test(test_what_has_no_version_tells_of_one),
        cmocka_unit_test(test_what_becomes_no_row_tells_nothing),
        cmocka_unit_test(test_what_was_seen_committed_is_not_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
