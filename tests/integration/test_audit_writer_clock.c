/* A session's clock in PostgreSQL: taken from each event that tells it, whatever their order; when
 * it makes the session due; and read back for who loads a session or reads a cold one. */
#include "audit_rows.h"

#include <errno.h>

#include "common/db_rebuild.h"
#include "common/db_session.h"

#define ID "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"

#define PARTICIPANT(id, total, left, active, expired)                                              \
    "{\"participantId\":\"" id "\",\"groupId\":null,\"totalTimeMs\":" total                        \
    ",\"timeUsedMs\":0,\"timeRemainingMs\":" left ",\"cycleCount\":0,\"isActive\":" active         \
    ",\"hasExpired\":" expired "}"
#define CLOCK_OF(mode, participants, active, started)                                              \
    "{\"mode\":\"" mode "\",\"totalTimeMs\":null,\"incrementMs\":0,\"timePerCycleMs\":null,"       \
    "\"maxTimeMs\":null,\"onTimeout\":{\"action\":\"notify\"},\"warningsMs\":[10000,5000],"        \
    "\"participants\":[" participants "],\"activeParticipantId\":" active                          \
    ",\"cycleStartedAt\":" started ",\"cycleCount\":0}"
/* What is left to white, whose turn it is; since when it runs; whether white's time is over. */
#define CLOCK(left, started, expired)                                                              \
    CLOCK_OF("per_participant",                                                                    \
             PARTICIPANT("black", "9000", "7", "false",                                            \
                         "false") "," PARTICIPANT("white", "9000", left, "true", expired),         \
             "\"white\"", started)
#define RUNNING CLOCK("5000", "\"2026-02-12T12:00:02.250Z\"", "false")
#define PAUSED CLOCK("4000", "null", "false")
#define SWITCHED CLOCK("3000", "\"2026-02-12T12:00:04.000Z\"", "false")
#define EXPIRED CLOCK("0", "null", "true")
#define ENDLESS                                                                                    \
    CLOCK_OF("count_up", PARTICIPANT("a", "null", "null", "true", "false"), "\"a\"",               \
             "\"2026-02-12T12:00:07.250Z\"")
#define PENDING                                                                                    \
    CLOCK_OF("per_participant", PARTICIPANT("a", "1000", "1000", "false", "false"), "null", "null")
#define CLOCK_IS(text) ",\"clock\":" text

enum { N_TOLD = 6 };

static struct entry *created(const char *id, const char *clock) {
    char more[2048];
    snprintf(more, sizeof(more),
             ",\"session\":{\"userId\":\"" OWNER
             "\",\"name\":\"A\",\"type\":\"chess\",\"status\":\"pending\",\"createdAt\":"
             "\"2026-02-12T12:00:01.000Z\",\"ttlSeconds\":60,\"onIdle\":\"expire\","
             "\"activeDeviceId\":null,\"lastModified\":\"2026-02-12T12:00:01.000Z\","
             "\"modifiedBy\":\"phone\"%s,\"checksum\":\"%064d\"}",
             clock, 0);
    return event(id, "session_created", 1, more);
}

#define STATUS(to) ",\"from\":\"pending\",\"to\":\"" to "\",\"activeDeviceId\":\"tab\""

static void make_game(const char *id, struct entry *ret[static N_TOLD]) {
    ret[0] = created(id, CLOCK_IS(PENDING));
    ret[1] = event(id, "status_changed", 2, STATUS("active") CLOCK_IS(RUNNING));
    ret[2] = event(id, "state_delta", 3, ",\"operations\":[],\"checksum\":\"c3\"");
    ret[3] = event(id, "clock_switched", 4,
                   ",\"from\":\"black\",\"to\":\"white\",\"elapsedMs\":1750" CLOCK_IS(SWITCHED));
    ret[4] = event(id, "state_delta", 5, ",\"operations\":[],\"checksum\":\"c5\"");
    ret[5] = event(id, "device_joined", 5, ",\"activeDeviceId\":\"tab\"");
}

static void forget_all(struct database *d) {
    run(d, "TRUNCATE sessions, session_events, session_snapshots");
}

static const char select_clock[] =
    "SELECT DISTINCT concat_ws('|', clock, clock_runs, coalesce(clock_at::text, 'never'), "
    "clock_position & 4294967295, coalesce(due_at::text, 'never')) FROM sessions";

