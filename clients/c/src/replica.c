/* The copy; see replica.h. */
#include "clients/c/src/replica.h"

#include <string.h>

#include "base/hash.h"
#include "clients/c/src/problem.h"
#include "proto/canonical.h"
#include "proto/patch.h"

#define MAX_DEPTH 1000 /* what text_parse takes */

static const char *const versioned[] = {
    "session_created", "state_delta", "status_changed", "session_deleted", "participant_changed",
    "device_changed",  "clock_set",   "clock_switched", "clock_adjusted",  "clock_expired"};

bool replica_is_versioned(const char *type) {
    for (size_t i = 0; i < N_ELEMENTS(versioned); i++)
        if (text_is_same(type, versioned[i]))
            return true;
    return false;
}

void replica_done(struct replica *r) {
    json_decref(r->session);
    r->session = NULL;
}

void replica_distrust(struct replica *r) {
    r->position = (struct handoff_position){0};
}

json_t *replica_apply(json_t *session, size_t *data_bytes, const json_t *operations,
                      size_t max_data_bytes, struct fault *f) {
    struct patch_limits limits = {.max_data_bytes = max_data_bytes, .max_data_depth = MAX_DEPTH};
    struct patch_result result;
    if (patch_apply(session, *data_bytes, operations, &limits, &result, f) != 0)
        return NULL;
    *data_bytes = result.data_bytes;
    json_t *document = json_incref(result.document);
    patch_result_done(&result);
    return document;
}

static bool is_session(const json_t *session) {
    return frame_position(session).epoch && frame_string(session, "name") &&
           frame_string(session, "status") && frame_string(session, "checksum") &&
           json_object_get(session, "data");
}

static void set_session(struct replica *r, json_t *session) {
    json_decref(r->session);
    r->session = session;
}

bool replica_replace(struct replica *r, json_t *session) {
    struct handoff_position position = frame_position(session);
    if (!is_session(session) || position_is_before(position, r->position))
        return false;
    r->position = position;
    if (!r->follows) {
        set_session(r, json_incref(session));
        r->data_bytes = canonical_size(json_object_get(session, "data"));
    }
    return true;
}

static bool is_sound(const json_t *session) {
    char checksum[HASH_HEX_LEN + 1];
    canonical_checksum(json_object_get(session, "data"), checksum);
    return text_is_same(checksum, frame_string(session, "checksum"));
}

static void copy_member(json_t *to, const char *name, const json_t *from, const char *its_name) {
    json_t *value = json_object_get(from, its_name);
    json_object_set_new(to, name, value ? json_incref(value) : json_null());
}

/* ---- what each event does to a copy; NULL: it does not fit ---- */

static json_t *with_delta(struct replica *r, const json_t *e) {
    json_t *next = replica_apply(r->session, &r->data_bytes, json_object_get(e, "operations"),
                                 r->max_data_bytes, NULL);
    if (!next)
        return NULL;
    if (frame_string(e, "checksum"))
        copy_member(next, "checksum", e, "checksum");
    copy_member(next, "lastModified", e, "timestamp");
    copy_member(next, "modifiedBy", e, "deviceId");
    return next;
}

static bool is_final(const char *status) {
    return text_is_same(status, "completed") || text_is_same(status, "cancelled") ||
           text_is_same(status, "expired");
}

static json_t *with_status(const struct replica *r, const json_t *e) {
    if (!frame_string(e, "to"))
        return NULL;
    json_t *next = json_copy(r->session);
    copy_member(next, "status", e, "to");
    copy_member(next, "activeDeviceId", e, "activeDeviceId");
    if (is_final(frame_string(e, "to")))
        copy_member(next, "completedAt", e, "timestamp");
    return next;
}

static json_t *with_created(struct replica *r, const json_t *e) {
    json_t *session = json_object_get(e, "session");
    if (!session)
        return json_copy(r->session);
    if (!is_session(session))
        return NULL;
    r->data_bytes = canonical_size(json_object_get(session, "data"));
    return json_copy(session);
}

static json_t *with_event(struct replica *r, const json_t *e, const char *type) {
    if (text_is_same(type, "session_created"))
        return with_created(r, e);
    if (text_is_same(type, "state_delta"))
        return with_delta(r, e);
    if (text_is_same(type, "status_changed"))
        return with_status(r, e);
    return json_copy(r->session);
}

static enum replica_taken apply(struct replica *r, const json_t *e, const char *type) {
    json_t *next = with_event(r, e, type);
    if (!next)
        return REPLICA_DRIFT;
    if (json_is_object(json_object_get(e, "clock")))
        copy_member(next, "clock", e, "clock");
    copy_member(next, "version", e, "version");
    copy_member(next, "updatedAt", e, "timestamp");
    set_session(r, next);
    return text_is_same(type, "state_delta") && !is_sound(next) ? REPLICA_DRIFT : REPLICA_APPLIED;
}

enum replica_taken replica_take(struct replica *r, const json_t *e) {
    struct handoff_position at = frame_position(e);
    const char *type = frame_string(e, "type");
    if (!r->position.epoch || at.epoch > r->position.epoch)
        return REPLICA_GAP;
    if (position_is_before(at, r->position) || at.version == r->position.version ||
        !replica_is_versioned(type))
        return REPLICA_OLD;
    if (at.version > r->position.version + 1)
        return REPLICA_GAP;
    enum replica_taken taken = r->follows ? REPLICA_APPLIED : apply(r, e, type);
    if (taken == REPLICA_APPLIED)
        r->position = at;
    return taken;
}
