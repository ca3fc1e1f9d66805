/* See ledger.h. Rows go as arrays, one statement for all; they are locked in the order of ids, as
 * audit_writer locks them. */
#include "services/state_engine/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

/* clang-format off */

#define MS_OF(column) "(extract(epoch FROM " column ") * 1000)::bigint"
#define GIVEN "WITH given AS (SELECT * FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::bigint[])" \
              " AS g (id, epoch, version, due)),"                                                 \
              " locked AS MATERIALIZED (SELECT s.id FROM sessions AS s JOIN given USING (id)"     \
              "                         ORDER BY s.id FOR NO KEY UPDATE OF s)"

static const char mark_cold_sql[] = GIVEN
    " UPDATE sessions AS s SET cold_epoch = g.epoch, cold_version = g.version,"
    "   due_at = to_timestamp(g.due / 1000.0)"
    " FROM given AS g JOIN locked AS l USING (id)"
    " WHERE s.id = g.id AND (s.epoch, s.version) = (g.epoch, g.version) AND s.deleted_at IS NULL"
    "   AND EXISTS (SELECT FROM session_snapshots AS k WHERE k.session_id = s.id"
    "                 AND (k.epoch, k.version) = (g.epoch, g.version))"
    " RETURNING s.id, s.epoch, s.version, g.due";

static const char unmark_cold_sql[] = GIVEN
    " UPDATE sessions AS s SET cold_epoch = NULL, cold_version = NULL"
    " FROM given AS g JOIN locked AS l USING (id)"
    " WHERE s.id = g.id AND (s.cold_epoch, s.cold_version) = (g.epoch, g.version)";

static const char move_due_sql[] = GIVEN
    " UPDATE sessions AS s SET due_at = to_timestamp(g.due / 1000.0)"
    " FROM given AS g JOIN locked AS l USING (id)"
    " WHERE s.id = g.id AND (s.epoch, s.version) = (g.epoch, g.version)";

static const char find_deleted_sql[] =
    "SELECT s.id, g.epoch, g.version, g.due"
    " FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::bigint[]) AS g (id, epoch, version, due)"
    " JOIN sessions AS s USING (id) WHERE s.deleted_at IS NOT NULL";

/* By look_at, which is due_at or earlier and has the index. */
static const char find_due_sql[] =
    "SELECT id, epoch, version, " MS_OF("look_at") " FROM sessions"
    " WHERE look_at <= now() AND look_at >= to_timestamp($1::bigint / 1000.0) AND deleted_at IS NULL"
    "   AND due_at <= now() AND status IN ('pending', 'active', 'paused')"
    " ORDER BY look_at LIMIT $2::bigint";

/* clang-format on */

struct ledger {
    struct db *db;
};

struct question {
    ledger_fn *done;
    void *arg;
};

struct ledger *ledger_new(struct db *db) {
    struct ledger *l = must_alloc(sizeof(*l));
    l->db = db;
    return l;
}

struct ledger *ledger_free(struct ledger *l) {
    free(l);
    return NULL;
}

bool ledger_is_up(const struct ledger *l) {
    return db_is_up(l->db);
}

/* ---- answers ---- */

static struct ledger_row row_of(const struct db_result *result, size_t i) {
    struct ledger_row row = {
        .position = {(uint64_t)db_number(result, i, 2), (uint64_t)db_number(result, i, 1)},
        .due_at = db_number(result, i, 3)};
    size_t len = 0;
    const char *id = db_value(result, i, 0, &len);
    if (id && len == UUID_LEN)
        memcpy(row.session_id, id, UUID_LEN);
    return row;
}

static void answered(void *arg, int err, const struct db_result *result) {
    struct question *q = arg;
    size_t n = err == 0 ? db_n_rows(result) : 0;
    _cleanup_(freep) struct ledger_row *rows = must_alloc((n + 1) * sizeof(*rows));
    for (size_t i = 0; i < n; i++)
        rows[i] = row_of(result, i);
    if (q->done)
        q->done(q->arg, err, rows, n);
    free(q);
}

static void ask(struct ledger *l, const char *sql, size_t n_params, const char *const *params,
                ledger_fn *done, void *arg) {
    struct question *q = must_alloc(sizeof(*q));
    *q = (struct question){done, arg};
    int err = db_query(l->db, sql, n_params, params, answered, q);
    if (err)
        answered(q, err, NULL);
    else
        (void)!db_end(l->db, NULL, NULL); /* its failure makes the next look find the same again */
}

/* ---- questions ---- */

struct arrays {
    struct buf ids, epochs, versions, dues;
};

static void print_arrays(const struct ledger_row *rows, size_t n, struct arrays *a) {
    for (size_t i = 0; i < n; i++) {
        const char *separator = i ? "," : "{";
        buf_printf(&a->ids, "%s%s", separator, rows[i].session_id);
        buf_printf(&a->epochs, "%s%" PRIu64, separator, rows[i].position.epoch);
        buf_printf(&a->versions, "%s%" PRIu64, separator, rows[i].position.version);
        if (rows[i].due_at)
            buf_printf(&a->dues, "%s%" PRId64, separator, rows[i].due_at);
        else
            buf_printf(&a->dues, "%sNULL", separator);
    }
    struct buf *const all[] = {&a->ids, &a->epochs, &a->versions, &a->dues};
    for (size_t i = 0; i < N_ELEMENTS(all); i++)
        buf_puts(all[i], n ? "}" : "{}");
}

static void ask_rows(struct ledger *l, const char *sql, const struct ledger_row *rows, size_t n,
                     ledger_fn *done, void *arg) {
    struct arrays a = {BUF_NULL, BUF_NULL, BUF_NULL, BUF_NULL};
    print_arrays(rows, n, &a);
    const char *params[] = {a.ids.data, a.epochs.data, a.versions.data, a.dues.data};
    ask(l, sql, N_ELEMENTS(params), params, done, arg);
    buf_done(&a.ids);
    buf_done(&a.epochs);
    buf_done(&a.versions);
    buf_done(&a.dues);
}

void ledger_mark_cold(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn *done,
                      void *arg) {
    ask_rows(l, mark_cold_sql, rows, n, done, arg);
}

void ledger_unmark_cold(struct ledger *l, const struct ledger_row *rows, size_t n) {
    if (n > 0)
        ask_rows(l, unmark_cold_sql, rows, n, NULL, NULL);
}

void ledger_find_deleted(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn *done,
                         void *arg) {
    ask_rows(l, find_deleted_sql, rows, n, done, arg);
}

void ledger_find_due(struct ledger *l, int64_t after, ledger_fn *done, void *arg) {
    char from[32], most[32];
    snprintf(from, sizeof(from), "%" PRId64, after);
    snprintf(most, sizeof(most), "%d", LEDGER_MAX_DUE);
    ask(l, find_due_sql, 2, (const char *const[]){from, most}, done, arg);
}

void ledger_move_due(struct ledger *l, const struct ledger_row *rows, size_t n) {
    if (n > 0)
        ask_rows(l, move_due_sql, rows, n, NULL, NULL);
}
