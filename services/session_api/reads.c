/* Reads of one session: from Redis; when it is not there, PostgreSQL says whether it ever was. */
#include <string.h>

#include "services/session_api/api.h"
#include "services/session_api/parameters.h"

/* ---- a session that is not in Redis ---- */

static void on_row(void *arg, int err, const struct db_result *result) {
    struct call *call = arg;
    if (err < 0) {
        call_refuse_with(call, FAULT_UNAVAILABLE, "PostgreSQL could not say whether it is there");
        return;
    }
    const char *owner = db_n_rows(result) == 1 ? db_value(result, 0, 0, NULL) : NULL;
    bool is_readable =
        owner && (strcmp(owner, call->who.user_id) == 0 || (call->who.rights & COMMAND_ADMIN));
    if (is_readable)
        call_refuse_with(call, FAULT_UNAVAILABLE, "the session is not loaded");
    else
        call_refuse_with(call, FAULT_NOT_FOUND, "there is no such session");
}

static void ask_database(struct call *call) {
    static const char sql[] =
        "SELECT user_id FROM sessions WHERE id = $1::uuid AND deleted_at IS NULL";
    const char *const params[] = {call->session_id};
    struct db *db = call->api->db;
    if (db_query(db, sql, N_ELEMENTS(params), params, on_row, call) < 0) {
        call_refuse_with(call, FAULT_UNAVAILABLE, "PostgreSQL cannot be reached");
        return;
    }
    (void)!db_end(db, NULL, NULL);
}

bool reads_may_see(struct call *call, int err, const struct session *session) {
    if (err == -ENOENT) {
        ask_database(call);
        return false;
    }
    if (err < 0) {
        call_refuse_with(call, err == -EBADMSG ? FAULT_INTERNAL : FAULT_UNAVAILABLE,
                         err == -EBADMSG ? "the stored session cannot be read"
                                         : "Redis cannot be reached");
        return false;
    }
    call->role = command_role(session, call->who.user_id, call->who.rights);
    if (session->deleted || call->role == SESSION_ROLE_NONE) {
        call_refuse_with(call, FAULT_NOT_FOUND, "there is no such session");
        return false;
    }
    return true;
}

/* ---- GET /sessions/{id} ---- */

static void on_session(void *arg, int err, const struct session *session) {
    struct call *call = arg;
    if (!reads_may_see(call, err, session))
        return;
    const char *known = http_header(call->request, "If-None-Match");
    struct buf body = BUF_NULL;
    session_print(session, call->role, &body);
    call_add_tag(call, session->position);
    call_answer(call, headers_if_none_match(known, session->position) ? 304 : 200, &body);
}

void reads_session(struct call *call) {
    store_read(call->api->store, call->session_id, on_session, call);
}

/* ---- GET /sessions/{id}/deltas ---- */

static void answer_deltas(struct call *call, const struct store_delta *deltas, size_t n,
                          bool complete) {
    struct buf body = BUF_NULL;
    buf_puts(&body, "{\"epoch\":");
    buf_put_u64(&body, call->position.epoch);
    buf_puts(&body, ",\"items\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(&body, ',');
        buf_put(&body, deltas[i].event, deltas[i].event_len);
    }
    buf_puts(&body, complete ? "],\"complete\":true}" : "],\"complete\":false}");
    call_answer(call, 200, &body);
}

static void on_deltas(void *arg, int err, const struct store_delta *deltas, size_t n) {
    struct call *call = arg;
    if (err < 0 && err != -ENOENT) {
        call_refuse_with(call, err == -EBADMSG ? FAULT_INTERNAL : FAULT_UNAVAILABLE,
                         "Redis did not answer");
        return;
    }
    bool complete = n > 0 ? deltas[0].version == call->since.version + 1
                          : call->since.version == call->position.version;
    answer_deltas(call, deltas, n, complete);
}

static void on_session_of_deltas(void *arg, int err, const struct session *session) {
    struct call *call = arg;
    if (!reads_may_see(call, err, session))
        return;
    call->position = session->position;
    if (call->since.epoch != session->position.epoch ||
        call->since.version > session->position.version)
        answer_deltas(call, NULL, 0, false);
    else
        store_read_deltas(call->api->store, call->session_id, call->since.version, call->limit,
                          on_deltas, call);
}

void reads_deltas(struct call *call) {
    struct fault fault;
    uint64_t limit = PARAMETERS_LIMIT_DEFAULT;
    call->since = (struct position){.version = 0, .epoch = 1};
    if (parameters_number(call->request, "since", 0, TEXT_INTEGER_MAX, &call->since.version,
                          &fault) ||
        parameters_number(call->request, "epoch", 1, TEXT_INTEGER_MAX, &call->since.epoch,
                          &fault) ||
        parameters_number(call->request, "limit", 1, PARAMETERS_LIMIT_MAX, &limit, &fault)) {
        call_refuse(call, &fault, NULL);
        return;
    }
    call->limit = (size_t)limit;
    store_read(call->api->store, call->session_id, on_session_of_deltas, call);
}
