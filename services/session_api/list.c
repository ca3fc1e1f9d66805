/* GET /sessions: the caller's own and those shared with it, newest first, from PostgreSQL. */
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/db_session.h"
#include "services/session_api/api.h"
#include "services/session_api/cursor.h"
#include "services/session_api/parameters.h"

#define COLUMN_ROLE DB_SESSION_N_COLUMNS

/* Rows whose creation was not told yet (name is null) belong to nobody. The first page comes after
 * a moment and an id that nothing is newer than. Each half is a walk along an index that ends at
 * the limit, however many sessions the user has; the page is the newest of both. */
/* clang-format off */
#define FILTERS                                                                                    \
    "s.deleted_at IS NULL AND ($4::text IS NULL OR s.status = $4::text) "                          \
    "AND ($5::text IS NULL OR s.type = $5::text) "                                                 \
    "AND s.name IS NOT NULL AND s.type IS NOT NULL AND s.status IS NOT NULL "
static const char list_sql[] =
    "SELECT " DB_SESSION_COLUMNS ", role FROM ("
    "(SELECT s.*, 'owner' AS role FROM sessions AS s WHERE s.user_id = $1::uuid "
    " AND (s.created_at, s.id) < ($2::timestamptz, $3::uuid) AND " FILTERS
    " ORDER BY s.created_at DESC, s.id DESC LIMIT $6::bigint) "
    "UNION ALL "
    "(SELECT s.*, p.role FROM session_participants AS p JOIN sessions AS s ON s.id = p.session_id "
    " WHERE p.user_id = $1::uuid AND p.role IS NOT NULL AND s.user_id <> $1::uuid "
    " AND (p.session_created_at, p.session_id) < ($2::timestamptz, $3::uuid) AND " FILTERS
    " ORDER BY p.session_created_at DESC, p.session_id DESC LIMIT $6::bigint)) AS page "
    "ORDER BY created_at DESC, id DESC LIMIT $6::bigint";
/* clang-format on */

static enum session_role role_at(const struct db_result *rows, size_t row) {
    enum session_role role = SESSION_ROLE_OWNER;
    const char *name = db_value(rows, row, COLUMN_ROLE, NULL);
    if (name)
        (void)session_role_parse(name, &role);
    return role;
}

static void print_items(const struct db_result *rows, size_t n, struct buf *out,
                        struct cursor *ret_last) {
    for (size_t i = 0; i < n; i++) {
        struct session s;
        (void)!db_session_take_columns(rows, i, &s); /* one odd value hides no list */
        if (i > 0)
            buf_putc(out, ',');
        session_print_summary(&s, role_at(rows, i), out);
        ret_last->created_at = s.created_at;
        memcpy(ret_last->id, s.id, sizeof(s.id));
        session_done(&s);
    }
}

static void on_rows(void *arg, int err, const struct db_result *rows) {
    struct call *call = arg;
    if (err < 0) {
        access_refuse_db(call, err, rows);
        return;
    }
    struct buf items = BUF_NULL;
    struct cursor last;
    char next[CURSOR_CAP];
    bool has_next = db_n_rows(rows) > call->limit;
    print_items(rows, has_next ? call->limit : db_n_rows(rows), &items, &last);
    if (has_next)
        cursor_print(&last, next);
    page_answer(call, &items, has_next ? next : NULL);
}

/* ---- the question ---- */

static int read_filters(struct call *call, const char **ret_status, const char **ret_type,
                        struct fault *f) {
    const char *status = NULL, *type = NULL;
    enum session_status parsed;
    int r;
    if ((r = parameters_text(call->request, "status", &status, f)) ||
        (r = parameters_text(call->request, "type", &type, f)))
        return r;
    if (status && !session_status_parse(status, &parsed))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "status",
                              "status must be pending, active, paused, completed, cancelled or "
                              "expired");
    if (type && !session_type_is_valid(type, strlen(type)))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "type", "type has 1 to %d of a-z 0-9 _ -",
                              SESSION_TYPE_MAX);
    if (status)
        page_add_filter(call, "status", status);
    if (type)
        page_add_filter(call, "type", type);
    *ret_status = status;
    *ret_type = type;
    return 0;
}

static int read_page(struct call *call, char ret_moment[static TIMESTAMP_LEN + 1],
                     struct cursor *cursor, struct fault *f) {
    const char *text = NULL;
    int r = page_read(call, &text, f);
    if (r)
        return r;
    strcpy(ret_moment, "infinity");
    strcpy(cursor->id, "ffffffff-ffff-ffff-ffff-ffffffffffff");
    if (!text)
        return 0;
    if (!cursor_parse(text, cursor))
        return page_refuse_cursor(f);
    timestamp_print(cursor->created_at, ret_moment);
    return 0;
}

void list_sessions(struct call *call) {
    struct fault fault;
    struct cursor cursor;
    const char *status = NULL, *type = NULL;
    char moment[TIMESTAMP_LEN + 1], limit[24];
    if (read_filters(call, &status, &type, &fault) || read_page(call, moment, &cursor, &fault)) {
        call_refuse(call, &fault, NULL);
        return;
    }
    snprintf(limit, sizeof(limit), "%zu",
             call->limit + 1); /* one more says whether there are more */
    const char *const params[] = {call->who.user_id, moment, cursor.id, status, type, limit};
    access_query(call, call->api->db, list_sql, N_ELEMENTS(params), params, on_rows);
}