static void write_game(struct database *d, unsigned order) {
    char id[UUID_LEN + 1];
    struct entry *entries[N_TOLD];
    snprintf(id, sizeof(id), "019c51b8-ee00-7a3b-8f21-%012u", order);
    make_game(id, entries);
    shuffle(order, entries, N_TOLD);
    size_t cut = order % N_TOLD;
    if (cut)
        write_batch(d, entries, cut);
    write_batch(d, entries + cut, N_TOLD - cut);
    write_batch(d, entries + cut / 2, N_TOLD - cut); /* delivered again */
    for (size_t i = 0; i < N_TOLD; i++)
        entry_free(entries[i]);
}

static void test_the_newest_clock_counts_in_every_order_and_split(void **state) {
    struct database *d = *state;
    forget_all(d);
    for (unsigned order = 0; order < 720; order += 7)
        write_game(d, order);
    assert_string_equal(run(d, select_clock),
                        SWITCHED "|t|2026-02-12 12:00:07+00|4|2026-02-12 12:00:07+00 ");
    assert_string_equal(run(d, "SELECT count(*) FROM session_events WHERE kind = 'clock'"), "103 ");
}

/* ---- due ---- */

static void expect_told(struct database *d, unsigned version, const char *type, const char *more,
                        const char *expected) {
    write_one(d, event(ID, type, version, more));
    assert_string_equal(run(d, select_clock), expected);
}

static void test_due_is_its_end_while_it_runs_and_idle_else(void **state) {
    struct database *d = *state;
    forget_all(d);
    write_one(d, created(ID, ""));
    assert_string_equal(run(d, select_clock), "f|never|0|2026-03-14 12:00:01+00 ");
    expect_told(d, 2, "clock_set", CLOCK_IS(PENDING), PENDING "|f|never|2|2026-03-14 12:00:02+00 ");
    expect_told(d, 3, "status_changed", STATUS("active") CLOCK_IS(RUNNING),
                RUNNING "|t|2026-02-12 12:00:07.25+00|3|2026-02-12 12:00:07.25+00 ");
    expect_told(d, 4, "state_delta", ",\"operations\":[],\"checksum\":\"c4\"",
                RUNNING "|t|2026-02-12 12:00:07.25+00|3|2026-02-12 12:00:07.25+00 ");
    expect_told(d, 5, "clock_expired",
                ",\"participantId\":\"white\",\"action\":\"notify\"" CLOCK_IS(EXPIRED),
                EXPIRED "|f|never|5|2026-02-12 12:01:05+00 ");
    expect_told(d, 6, "clock_adjusted",
                ",\"participantId\":\"white\",\"adjustMs\":1,\"reason\":\"r\"" CLOCK_IS(ENDLESS),
                ENDLESS "|t|never|6|never ");
    expect_told(d, 7, "status_changed", STATUS("paused") CLOCK_IS(PAUSED),
                PAUSED "|f|never|7|2026-03-14 12:00:07+00 ");
    expect_told(d, 8, "status_changed", STATUS("completed") CLOCK_IS(PAUSED),
                PAUSED "|f|never|8|never ");
}

static void test_nothing_is_due_of_a_deleted_one_and_its_clock_goes_with_it(void **state) {
    struct database *d = *state;
    forget_all(d);
    write_one(d, created(ID, CLOCK_IS(PENDING)));
    write_one(d, event(ID, "status_changed", 2, STATUS("active") CLOCK_IS(RUNNING)));
    expect_told(d, 3, "session_deleted", "", RUNNING "|t|2026-02-12 12:00:07.25+00|2|never ");
    assert_string_equal(run(d, "SELECT session_purge('" ID "', 1000)"), "t ");
    assert_string_equal(run(d, select_clock), "f|never|2|never ");
}

