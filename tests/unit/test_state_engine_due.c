/* Idle, expiry and going cold: what is next, and what becomes of a session whose time has come. */
#include "services/state_engine/due.h"
#include "tests/unit/apply_fixture.h"

#define TTL_MS 60000LL
#define COLD_MS 3600000LL

/* ---- what is next ---- */

struct row {
    enum session_status status;
    bool is_deleted, has_devices;
    int64_t touched, ttl_s; /* touched: ms after NOW, at which it was updated */
    int64_t now;            /* ms after NOW */
    enum due_what what;
    int64_t when; /* ms after NOW; 0 with DUE_NOTHING */
};

static void check_row(const struct row *row, enum session_on_idle on_idle) {
    struct session s = {.status = row->status,
                        .deleted = row->is_deleted,
                        .on_idle = on_idle,
                        .ttl_seconds = (uint32_t)row->ttl_s,
                        .updated_at = NOW,
                        .touched_at = NOW + row->touched};
    struct due due = due_next(&s, row->has_devices, NOW + row->now, COLD_MS);
    assert_int_equal(due.what, row->what);
    assert_int_equal(due.when, row->what == DUE_NOTHING ? 0 : NOW + row->when);
}

static void test_what_is_next(void **state) {
    (void)state;
    const enum session_status PENDING = SESSION_PENDING, ACTIVE = SESSION_ACTIVE,
                              PAUSED = SESSION_PAUSED;
    static const int64_t MONTH = SESSION_PAUSED_TTL_MS;
    const struct row rows[] = {
        /* an active one: its ttl, from the last write or heartbeat */
        {ACTIVE, false, false, 0, 60, 0, DUE_LAPSE, TTL_MS},
        {ACTIVE, false, false, 5000, 60, 0, DUE_LAPSE, 5000 + TTL_MS},
        {ACTIVE, false, true, 5000, 60, 0, DUE_LAPSE, 5000 + TTL_MS},
        {ACTIVE, false, false, 0, 60, TTL_MS, DUE_LAPSE, TTL_MS},
        /* one with a long ttl goes cold before, unless somebody is in it */
        {ACTIVE, false, false, 0, 7200, 0, DUE_COOLING, COLD_MS},
        {ACTIVE, false, false, 5000, 7200, 0, DUE_COOLING, 5000 + COLD_MS},
        {ACTIVE, false, true, 0, 7200, 0, DUE_LAPSE, 2 * COLD_MS},
        /* both have passed, or nearly: the lapse comes first */
        {ACTIVE, false, false, 0, 7200, 2 * COLD_MS - DUE_SOON_MS - 1, DUE_COOLING, COLD_MS},
        {ACTIVE, false, false, 0, 7200, 2 * COLD_MS - DUE_SOON_MS, DUE_LAPSE, 2 * COLD_MS},
        {ACTIVE, false, false, 0, 7200, 2 * COLD_MS, DUE_LAPSE, 2 * COLD_MS},
        {ACTIVE, false, false, 0, 3600, 0, DUE_LAPSE, COLD_MS},
        {PENDING, false, false, 0, 60, 0, DUE_COOLING, COLD_MS},
        {PENDING, false, true, 0, 60, 0, DUE_LAPSE, MONTH},
        {PENDING, false, false, 0, 60, MONTH, DUE_LAPSE, MONTH},
        {PAUSED, false, false, 0, 60, 0, DUE_COOLING, COLD_MS},
        {PAUSED, false, false, 5000, 60, 0, DUE_COOLING, 5000 + COLD_MS},
        {PAUSED, false, true, 5000, 60, 0, DUE_LAPSE, 5000 + MONTH},
        {PAUSED, false, false, -5000, 60, 0, DUE_COOLING, COLD_MS}, /* never before the update */
        /* a final one does nothing but go cold */
        {SESSION_COMPLETED, false, false, 0, 60, 0, DUE_COOLING, COLD_MS},
        {SESSION_CANCELLED, false, false, 0, 60, 2 * MONTH, DUE_COOLING, COLD_MS},
        {SESSION_EXPIRED, false, true, 0, 60, 2 * MONTH, DUE_NOTHING, 0},
        {ACTIVE, true, false, 0, 60, 0, DUE_BURIAL, DUE_TOMBSTONE_MS},
        {PAUSED, true, true, 0, 60, MONTH, DUE_BURIAL, DUE_TOMBSTONE_MS},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        check_row(&rows[i], SESSION_IDLE_PAUSE);
        check_row(&rows[i], SESSION_IDLE_EXPIRE);
    }
}

static void test_a_running_clock_is_next_and_nothing_else(void **state) {
    (void)state;
    static const int64_t moments[] = {0, NOW + 5, NOW + 2 * SESSION_PAUSED_TTL_MS};
    for (size_t i = 0; i < N_ELEMENTS(moments); i++)
        for (int has_devices = 0; has_devices < 2; has_devices++) {
            struct session s = {.status = SESSION_ACTIVE,
                                .ttl_seconds = TTL_MS / 1000,
                                .updated_at = NOW,
                                .touched_at = NOW,
                                .clock_runs = true,
                                .clock_at = moments[i]};
            struct due due = due_next(&s, has_devices, NOW + 2 * SESSION_PAUSED_TTL_MS, COLD_MS);
            assert_int_equal(due.what, moments[i] ? DUE_CLOCK : DUE_NOTHING);
            assert_int_equal(due.when, moments[i]);
            s.clock_runs = false; /* it stands: as if there were none */
            due = due_next(&s, has_devices, NOW, COLD_MS);
            assert_int_equal(due.what, DUE_LAPSE);
            assert_int_equal(due.when, NOW + TTL_MS);
            s.clock_runs = s.deleted = true;
            assert_int_equal(due_next(&s, has_devices, NOW, COLD_MS).what, DUE_BURIAL);
        }
}

