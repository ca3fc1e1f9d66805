/* PostgreSQL, the schema's changes: see db_schema.h. Blocks, so a service runs it in a thread of
 * its own. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "common/db_schema.h"

#define MIGRATION_TIMEOUT_MS (10 * 60 * 1000)
#define LOCK_KEY "5208208757391843" /* any number, the same in every version of Handoff */

static const char table_sql[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, "
    "applied_at timestamptz NOT NULL DEFAULT now(), works_from text);"
    /* Not by IF NOT EXISTS: that takes the table's lock each time. */
    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = "
    "'schema_migrations'::regclass AND attname = 'works_from') THEN "
    "ALTER TABLE schema_migrations ADD COLUMN works_from text; END IF; END $$";

struct migration {
    struct db_blocking *db;
    const struct db_migrate_callbacks *callbacks;
    void *arg;
    char **ret_error;
};

static int step(struct migration *m, const char *sql, int64_t timeout_ms) {
    return db_blocking_ask(m->db, sql, 0, NULL, timeout_ms, NULL, m->ret_error);
}

/* Puts a text before what went wrong. */
static int failed(struct migration *m, int err, const char *before) {
    struct buf text = BUF_NULL;
    buf_printf(&text, "%s: %s", before, *m->ret_error);
    free(*m->ret_error);
    *m->ret_error = buf_take(&text);
    return err;
}

static int note(struct migration *m, const struct embedded *what) {
    char works_from[DB_SCHEMA_NAME_CAP];
    db_schema_works_from(what->text, works_from);
    const char *const params[] = {what->name, works_from[0] ? works_from : NULL};
    return db_blocking_ask(m->db,
                           "INSERT INTO schema_migrations (name, works_from) VALUES ($1, $2)", 2,
                           params, DB_ANSWER_MS, NULL, m->ret_error);
}

static int apply(struct migration *m, const struct embedded *what) {
    int err = step(m, "BEGIN", DB_ANSWER_MS);
    if (!err)
        err = step(m, what->text, MIGRATION_TIMEOUT_MS);
    if (!err)
        err = note(m, what);
    if (!err)
        err = step(m, "COMMIT", DB_ANSWER_MS);
    return err ? failed(m, err, what->name) : 0;
}

static int refuse_newer(const struct db_schema_steps *steps, char **ret_error) {
    for (size_t i = 0; i < steps->n; i++)
        if (steps->items[i].state == DB_SCHEMA_REFUSED) {
            *ret_error = db_schema_refusal(steps->items[i].name);
            return -EIO;
        }
    return 0;
}

static const struct embedded *find(const struct embedded *migrations, size_t n, const char *name) {
    size_t i = 0;
    while (i < n && strcmp(migrations[i].name, name) != 0)
        i++;
    return i < n ? &migrations[i] : NULL;
}

static int apply_missing(struct migration *m, const struct embedded *migrations, size_t n,
                         const struct db_schema_steps *steps) {
    size_t n_missing = db_schema_count(steps, DB_SCHEMA_MISSING), number = 0;
    int err = 0;
    for (size_t i = 0; i < steps->n && !err; i++) {
        const struct embedded *what = steps->items[i].state == DB_SCHEMA_MISSING
                                          ? find(migrations, n, steps->items[i].name)
                                          : NULL;
        if (!what)
            continue;
        int64_t begun = timestamp_monotonic_ms();
        if (m->callbacks && m->callbacks->begins)
            m->callbacks->begins(m->arg, what->name, ++number, n_missing);
        err = apply(m, what);
        if (!err && m->callbacks && m->callbacks->is_done)
            m->callbacks->is_done(m->arg, what->name, timestamp_monotonic_ms() - begun);
    }
    return err;
}

int db_migrate_told(const char *url, const struct embedded *migrations, size_t n,
                    const struct db_migrate_callbacks *callbacks, void *arg, char **ret_error) {
    _cleanup_(db_blocking_closep) struct db_blocking *db = NULL;
    _cleanup_(db_schema_steps_done) struct db_schema_steps steps = {0};
    struct migration m = {NULL, callbacks, arg, ret_error};
    int err = db_blocking_open(&db, url, "handoff migrate", ret_error);
    if (err)
        return err;
    m.db = db;
    /* The lock goes with the connection. */
    err = step(&m, "SELECT pg_advisory_lock(" LOCK_KEY ")", DB_ANSWER_MS);
    if (err && strcmp(db_blocking_sqlstate(db), "55P03") == 0)
        return failed(&m, err, "another program is at it, too");
    if (!err)
        err = step(&m, table_sql, DB_ANSWER_MS);
    if (!err)
        err = db_schema_look(db, migrations, n, &steps, ret_error);
    if (!err)
        err = refuse_newer(&steps, ret_error);
    return err ? err : apply_missing(&m, migrations, n, &steps);
}

int db_migrate(const char *url, const struct embedded *migrations, size_t n, char **ret_error) {
    return db_migrate_told(url, migrations, n, NULL, NULL, ret_error);
}