static void test_a_rebuild_leaves_the_clock(void **state) {
    struct database *d = *state;
    forget_all(d);
    write_one(d, created(ID, CLOCK_IS(PENDING)));
    write_one(d, event(ID, "status_changed", 2, STATUS("active") CLOCK_IS(RUNNING)));
    write_one(d, event_at(ID, "session_rebuilt", 2, 2, ",\"checksum\":\"c2\""));
    assert_string_equal(run(d, select_clock),
                        RUNNING "|t|2026-02-12 12:00:07.25+00|2|2026-02-12 12:00:07.25+00 ");
    write_one(d, event(ID, "clock_set", 9, CLOCK_IS(PENDING))); /* of the old epoch, and newer */
    write_one(d, event_at(ID, "clock_switched", 2, 3,
                          ",\"from\":\"a\",\"to\":null,\"elapsedMs\":1" CLOCK_IS(PAUSED)));
    assert_string_equal(run(d, select_clock), PAUSED "|f|never|3|2026-02-12 12:01:09+00 ");
}

/* ---- what is no clock ---- */

static void test_an_event_with_something_else_is_refused(void **state) {
    (void)state;
    static const char *const clocks[] = {
        "null",
        "7",
        "[]",
        "\"\"",
        "{\"id\":\"a b\"}",
        "{\"id\":\"\\u00e4\"}",
        "{\"a\":[{\"b\":[]}]}",
        "{}",
        CLOCK("5000", "\"today\"", "false"),
        CLOCK("5000", "7", "false"),
        CLOCK("-1", "null", "false"),
        CLOCK("0.5", "null", "false"),
        CLOCK("1e18", "null", "false"),
        CLOCK("\"1\"", "null", "false"),
        CLOCK("5000", "null", "true"),
        CLOCK_OF("per_participant", PARTICIPANT("a", "1000", "1000", "false", "false"), "\"a\"",
                 "null"),
        CLOCK_OF("per_turn", PARTICIPANT("a", "1000", "1000", "false", "false"), "null", "null"),
    };
    for (size_t i = 0; i < N_ELEMENTS(clocks); i++) {
        struct buf body = BUF_NULL;
        buf_printf(&body,
                   "{\"type\":\"clock_set\",\"sessionId\":\"" ID "\",\"epoch\":1,\"version\":2,"
                   "\"timestamp\":\"2026-02-12T12:00:00.000Z\",\"userId\":\"" OWNER
                   "\",\"deviceId\":null,\"clock\":%s}",
                   clocks[i]);
        struct bus_message m = {.body = body.data, .body_len = body.len};
        struct entry *e = entry_new(&m, 1, 0);
        if (!e->reason[0])
            fail_msg("%s", clocks[i]);
        entry_free(e);
        buf_done(&body);
    }
}

/* ---- read back ---- */

struct read {
    int err;
    struct db_session found;
};

static void on_row(void *arg, int err, const struct db_result *rows) {
    struct read *read = arg;
    assert_int_equal(err, 0);
    read->err = db_session_read(rows, &read->found);
}

static struct read read_session(struct database *d) {
    struct read read = {.err = 1};
    const char *const params[] = {ID};
    assert_int_equal(db_query(d->db, db_session_sql, 1, params, on_row, &read), 0);
    end(d);
    return read;
}

static void write_running(struct database *d) {
    forget_all(d);
    write_one(d, created(ID, CLOCK_IS(PENDING)));
    write_one(d, event(ID, "status_changed", 2, STATUS("active") CLOCK_IS(RUNNING)));
    write_one(d, event(ID, "state_delta", 3,
                       ",\"operations\":[],\"checksum\":\"0123456789abcdef"
                       "0123456789abcdef0123456789abcdef0123456789abcdef"
                       "\""));
}

static void test_a_running_clock_is_read_back_and_goes_on(void **state) {
    struct database *d = *state;
    write_running(d);
    struct read read = read_session(d);
    const struct session *s = &read.found.session;
    assert_int_equal(read.err, 0);
    assert_string_equal(s->clock_text, RUNNING);
    assert_int_equal(s->clock_len, strlen(RUNNING));
    assert_true(session_clock_runs(s));
    assert_int_equal(s->clock_at - s->created_at, 6250);
    assert_int_equal(s->clock_told, s->updated_at);
    assert_int_equal(s->touched_at, s->updated_at);
    assert_int_equal(session_expires_at(s), 0);
    db_session_done(&read.found);
}

