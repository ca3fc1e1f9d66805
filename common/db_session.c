/* See db_session.h. A row is checked as what Redis answers is: it is ours, but need not be whole.
 */
#include "common/db_session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "proto/clock.h"
#include "proto/text.h"

enum column {
    COLUMN_ID,
    COLUMN_USER,
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
    COLUMN_LAST_ACTIVE_DEVICE,
    COLUMN_LAST_MODIFIED,
    COLUMN_MODIFIED_BY,
    COLUMN_CHECKSUM,
    COLUMN_CLOCK_RUNS,
    /* of db_session_sql alone */
    COLUMN_IS_DELETED,
    COLUMN_IS_COLD,
    COLUMN_IS_WHOLE,
    COLUMN_PARTICIPANTS,
    COLUMN_REMOVED_DEVICES,
    COLUMN_CLOCK,
};
_Static_assert(COLUMN_IS_DELETED == DB_SESSION_N_COLUMNS, "the resource's columns come first");

/* The lists as meta has them (session.h). */
const char db_session_sql[] =
    "SELECT " DB_SESSION_COLUMNS ", deleted_at IS NOT NULL, "
    "coalesce((cold_epoch, cold_version) = (epoch, version), false), "
    "(user_id <> '00000000-0000-0000-0000-000000000000' AND name IS NOT NULL AND "
    " type IS NOT NULL AND status IS NOT NULL AND ttl_seconds IS NOT NULL AND "
    " on_idle IS NOT NULL AND checksum IS NOT NULL), "
    "(SELECT ',' || string_agg(p.user_id || ':' || p.role, ',' ORDER BY p.user_id) || ',' "
    " FROM session_participants AS p WHERE p.session_id = s.id AND p.role IS NOT NULL), "
    "(SELECT ',' || string_agg(d.device_id, ',' ORDER BY d.device_id) || ',' "
    " FROM session_devices AS d WHERE d.session_id = s.id AND d.removed), clock "
    "FROM sessions AS s WHERE id = $1::uuid";

void db_session_done(struct db_session *s) {
    session_done(&s->session);
}

static bool copy_at(const struct db_result *rows, size_t row, enum column column, char *ret,
                    size_t cap) {
    size_t len = 0;
    const char *text = db_value(rows, row, column, &len);
    if (len >= cap)
        return false;
    if (text)
        memcpy(ret, text, len + 1);
    return true;
}

static char *own_at(const struct db_result *rows, size_t row, enum column column) {
    const char *text = db_value(rows, row, column, NULL);
    return text ? must_strdup(text) : NULL;
}

/* What idle counts from: not in the row, but the moment it leads to is. */
static int64_t touched_at(const struct session *s, int64_t due_at) {
    if (!due_at || session_clock_runs(s))
        return s->updated_at;
    return due_at -
           (s->status == SESSION_ACTIVE ? (int64_t)s->ttl_seconds * 1000 : SESSION_PAUSED_TTL_MS);
}

static bool take_texts(const struct db_result *rows, size_t row, struct session *s) {
    s->name = own_at(rows, row, COLUMN_NAME);
    return copy_at(rows, row, COLUMN_ID, s->id, sizeof(s->id)) &&
           copy_at(rows, row, COLUMN_USER, s->user_id, sizeof(s->user_id)) &&
           copy_at(rows, row, COLUMN_TYPE, s->type, sizeof(s->type)) &&
           copy_at(rows, row, COLUMN_ACTIVE_DEVICE, s->active_device, sizeof(s->active_device)) &&
           copy_at(rows, row, COLUMN_LAST_ACTIVE_DEVICE, s->last_active_device,
                   sizeof(s->last_active_device)) &&
           copy_at(rows, row, COLUMN_MODIFIED_BY, s->modified_by, sizeof(s->modified_by)) &&
           copy_at(rows, row, COLUMN_CHECKSUM, s->checksum, sizeof(s->checksum));
}

static bool take_names(const struct db_result *rows, size_t row, struct session *s) {
    const char *status = db_value(rows, row, COLUMN_STATUS, NULL);
    const char *on_idle = db_value(rows, row, COLUMN_ON_IDLE, NULL);
    return (!status || session_status_parse(status, &s->status)) &&
           (!on_idle || session_on_idle_parse(on_idle, &s->on_idle));
}

