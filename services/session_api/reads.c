/* Reads of one session: as Redis has it, or, while it is cold, as PostgreSQL does: then there is no
 * delta window. */
#include <errno.h>
#include <string.h>

#include "services/session_api/api.h"
#include "services/session_api/parameters.h"

/* ---- GET /sessions/{id} ---- */

static bool is_known(const struct call *call, struct position position) {
    return headers_if_none_match(http_header(call->request, "If-None-Match"), position);
}

static void answer_session(struct call *call, const struct session *session) {
    struct buf body = BUF_NULL;
    session_print(session, call->role, &body);
    call_add_tag(call, session->position);
    call_answer(call, is_known(call, session->position) ? 304 : 200, &body);
}

/* What cannot be put together the engine recovers as far as it can. The checksum is the one that
 * data was verified by: after a rebuild that did not reach the last version the row may have
 * another. */
static void on_cold_data(struct call *call, const struct fault *fault,
                         const struct version_result *result) {
    if (fault && fault->code != FAULT_VERSION_GONE) {
        call_refuse(call, fault, NULL);
    } else if (fault) {
        access_load(call);
    } else {
        memcpy(call->cold.checksum, result->checksum, HASH_HEX_LEN + 1);
        call->cold.data_text = must_memdup(result->data, result->data_len);
        call->cold.data_len = result->data_len;
        call->answer(call, &call->cold);
    }
}

static void read_whole(struct call *call, const struct session *session, bool is_hot) {
    if (is_hot) {
        call->answer(call, session);
    } else if (call->answer == answer_session && is_known(call, session->position)) {
        call_add_tag(call, session->position);
        call_answer(call, 304, NULL);
    } else {
        session_done(&call->cold);
        session_copy(session, &call->cold);
        version_job_start_cold(call, session, on_cold_data);
    }
}

void reads_whole(struct call *call, answer_fn *answer) {
    call->answer = answer;
    access_read(call, read_whole);
}

void reads_session(struct call *call) {
    reads_whole(call, answer_session);
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

static void on_window(void *arg, int err, const struct session *session,
                      const struct store_delta *deltas, size_t n) {
    struct call *call = arg;
    access_end_turn(call);
    if (err == -ENOENT || err == -ESTALE || err == -EBADMSG) { /* since rights were judged */
        access_load(call);
    } else if (err < 0) {
        call_refuse_with(call, FAULT_UNAVAILABLE, "Redis cannot be reached");
    } else {
        bool is_of_epoch = session->position.epoch == call->since.epoch;
        call->position = session->position;
        answer_deltas(call, deltas, is_of_epoch ? n : 0,
                      is_of_epoch && (n > 0 ? deltas[0].version == call->since.version + 1
                                            : call->since.version == session->position.version));
    }
}

static void read_window(void *arg) {
    struct call *call = arg;
    store_read_window(call->api->store, call->session_id, call->since.version, call->limit,
                      on_window, call);
}

static void read_deltas(struct call *call, const struct session *session, bool is_hot) {
    call->position = session->position;
    if (!is_hot || call->since.epoch != session->position.epoch ||
        call->since.version > session->position.version)
        answer_deltas(call, NULL, 0, position_equal(call->since, session->position));
    else
        access_await_turn(call, read_window);
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
