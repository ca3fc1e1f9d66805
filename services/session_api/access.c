/* Who may read a session. Redis has those in use, with their participants and removed devices. One
 * that it let go of on purpose is read from PostgreSQL, which has it whole. Everything else that
 * Redis cannot answer for (it is gone, old or damaged) the engine puts in order first: what is read
 * is then what everybody else reads. Who may not is told what a stranger is told of a session that
 * never was. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/db_session.h"
#include "services/session_api/api.h"

#define MAX_LOADS 2          /* of one call */
#define MAX_LOADS_OF_USER 64 /* at a time: nobody keeps the engines busy with what is not there */

/* A handoff code is all that its call has said. */
static void refuse_missing(struct call *call) {
    call_refuse_with(call, FAULT_NOT_FOUND,
                     call->resource == RESOURCE_HANDOFF ? "there is no such code"
                                                        : "there is no such session");
}

/* Whether the call may go on with the session; else it is answered. */
static bool is_readable(struct call *call, const struct session *session) {
    call->role = command_role(session, call->who.user_id, call->who.rights);
    if (session->deleted || call->role == SESSION_ROLE_NONE) {
        refuse_missing(call);
        return false;
    }
    if (session_device_is_removed(session, call->device_id)) {
        call_refuse_with(call, FAULT_DEVICE_REMOVED, "this device is kept out of the session");
        return false;
    }
    return true;
}

/* ---- PostgreSQL ---- */

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

/* ---- the engine ---- */

static void ask_store(struct call *call);

/* A read has no effect: that its outcome is unknown is no news. */
static void on_loaded(void *arg, struct reply *reply) {
    struct call *call = arg;
    users_leave(&call->api->loaders, call->who.user_id);
    switch (reply->fault.code) {
    case FAULT_NONE:
        ask_store(call);
        break;
    case FAULT_NOT_FOUND:
        refuse_missing(call);
        break;
    case FAULT_TIMEOUT:
        call_refuse_with(call, FAULT_UNAVAILABLE, "the session could not be loaded in time");
        break;
    default:
        call_refuse(call, &reply->fault, NULL);
        break;
    }
}

void access_load(struct call *call) {
    if (++call->n_loads > MAX_LOADS) {
        call_refuse_with(call, FAULT_UNAVAILABLE, "the session cannot be loaded now");
        return;
    }
    if (!commander_may_load(call->api->commander) ||
        !users_enter(&call->api->loaders, call->who.user_id, MAX_LOADS_OF_USER)) {
        call_refuse_with(call, FAULT_UNAVAILABLE, "too many sessions are being loaded");
        return;
    }
    struct command command = {
        .kind = COMMAND_LOAD, .rights = call->who.rights, .trace = call->trace};
    memcpy(command.session_id, call->session_id, sizeof(command.session_id));
    memcpy(command.user_id, call->who.user_id, sizeof(command.user_id));
    commander_send(call->api->commander, &command, on_loaded, call);
}

/* ---- a session that is not in Redis ---- */

/* Of a session that is lost, or was never told of, PostgreSQL may not know the last. */
static void on_row(void *arg, int err, const struct db_result *rows) {
    struct call *call = arg;
    struct db_session found = {0};
    if (err < 0)
        access_refuse_db(call, err, rows);
    else if (db_session_read(rows, &found) < 0 || (!found.is_deleted && !found.is_cold))
        access_load(call);
    else if (!found.is_whole)
        refuse_missing(call);
    else if (is_readable(call, &found.session))
        call->go(call, &found.session, false);
    db_session_done(&found);
}

/* ---- any ---- */

static void take_session(struct call *call, int err, const struct session *session) {
    const char *const params[] = {call->session_id};
    if (err == -ENOENT)
        access_query(call, call->api->db, db_session_sql, N_ELEMENTS(params), params, on_row);
    else if (err == -ESTALE || err == -EBADMSG)
        access_load(call);
    else if (err < 0)
        call_refuse_with(call, FAULT_UNAVAILABLE, "Redis cannot be reached");
    else if (is_readable(call, session))
        call->go(call, session, true);
}

static void on_meta(void *arg, int err, const struct session *session) {
    take_session(arg, err, session);
}

static void on_whole(void *arg, int err, const struct session *session) {
    struct call *call = arg;
    access_end_turn(call);
    take_session(call, err, session);
}

static void read_whole(void *arg) {
    struct call *call = arg;
    store_read(call->api->store, call->session_id, on_whole, call);
}

static void ask_store(struct call *call) {
    if (call->wants_data)
        access_await_turn(call, read_whole);
    else
        store_read_meta(call->api->store, call->session_id, on_meta, call);
}

/* Redis answers all that it was asked in one go before it turns to anybody else, and keeps the
 * answers until they are taken: a thousand large sessions would be seconds, and 500 MB. */
void access_await_turn(struct call *call, void (*begin)(void *arg)) {
    call->turn = (struct turn){.begin = begin, .arg = call};
    turns_ask(&call->api->turns, call->who.user_id, &call->turn);
}

void access_end_turn(struct call *call) {
    turns_end(&call->api->turns, call->who.user_id);
}

void access_read(struct call *call, access_fn *go) {
    call->go = go;
    call->wants_data = true;
    ask_store(call);
}

void access_read_meta(struct call *call, access_fn *go) {
    call->go = go;
    ask_store(call);
}
