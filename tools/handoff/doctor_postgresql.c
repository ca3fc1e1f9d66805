/* PostgreSQL: the server, the schema, and what each service's role may. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/db_schema.h"
#include "common/version.h"
#include "tools/handoff/doctor_parts.h"

#define FULL_PERCENT 80

/* A question with one row; NULL: it failed, and was told. */
static const struct db_result *ask(struct report *r, struct db_blocking *db, const char *check,
                                   const char *service, const char *sql) {
    const struct db_result *row = NULL;
    _cleanup_(freep) char *error = NULL;
    if (db_blocking_ask(db, sql, 0, NULL, DB_ANSWER_MS, &row, &error) == 0 && db_n_rows(row) > 0)
        return row;
    report_add(r, REPORT_FAILED, check, service, "PostgreSQL's log says more", "%s",
               error ? error : "no answer");
    return NULL;
}

/* ---- the server ---- */

static void look_at_server(struct report *r, struct db_blocking *db) {
    const struct db_result *row =
        ask(r, db, "postgresql.version", "",
            "SELECT current_setting('server_version_num'), current_setting('server_version'), "
            "pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool, "
            "(extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    if (!row)
        return;
    int64_t number = db_number(row, 0, 0), now_ms = db_number(row, 0, 3);
    bool is_new = number >= 150000, is_read_only = *db_value(row, 0, 2, NULL) == 't';
    report_add(r, is_new ? REPORT_OK : REPORT_FAILED, "postgresql.version", "",
               is_new ? "" : "Handoff needs PostgreSQL 15", "%s", db_value(row, 0, 1, NULL));
    report_add(r, is_read_only ? REPORT_FAILED : REPORT_OK, "postgresql.writable", "",
               is_read_only ? "name every host, and ?target_session_attrs=read-write, in "
                              "HANDOFF_DATABASE_URL"
                            : "",
               "%s", is_read_only ? "a standby, or read-only" : "yes");
    doctor_clock(r, "postgresql.clock", now_ms);
}

/* Those that are free for who is no superuser. */
static void look_at_connections(struct report *r, struct db_blocking *db) {
    const struct db_result *row =
        ask(r, db, "postgresql.connections", "",
            "SELECT count(*), current_setting('max_connections')::int - "
            "current_setting('superuser_reserved_connections')::int "
            "FROM pg_stat_activity WHERE backend_type = 'client backend'");
    if (!row)
        return;
    int64_t used = db_number(row, 0, 0), most = db_number(row, 0, 1);
    bool is_fine = used * 100 < most * FULL_PERCENT;
    report_add(r, is_fine ? REPORT_OK : REPORT_WARNING, "postgresql.connections", "",
               is_fine ? "" : "a larger max_connections: each instance has up to two",
               "%" PRId64 " of %" PRId64 " in use", used, most);
}

/* ---- the schema ---- */

static const char *first_of(const struct db_schema_steps *s, enum db_schema_state state) {
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].state == state)
            return s->items[i].name;
    return NULL;
}

static void tell_schema(struct report *r, const struct db_schema_steps *s) {
    const char *refused = first_of(s, DB_SCHEMA_REFUSED), *newer = first_of(s, DB_SCHEMA_NEWER);
    size_t n_missing = db_schema_count(s, DB_SCHEMA_MISSING);
    if (refused)
        report_add(r, REPORT_FAILED, "postgresql.schema", "",
                   "run the newer version of Handoff; this one refuses to work with it",
                   "has %s, which Handoff %s does not know", refused, HANDOFF_VERSION);
    else if (n_missing)
        report_add(
            r, REPORT_FAILED, "postgresql.schema", "", "handoff migrate up, or start audit_writer",
            "%zu migrations are missing, %s first", n_missing, first_of(s, DB_SCHEMA_MISSING));
    else
        report_add(r, REPORT_OK, "postgresql.schema", "", "", "%s%s%s",
                   newer ? newer : "what this release needs",
                   newer ? " is newer, and says that " : "",
                   newer ? "this release may work with it" : "");
}

/* Whether the tables are there as far as is known. */
static bool look_at_schema(struct report *r, struct db_blocking *db, const char *service,
                           bool is_first) {
    _cleanup_(freep) char *error = NULL;
    _cleanup_(db_schema_steps_done) struct db_schema_steps steps = {0};
    size_t n = 0;
    const struct embedded *known = db_schema_known(&n);
    if (db_schema_look(db, known, n, &steps, &error) == 0) {
        if (is_first)
            tell_schema(r, &steps);
        return db_schema_count(&steps, DB_SCHEMA_MISSING) < n;
    }
    bool is_right = strcmp(db_blocking_sqlstate(db), "42501") == 0;
    report_add(r, is_right ? REPORT_WARNING : REPORT_FAILED, "postgresql.schema", service,
               is_right ? "run compose/postgresql/rights.sql again: without it a newer schema is "
                          "not noticed"
                        : "PostgreSQL's log says more",
               "%s", error);
    return is_right;
}

