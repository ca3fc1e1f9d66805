/* Restores, and snapshots that are asked for. */
#include "proto/canonical.h"
#include "tests/unit/apply_fixture.h"

#define EDITOR "33333333-3333-4333-8333-333333333333"

static struct command restore_of(json_t *data) {
    struct command c = command_of(COMMAND_RESTORE, "laptop");
    strcpy(c.user_id, EDITOR);
    c.restored = (struct position){.version = 1, .epoch = 1};
    c.data = data;
    canonical_checksum(data, c.checksum);
    return c;
}

static struct command snapshot_of(const char *label) {
    struct command c = command_of(COMMAND_SNAPSHOT, "laptop");
    strcpy(c.user_id, EDITOR);
    c.label = label ? must_strdup(label) : NULL;
    return c;
}

/* ---- restore ---- */

static void test_a_restore_is_one_delta_of_data(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_PAUSED, "{\"progress\":75}");
    w.context.now = NOW + 1000;
    w.command = restore_of(json_of("{\"b\":1.0,\"a\":{\"c\":null}}"));
    assert_int_equal(apply(&w, &w.session), 0);
    const struct session *s = &w.change.next;
    assert_int_equal(s->position.version, 2);
    assert_string_equal(s->data_text, "{\"a\":{\"c\":null},\"b\":1}");
    assert_string_equal(s->checksum, w.command.checksum);
    assert_string_equal(s->name, w.session.name);
    assert_int_equal(s->last_modified, NOW + 1000);
    assert_string_equal(s->modified_by, "laptop");
    assert_int_equal(w.change.n_events, 1);
    const struct event *e = &w.change.events[0];
    assert_int_equal(e->type, EVENT_STATE_DELTA);
    assert_string_equal(e->user_id, EDITOR);
    assert_non_null(strstr(e->body, "\"baseVersion\":1,\"operations\":[{\"op\":\"replace\","
                                    "\"path\":\"/data\",\"value\":{\"b\":1,\"a\":{\"c\":null}}}]"));
    assert_non_null(strstr(e->body, s->checksum));
    world_done(&w);
}

/* A version more also when data is what it was: what was asked for is in the history. */
static void test_a_restore_of_the_same_data_is_a_version(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{\"a\":1}");
    w.command = restore_of(json_of("{\"a\":1}"));
    assert_int_equal(apply(&w, &w.session), 0);
    assert_int_equal(w.change.next.position.version, 2);
    world_done(&w);
}

static void test_a_restore_of_other_data_than_said_is_refused(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{\"a\":1}");
    w.command = restore_of(json_of("{\"a\":2}"));
    w.command.checksum[0] = w.command.checksum[0] == '0' ? '1' : '0';
    assert_int_equal(apply(&w, &w.session), FAULT_INVALID_VALUE);
    assert_string_equal(w.fault.field, "checksum");
    assert_int_equal(w.change.n_events, 0);
    world_done(&w);
}

static json_t *text_of(size_t len) {
    char *text = must_alloc(len + 1);
    memset(text, 'x', len);
    json_t *value = json_stringn(text, len);
    free(text);
    return value;
}

static json_t *nested(size_t levels) {
    json_t *value = json_array();
    for (size_t i = 1; i < levels; i++) {
        json_t *outer = json_array();
        json_array_append_new(outer, value);
        value = outer;
    }
    return value;
}

static void expect_restore(json_t *data, int expected) {
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.command = restore_of(data);
    assert_int_equal(apply(&w, &w.session), expected);
    world_done(&w);
}

static void expect_create(json_t *data, int expected) {
    struct world w = {0};
    w.command = command_of(COMMAND_CREATE, "phone");
    w.command.name = must_strdup("n");
    strcpy(w.command.type, "t");
    w.command.data = data;
    assert_int_equal(apply(&w, NULL), expected);
    world_done(&w);
}

