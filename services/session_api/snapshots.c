/* GET /sessions/{id}/snapshots: which versions were kept, newest first, from PostgreSQL. */
#include <stdio.h>
#include <stdlib.h>

#include "base/timestamp.h"
#include "services/session_api/api.h"
#include "services/session_api/cursor.h"

enum column { COLUMN_EPOCH, COLUMN_VERSION, COLUMN_MOMENT, COLUMN_CHECKSUM, COLUMN_LABEL };

/* A walk down the primary key. */
static const char snapshots_sql[] =
    "SELECT epoch, version, (extract(epoch FROM occurred_at) * 1000)::bigint, checksum, label "
    "FROM session_snapshots WHERE session_id = $1::uuid "
    "AND (epoch, version) < ($2::integer, $3::integer) "
    "ORDER BY epoch DESC, version DESC LIMIT $4::bigint";

static const char *text_at(const struct db_result *rows, size_t row, enum column column) {
    const char *text = db_value(rows, row, column, NULL);
    return text ? text : "";
}

static void print_item(const struct db_result *rows, size_t row, struct buf *out) {
    const char *label = db_value(rows, row, COLUMN_LABEL, NULL);
    char moment[TIMESTAMP_LEN + 1];
    timestamp_print(db_number(rows, row, COLUMN_MOMENT), moment);
    buf_printf(out,
               "{\"version\":%s,\"epoch\":%s,\"createdAt\":\"%s\",\"checksum\":\"%s\",\"label\":",
               text_at(rows, row, COLUMN_VERSION), text_at(rows, row, COLUMN_EPOCH), moment,
               text_at(rows, row, COLUMN_CHECKSUM));
    if (label)
        buf_puts_json(out, label);
    else
        buf_puts(out, "null");
    buf_putc(out, '}');
}

static void on_rows(void *arg, int err, const struct db_result *rows) {
    struct call *call = arg;
    if (err < 0) {
        access_refuse_db(call, err, rows);
        return;
    }
    struct buf items = BUF_NULL;
    char next[CURSOR_CAP];
    bool has_next = db_n_rows(rows) > call->limit;
    size_t n = has_next ? call->limit : db_n_rows(rows);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(&items, ',');
        print_item(rows, i, &items);
    }
    if (has_next) {
        struct position last = {(uint64_t)db_number(rows, n - 1, COLUMN_VERSION),
                                (uint64_t)db_number(rows, n - 1, COLUMN_EPOCH)};
        cursor_print_position(last, next);
    }
    page_answer(call, &items, has_next ? next : NULL);
}

static int read_question(struct call *call, struct position *ret, struct fault *f) {
    const char *text = NULL;
    int r = page_read(call, &text, f);
    *ret = (struct position){INT32_MAX, INT32_MAX};
    if (r || !text)
        return r;
    return cursor_parse_position(text, ret) ? 0 : page_refuse_cursor(f);
}

static void ask(struct call *call, const struct session *session, bool is_hot) {
    (void)session;
    (void)is_hot;
    struct position after;
    struct fault fault;
    char epoch[24], version[24], limit[24];
    if (read_question(call, &after, &fault)) {
        call_refuse(call, &fault, NULL);
        return;
    }
    snprintf(epoch, sizeof(epoch), "%d", (int)after.epoch);
    snprintf(version, sizeof(version), "%d", (int)after.version);
    snprintf(limit, sizeof(limit), "%zu", call->limit + 1);
    const char *const params[] = {call->session_id, epoch, version, limit};
    access_query(call, call->api->past_db, snapshots_sql, N_ELEMENTS(params), params, on_rows);
}

void snapshots_list(struct call *call) {
    struct position after;
    struct fault fault;
    if (read_question(call, &after, &fault))
        call_refuse(call, &fault, NULL);
    else
        access_read_meta(call, ask);
}