static void test_one_that_stands_and_none_are_read_back(void **state) {
    struct database *d = *state;
    write_running(d);
    write_one(d, event(ID, "status_changed", 4, STATUS("paused") CLOCK_IS(PAUSED)));
    struct read read = read_session(d);
    assert_int_equal(read.err, 0);
    assert_string_equal(read.found.session.clock_text, PAUSED);
    assert_false(session_clock_runs(&read.found.session));
    assert_int_equal(read.found.session.clock_at, 0);
    assert_int_equal(session_expires_at(&read.found.session),
                     read.found.session.updated_at + SESSION_PAUSED_TTL_MS);
    db_session_done(&read.found);
    run(d, "UPDATE sessions SET clock = NULL");
    read = read_session(d);
    assert_int_equal(read.err, 0);
    assert_null(read.found.session.clock_text);
    db_session_done(&read.found);
}

static void test_a_row_with_a_damaged_clock_is_bad(void **state) {
    struct database *d = *state;
    static const char *const damages[] = {
        "UPDATE sessions SET clock = NULL",
        "UPDATE sessions SET clock = '{\"mode\":\"global\"}'",
        "UPDATE sessions SET clock = replace(clock::text, 'white', 'w hite')::json",
        "UPDATE sessions SET clock = replace(clock::text, ',', ', ')::json",
        "UPDATE sessions SET clock = '[]'",
        "UPDATE sessions SET clock = 'null'",
    };
    for (size_t i = 0; i < N_ELEMENTS(damages); i++) {
        write_running(d);
        run(d, damages[i]);
        assert_int_equal(read_session(d).err, -EBADMSG);
    }
}

static void on_list(void *arg, int err, const struct db_result *rows) {
    struct session *s = arg;
    assert_int_equal(err, 0);
    assert_int_equal(db_session_take_columns(rows, 0, s), 0);
}

static void test_a_list_tells_that_it_never_lapses_and_no_clock(void **state) {
    struct database *d = *state;
    struct session s = {0};
    write_running(d);
    assert_int_equal(
        db_query(d->db, "SELECT " DB_SESSION_COLUMNS " FROM sessions", 0, NULL, on_list, &s), 0);
    end(d);
    assert_int_equal(session_expires_at(&s), 0);
    assert_null(s.clock_text);
    session_done(&s);
}

/* ---- versions ---- */

static void on_rebuilt(void *arg, int err, const struct db_rebuilt *rebuilt) {
    struct buf *told = arg;
    buf_printf(told, "%d %.*s", err, rebuilt ? (int)rebuilt->data_len : 0,
               rebuilt ? rebuilt->data : "");
}

/* Clocks leave data alone: of their events nothing is asked but that they are there. */
static void test_versions_are_made_over_the_events_of_clocks(void **state) {
    struct database *d = *state;
    struct buf told = BUF_NULL;
    forget_all(d);
    write_one(d, created(ID, CLOCK_IS(PENDING)));
    run(d, "UPDATE session_events SET payload = json_build_object('session', json_build_object("
           "'data', '{}'::json, 'checksum', encode(sha256('{}'), 'hex')))");
    write_one(d, event(ID, "status_changed", 2, STATUS("active") CLOCK_IS(RUNNING)));
    write_one(d, event(ID, "clock_switched", 3,
                       ",\"from\":\"a\",\"to\":\"b\",\"elapsedMs\":1" CLOCK_IS(SWITCHED)));
    db_rebuild_start(&d->loop, d->db, ID, (struct position){3, 1}, DB_REBUILD_EXACT, on_rebuilt,
                     &told);
    while (!told.len)
        assert_true(uv_run(&d->loop, UV_RUN_ONCE));
    assert_string_equal(told.data, "0 {}");
    buf_done(&told);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_clock_counts_in_every_order_and_split),
        cmocka_unit_test(test_due_is_its_end_while_it_runs_and_idle_else),
        cmocka_unit_test(test_nothing_is_due_of_a_deleted_one_and_its_clock_goes_with_it),
        cmocka_unit_test(test_a_rebuild_leaves_the_clock),
        cmocka_unit_test(test_an_event_with_something_else_is_refused),
        cmocka_unit_test(test_a_running_clock_is_read_back_and_goes_on),
        cmocka_unit_test(test_one_that_stands_and_none_are_read_back),
        cmocka_unit_test(test_a_row_with_a_damaged_clock_is_bad),
        cmocka_unit_test(test_a_list_tells_that_it_never_lapses_and_no_clock),
        cmocka_unit_test(test_versions_are_made_over_the_events_of_clocks),
    };
    return run_group(tests, N_ELEMENTS(tests));
}