static void test_restores_and_creates_have_one_bound(void **state) {
    (void)state;
    expect_restore(text_of(SESSION_DATA_MAX_BYTES - 2), 0); /* and two quotes */
    expect_restore(text_of(SESSION_DATA_MAX_BYTES - 1), FAULT_STATE_TOO_LARGE);
    expect_restore(nested(SESSION_DATA_MAX_DEPTH), 0);
    expect_restore(nested(SESSION_DATA_MAX_DEPTH + 1), FAULT_STATE_TOO_LARGE);
    expect_create(text_of(SESSION_DATA_MAX_BYTES - 2), 0);
    expect_create(text_of(SESSION_DATA_MAX_BYTES - 1), FAULT_STATE_TOO_LARGE);
    expect_create(nested(SESSION_DATA_MAX_DEPTH), 0);
    expect_create(nested(SESSION_DATA_MAX_DEPTH + 1), FAULT_STATE_TOO_LARGE);
}

static void test_a_restore_is_judged_by_its_base(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.command = restore_of(json_of("{\"a\":1}"));
    w.command.n_if_match = 1;
    w.command.if_match[0] = (struct position){.version = 9, .epoch = 1};
    assert_int_equal(apply(&w, &w.session), FAULT_PRECONDITION_FAILED);
    world_clear(&w);
    w.command = restore_of(json_of("{\"a\":1}"));
    w.command.has_base = true;
    w.command.base = (struct position){.version = 1, .epoch = 2};
    assert_int_equal(apply(&w, &w.session), FAULT_VERSION_CONFLICT);
    world_clear(&w);
    w.command = restore_of(json_of("{\"a\":1}"));
    w.command.has_base = true;
    w.command.base = (struct position){.version = 1, .epoch = 1};
    assert_int_equal(apply(&w, &w.session), 0);
    world_done(&w);
}

static void test_a_restore_may_be_the_50th_version(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.session.position.version = 49;
    w.command = restore_of(json_of("7"));
    assert_int_equal(apply(&w, &w.session), 0);
    assert_int_equal(w.change.n_events, 2);
    assert_string_equal(w.change.snapshot_id, w.change.events[1].message_id);
    world_done(&w);
}

/* ---- snapshot ---- */

static void test_a_snapshot_makes_no_version(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{\"a\":1}");
    w.context.now = NOW + 1000;
    w.command = snapshot_of("Before");
    assert_int_equal(apply(&w, &w.session), 0);
    const struct session *s = &w.change.next;
    assert_true(w.change.saves);
    assert_int_equal(change_n_versions(&w.change), 0);
    assert_int_equal(s->position.version, 1);
    assert_int_equal(s->updated_at, NOW);
    assert_int_equal(s->touched_at, NOW + 1000); /* it is a write: the session is in use */
    assert_string_equal(s->snapshots, "1");
    assert_string_equal(w.change.kept_before, "");
    assert_int_equal(w.change.n_events, 1);
    const struct event *e = &w.change.events[0];
    assert_int_equal(e->type, EVENT_SNAPSHOT);
    assert_int_equal(e->timestamp, NOW + 1000);
    assert_string_equal(e->user_id, EDITOR);
    assert_string_equal(e->device_id, "laptop");
    assert_non_null(strstr(e->body, "\"data\":{\"a\":1}"));
    assert_non_null(strstr(e->body, "\"label\":\"Before\""));
    assert_string_equal(w.change.snapshot_id, e->message_id);
    world_done(&w);
}

static void test_a_version_is_kept_once(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.session.position.version = 7;
    static const char *const lists[] = {"7", "1,7", "7,9", "1,7,9"};
    for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
        strcpy(w.session.snapshots, lists[i]);
        w.command = snapshot_of(NULL);
        assert_int_equal(apply(&w, &w.session), 0);
        assert_string_equal(w.change.next.snapshots, lists[i]);
        assert_int_equal(w.change.dropped_snapshot, 0);
        assert_int_equal(w.change.n_events, 1); /* the user is told all the same */
        world_clear(&w);
    }
    strcpy(w.session.snapshots, "17,70,77");
    w.command = snapshot_of(NULL);
    assert_int_equal(apply(&w, &w.session), 0);
    assert_string_equal(w.change.next.snapshots, "17,70,77,7");
    world_done(&w);
}