static void look_at_partitions(struct report *r, struct db_blocking *db) {
    const struct db_result *row =
        ask(r, db, "postgresql.partitions", "",
            "SELECT coalesce(string_agg(name, ', '), '') FROM (SELECT 'session_events_' || "
            "to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', "
            "'YYYY_MM') AS name FROM generate_series(0, 1) AS n) AS wanted "
            "WHERE to_regclass(name) IS NULL");
    if (!row)
        return;
    const char *missing = db_value(row, 0, 0, NULL);
    report_add(r, *missing ? REPORT_WARNING : REPORT_OK, "postgresql.partitions", "",
               *missing ? "audit_writer makes them when it connects and each day: is it up? rows "
                          "go to the default partition meanwhile"
                        : "",
               "%s%s", *missing ? "not there: " : "this month's and the next one's", missing);
}

/* ---- rights ---- */

/* Each a row: what may not be done. */
#define MISSING_OF(list) "SELECT coalesce(string_agg(what, ', '), '') FROM (" list ") AS missing"
#define CANNOT_READ                                                                                \
    "SELECT 'SELECT ON ' || t AS what FROM unnest(ARRAY['sessions', 'session_events', "            \
    "'session_snapshots', 'session_participants', 'session_devices']) AS t "                       \
    "WHERE NOT coalesce(has_table_privilege(to_regclass(t), 'SELECT'), false)"

static const char reads_sql[] = MISSING_OF(CANNOT_READ);
static const char engine_sql[] = MISSING_OF(
    CANNOT_READ " UNION ALL SELECT 'UPDATE (' || c || ') ON sessions' FROM unnest(ARRAY['due_at', "
                "'cold_epoch', 'cold_version']) AS c "
                "WHERE NOT coalesce(has_column_privilege(to_regclass('sessions'), c, 'UPDATE'), "
                "false)");
static const char audit_sql[] =
    MISSING_OF("SELECT 'to be owner of ' || relname AS what FROM pg_class "
               "WHERE oid IN (to_regclass('sessions'), to_regclass('session_events')) "
               "AND NOT pg_has_role(relowner, 'USAGE') "
               "UNION ALL SELECT 'CREATE ON SCHEMA ' || current_schema() "
               "WHERE NOT has_schema_privilege(current_schema(), 'CREATE') "
               "UNION ALL " CANNOT_READ
               " UNION ALL SELECT p || ' ON ' || t FROM unnest(ARRAY['sessions', 'session_events', "
               "'session_snapshots', 'session_participants', 'session_devices']) AS t, "
               "unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) AS p "
               "WHERE NOT coalesce(has_table_privilege(to_regclass(t), p), false)");

static void look_at_rights(struct report *r, const struct config *c, struct db_blocking *db) {
    const char *sql = c->service == CONFIG_AUDIT_WRITER   ? audit_sql
                      : c->service == CONFIG_STATE_ENGINE ? engine_sql
                                                          : reads_sql;
    const struct db_result *row = ask(r, db, "postgresql.rights", c->service_name, sql);
    if (!row)
        return;
    const char *missing = db_value(row, 0, 0, NULL);
    report_add(r, *missing ? REPORT_FAILED : REPORT_OK, "postgresql.rights", c->service_name,
               !*missing ? ""
               : c->service == CONFIG_AUDIT_WRITER
                   ? "it needs the tables as their owner: "
                     "compose/postgresql/roles.sql"
                   : "compose/postgresql/rights.sql, as audit_writer",
               "%s%s", *missing ? "may not: " : "all that it needs", missing);
}

void doctor_postgresql(struct report *r, const struct config *c, bool is_first) {
    _cleanup_(db_blocking_closep) struct db_blocking *db = NULL;
    _cleanup_(freep) char *error = NULL;
    if (db_blocking_open(&db, c->database_url, "handoff doctor", &error)) {
        if (is_first)
            report_add(r, REPORT_FAILED, "postgresql.reached", c->service_name,
                       "is PostgreSQL up, and HANDOFF_DATABASE_URL right?", "%s", error);
        return;
    }
    if (is_first) {
        report_add(r, REPORT_OK, "postgresql.reached", "", "", "yes");
        look_at_server(r, db);
        look_at_connections(r, db);
    }
    if (!look_at_schema(r, db, c->service_name, is_first))
        return; /* no tables, no rights to them */
    if (is_first)
        look_at_partitions(r, db);
    look_at_rights(r, c, db);
}
