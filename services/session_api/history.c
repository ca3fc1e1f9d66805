/* GET /sessions/{id}/history: the audit trail, newest first, each event as it was published. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/event.h"
#include "services/session_api/api.h"
#include "services/session_api/cursor.h"
#include "services/session_api/parameters.h"

#define MAX_PAGE_BYTES "4194304" /* of payloads: a page ends early, after one at least */

enum column { COLUMN_PAYLOAD, COLUMN_EPOCH, COLUMN_VERSION, COLUMN_MOMENT, COLUMN_ID, COLUMN_N };

/* A walk down the index session_events_history. $10 is one more than the page, which tells whether
 * there is another. */
/* clang-format off */
static const char history_sql[] =
    "SELECT payload, epoch, version, (extract(epoch FROM occurred_at) * 1000)::bigint, message_id, "
    "n_found FROM ("
    "SELECT *, row_number() OVER newest AS n, count(*) OVER () AS n_found, "
    "sum(octet_length(payload::text)) OVER newest AS n_bytes FROM ("
    "SELECT payload, epoch, version, occurred_at, message_id FROM session_events "
    "WHERE session_id = $1::uuid AND (epoch, version, occurred_at, message_id) "
    "  < ($2::integer, $3::integer, $4::timestamptz, $5::text) "
    "AND ($6::text IS NULL OR type = $6::text) AND ($7::text IS NULL OR device_id = $7::text) "
    "AND ($8::timestamptz IS NULL OR occurred_at >= $8::timestamptz) "
    "AND ($9::timestamptz IS NULL OR occurred_at < $9::timestamptz) "
    "ORDER BY epoch DESC, version DESC, occurred_at DESC, message_id DESC LIMIT $10::bigint"
    ") AS found WINDOW newest AS ("
    "ORDER BY epoch DESC, version DESC, occurred_at DESC, message_id DESC "
    "ROWS UNBOUNDED PRECEDING)) AS page "
    "WHERE n = 1 OR n_bytes <= " MAX_PAGE_BYTES " ORDER BY n";
/* clang-format on */

static void read_cursor(const struct db_result *rows, size_t row, struct event_cursor *ret) {
    const char *id = db_value(rows, row, COLUMN_ID, NULL);
    ret->position.epoch = (uint64_t)db_number(rows, row, COLUMN_EPOCH);
    ret->position.version = (uint64_t)db_number(rows, row, COLUMN_VERSION);
    ret->moment = db_number(rows, row, COLUMN_MOMENT);
    snprintf(ret->message_id, sizeof(ret->message_id), "%s", id ? id : "");
}

static void on_rows(void *arg, int err, const struct db_result *rows) {
    struct call *call = arg;
    if (err < 0) {
        access_refuse_db(call, err, rows);
        return;
    }
    struct buf items = BUF_NULL;
    struct event_cursor last;
    char next[CURSOR_CAP];
    size_t n = db_n_rows(rows) < call->limit ? db_n_rows(rows) : call->limit;
    bool has_next = n > 0 && (size_t)db_number(rows, 0, COLUMN_N) > n;
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const char *payload = db_value(rows, i, COLUMN_PAYLOAD, &len);
        if (i > 0)
            buf_putc(&items, ',');
        buf_put(&items, payload, len);
    }
    if (has_next) {
        read_cursor(rows, n - 1, &last);
        cursor_print_event(&last, next);
    }
    page_answer(call, &items, has_next ? next : NULL);
}

/* ---- the question ---- */

struct question {
    char moment[TIMESTAMP_LEN + 1];
    char epoch[24], version[24], limit[24];
    struct event_cursor after;
    const char *type, *device;
    char from[TIMESTAMP_LEN + 1], to[TIMESTAMP_LEN + 1]; /* "": not asked for */
};

static int read_type(struct call *call, struct question *q, struct fault *f) {
    enum event_type type;
    int r = parameters_text(call->request, "type", &q->type, f);
    if (r || !q->type)
        return r;
    if (!event_type_parse(q->type, strlen(q->type), &type) || !event_is_durable(type))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "type",
                              "type is none of an event that is kept");
    page_add_filter(call, "type", q->type);
    return 0;
}

static int read_device(struct call *call, struct question *q, struct fault *f) {
    int r = parameters_text(call->request, "deviceId", &q->device, f);
    if (r || !q->device)
        return r;
    if (!session_device_is_valid(q->device, strlen(q->device)))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "deviceId",
                              "a device has 1 to %d of A-Z a-z 0-9 . _ : -", SESSION_DEVICE_MAX);
    page_add_filter(call, "deviceId", q->device);
    return 0;
}

static int read_moment(struct call *call, const char *name, char ret[static TIMESTAMP_LEN + 1],
                       struct fault *f) {
    bool is_there;
    int64_t moment;
    int r = parameters_moment(call->request, name, &is_there, &moment, f);
    ret[0] = '\0';
    if (r || !is_there)
        return r;
    timestamp_print(moment, ret);
    page_add_filter(call, name, ret);
    return 0;
}

static int read_page(struct call *call, struct question *q, struct fault *f) {
    const char *text = NULL;
    int r = page_read(call, &text, f);
    if (r)
        return r;
    q->after = (struct event_cursor){.position = {INT32_MAX, INT32_MAX}};
    if (text && !cursor_parse_event(text, &q->after))
        return page_refuse_cursor(f);
    if (text)
        timestamp_print(q->after.moment, q->moment);
    else
        strcpy(q->moment, "infinity");
    snprintf(q->epoch, sizeof(q->epoch), "%d", (int)q->after.position.epoch);
    snprintf(q->version, sizeof(q->version), "%d", (int)q->after.position.version);
    snprintf(q->limit, sizeof(q->limit), "%zu", call->limit + 1);
    return 0;
}

static const char *or_null(const char *text) {
    return text[0] ? text : NULL;
}

static int read_question(struct call *call, struct question *q, struct fault *f) {
    int r;
    *q = (struct question){0};
    buf_clear(&call->filters);
    if ((r = read_type(call, q, f)) || (r = read_device(call, q, f)) ||
        (r = read_moment(call, "from", q->from, f)) || (r = read_moment(call, "to", q->to, f)))
        return r;
    return read_page(call, q, f);
}

/* Asked again of the request, which lives on: nothing of the question had to be kept. */
static void ask(struct call *call, const struct session *session, bool is_hot) {
    (void)session;
    (void)is_hot;
    struct question q;
    struct fault fault;
    if (read_question(call, &q, &fault)) {
        call_refuse(call, &fault, NULL);
        return;
    }
    const char *const params[] = {call->session_id,   q.epoch, q.version, q.moment,
                                  q.after.message_id, q.type,  q.device,  or_null(q.from),
                                  or_null(q.to),      q.limit};
    access_query(call, call->api->past_db, history_sql, N_ELEMENTS(params), params, on_rows);
}

void history_list(struct call *call) {
    struct question q;
    struct fault fault;
    if (read_question(call, &q, &fault))
        call_refuse(call, &fault, NULL);
    else
        access_read_meta(call, ask);
}
