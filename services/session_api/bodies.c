/* Request bodies; see bodies.h. A member that is not known is refused: dropping a misspelt one in
 * silence would lose what its writer meant. */
#include "services/session_api/bodies.h"

#include <stdio.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/event.h"
#include "proto/merge.h"
#include "proto/patch.h"
#include "proto/text.h"
#include "services/session_api/handoff_code.h"

static int parse_object(const char *body, size_t len, json_t **ret, struct fault *f) {
    json_auto_t *value = NULL;
    int r = text_parse(body, len, &value, f);
    if (r)
        return r;
    if (!json_is_object(value))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, NULL, "the body must be a JSON object");
    *ret = TAKE_PTR(value);
    return 0;
}

static int refuse_unknown(json_t *object, const char *const *known, size_t n_known,
                          struct fault *f) {
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) {
        size_t i = 0;
        while (i < n_known && strcmp(name, known[i]) != 0)
            i++;
        if (i == n_known)
            return (int)fault_set(f, FAULT_INVALID_REQUEST, name, "there is no member \"%.100s\"",
                                  name);
    }
    return 0;
}

static int refuse_media_type(struct fault *f, const char *allowed) {
    return (int)fault_set(f, FAULT_UNSUPPORTED_MEDIA_TYPE, "Content-Type",
                          "Content-Type must be %s", allowed);
}

/* ---- clock ---- */

/* Says where, as the rest of a clock's faults do: clock.participants.3.color. */
static int refuse_unknown_at(json_t *object, const char *path, const char *const *known,
                             size_t n_known, struct fault *f) {
    int r = refuse_unknown(object, known, n_known, f);
    if (!r)
        return 0;
    char field[sizeof(f->field)];
    int len = snprintf(field, sizeof(field), "%s.%s", path, f->field);
    return (int)fault_set(f, f->code, len < (int)sizeof(field) ? field : path, "%s", f->detail);
}

/* What each level of a clock may have: what is asked for, and what is shown of it. */
static int refuse_unknown_in_clock(json_t *clock, struct fault *f) {
    static const char *const known[] = {"mode",           "totalTimeMs",  "incrementMs",
                                        "timePerCycleMs", "maxTimeMs",    "onTimeout",
                                        "warningsMs",     "participants", "activeParticipantId",
                                        "cycleStartedAt", "cycleCount"};
    static const char *const known_on_timeout[] = {"action"};
    static const char *const known_participant[] = {
        "participantId",   "groupId",    "totalTimeMs", "timeUsedMs",
        "timeRemainingMs", "cycleCount", "isActive",    "hasExpired"};
    size_t i;
    json_t *participant;
    int r = refuse_unknown_at(clock, "clock", known, N_ELEMENTS(known), f);
    if (!r)
        r = refuse_unknown_at(json_object_get(clock, "onTimeout"), "clock.onTimeout",
                              known_on_timeout, N_ELEMENTS(known_on_timeout), f);
    json_array_foreach(json_object_get(clock, "participants"), i, participant) {
        if (r || i == CLOCK_MAX_PARTICIPANTS)
            break;
        char path[40];
        snprintf(path, sizeof(path), "clock.participants.%zu", i);
        r = refuse_unknown_at(participant, path, known_participant, N_ELEMENTS(known_participant),
                              f);
    }
    return r;
}

/* Where the body is the clock itself, its members are named as they were sent. */
static int name_as_sent(int r, struct fault *f) {
    static const char prefix[] = "clock.";
    size_t len = sizeof(prefix) - 1;
    if (r && strncmp(f->field, prefix, len) == 0)
        memmove(f->field, f->field + len, strlen(f->field + len) + 1);
    return r;
}

int bodies_read_clock(enum media_type type, const char *body, size_t len, struct command *c,
                      struct fault *f) {
    json_auto_t *object = NULL;
    int r;
    if (type != MEDIA_JSON)
        return refuse_media_type(f, "application/json");
    if ((r = parse_object(body, len, &object, f)))
        return r;
    r = refuse_unknown_in_clock(object, f);
    return name_as_sent(r ? r : command_take_clock(object, c, f), f);
}

/* ---- create ---- */

static int check_data(const json_t *data, struct fault *f) {
    if (!data)
        return 0;
    if (text_depth(data, SESSION_DATA_MAX_DEPTH) > SESSION_DATA_MAX_DEPTH)
        return (int)fault_set(f, FAULT_STATE_TOO_LARGE, "data", "data has more than %d levels",
                              SESSION_DATA_MAX_DEPTH);
    size_t size = canonical_size(data);
    if (size > SESSION_DATA_MAX_BYTES)
        return (int)fault_set(f, FAULT_STATE_TOO_LARGE, "data",
                              "data has %zu bytes in canonical form; at most %u", size,
                              SESSION_DATA_MAX_BYTES);
    return 0;
}