/* ---- what becomes of it ---- */

static int ask_due(struct world *w, int64_t now) {
    w->command = (struct command){.kind = COMMAND_DUE, .deadline = now};
    strcpy(w->command.id, COMMAND_ID);
    strcpy(w->command.session_id, SESSION_ID);
    w->context.now = now;
    struct fault f;
    assert_int_equal(apply_check_rights(&w->session, &w->command, &f), 0);
    return apply(w, &w->session);
}

static void test_a_session_lapses_at_its_moment(void **state) {
    (void)state;
    static const struct {
        enum session_status from;
        enum session_on_idle on_idle;
        int64_t after;
        enum session_status to;
        const char *active_device;
    } rows[] = {
        {SESSION_ACTIVE, SESSION_IDLE_PAUSE, TTL_MS, SESSION_PAUSED, ""},
        {SESSION_ACTIVE, SESSION_IDLE_EXPIRE, TTL_MS, SESSION_EXPIRED, "phone"},
        {SESSION_PENDING, SESSION_IDLE_PAUSE, SESSION_PAUSED_TTL_MS, SESSION_EXPIRED, ""},
        {SESSION_PENDING, SESSION_IDLE_EXPIRE, SESSION_PAUSED_TTL_MS, SESSION_EXPIRED, ""},
        {SESSION_PAUSED, SESSION_IDLE_PAUSE, SESSION_PAUSED_TTL_MS, SESSION_EXPIRED, ""},
        {SESSION_PAUSED, SESSION_IDLE_EXPIRE, SESSION_PAUSED_TTL_MS, SESSION_EXPIRED, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct world w = {0};
        create(&w, rows[i].from, "{}");
        w.session.ttl_seconds = TTL_MS / 1000;
        w.session.on_idle = rows[i].on_idle;
        assert_int_equal(ask_due(&w, NOW + rows[i].after - 1), 0);
        assert_false(w.change.saves);
        world_clear(&w);
        assert_int_equal(ask_due(&w, NOW + rows[i].after), 0);
        assert_true(w.change.saves);
        const struct session *next = &w.change.next;
        assert_int_equal(next->status, rows[i].to);
        assert_int_equal(next->position.version, 2);
        assert_int_equal(next->updated_at, NOW + rows[i].after);
        assert_string_equal(next->active_device, rows[i].active_device);
        assert_int_equal(next->completed_at,
                         rows[i].to == SESSION_EXPIRED ? NOW + rows[i].after : 0);
        world_done(&w);
    }
}

static void test_nothing_lapses_while_a_clock_runs(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.session.clock_runs = true;
    assert_int_equal(ask_due(&w, NOW + 2 * SESSION_PAUSED_TTL_MS), 0);
    assert_false(w.change.saves);
    world_done(&w);
}

static void test_the_engine_says_that_it_lapsed(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    assert_int_equal(ask_due(&w, NOW + SESSION_TTL_DEFAULT_S * 1000LL), 0);
    assert_int_equal(w.change.n_events, 2);
    const struct event *event = &w.change.events[0];
    assert_int_equal(event->type, EVENT_STATUS_CHANGED);
    assert_string_equal(event->user_id, OWNER);
    assert_string_equal(event->device_id, "");
    assert_non_null(strstr(event->body, "\"deviceId\":null"));
    assert_non_null(strstr(event->body, "\"from\":\"active\",\"to\":\"paused\","
                                        "\"activeDeviceId\":null,\"reason\":\"idle\""));
    assert_int_equal(w.change.events[1].type, EVENT_SNAPSHOT);
    assert_string_equal(w.change.next.last_active_device, "phone");
    world_done(&w);
}

static void test_a_heartbeat_puts_it_off(void **state) {
    (void)state;
    struct world w = {0};
    create(&w, SESSION_ACTIVE, "{}");
    w.session.ttl_seconds = TTL_MS / 1000;
    w.session.touched_at = NOW + 1000;
    assert_int_equal(ask_due(&w, NOW + TTL_MS + 999), 0);
    assert_false(w.change.saves);
    world_clear(&w);
    assert_int_equal(ask_due(&w, NOW + TTL_MS + 1000), 0);
    assert_true(w.change.saves);
    world_done(&w);
}

static void test_a_final_session_stays_as_it_is(void **state) {
    (void)state;
    for (int status = SESSION_COMPLETED; status < SESSION_N_STATUSES; status++) {
        struct world w = {0};
        create(&w, (enum session_status)status, "{}");
        assert_int_equal(ask_due(&w, NOW + 2 * SESSION_PAUSED_TTL_MS), 0);
        assert_false(w.change.saves);
        world_done(&w);
    }
}

static void test_a_deleted_session_is_not_there(void **state) {
    (void)state;
    struct world w = {0};
    struct fault f;
    create(&w, SESSION_ACTIVE, "{}");
    w.session.deleted = true;
    w.command = (struct command){.kind = COMMAND_DUE};
    assert_int_equal(apply_check_rights(&w.session, &w.command, &f), FAULT_NOT_FOUND);
    assert_int_equal(apply_check_rights(NULL, &w.command, &f), FAULT_NOT_FOUND);
    world_done(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_next),
        cmocka_unit_test(test_a_running_clock_is_next_and_nothing_else),
        cmocka_unit_test(test_a_session_lapses_at_its_moment),
        cmocka_unit_test(test_nothing_lapses_while_a_clock_runs),
        cmocka_unit_test(test_the_engine_says_that_it_lapsed),
        cmocka_unit_test(test_a_heartbeat_puts_it_off),
        cmocka_unit_test(test_a_final_session_stays_as_it_is),
        cmocka_unit_test(test_a_deleted_session_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
