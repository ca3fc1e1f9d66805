/* GET /sessions: the caller's own, newest first, from PostgreSQL. */
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "services/session_api/api.h"
#include "services/session_api/cursor.h"
#include "services/session_api/parameters.h"

#define MS_OF(column) "(extract(epoch FROM " column ") * 1000)::bigint"

enum column {
    COLUMN_ID,
    COLUMN_NAME,
    COLUMN_TYPE,
    COLUMN_STATUS,
    COLUMN_VERSION,
    COLUMN_EPOCH,
    COLUMN_CREATED_AT,
    COLUMN_UPDATED_AT,
    COLUMN_COMPLETED_AT,
    COLUMN_TTL_SECONDS,
    COLUMN_ON_IDLE,
    COLUMN_DUE_AT,
    COLUMN_ACTIVE_DEVICE,
    COLUMN_LAST_MODIFIED,
    COLUMN_MODIFIED_BY,
    COLUMN_CHECKSUM,
};

/* Rows whose creation was not told yet (name is null) belong to nobody. The first page comes after
 * a moment and an id that nothing is newer than, so that one index scan serves every page. */
/* clang-format off */
static const char list_sql[] =
    "SELECT id, name, type, status, version, epoch, "
    MS_OF("created_at") ", " MS_OF("updated_at") ", " MS_OF("completed_at") ", "
    "ttl_seconds, on_idle, " MS_OF("due_at") ", active_device_id, "
    MS_OF("last_modified") ", modified_by, checksum "
    "FROM sessions WHERE user_id = $1::uuid AND deleted_at IS NULL "
    "AND (created_at, id) < ($2::timestamptz, $3::uuid) "
    "AND ($4::text IS NULL OR status = $4::text) AND ($5::text IS NULL OR type = $5::text) "
    "AND name IS NOT NULL AND type IS NOT NULL AND status IS NOT NULL "
    "ORDER BY created_at DESC, id DESC LIMIT $6::bigint";
/* clang-format on */

static const char *text_at(const struct db_result *rows, size_t row, enum column column) {
    const char *text = db_value(rows, row, column, NULL);
    return text ? text : "";
}

static int64_t number_at(const struct db_result *rows, size_t row, enum column column) {
    return strtoll(text_at(rows, row, column), NULL, 10);
}

static void copy_at(const struct db_result *rows, size_t row, enum column column, char *ret,
                    size_t cap) {
    snprintf(ret, cap, "%s", text_at(rows, row, column));
}

/* What idle counts from: not in the row, but the moment it leads to is. */
static int64_t touched_at(const struct session *s, int64_t due_at) {
    if (!due_at)
        return s->updated_at;
    return due_at -
           (s->status == SESSION_ACTIVE ? (int64_t)s->ttl_seconds * 1000 : SESSION_PAUSED_TTL_MS);
}

static void read_row(const struct db_result *rows, size_t row, struct session *ret) {
    struct session s = {.name = must_strdup(text_at(rows, row, COLUMN_NAME))};
    copy_at(rows, row, COLUMN_ID, s.id, sizeof(s.id));
    copy_at(rows, row, COLUMN_TYPE, s.type, sizeof(s.type));
    (void)session_status_parse(text_at(rows, row, COLUMN_STATUS), &s.status);
    s.position = (struct position){(uint64_t)number_at(rows, row, COLUMN_VERSION),
                                   (uint64_t)number_at(rows, row, COLUMN_EPOCH)};
    s.created_at = number_at(rows, row, COLUMN_CREATED_AT);
    s.updated_at = number_at(rows, row, COLUMN_UPDATED_AT);
    s.completed_at = number_at(rows, row, COLUMN_COMPLETED_AT);
    s.ttl_seconds = (uint32_t)number_at(rows, row, COLUMN_TTL_SECONDS);
    (void)session_on_idle_parse(text_at(rows, row, COLUMN_ON_IDLE), &s.on_idle);
    s.touched_at = touched_at(&s, number_at(rows, row, COLUMN_DUE_AT));
    copy_at(rows, row, COLUMN_ACTIVE_DEVICE, s.active_device, sizeof(s.active_device));
    s.last_modified = number_at(rows, row, COLUMN_LAST_MODIFIED);
    copy_at(rows, row, COLUMN_MODIFIED_BY, s.modified_by, sizeof(s.modified_by));
    copy_at(rows, row, COLUMN_CHECKSUM, s.checksum, sizeof(s.checksum));
    *ret = s;
}