int bodies_read_create(enum media_type type, const char *body, size_t len, struct command *c,
                       struct fault *f) {
    static const char *const known[] = {"name",       "type",   "data", "status",
                                        "ttlSeconds", "onIdle", "clock"};
    json_auto_t *object = NULL;
    int r;
    if (type != MEDIA_JSON)
        return refuse_media_type(f, "application/json");
    if ((r = parse_object(body, len, &object, f)) ||
        (r = refuse_unknown(object, known, N_ELEMENTS(known), f)) ||
        (r = refuse_unknown_in_clock(json_object_get(object, "clock"), f)) ||
        (r = command_take_create(object, c, f)))
        return r;
    if (!c->ttl_seconds)
        c->ttl_seconds = SESSION_TTL_DEFAULT_S;
    return check_data(c->data, f);
}

/* ---- broadcast ---- */

int bodies_read_broadcast(enum media_type type, const char *body, size_t len, json_t **ret_message,
                          bool *ret_echo, struct fault *f) {
    static const char *const known[] = {"message", "echo"};
    json_auto_t *object = NULL;
    bool echo = false;
    int r;
    if (type != MEDIA_JSON)
        return refuse_media_type(f, "application/json");
    if ((r = parse_object(body, len, &object, f)) ||
        (r = refuse_unknown(object, known, N_ELEMENTS(known), f)) ||
        (r = text_get_bool(object, "echo", TEXT_OPTIONAL, &echo, f)))
        return r;
    json_t *message = json_object_get(object, "message");
    if (!message)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "message", "message is missing");
    r = event_broadcast_check(message, f);
    if (r)
        return r;
    *ret_message = json_incref(message);
    *ret_echo = echo;
    return 0;
}

/* ---- patch ---- */

static int read_envelope(const char *body, size_t len, struct command *c, struct fault *f) {
    static const char *const known[] = {"baseVersion", "epoch", "operations", "checksum", "merge"};
    json_auto_t *object = NULL;
    int r;
    if ((r = parse_object(body, len, &object, f)) ||
        (r = refuse_unknown(object, known, N_ELEMENTS(known), f)) ||
        (r = command_take_patch(object, c, f)))
        return r;
    return patch_check(c->patch, f);
}

static int read_operations(const char *body, size_t len, struct command *c, struct fault *f) {
    json_auto_t *operations = NULL;
    int r;
    if ((r = text_parse(body, len, &operations, f)) || (r = patch_check(operations, f)))
        return r;
    c->format = COMMAND_PATCH_OPERATIONS;
    c->patch = TAKE_PTR(operations);
    return 0;
}

static int read_merge_patch(const char *body, size_t len, struct command *c, struct fault *f) {
    json_auto_t *patch = NULL;
    int r;
    if ((r = text_parse(body, len, &patch, f)) || (r = merge_check(patch, f)))
        return r;
    c->format = COMMAND_PATCH_MERGE;
    c->patch = TAKE_PTR(patch);
    return 0;
}

int bodies_read_patch(enum media_type type, const char *body, size_t len, struct command *c,
                      struct fault *f) {
    switch (type) {
    case MEDIA_JSON:
        return read_envelope(body, len, c, f);
    case MEDIA_JSON_PATCH:
        return read_operations(body, len, c, f);
    case MEDIA_MERGE_PATCH:
        return read_merge_patch(body, len, c, f);
    case MEDIA_OTHER:
        break;
    }
    return refuse_media_type(f, "application/json-patch+json, application/merge-patch+json or "
                                "application/json");
}

/* ---- snapshot, restore, participant, switch, adjustment ---- */

static int read_members(enum media_type type, const char *body, size_t len,
                        const char *const *known, size_t n_known, json_t **ret, struct fault *f) {
    json_auto_t *object = NULL;
    int r;
    if (type != MEDIA_JSON)
        return refuse_media_type(f, "application/json");
    if ((r = parse_object(body, len, &object, f)) ||
        (r = refuse_unknown(object, known, n_known, f)))
        return r;
    *ret = TAKE_PTR(object);
    return 0;
}

int bodies_read_snapshot(enum media_type type, const char *body, size_t len, struct command *c,
                         struct fault *f) {
    static const char *const known[] = {"label"};
    json_auto_t *object = NULL;
    if (len == 0)
        return 0;
    int r = read_members(type, body, len, known, N_ELEMENTS(known), &object, f);
    return r ? r : command_take_label(object, c, f);
}

int bodies_read_restore(enum media_type type, const char *body, size_t len, struct command *c,
                        struct fault *f) {
    static const char *const known[] = {"version", "epoch"};
    json_auto_t *object = NULL;
    int64_t version = 0, epoch = 0;
    int r = read_members(type, body, len, known, N_ELEMENTS(known), &object, f);
    if (r ||
        (r = text_get_integer(object, "version", TEXT_REQUIRED, 1, TEXT_INTEGER_MAX, &version,
                              f)) ||
        (r = text_get_integer(object, "epoch", TEXT_OPTIONAL, 1, TEXT_INTEGER_MAX, &epoch, f)))
        return r;
    c->restored = (struct position){(uint64_t)version, (uint64_t)epoch};
    return 0;
}

