/* What the tests of audit_writer's rows share: a database of the program's own with the real schema
 * (HANDOFF_TEST_DATABASE_URL, as in test_db.c), events, and batches of them that are written. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/db.h"
#include "common/db_schema.h"
#include "services/audit_writer/batch.h"
#include "services/audit_writer/statements.h"

#define OWNER "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"

struct database {
    uv_loop_t loop;
    struct db *db;
    unsigned n_up, n_ends;
    struct buf said;    /* rows: their first column, each ends with ' '; a refusal: its SQLSTATE */
    struct buf missing; /* sessions that miss a version, as the last batch says */
};

static inline void on_up(void *arg) {
    ((struct database *)arg)->n_up++;
}

static inline void on_answer(void *arg, int err, const struct db_result *r) {
    struct database *d = arg;
    if (err)
        buf_printf(&d->said, "%s ", r ? db_sqlstate(r) : "aborted");
    for (size_t i = 0; !err && i < db_n_rows(r); i++) {
        const char *value = db_value(r, i, 0, NULL);
        buf_printf(&d->said, "%s ", value ? value : "NULL");
    }
}

static inline void on_end(void *arg, int err, const struct db_result *r) {
    (void)err;
    (void)r;
    ((struct database *)arg)->n_ends++;
}

static inline void open_database(struct database *d, const char *url) {
    static const struct db_callbacks callbacks = {on_up, NULL};
    *d = (struct database){0};
    uv_loop_init(&d->loop);
    assert_int_equal(db_new(&d->db, &d->loop, url, "test", 10000, &callbacks, d), 0);
    while (!d->n_up)
        assert_true(uv_run(&d->loop, UV_RUN_ONCE));
}

static inline void close_database(struct database *d) {
    d->db = db_free(d->db);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    uv_loop_close(&d->loop);
    buf_done(&d->said);
    buf_done(&d->missing);
}

static inline void end(struct database *d) {
    unsigned n = d->n_ends;
    assert_int_equal(db_end(d->db, on_end, d), 0);
    while (d->n_ends == n)
        assert_true(uv_run(&d->loop, UV_RUN_ONCE));
}

/* Runs one statement in a transaction of its own; what it said, borrowed until the next. */
static inline const char *run(struct database *d, const char *sql) {
    buf_clear(&d->said);
    buf_puts(&d->said, "");
    assert_int_equal(db_query(d->db, sql, 0, NULL, on_answer, d), 0);
    end(d);
    return d->said.data;
}

/* version: of the minute 12:00 the second, too. */
static inline struct entry *event_at(const char *id, const char *type, unsigned epoch,
                                     unsigned version, const char *more) {
    struct buf body = BUF_NULL;
    buf_printf(&body,
               "{\"type\":\"%s\",\"sessionId\":\"%s\",\"epoch\":%u,\"version\":%u,\"timestamp\":"
               "\"2026-02-12T12:00:%02u.000Z\",\"userId\":\"" OWNER "\",\"deviceId\":\"tab\"%s}",
               type, id, epoch, version, version, more);
    struct bus_message m = {.body = body.data, .body_len = body.len};
    snprintf(m.message_id, sizeof(m.message_id), "%s%u", type, version);
    struct entry *e = entry_new(&m, 1, 0);
    assert_string_equal(e->reason, "");
    buf_done(&body);
    return e;
}

static inline struct entry *event(const char *id, const char *type, unsigned version,
                                  const char *more) {
    return event_at(id, type, 1, version, more);
}

static inline void send_statement(struct database *d, const struct batch_statement *s) {
    assert_int_equal(batch_statement_send(d->db, s, on_answer, d), 0);
}

static inline void write_batch(struct database *d, struct entry *const *entries, size_t n) {
    struct batch b;
    batch_build(entries, n, NULL, &b);
    buf_clear(&d->said);
    buf_puts(&d->said, "");
    send_statement(d, &b.events);
    send_statement(d, &b.snapshots);
    send_statement(d, &b.sessions);
    send_statement(d, &b.participants);
    send_statement(d, &b.devices);
    end(d);
    assert_string_equal(d->said.data, "");
    send_statement(d, &b.expected);
    end(d);
    buf_clear(&d->missing);
    buf_put(&d->missing, d->said.data, d->said.len);
    batch_done(&b);
}

/* One of the orders. */
static inline void shuffle(unsigned n, struct entry **entries, unsigned n_entries) {
    for (unsigned i = n_entries; i > 1; i--) {
        struct entry *swapped = entries[n % i];
        entries[n % i] = entries[i - 1];
        entries[i - 1] = swapped;
        n /= i;
    }
}

static inline void write_one(struct database *d, struct entry *e) {
    write_batch(d, &e, 1);
    entry_free(e);
}

/* ---- The run's own database ---- */

static inline void admin(const char *url, const char *verb, const char *name, const char *how) {
    char sql[128];
    snprintf(sql, sizeof(sql), "%s DATABASE %s%s", verb, name, how);
    struct database d;
    open_database(&d, url);
    if (*run(&d, sql)) {
        fprintf(stderr, "%s: %s\n", sql, d.said.data);
        exit(1);
    }
    close_database(&d);
}

static inline int migrate(const char *url) {
    size_t n = 0;
    const struct embedded *migrations = db_schema_known(&n);
    _cleanup_(freep) char *error = NULL;
    int err = db_migrate(url, migrations, n, &error);
    if (!err)
        err = db_migrate(url, migrations, n, &error); /* nothing is left to do */
    if (err)
        fprintf(stderr, "%s\n", error);
    return err;
}

/* Runs the tests on a database that is made and dropped; the program's exit code. */
static inline int run_group(const struct CMUnitTest *tests, size_t n) {
    const char *server = getenv("HANDOFF_TEST_DATABASE_URL");
    if (!server || !*server) {
        fputs("set HANDOFF_TEST_DATABASE_URL, such as "
              "postgres://postgres@127.0.0.1:5442/postgres\n",
              stderr);
        return 1;
    }
    char name[64], url[512];
    snprintf(name, sizeof(name), "handoff_test_rows_%d", (int)getpid());
    snprintf(url, sizeof(url), "%.*s/%s", (int)(strrchr(server, '/') - server), server, name);
    admin(server, "CREATE", name, "");
    int n_failed = 1;
    struct database d;
    if (migrate(url) == 0) {
        open_database(&d, url);
        _cleanup_(freep) struct CMUnitTest *with_state = must_alloc(n * sizeof(*with_state));
        for (size_t i = 0; i < n; i++) {
            with_state[i] = tests[i];
            with_state[i].initial_state = &d;
        }
        n_failed = _cmocka_run_group_tests("rows", with_state, n, NULL, NULL);
        close_database(&d);
    }
    admin(server, "DROP", name, " WITH (FORCE)");
    return n_failed ? 1 : 0;
}
