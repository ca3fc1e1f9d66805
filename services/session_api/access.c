/* Who may read a session. Redis has those in use, with their participants and removed devices;
 * PostgreSQL has every session's, up to a second behind. Who may not is told what a stranger is
 * told of a session that never was. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/session_api/api.h"

/* Whether the call may go on with the session; else it is answered. */
static bool is_readable(struct call *call, const struct session *session) {
    call->role = command_role(session, call->who.user_id, call->who.rights);
    if (session->deleted || call->role == SESSION_ROLE_NONE) {
        call_refuse_with(call, FAULT_NOT_FOUND, "there is no such session");
        return false;
    }
    if (session_device_is_removed(session, call->device_id)) {
        call_refuse_with(call, FAULT_DEVICE_REMOVED, "this device is kept out of the session");
        return false;
    }
    return true;
}

/* ---- a session that is not in Redis ---- */

void access_refuse_db(struct call *call, int err, const struct db_result *rows) {
    if (err == -EIO && rows && strcmp(db_sqlstate(rows), "57014") != 0)
        call_refuse_with(call, FAULT_INTERNAL, db_error(rows));
    else
        call_refuse_with(call, FAULT_UNAVAILABLE,
                         err == -EIO ? "PostgreSQL took too long" : "PostgreSQL cannot be reached");
}

void access_query(struct call *call, struct db *db, const char *sql, size_t n_params,
                  const char *const *params, db_done_fn *done) {
    int err = db_query(db, sql, n_params, params, done, call);
    if (err < 0)
        access_refuse_db(call, err, NULL);
    else
        (void)!db_end(db, NULL, NULL);
}

enum column {
    COLUMN_USER,
    COLUMN_NAME,
    COLUMN_STATUS,
    COLUMN_VERSION,
    COLUMN_EPOCH,
    COLUMN_ACTIVE_DEVICE,
    COLUMN_PARTICIPANTS,
    COLUMN_REMOVED_DEVICES,
};

/* The lists as session_lists.c has them. */
static const char session_sql[] =
    "SELECT user_id, name, status, version, epoch, active_device_id, "
    "(SELECT ',' || string_agg(p.user_id || ':' || p.role, ',') || ',' "
    " FROM session_participants AS p WHERE p.session_id = s.id AND p.role IS NOT NULL), "
    "(SELECT ',' || string_agg(d.device_id, ',') || ',' "
    " FROM session_devices AS d WHERE d.session_id = s.id AND d.removed) "
    "FROM sessions AS s WHERE id = $1::uuid AND deleted_at IS NULL AND status IS NOT NULL";

static char *copy_or_null(const struct db_result *rows, enum column column) {
    const char *text = db_value(rows, 0, column, NULL);
    return text ? must_strdup(text) : NULL;
}

static void read_row(const struct db_result *rows, const char *session_id, struct session *ret) {
    const char *owner = db_value(rows, 0, COLUMN_USER, NULL);
    const char *status = db_value(rows, 0, COLUMN_STATUS, NULL);
    const char *active = db_value(rows, 0, COLUMN_ACTIVE_DEVICE, NULL);
    *ret = (struct session){.name = copy_or_null(rows, COLUMN_NAME),
                            .position = {(uint64_t)db_number(rows, 0, COLUMN_VERSION),
                                         (uint64_t)db_number(rows, 0, COLUMN_EPOCH)},
                            .participants = copy_or_null(rows, COLUMN_PARTICIPANTS),
                            .removed_devices = copy_or_null(rows, COLUMN_REMOVED_DEVICES)};
    memcpy(ret->id, session_id, UUID_LEN + 1);
    snprintf(ret->user_id, sizeof(ret->user_id), "%s", owner ? owner : "");
    snprintf(ret->active_device, sizeof(ret->active_device), "%s", active ? active : "");
    (void)session_status_parse(status ? status : "", &ret->status);
}

static void on_row(void *arg, int err, const struct db_result *rows) {
    struct call *call = arg;
    struct session session = {0};
    if (err < 0) {
        access_refuse_db(call, err, rows);
    } else if (db_n_rows(rows) != 1) {
        call_refuse_with(call, FAULT_NOT_FOUND, "there is no such session");
    } else {
        read_row(rows, call->session_id, &session);
        if (is_readable(call, &session))
            call->go(call, &session, false);
    }
    session_done(&session);
}

/* ---- any ---- */

static void on_session(void *arg, int err, const struct session *session) {
    struct call *call = arg;
    const char *const params[] = {call->session_id};
    if (err == -ENOENT)
        access_query(call, call->api->db, session_sql, N_ELEMENTS(params), params, on_row);
    else if (err == -EBADMSG)
        call_refuse_with(call, FAULT_INTERNAL, "the stored session cannot be read");
    else if (err < 0)
        call_refuse_with(call, FAULT_UNAVAILABLE, "Redis cannot be reached");
    else if (is_readable(call, session))
        call->go(call, session, true);
}

void access_read(struct call *call, access_fn *go) {
    call->go = go;
    store_read(call->api->store, call->session_id, on_session, call);
}

void access_read_meta(struct call *call, access_fn *go) {
    call->go = go;
    store_read_meta(call->api->store, call->session_id, on_session, call);
}
