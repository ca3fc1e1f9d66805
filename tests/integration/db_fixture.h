/* What the tests of common/db.h share: clients that write down their answers, and a database of the
 * program's own on the server that HANDOFF_TEST_DATABASE_URL names. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "common/db.h"

#define STATEMENT_TIMEOUT_MS 3000

struct client {
    uv_loop_t *loop;
    struct db *db;
    unsigned n_up, n_down;
    char why[256];
    struct buf log; /* what the answers said, in order */
    unsigned n_done;
    struct db *free_on_done;
};

static char database_url[512]; /* of this program's own database */

static inline void on_up(void *arg) {
    ((struct client *)arg)->n_up++;
}

static inline void on_down(void *arg, const char *why) {
    struct client *c = arg;
    c->n_down++;
    snprintf(c->why, sizeof(c->why), "%s", why);
}

static const struct db_callbacks callbacks = {on_up, on_down};

static inline void on_done(void *arg, int err, const struct db_result *r) {
    struct client *c = arg;
    c->n_done++;
    if (err)
        buf_printf(&c->log, "%s:%s ",
                   err == -ENOTCONN ? "lost"
                   : err == -EIO    ? "refused"
                                    : "aborted",
                   r ? db_sqlstate(r) : "");
    else if (!db_n_rows(r))
        buf_printf(&c->log, "ok%zu ", db_n_affected(r));
    for (size_t i = 0; !err && i < db_n_rows(r); i++) {
        const char *value = db_value(r, i, 0, NULL);
        buf_printf(&c->log, "%s ", value ? value : "NULL");
    }
    if (c->free_on_done)
        c->db = db_free(TAKE_PTR(c->free_on_done));
}

static inline void run_until(const struct client *c, const unsigned *counter, unsigned n) {
    while (*counter < n)
        assert_true(uv_run(c->loop, UV_RUN_ONCE));
}

static inline void open_client(struct client *c, uv_loop_t *loop, const char *url) {
    *c = (struct client){.loop = loop};
    assert_int_equal(db_new(&c->db, loop, url, "test_db", STATEMENT_TIMEOUT_MS, &callbacks, c), 0);
    run_until(c, &c->n_up, 1);
}

static inline void close_client(struct client *c) {
    c->db = db_free(c->db);
    buf_done(&c->log);
}

static inline void query(struct client *c, const char *sql, const char *parameter) {
    assert_int_equal(db_query(c->db, sql, parameter ? 1 : 0, &parameter, on_done, c), 0);
}

static inline void end(struct client *c) {
    assert_int_equal(db_end(c->db, on_done, c), 0);
}

/* The answers since the last call. */
static inline void expect(struct client *c, unsigned n_answers, const char *said) {
    run_until(c, &c->n_done, n_answers);
    assert_string_equal(c->log.data, said);
    assert_int_equal(c->n_done, n_answers);
    assert_int_equal(db_n_waiting(c->db), 0);
    buf_clear(&c->log);
    c->n_done = 0;
}

struct fixture {
    uv_loop_t loop;
    struct client a, b; /* b: for those tests that open it; closed here, also after a failure */
};

static inline int set_up(void **state) {
    struct fixture *f = must_alloc(sizeof(*f));
    uv_loop_init(&f->loop);
    open_client(&f->a, &f->loop, database_url);
    *state = f;
    return 0;
}

static inline int tear_down(void **state) {
    struct fixture *f = *state;
    close_client(&f->a);
    close_client(&f->b);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    int err = uv_loop_close(&f->loop);
    free(f);
    return err;
}

/* ---- The program's own database: the group's set-up and tear-down ---- */

static inline void admin(const char *url, const char *sql) {
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct client c;
    open_client(&c, &loop, url);
    query(&c, sql, NULL);
    end(&c);
    run_until(&c, &c.n_done, 2);
    if (strncmp(c.log.data, "ok", 2) != 0)
        fail_msg("%s: %s", sql, c.log.data);
    close_client(&c);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

static inline const char *server_url(void) {
    const char *url = getenv("HANDOFF_TEST_DATABASE_URL");
    if (!url || !*url)
        fail_msg(
            "set HANDOFF_TEST_DATABASE_URL, such as postgres://postgres@127.0.0.1:5442/postgres");
    return url;
}

static inline void own_database(char name[static 64]) {
    snprintf(name, 64, "handoff_test_db_%d", (int)getpid());
}

static inline int make_database(void **state) {
    (void)state;
    const char *server = server_url(), *path = strrchr(server, '/');
    char name[64], sql[128];
    own_database(name);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    admin(server, sql);
    snprintf(database_url, sizeof(database_url), "%.*s/%s", (int)(path - server), server, name);
    return 0;
}

static inline int drop_database(void **state) {
    (void)state;
    char name[64], sql[128];
    own_database(name);
    snprintf(sql, sizeof(sql), "DROP DATABASE %s WITH (FORCE)", name);
    admin(server_url(), sql);
    return 0;
}
