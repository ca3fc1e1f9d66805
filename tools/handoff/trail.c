/* Reading the audit trail; see trail.h. */
#include "tools/handoff/trail.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "tools/handoff/position.h"

/* Of one position its version comes first, then what it brought with it. */
static const char sql[] =
    "SELECT e.epoch, e.version, (extract(epoch FROM e.occurred_at) * 1000)::bigint, e.type,"
    " e.message_id, e.user_id, e.device_id, e.payload, e.command_id, e.key_hash, e.fingerprint,"
    " e.occurred_at, e.rank, CASE WHEN $7 AND e.type = 'snapshot' THEN"
    "  (SELECT s.data FROM session_snapshots AS s WHERE s.session_id = e.session_id"
    "   AND s.epoch = e.epoch AND s.version = e.version) END"
    " FROM (SELECT *, (message_id <> session_id || ':' || epoch || ':' || version)::int AS rank"
    "       FROM session_events WHERE session_id = $1::uuid"
    "       AND (epoch, version) >= ($2::int, $3::int)"
    "       AND (epoch, version) <= ($8::int, $9::int)) AS e"
    " WHERE (e.epoch, e.version, e.rank, e.occurred_at, e.message_id) >"
    "       ($2::int, $3::int, $4::int, $5::timestamptz, $6)"
    " ORDER BY e.epoch, e.version, e.rank, e.occurred_at, e.message_id LIMIT $10::int";

enum column {
    COLUMN_EPOCH,
    COLUMN_VERSION,
    COLUMN_MOMENT,
    COLUMN_TYPE,
    COLUMN_MESSAGE_ID,
    COLUMN_USER,
    COLUMN_DEVICE,
    COLUMN_BODY,
    COLUMN_COMMAND,
    COLUMN_KEY_HASH,
    COLUMN_FINGERPRINT,
    COLUMN_OCCURRED_AT,
    COLUMN_RANK,
    COLUMN_DATA,
};

bool trail_parse_position(const char *text, struct position *ret) {
    struct position p;
    if (!position_parse(text, &p) || p.version > INT32_MAX || p.epoch > INT32_MAX)
        return false;
    *ret = p;
    return true;
}

/* ---- one event ---- */

static void event_free(struct trail_event *e) {
    char *texts[] = {e->type,       e->message_id, e->user_id,     e->device_id,  e->body,
                     e->command_id, e->key_hash,   e->fingerprint, e->occurred_at};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        free(texts[i]);
    *e = (struct trail_event){0};
}

static char *own(const struct db_result *rows, size_t row, enum column column) {
    const char *text = db_value(rows, row, column, NULL);
    return text ? must_strdup(text) : NULL;
}

/* The data lies elsewhere, and goes back into the body: it ends with the object's brace. */
static void take_body(const struct db_result *rows, size_t row, struct trail_event *e) {
    size_t len = 0, data_len = 0;
    const char *text = db_value(rows, row, COLUMN_BODY, &len);
    const char *data = db_value(rows, row, COLUMN_DATA, &data_len);
    struct buf body = BUF_NULL;
    while (data && len && text[len - 1] != '}')
        len--;
    if (data && len)
        len--;
    buf_put(&body, text ? text : "", text ? len : 0);
    if (data) {
        buf_puts(&body, ",\"data\":");
        buf_put(&body, data, data_len);
        buf_putc(&body, '}');
    }
    e->body_len = body.len;
    e->body = buf_take(&body);
}

static void take_row(const struct db_result *rows, size_t row, struct trail_event *e) {
    e->position = (struct position){(uint64_t)db_number(rows, row, COLUMN_VERSION),
                                    (uint64_t)db_number(rows, row, COLUMN_EPOCH)};
    e->moment = db_number(rows, row, COLUMN_MOMENT);
    e->type = own(rows, row, COLUMN_TYPE);
    e->message_id = own(rows, row, COLUMN_MESSAGE_ID);
    e->user_id = own(rows, row, COLUMN_USER);
    e->device_id = own(rows, row, COLUMN_DEVICE);
    e->command_id = own(rows, row, COLUMN_COMMAND);
    e->key_hash = own(rows, row, COLUMN_KEY_HASH);
    e->fingerprint = own(rows, row, COLUMN_FINGERPRINT);
    e->occurred_at = own(rows, row, COLUMN_OCCURRED_AT);
    e->is_version = db_number(rows, row, COLUMN_RANK) == 0;
    take_body(rows, row, e);
}

/* ---- pages ---- */

static void drop_page(struct trail *t) {
    for (size_t i = 0; i < t->n; i++)
        event_free(&t->events[i]);
    free(TAKE_PTR(t->events));
    t->n = 0;
}

void trail_done(struct trail *t) {
    drop_page(t);
    event_free(&t->last);
}

static void on_rows(void *arg, const struct db_result *rows) {
    struct trail *t = arg;
    t->n = db_n_rows(rows);
    t->events = must_alloc((t->n ? t->n : 1) * sizeof(*t->events));
    for (size_t i = 0; i < t->n; i++)
        take_row(rows, i, &t->events[i]);
}

int trail_next(struct trail *t, struct backends *b) {
    char numbers[5][24], rank[2] = "0";
    struct position from = t->from;
    const char *occurred_at = "-infinity", *message_id = "";
    if (t->has_begun && t->n == 0)
        return 0;
    if (t->has_begun) {
        event_free(&t->last);
        t->last = t->events[t->n - 1];
        t->events[t->n - 1] = (struct trail_event){0};
        from = t->last.position;
        occurred_at = t->last.occurred_at;
        message_id = t->last.message_id;
        rank[0] = t->last.is_version ? '0' : '1';
    }
    drop_page(t);
    t->has_begun = true;
    snprintf(numbers[0], sizeof(numbers[0]), "%" PRIu64, from.epoch);
    snprintf(numbers[1], sizeof(numbers[1]), "%" PRIu64, from.version);
    snprintf(numbers[2], sizeof(numbers[2]), "%" PRIu64, t->to.epoch);
    snprintf(numbers[3], sizeof(numbers[3]), "%" PRIu64, t->to.version);
    snprintf(numbers[4], sizeof(numbers[4]), "%d", TRAIL_PAGE);
    const char *params[] = {t->session_id,
                            numbers[0],
                            numbers[1],
                            rank,
                            occurred_at,
                            message_id,
                            t->wants_data ? "t" : "f",
                            numbers[2],
                            numbers[3],
                            numbers[4]};
    return backends_query(b, sql, N_ELEMENTS(params), params, on_rows, t);
}