int bodies_read_participant(enum media_type type, const char *body, size_t len, struct command *c,
                            struct fault *f) {
    static const char *const known[] = {"role"};
    json_auto_t *object = NULL;
    int r = read_members(type, body, len, known, N_ELEMENTS(known), &object, f);
    return r ? r : command_take_role(object, c, f);
}

int bodies_read_switch(enum media_type type, const char *body, size_t len, struct command *c,
                       struct fault *f) {
    static const char *const known[] = {"nextParticipantId", "currentParticipantId"};
    json_auto_t *object = NULL;
    if (len == 0)
        return 0;
    int r = read_members(type, body, len, known, N_ELEMENTS(known), &object, f);
    return r ? r : command_take_switch(object, c, f);
}

int bodies_read_adjust(enum media_type type, const char *body, size_t len, struct command *c,
                       struct fault *f) {
    static const char *const known[] = {"adjustMs", "reason"};
    json_auto_t *object = NULL;
    int r = read_members(type, body, len, known, N_ELEMENTS(known), &object, f);
    return r ? r : command_take_adjust(object, c, f);
}

/* ---- handoff codes ---- */

int bodies_read_offer(enum media_type type, const char *body, size_t len,
                      enum session_role *ret_role, int64_t *ret_ttl_s, struct fault *f) {
    static const char *const known[] = {"role", "ttlSeconds"};
    json_auto_t *object = NULL;
    const char *name = "owner";
    enum session_role role = SESSION_ROLE_OWNER;
    int64_t ttl_s = HANDOFF_TTL_DEFAULT_S;
    int r = len ? read_members(type, body, len, known, N_ELEMENTS(known), &object, f) : 0;
    if (r || (r = text_get_string(object, "role", TEXT_OPTIONAL, &name, f)) ||
        (r = text_get_integer(object, "ttlSeconds", TEXT_OPTIONAL, HANDOFF_TTL_MIN_S,
                              HANDOFF_TTL_MAX_S, &ttl_s, f)))
        return r;
    if (strcmp(name, session_role_name(SESSION_ROLE_OWNER)) != 0 &&
        !session_role_parse(name, &role))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "role",
                              "role must be owner, editor or viewer");
    *ret_role = role;
    *ret_ttl_s = ttl_s;
    return 0;
}

/* As a WebSocket's auth has it. */
static int check_said(const json_t *device, const char *name, size_t max_bytes, struct fault *f) {
    const char *said = "";
    int r = text_get_string(device, name, TEXT_OPTIONAL, &said, f);
    size_t len = strlen(said);
    if (r)
        return r;
    if (len > max_bytes || text_has_controls(said, len))
        return (int)fault_set(f, FAULT_INVALID_VALUE, name,
                              "%s has at most %zu bytes, and no control characters", name,
                              max_bytes);
    return 0;
}

static int read_device(const json_t *body, const char **ret_id, struct fault *f) {
    static const char *const known[] = {"id", "name", "platform"};
    json_t *device = NULL;
    int r = text_get_object(body, "device", TEXT_OPTIONAL, &device, f);
    if (r || !device)
        return r;
    if ((r = refuse_unknown(device, known, N_ELEMENTS(known), f)) ||
        (r = text_get_string(device, "id", TEXT_OPTIONAL, ret_id, f)) ||
        (r = check_said(device, "name", SESSION_DEVICE_NAME_MAX_BYTES, f)) ||
        (r = check_said(device, "platform", SESSION_DEVICE_PLATFORM_MAX_BYTES, f)))
        return r;
    if (**ret_id && !session_device_is_valid(*ret_id, strlen(*ret_id)))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "id",
                              "a device has 1 to %d of A-Z a-z 0-9 . _ : -", SESSION_DEVICE_MAX);
    return 0;
}

int bodies_read_redeem(enum media_type type, const char *body, size_t len,
                       char ret_hash[static HASH_HEX_LEN + 1],
                       char ret_device[static SESSION_DEVICE_MAX + 1], struct fault *f) {
    static const char *const known[] = {"code", "device"};
    json_auto_t *object = NULL;
    const char *code = NULL, *id = "";
    int r = read_members(type, body, len, known, N_ELEMENTS(known), &object, f);
    if (r || (r = text_get_string(object, "code", TEXT_REQUIRED, &code, f)) ||
        (r = read_device(object, &id, f)))
        return r;
    hash_sha256_hex(code, strlen(code), ret_hash);
    memcpy(ret_device, id, strlen(id) + 1);
    return 0;
}
