/* See db_schema.h. The database keeps with each migration from which one on a program may work with
 * it, so that a program knows what to think of those that came after it. */
#include "common/db_schema.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/embedded.h"
#include "common/db_link.h"

extern const struct embedded embedded_migrations[]; /* made by tools/embed */

/* The column works_from came later than the table. */
#define STEPS_SQL                                                                                  \
    "SELECT name, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "      \
    "to_jsonb(m) ->> 'works_from' FROM schema_migrations AS m ORDER BY name COLLATE \"C\""

const struct embedded *db_schema_known(size_t *ret_n) {
    size_t n = 0;
    while (embedded_migrations[n].name)
        n++;
    *ret_n = n;
    return embedded_migrations;
}

void db_schema_works_from(const char *sql, char ret[static DB_SCHEMA_NAME_CAP]) {
    static const char begin[] = "-- works from: ";
    size_t len = 0;
    if (strncmp(sql, begin, strlen(begin)) == 0) {
        sql += strlen(begin);
        len = strcspn(sql, "\r\n ");
    }
    if (len >= DB_SCHEMA_NAME_CAP)
        len = 0;
    memcpy(ret, sql, len);
    ret[len] = '\0';
}

static bool is_known(const struct embedded *known, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(known[i].name, name) == 0)
            return true;
    return false;
}

static enum db_schema_state judge(const struct embedded *known, size_t n, const char *name,
                                  const char *works_from) {
    if (is_known(known, n, name))
        return DB_SCHEMA_APPLIED;
    return works_from && is_known(known, n, works_from) ? DB_SCHEMA_NEWER : DB_SCHEMA_REFUSED;
}

char *db_schema_refusal(const char *name) {
    struct buf text = BUF_NULL;
    buf_printf(&text,
               "the database has migration %.*s, which this program does not know: a newer version "
               "of it was here; run that one",
               DB_SCHEMA_NAME_CAP, name);
    return buf_take(&text);
}

/* ---- What there is ---- */

void db_schema_steps_done(struct db_schema_steps *s) {
    for (size_t i = 0; i < s->n; i++) {
        free(s->items[i].name);
        free(s->items[i].applied_at);
    }
    free(s->items);
    *s = (struct db_schema_steps){0};
}

size_t db_schema_count(const struct db_schema_steps *s, enum db_schema_state state) {
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->items[i].state == state;
    return n;
}

static void add(struct db_schema_steps *s, enum db_schema_state state, const char *name,
                const char *applied_at) {
    s->items[s->n++] = (struct db_schema_step){state, must_strdup(name),
                                               must_strdup(applied_at ? applied_at : "")};
}

static bool has(const struct db_schema_steps *s, const char *name) {
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->items[i].name, name) == 0)
            return true;
    return false;
}

static int compare(const void *a, const void *b) {
    return strcmp(((const struct db_schema_step *)a)->name,
                  ((const struct db_schema_step *)b)->name);
}

static const char *value_or_empty(const struct db_result *rows, size_t row, size_t column) {
    const char *value = db_value(rows, row, column, NULL);
    return value ? value : "";
}

int db_schema_look(struct db_blocking *b, const struct embedded *known, size_t n,
                   struct db_schema_steps *ret, char **ret_error) {
    const struct db_result *rows = NULL;
    int err = db_blocking_ask(b, STEPS_SQL, 0, NULL, DB_ANSWER_MS, &rows, ret_error);
    if (err && strcmp(db_blocking_sqlstate(b), "42P01") != 0) /* undefined_table */
        return err;
    if (err) {
        free(*ret_error);
        *ret_error = NULL;
    }
    size_t n_rows = err ? 0 : db_n_rows(rows);
    struct db_schema_steps s = {.items = must_alloc((n_rows + n + 1) * sizeof(*s.items))};
    for (size_t i = 0; i < n_rows; i++) {
        const char *name = value_or_empty(rows, i, 0);
        add(&s, judge(known, n, name, db_value(rows, i, 2, NULL)), name,
            db_value(rows, i, 1, NULL));
    }
    for (size_t i = 0; i < n; i++)
        if (!has(&s, known[i].name))
            add(&s, DB_SCHEMA_MISSING, known[i].name, NULL);
    qsort(s.items, s.n, sizeof(*s.items), compare);
    *ret = s;
    return 0;
}

/* ---- A service's connection ---- */

/* What cannot be looked at is not judged: the table may not be there yet, or the role may not read
 * it. */
static void on_schema(void *arg, int err, const struct db_result *rows) {
    struct db *d = arg;
    size_t n = 0;
    const struct embedded *known = db_schema_known(&n);
    if (err == -ENOTCONN || err == -ECANCELED)
        return;
    for (size_t i = 0; err == 0 && i < db_n_rows(rows); i++) {
        const char *name = value_or_empty(rows, i, 0);
        if (judge(known, n, name, db_value(rows, i, 2, NULL)) != DB_SCHEMA_REFUSED)
            continue;
        _cleanup_(freep) char *why = db_schema_refusal(name);
        db_lost(d, why);
        return;
    }
    db_settled(d);
}

void db_check_schema(struct db *d) {
    if (db_ask_first(d, STEPS_SQL, on_schema, d))
        db_lost(d, "the schema cannot be asked for");
}
