/* Parses the messages of clients, each with the members that contract section 4 gives its type;
 * members that are not known are ignored, as the contract may grow. */
#include "services/ws_fanout/protocol.h"

#include <string.h>

#include "proto/event.h"
#include "proto/patch.h"
#include "proto/text.h"

typedef int parse_fn(const json_t *object, struct protocol_message *m, struct fault *f);

void protocol_message_done(struct protocol_message *m) {
    command_done(&m->command);
    json_decref(m->json);
    *m = (struct protocol_message){0};
}

static int take_id(const json_t *object, struct protocol_message *m, struct fault *f) {
    const char *id = "";
    int r = text_get_string(object, "id", TEXT_OPTIONAL, &id, f);
    if (r)
        return r;
    if (text_n_characters(id, strlen(id)) > PROTOCOL_ID_MAX_CHARACTERS)
        return fault_set(f, FAULT_INVALID_REQUEST, "id", "id has at most %d characters",
                         PROTOCOL_ID_MAX_CHARACTERS);
    memcpy(m->id, id, strlen(id) + 1);
    return 0;
}

static int take_session(const json_t *object, struct protocol_message *m, struct fault *f) {
    const char *id = NULL;
    int r = text_get_string(object, "sessionId", TEXT_REQUIRED, &id, f);
    if (r)
        return r;
    if (!uuid_is(id, strlen(id)))
        return fault_set(f, FAULT_NOT_FOUND, "sessionId", "no session has such an id");
    memcpy(m->session_id, id, UUID_LEN + 1);
    return 0;
}

/* What a device says of itself; other people get to read it. */
static int take_said(const json_t *device, const char *name, size_t max_bytes, const char **ret,
                     struct fault *f) {
    const char *said = "";
    int r = text_get_string(device, name, TEXT_OPTIONAL, &said, f);
    if (r)
        return r;
    size_t len = strlen(said);
    if (len > max_bytes)
        return fault_set(f, FAULT_INVALID_VALUE, name, "%s has at most %zu bytes", name, max_bytes);
    if (text_has_controls(said, len))
        return fault_set(f, FAULT_INVALID_VALUE, name, "%s has no control characters", name);
    *ret = len ? said : NULL;
    return 0;
}

static int parse_auth(const json_t *object, struct protocol_message *m, struct fault *f) {
    json_t *device = NULL;
    int r = text_get_string(object, "token", TEXT_REQUIRED, &m->token, f);
    if (!r)
        r = text_get_object(object, "device", TEXT_OPTIONAL, &device, f);
    if (!r && device)
        r = take_said(device, "name", SESSION_DEVICE_NAME_MAX_BYTES, &m->device_name, f);
    if (!r && device)
        r = take_said(device, "platform", SESSION_DEVICE_PLATFORM_MAX_BYTES, &m->device_platform,
                      f);
    return r;
}

static int parse_subscribe(const json_t *object, struct protocol_message *m, struct fault *f) {
    int64_t since = -1, epoch = 0;
    int r = take_session(object, m, f);
    if (!r)
        r = text_get_integer(object, "since", TEXT_OPTIONAL, 0, TEXT_INTEGER_MAX, &since, f);
    if (!r)
        r = text_get_integer(object, "epoch", TEXT_OPTIONAL, 1, TEXT_INTEGER_MAX, &epoch, f);
    if (r)
        return r;
    if (epoch && since < 0)
        return fault_set(f, FAULT_INVALID_REQUEST, "epoch", "epoch needs since beside it");
    m->has_since = since >= 0;
    m->since = (struct position){.version = m->has_since ? (uint64_t)since : 0,
                                 .epoch = epoch ? (uint64_t)epoch : 1};
    return 0;
}

static int take_key(const json_t *object, struct protocol_message *m, struct fault *f) {
    const char *key = NULL;
    int r = text_get_string(object, "key", TEXT_OPTIONAL, &key, f);
    if (r || !key)
        return r;
    size_t len = strlen(key);
    if (!command_key_is_valid(key, len))
        return fault_set(f, FAULT_INVALID_REQUEST, "key", "key has 1 to %d printable characters",
                         COMMAND_KEY_MAX);
    memcpy(m->command.key, key, len + 1);
    return 0;
}

