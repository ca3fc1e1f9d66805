/* Who may read a session. Redis has those in use, with their participants and removed devices;
 * PostgreSQL has every session's, up to a second behind. Who may not is told what a stranger is
 * told of a session that never was. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/db_session.h"
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

static void on_row(void *arg, int err, const struct db_result *rows) {
    struct call *call = arg;
    struct db_session found = {0};
    if (err < 0)
        access_refuse_db(call, err, rows);
    else if ((err = db_session_read(rows, &found)) == -EBADMSG)
        call_refuse_with(call, FAULT_INTERNAL, "the session's row cannot be read");
    else if (err < 0 || !found.is_whole)
        call_refuse_with(call, FAULT_NOT_FOUND, "there is no such session");
    else if (is_readable(call, &found.session))
        call->go(call, &found.session, false);
    db_session_done(&found);
}

/* ---- any ---- */

static void on_session(void *arg, int err, const struct session *session) {
    struct call *call = arg;
    const char *const params[] = {call->session_id};
    if (err == -ENOENT)
        access_query(call, call->api->db, db_session_sql, N_ELEMENTS(params), params, on_row);
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
