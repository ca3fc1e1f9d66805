/* Reads of one session as Redis has it. */
#include <errno.h>

#include "services/session_api/api.h"
#include "services/session_api/parameters.h"

static bool is_loaded(struct call *call, bool is_hot) {
    if (!is_hot)
        call_refuse_with(call, FAULT_UNAVAILABLE, "the session is not loaded");
    return is_hot;
}

/* ---- GET /sessions/{id} ---- */

static void answer_session(struct call *call, const struct session *session, bool is_hot) {
    if (!is_loaded(call, is_hot))
        return;
    const char *known = http_header(call->request, "If-None-Match");
    struct buf body = BUF_NULL;
    session_print(session, call->role, &body);
    call_add_tag(call, session->position);
    call_answer(call, headers_if_none_match(known, session->position) ? 304 : 200, &body);
}

void reads_session(struct call *call) {
    access_read(call, answer_session);
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

static void read_deltas(struct call *call, const struct session *session, bool is_hot) {
    if (!is_loaded(call, is_hot))
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
    access_read_meta(call, read_deltas);
}