static int parse_patch(const json_t *object, struct protocol_message *m, struct fault *f) {
    struct command *c = &m->command;
    c->kind = COMMAND_PATCH;
    int r = take_session(object, m, f);
    if (!r)
        r = take_key(object, m, f);
    if (!r)
        r = command_take_patch(object, c, f);
    return r ? r : patch_check(c->patch, f);
}

static int parse_status(const json_t *object, struct protocol_message *m, struct fault *f) {
    const char *status = NULL;
    struct command *c = &m->command;
    c->kind = COMMAND_STATUS;
    int r = take_session(object, m, f);
    if (!r)
        r = take_key(object, m, f);
    if (!r)
        r = text_get_string(object, "status", TEXT_REQUIRED, &status, f);
    return r ? r : command_take_status(status, c, f);
}

static int parse_switch(const json_t *object, struct protocol_message *m, struct fault *f) {
    struct command *c = &m->command;
    c->kind = COMMAND_SWITCH;
    int r = take_session(object, m, f);
    if (!r)
        r = take_key(object, m, f);
    if (!r)
        r = command_take_base(object, c, f);
    return r ? r : command_take_switch(object, c, f);
}

static int parse_heartbeat(const json_t *object, struct protocol_message *m, struct fault *f) {
    m->command.kind = COMMAND_HEARTBEAT;
    return take_session(object, m, f);
}

static int parse_broadcast(const json_t *object, struct protocol_message *m, struct fault *f) {
    int r = take_session(object, m, f);
    if (!r)
        r = text_get_bool(object, "echo", TEXT_OPTIONAL, &m->echo, f);
    if (r)
        return r;
    m->message = json_object_get(object, "message");
    if (!m->message)
        return fault_set(f, FAULT_INVALID_REQUEST, "message", "message is missing");
    return event_broadcast_check(m->message, f);
}

static int parse_ping(const json_t *object, struct protocol_message *m, struct fault *f) {
    (void)object, (void)m, (void)f;
    return 0;
}

static const struct {
    const char *name;
    parse_fn *parse;
} types[PROTOCOL_N_TYPES] = {
    [PROTOCOL_AUTH] = {"auth", parse_auth},
    [PROTOCOL_SUBSCRIBE] = {"subscribe", parse_subscribe},
    [PROTOCOL_UNSUBSCRIBE] = {"unsubscribe", take_session},
    [PROTOCOL_PATCH] = {"patch", parse_patch},
    [PROTOCOL_STATUS] = {"status", parse_status},
    [PROTOCOL_SWITCH] = {"switch", parse_switch},
    [PROTOCOL_HEARTBEAT] = {"heartbeat", parse_heartbeat},
    [PROTOCOL_BROADCAST] = {"broadcast", parse_broadcast},
    [PROTOCOL_PING] = {"ping", parse_ping},
};

const char *protocol_type_name(enum protocol_type type) {
    return types[type].name;
}

static int parse_typed(const json_t *object, struct protocol_message *m, struct fault *f) {
    const char *type = NULL;
    int r = text_get_string(object, "type", TEXT_REQUIRED, &type, f);
    if (r)
        return r;
    for (size_t i = 0; i < N_ELEMENTS(types); i++) {
        if (strcmp(type, types[i].name) != 0)
            continue;
        m->type = (enum protocol_type)i;
        m->traceparent = json_string_value(json_object_get(object, "traceparent"));
        r = types[i].parse(object, m, f);
        memcpy(m->command.session_id, m->session_id, sizeof(m->command.session_id));
        return r;
    }
    return fault_set(f, FAULT_INVALID_REQUEST, "type",
                     "type is auth, subscribe, unsubscribe, patch, status, switch, heartbeat, "
                     "broadcast or ping");
}

int protocol_parse(const char *text, size_t len, struct protocol_message *ret, struct fault *f) {
    *ret = (struct protocol_message){.type = PROTOCOL_N_TYPES};
    int r = text_parse(text, len, &ret->json, f);
    if (r)
        return r;
    if (!json_is_object(ret->json))
        return fault_set(f, FAULT_INVALID_REQUEST, NULL, "a message is a JSON object");
    r = take_id(ret->json, ret, f);
    return r ? r : parse_typed(ret->json, ret, f);
}