static void test_the_11th_snapshot_drops_the_oldest(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.session.position.version = 12;
    strcpy(w.session.snapshots, "1,2,3,4,5,6,7,8,9,10");
    w.command = snapshot_of(NULL);
    assert_int_equal(apply(&w, &w.session), 0);
    assert_string_equal(w.change.next.snapshots, "2,3,4,5,6,7,8,9,10,12");
    assert_int_equal(w.change.dropped_snapshot, 1);
    assert_string_equal(w.change.kept_before, w.session.snapshots);
    world_done(&w);
}

static void test_a_repeat_has_the_same_message_id(void **state) {
    (void)state;
    struct command first = snapshot_of("x"), again = snapshot_of("x");
    char id[UUID_LEN + 1], other[UUID_LEN + 1];
    snapshot_message_id(&first, id);
    assert_true(uuid_is(id, UUID_LEN));
    snapshot_message_id(&again, other);
    assert_string_equal(other, id);
    again.id[0] = 'f'; /* another command without a key is another snapshot */
    snapshot_message_id(&again, other);
    assert_string_not_equal(other, id);

    strcpy(first.key, "k");
    strcpy(again.key, "k");
    snapshot_message_id(&first, id);
    snapshot_message_id(&again, other);
    assert_string_equal(other, id);
    again.session_id[0] = 'f'; /* a key is of one session, and of one user */
    snapshot_message_id(&again, other);
    assert_string_not_equal(other, id);
    strcpy(again.session_id, first.session_id);
    strcpy(again.user_id, OWNER);
    snapshot_message_id(&again, other);
    assert_string_not_equal(other, id);
    command_done(&first);
    command_done(&again);
}

static void test_a_snapshot_is_judged_by_if_match(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.command = snapshot_of(NULL);
    w.command.n_if_match = 1;
    w.command.if_match[0] = (struct position){.version = 2, .epoch = 1};
    assert_int_equal(apply(&w, &w.session), FAULT_PRECONDITION_FAILED);
    world_done(&w);
}

static void test_a_session_that_ended_takes_neither(void **state) {
    (void)state;
    for (int status = SESSION_COMPLETED; status < SESSION_N_STATUSES; status++) {
        struct world w = {0};
        create(&w, (enum session_status)status, "{}");
        w.command = restore_of(json_of("{\"a\":1}"));
        assert_int_equal(apply(&w, &w.session), FAULT_SESSION_ENDED);
        world_clear(&w);
        w.command = snapshot_of(NULL);
        assert_int_equal(apply(&w, &w.session), FAULT_SESSION_ENDED);
        world_done(&w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_restore_is_one_delta_of_data),
        cmocka_unit_test(test_a_restore_of_the_same_data_is_a_version),
        cmocka_unit_test(test_a_restore_of_other_data_than_said_is_refused),
        cmocka_unit_test(test_restores_and_creates_have_one_bound),
        cmocka_unit_test(test_a_restore_is_judged_by_its_base),
        cmocka_unit_test(test_a_restore_may_be_the_50th_version),
        cmocka_unit_test(test_a_snapshot_makes_no_version),
        cmocka_unit_test(test_a_version_is_kept_once),
        cmocka_unit_test(test_the_11th_snapshot_drops_the_oldest),
        cmocka_unit_test(test_a_repeat_has_the_same_message_id),
        cmocka_unit_test(test_a_snapshot_is_judged_by_if_match),
        cmocka_unit_test(test_a_session_that_ended_takes_neither),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