static bool is_true(const struct db_result *rows, size_t row, enum column column) {
    const char *text = db_value(rows, row, column, NULL);
    return text && *text == 't';
}

/* What is added to it later stays a number. */
static int64_t moment_at(const struct db_result *rows, size_t row, enum column column,
                         bool *ret_odd) {
    int64_t moment = db_number(rows, row, column);
    bool is_odd = moment < 0 || moment > TEXT_INTEGER_MAX;
    *ret_odd = *ret_odd || is_odd;
    return is_odd ? 0 : moment;
}

static bool take_numbers(const struct db_result *rows, size_t row, struct session *s) {
    bool is_odd = false;
    const int64_t version = db_number(rows, row, COLUMN_VERSION);
    const int64_t epoch = db_number(rows, row, COLUMN_EPOCH);
    const int64_t ttl_seconds = db_number(rows, row, COLUMN_TTL_SECONDS);
    s->position = (struct position){(uint64_t)version, (uint64_t)epoch};
    s->created_at = moment_at(rows, row, COLUMN_CREATED_AT, &is_odd);
    s->updated_at = moment_at(rows, row, COLUMN_UPDATED_AT, &is_odd);
    s->completed_at = moment_at(rows, row, COLUMN_COMPLETED_AT, &is_odd);
    s->last_modified = moment_at(rows, row, COLUMN_LAST_MODIFIED, &is_odd);
    s->ttl_seconds = (uint32_t)ttl_seconds;
    s->clock_runs = is_true(rows, row, COLUMN_CLOCK_RUNS);
    s->touched_at = touched_at(s, moment_at(rows, row, COLUMN_DUE_AT, &is_odd));
    return version > 0 && epoch > 0 && ttl_seconds >= 0 && !is_odd;
}

int db_session_take_columns(const struct db_result *rows, size_t row, struct session *ret) {
    *ret = (struct session){0};
    bool ok = take_texts(rows, row, ret);
    ok = take_names(rows, row, ret) && ok;
    ok = take_numbers(rows, row, ret) && ok; /* touched_at wants the status */
    return ok ? 0 : -EBADMSG;
}

static bool take_lists(const struct db_result *rows, struct session *s) {
    s->participants = own_at(rows, 0, COLUMN_PARTICIPANTS);
    s->removed_devices = own_at(rows, 0, COLUMN_REMOVED_DEVICES);
    return (!s->participants ||
            session_participants_are_valid(s->participants, strlen(s->participants))) &&
           (!s->removed_devices ||
            session_removed_devices_are_valid(s->removed_devices, strlen(s->removed_devices)));
}

static bool take_clock(const struct db_result *rows, struct session *s) {
    _cleanup_(clock_done) struct clock clock = {0};
    size_t len = 0;
    const char *text = db_value(rows, 0, COLUMN_CLOCK, &len);
    if (!text)
        return !s->clock_runs;
    if (clock_parse(text, len, &clock) != 0)
        return false;
    s->clock_at = s->clock_runs ? db_number(rows, 0, COLUMN_DUE_AT) : 0;
    s->clock_told = s->updated_at;
    return session_take_clock(s, text, len, s->clock_runs) == 0;
}

int db_session_read(const struct db_result *rows, struct db_session *ret) {
    if (db_n_rows(rows) != 1)
        return -ENOENT;
    struct db_session s = {.is_deleted = is_true(rows, 0, COLUMN_IS_DELETED),
                           .is_cold = is_true(rows, 0, COLUMN_IS_COLD),
                           .is_whole = is_true(rows, 0, COLUMN_IS_WHOLE)};
    int err = db_session_take_columns(rows, 0, &s.session);
    s.session.deleted = s.is_deleted;
    if (!err && (!take_lists(rows, &s.session) || !take_clock(rows, &s.session)))
        err = -EBADMSG;
    if (!err && s.is_whole && strlen(s.session.checksum) != HASH_HEX_LEN)
        err = -EBADMSG;
    if (err)
        db_session_done(&s);
    else
        *ret = s;
    return err;
}
