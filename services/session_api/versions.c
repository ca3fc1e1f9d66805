/* Earlier versions: GET /sessions/{id}/snapshots/{version}, and POST …/restore, which makes one the
 * newest. Rights are judged before the work; what cannot be made again any more, or never was, is
 * 410. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "proto/text.h"
#include "services/session_api/api.h"
#include "services/session_api/parameters.h"
#include "services/session_api/version_job.h"

static bool is_ahead(struct position wanted, struct position now) {
    return wanted.epoch > now.epoch || (wanted.epoch == now.epoch && wanted.version > now.version);
}

static int refuse_ahead(struct position wanted, struct position now, struct fault *f) {
    return (int)fault_set(f, FAULT_VERSION_GONE, "version",
                          "there is no version %" PRIu64 " of epoch %" PRIu64
                          ": the session is at version %" PRIu64 " of epoch %" PRIu64,
                          wanted.version, wanted.epoch, now.version, now.epoch);
}

/* ---- GET …/snapshots/{version} ---- */

static void answer_version(struct call *call, const char *data, size_t len, const char *checksum) {
    struct buf body = BUF_NULL;
    buf_reserve(&body, len + 256);
    buf_printf(&body,
               "{\"sessionId\":\"%s\",\"version\":%" PRIu64 ",\"epoch\":%" PRIu64 ",\"data\":",
               call->session_id, call->since.version, call->since.epoch);
    buf_put(&body, data, len);
    buf_printf(&body, ",\"checksum\":\"%s\"}", checksum);
    call_add_tag(call, call->since);
    call_answer(call, 200, &body);
}

static void on_version(struct call *call, const struct fault *fault,
                       const struct version_result *result) {
    if (fault)
        call_refuse(call, fault, NULL);
    else
        answer_version(call, result->data, result->data_len, result->checksum);
}

static void read_version(struct call *call, const struct session *session, bool is_hot) {
    struct fault fault;
    if (!call->since.epoch)
        call->since.epoch = session->position.epoch;
    if (is_ahead(call->since, session->position)) {
        (void)refuse_ahead(call->since, session->position, &fault);
        call_refuse(call, &fault, NULL);
    } else if (headers_if_none_match(http_header(call->request, "If-None-Match"), call->since)) {
        call_add_tag(call, call->since);
        call_answer(call, 304, NULL);
    } else if (is_hot && position_equal(call->since, session->position)) {
        answer_version(call, session->data_text, session->data_len, session->checksum);
    } else {
        version_job_start(call, session, is_hot, call->since, on_version);
    }
}

void versions_read(struct call *call) {
    struct fault fault;
    call->since.version = strtoull(call->parameter, NULL, 10);
    if (parameters_number(call->request, "epoch", 1, TEXT_INTEGER_MAX, &call->since.epoch, &fault))
        call_refuse(call, &fault, NULL);
    else
        access_read(call, read_version);
}

/* ---- POST …/restore ---- */

static void refuse_gone(struct call *call) {
    struct fault fault;
    (void)fault_set(&fault, FAULT_VERSION_GONE, "version", "the version cannot be rebuilt");
    call_refuse(call, &fault, NULL);
}

/* A repeat is answered with what the first one did, for which the engine needs no data; without the
 * key, after all, it refuses this checksum. */
static void on_key(void *arg, int err, bool is_there) {
    static const char no_checksum[] =
        "0000000000000000000000000000000000000000000000000000000000000000";
    struct call *call = arg;
    if (err < 0) {
        call_refuse_with(call, FAULT_UNAVAILABLE, "Redis cannot be reached");
    } else if (!is_there) {
        refuse_gone(call);
    } else {
        call->command.data = json_null();
        memcpy(call->command.checksum, no_checksum, sizeof(no_checksum));
        sessions_restore(call);
    }
}

static void fail_restore(struct call *call, const struct fault *fault) {
    char hash[HASH_HEX_LEN + 1];
    if (fault->code != FAULT_VERSION_GONE || !call->command.key[0]) {
        call_refuse(call, fault, NULL);
        return;
    }
    command_key_hash(&call->command, hash);
    store_has_key(call->api->store, call->session_id, hash, on_key, call);
}

static void on_restored(struct call *call, const struct fault *fault,
                        const struct version_result *result) {
    if (fault) {
        fail_restore(call, fault);
        return;
    }
    call->command.data = json_incref(result->value);
    memcpy(call->command.checksum, result->checksum, HASH_HEX_LEN + 1);
    sessions_restore(call);
}

/* What the engine would refuse whatever the data is. */
static int check_restore(const struct call *call, const struct session *session, struct fault *f) {
    if (call->role < SESSION_ROLE_EDITOR)
        return (int)fault_set(f, FAULT_FORBIDDEN, NULL, "a viewer may not change the session");
    if (session_is_final(session->status) && !call->command.key[0])
        return (int)fault_set(f, FAULT_SESSION_ENDED, NULL, "the session is %s",
                              session_status_name(session->status));
    return 0;
}

static void restore(struct call *call, const struct session *session, bool is_hot) {
    struct fault fault;
    struct position *wanted = &call->command.restored;
    if (check_restore(call, session, &fault)) {
        call_refuse(call, &fault, NULL);
        return;
    }
    if (!wanted->epoch)
        wanted->epoch = session->position.epoch;
    if (is_ahead(*wanted, session->position)) {
        (void)refuse_ahead(*wanted, session->position, &fault);
        call_refuse(call, &fault, NULL);
        return;
    }
    version_job_start(call, session, is_hot, *wanted, on_restored);
}

void versions_restore(struct call *call) {
    struct fault fault;
    if (sessions_read_restore(call, &fault))
        call_refuse(call, &fault, NULL);
    else
        access_read(call, restore);
}