/* </sessions?cursor=…&limit=…>; rel="next" : the texts are words that need no escaping. */
static void print_link(const struct call *call, const char *cursor, struct buf *out) {
    buf_printf(out, "</sessions?cursor=%s&limit=%zu", cursor, call->limit);
    if (call->filter_status)
        buf_printf(out, "&status=%s", call->filter_status);
    if (call->filter_type)
        buf_printf(out, "&type=%s", call->filter_type);
    buf_puts(out, ">; rel=\"next\"");
}

static void print_items(struct call *call, const struct db_result *rows, size_t n, struct buf *out,
                        struct cursor *ret_last) {
    for (size_t i = 0; i < n; i++) {
        struct session s;
        read_row(rows, i, &s);
        memcpy(s.user_id, call->who.user_id, sizeof(s.user_id));
        if (i > 0)
            buf_putc(out, ',');
        session_print_summary(&s, SESSION_ROLE_OWNER, out);
        ret_last->created_at = s.created_at;
        memcpy(ret_last->id, s.id, sizeof(s.id));
        session_done(&s);
    }
}

static void on_rows(void *arg, int err, const struct db_result *rows) {
    struct call *call = arg;
    if (err < 0) {
        call_refuse_with(call, err == -EIO ? FAULT_INTERNAL : FAULT_UNAVAILABLE,
                         err == -EIO ? db_error(rows) : "PostgreSQL was lost");
        return;
    }
    struct buf body = BUF_NULL, link = BUF_NULL;
    struct cursor last;
    char next[CURSOR_CAP];
    bool has_next = db_n_rows(rows) > call->limit;
    buf_puts(&body, "{\"items\":[");
    print_items(call, rows, has_next ? call->limit : db_n_rows(rows), &body, &last);
    if (has_next) {
        cursor_print(&last, next);
        print_link(call, next, &link);
        call_add_header(call, "Link", link.data);
        buf_printf(&body, "],\"nextCursor\":\"%s\"}", next);
    } else {
        buf_puts(&body, "],\"nextCursor\":null}");
    }
    call_answer(call, 200, &body);
    buf_done(&link);
}

/* ---- the question ---- */

static int read_filters(struct call *call, struct fault *f) {
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
    call->filter_status = status ? must_strdup(status) : NULL;
    call->filter_type = type ? must_strdup(type) : NULL;
    return 0;
}

static int read_page(struct call *call, char ret_moment[static TIMESTAMP_LEN + 1],
                     struct cursor *cursor, struct fault *f) {
    const char *text = NULL;
    uint64_t limit = PARAMETERS_LIMIT_DEFAULT;
    int r;
    if ((r = parameters_number(call->request, "limit", 1, PARAMETERS_LIMIT_MAX, &limit, f)) ||
        (r = parameters_text(call->request, "cursor", &text, f)))
        return r;
    call->limit = (size_t)limit;
    strcpy(ret_moment, "infinity");
    strcpy(cursor->id, "ffffffff-ffff-ffff-ffff-ffffffffffff");
    if (!text)
        return 0;
    if (!cursor_parse(text, cursor))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "cursor",
                              "cursor is none that this list gave");
    timestamp_print(cursor->created_at, ret_moment);
    return 0;
}

void list_sessions(struct call *call) {
    struct fault fault;
    struct cursor cursor;
    char moment[TIMESTAMP_LEN + 1], limit[24];
    if (read_filters(call, &fault) || read_page(call, moment, &cursor, &fault)) {
        call_refuse(call, &fault, NULL);
        return;
    }
    snprintf(limit, sizeof(limit), "%zu",
             call->limit + 1); /* one more says whether there are more */
    const char *const params[] = {call->who.user_id, moment, cursor.id, call->filter_status,
                                  call->filter_type, limit};
    struct db *db = call->api->db;
    if (db_query(db, list_sql, N_ELEMENTS(params), params, on_rows, call) < 0) {
        call_refuse_with(call, FAULT_UNAVAILABLE, "PostgreSQL cannot be reached");
        return;
    }
    (void)!db_end(db, NULL, NULL);
}
