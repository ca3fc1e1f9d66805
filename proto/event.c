/* Events; see event.h. Each body is one envelope and then what its type adds. Those of clocks are
 * in event_clock.c. */
#include "proto/event.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/event_private.h"
#include "proto/text.h"

#define BODY_ROOM 512 /* most deltas */

static const struct event_row {
    const char *type;
    const char *kind;
    bool versioned;
    bool durable;
    bool devices;
} rows[EVENT_N_TYPES] = {
#define EVENT_ROW(name, type, kind, versioned, durable, devices)                                   \
    [name] = {type, kind, versioned, durable, devices},
    EVENTS(EVENT_ROW)
#undef EVENT_ROW
};

const char *event_type_name(enum event_type type) {
    return rows[type].type;
}

const char *event_kind(enum event_type type) {
    return rows[type].kind;
}

bool event_is_versioned(enum event_type type) {
    return rows[type].versioned;
}

bool event_is_durable(enum event_type type) {
    return rows[type].durable;
}

bool event_goes_to_devices(enum event_type type) {
    return rows[type].devices;
}

bool event_type_parse(const char *type, size_t len, enum event_type *ret) {
    for (size_t i = 0; i < EVENT_N_TYPES; i++)
        if (strlen(rows[i].type) == len && memcmp(rows[i].type, type, len) == 0) {
            *ret = (enum event_type)i;
            return true;
        }
    return false;
}

void event_done(struct event *e) {
    if (!e)
        return;
    free(e->body);
    *e = (struct event){0};
}

/* ---- Printing ---- */

void event_put_null_or_text(struct buf *out, const char *text) {
    if (text[0])
        buf_puts_json(out, text);
    else
        buf_puts(out, "null");
}

/* Without printf, which took half of the time that an event takes. */
static void name_versioned(struct event *e) {
    _Static_assert(EVENT_MESSAGE_ID_CAP > UUID_LEN + 2 + 2 * BUF_DIGITS_MAX, "a name fits");
    char *at = e->message_id;
    memcpy(at, e->session_id, strlen(e->session_id));
    at += strlen(e->session_id);
    *at++ = ':';
    at += buf_digits(e->position.epoch, at);
    *at++ = ':';
    at += buf_digits(e->position.version, at);
    *at = '\0';
}

static void name_rebuilt(struct event *e) {
    char name[UUID_LEN + 64];
    int len = snprintf(name, sizeof(name), "%s:%" PRIu64 ":%" PRIu64 ":rebuilt", e->session_id,
                       e->position.epoch, e->position.version);
    event_derive_id(name, (size_t)len, e->message_id);
}

static void copy_text(char *ret, size_t cap, const char *text) {
    size_t len = strnlen(text, cap - 1);
    memcpy(ret, text, len);
    ret[len] = '\0';
}

void event_begin_envelope(struct event *e, struct buf *out, const struct event_envelope *given) {
    enum event_type type = given->type;
    *e = (struct event){.type = type, .position = given->position, .timestamp = given->moment};
    copy_text(e->session_id, sizeof(e->session_id), given->session_id);
    copy_text(e->user_id, sizeof(e->user_id), given->user_id);
    copy_text(e->device_id, sizeof(e->device_id), given->device_id);
    if (event_is_versioned(type))
        name_versioned(e);
    char moment[TIMESTAMP_LEN + 1];
    timestamp_print(e->timestamp, moment);
    buf_reserve(out, BODY_ROOM);
    buf_puts(out, "{\"type\":\"");
    buf_puts(out, event_type_name(type));
    buf_puts(out, "\",\"sessionId\":\"");
    buf_puts(out, e->session_id);
    buf_puts(out, "\",\"epoch\":");
    buf_put_u64(out, e->position.epoch);
    buf_puts(out, ",\"version\":");
    buf_put_u64(out, e->position.version);
    buf_puts(out, ",\"timestamp\":\"");
    buf_put(out, moment, TIMESTAMP_LEN);
    buf_puts(out, "\",\"userId\":\"");
    buf_puts(out, e->user_id);
    buf_puts(out, "\",\"deviceId\":");
    event_put_null_or_text(out, e->device_id);
}

void event_begin(struct event *e, struct buf *out, enum event_type type, const struct session *s,
                 const char *user_id, const char *device_id) {
    struct event_envelope envelope = {type, s->id, s->position, s->updated_at, user_id, device_id};
    event_begin_envelope(e, out, &envelope);
}

void event_end(struct event *e, struct buf *out) {
    buf_putc(out, '}');
    e->body_len = out->len;
    e->body = buf_take(out);
}

void event_session_created(const struct session *s, const char *device_id, struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_SESSION_CREATED, s, s->user_id, device_id);
    buf_puts(&out, ",\"session\":");
    session_print(s, SESSION_ROLE_OWNER, &out);
    event_end(ret, &out);
}

void event_state_delta(const struct session *s, const char *user_id, const char *device_id,
                       uint64_t base_version, const json_t *operations, bool rebased,
                       struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_STATE_DELTA, s, user_id, device_id);
    buf_puts(&out, ",\"baseVersion\":");
    buf_put_u64(&out, base_version);
    buf_puts(&out, ",\"operations\":");
    text_print(operations, &out);
    buf_puts(&out, ",\"checksum\":");
    buf_puts_json(&out, s->checksum);
    if (rebased)
        buf_puts(&out, ",\"rebased\":true");
    event_end(ret, &out);
}

void event_status_changed(const struct session *s, const char *user_id, const char *device_id,
                          enum session_status from, const char *reason, struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_STATUS_CHANGED, s, user_id, device_id);
    buf_printf(&out,
               ",\"from\":\"%s\",\"to\":\"%s\",\"activeDeviceId\":", session_status_name(from),
               session_status_name(s->status));
    event_put_null_or_text(&out, s->active_device);
    buf_puts(&out, ",\"reason\":");
    buf_puts_json(&out, reason);
    event_put_clock(s, &out);
    event_end(ret, &out);
}

void event_session_deleted(const struct session *s, const char *user_id, const char *device_id,
                           struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_SESSION_DELETED, s, user_id, device_id);
    event_end(ret, &out);
}

void event_set_message_id(struct event *e, const char *message_id) {
    copy_text(e->message_id, sizeof(e->message_id), message_id);
}

void event_snapshot(const struct session *s, const char *message_id, struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_SNAPSHOT, s, s->user_id, "");
    event_set_message_id(ret, message_id);
    buf_puts(&out, ",\"data\":");
    buf_put(&out, s->data_text, s->data_len);
    buf_puts(&out, ",\"checksum\":");
    buf_puts_json(&out, s->checksum);
    event_end(ret, &out);
}

void event_labelled_snapshot(const struct session *s, const char *user_id, const char *device_id,
                             int64_t now, const char *label, const char *message_id,
                             struct event *ret) {
    struct buf out = BUF_NULL;
    struct event_envelope envelope = {EVENT_SNAPSHOT, s->id, s->position, now, user_id, device_id};
    event_begin_envelope(ret, &out, &envelope);
    event_set_message_id(ret, message_id);
    buf_puts(&out, ",\"data\":");
    buf_put(&out, s->data_text, s->data_len);
    buf_puts(&out, ",\"checksum\":");
    buf_puts_json(&out, s->checksum);
    if (label) {
        buf_puts(&out, ",\"label\":");
        buf_puts_json(&out, label);
    }
    event_end(ret, &out);
}

void event_participant_changed(const struct session *s, const char *user_id, const char *device_id,
                               const char *participant, enum session_role role, struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_PARTICIPANT_CHANGED, s, user_id, device_id);
    buf_printf(&out, ",\"participant\":\"%s\",\"role\":", participant);
    event_put_null_or_text(&out, role == SESSION_ROLE_NONE ? "" : session_role_name(role));
    event_end(ret, &out);
}

void event_device_changed(const struct session *s, const char *user_id, const char *device_id,
                          const char *device, bool removed, struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_DEVICE_CHANGED, s, user_id, device_id);
    buf_puts(&out, ",\"device\":");
    buf_puts_json(&out, device);
    buf_puts(&out, removed ? ",\"removed\":true" : ",\"removed\":false");
    event_end(ret, &out);
}

void event_derive_id(const char *text, size_t len, char ret[static UUID_LEN + 1]) {
    char hex[HASH_HEX_LEN + 1];
    hash_sha256_hex(text, len, hex);
    snprintf(ret, UUID_LEN + 1, "%.8s-%.4s-8%.3s-8%.3s-%.12s", hex, hex + 8, hex + 12, hex + 15,
             hex + 18);
}

void event_session_rebuilt(const struct session *s, int64_t now, struct event *ret) {
    struct buf out = BUF_NULL;
    struct event_envelope envelope = {
        EVENT_SESSION_REBUILT, s->id, s->position, now, s->user_id, ""};
    event_begin_envelope(ret, &out, &envelope);
    name_rebuilt(ret);
    buf_puts(&out, ",\"checksum\":");
    buf_puts_json(&out, s->checksum);
    event_end(ret, &out);
}

/* The type comes first; see event_begin_envelope. */
bool event_tells_rebuilt(const char *body, size_t len) {
    static const char begin[] = "{\"type\":\"session_rebuilt\"";
    return len >= sizeof(begin) - 1 && memcmp(body, begin, sizeof(begin) - 1) == 0;
}

static void derive_message_id(struct event *e) {
    char name[2 * UUID_LEN + SESSION_DEVICE_MAX + 64];
    int len = snprintf(name, sizeof(name), "%s\n%s\n%s\n%" PRId64, e->session_id, e->device_id,
                       event_type_name(e->type), e->timestamp);
    event_derive_id(name, (size_t)len, e->message_id);
}

void event_presence(const struct event_presence *p, struct event *ret) {
    struct buf out = BUF_NULL;
    struct event_envelope envelope = {p->type,   p->session_id, p->position,
                                      p->moment, p->user_id,    p->device_id};
    event_begin_envelope(ret, &out, &envelope);
    derive_message_id(ret);
    buf_puts(&out, ",\"activeDeviceId\":");
    event_put_null_or_text(&out, p->active_device);
    buf_puts(&out, ",\"name\":");
    event_put_null_or_text(&out, p->name);
    buf_puts(&out, ",\"platform\":");
    event_put_null_or_text(&out, p->platform);
    buf_puts(&out, ",\"deviceCount\":");
    buf_put_u64(&out, p->n_devices);
    event_end(ret, &out);
}

int event_broadcast_check(const json_t *message, struct fault *f) {
    _cleanup_(buf_done) struct buf text = BUF_NULL;
    if (text_depth(message, EVENT_BROADCAST_MAX_DEPTH) > EVENT_BROADCAST_MAX_DEPTH)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "message", "message has more than %d levels",
                              EVENT_BROADCAST_MAX_DEPTH);
    text_print(message, &text);
    if (text.len > EVENT_BROADCAST_MAX_BYTES)
        return (int)fault_set(f, FAULT_BODY_TOO_LARGE, "message",
                              "message has %zu bytes as compact JSON; at most %u", text.len,
                              EVENT_BROADCAST_MAX_BYTES);
    return 0;
}

void event_broadcast(const struct event_broadcast *b, struct event *ret) {
    struct buf out = BUF_NULL;
    char message_id[UUID_LEN + 1];
    struct event_envelope envelope = {EVENT_BROADCAST, b->session_id, b->position,
                                      b->moment,       b->user_id,    b->device_id};
    event_begin_envelope(ret, &out, &envelope);
    uuid_v4(message_id);
    event_set_message_id(ret, message_id);
    buf_puts(&out, ",\"message\":");
    text_print(b->message, &out);
    event_end(ret, &out);
}

/* ---- Parsing ---- */

static int bad_member(struct fault *f, const char *name, const char *what) {
    return (int)fault_set(f, FAULT_INVALID_REQUEST, name, "%s must be %s", name, what);
}

static int parse_type(const json_t *object, struct event *e, struct fault *f) {
    const char *type = NULL;
    int r = text_get_string(object, "type", TEXT_REQUIRED, &type, f);
    if (r)
        return r;
    return event_type_parse(type, strlen(type), &e->type)
               ? 0
               : bad_member(f, "type", "a type of event that Handoff knows");
}

static int parse_uuid(const json_t *object, const char *name, char ret[static UUID_LEN + 1],
                      struct fault *f) {
    const char *text = NULL;
    int r = text_get_string(object, name, TEXT_REQUIRED, &text, f);
    if (r)
        return r;
    if (!uuid_is(text, strlen(text)))
        return bad_member(f, name, "a UUID in lower case");
    memcpy(ret, text, UUID_LEN + 1);
    return 0;
}

static int parse_count(const json_t *object, const char *name, uint64_t *ret, struct fault *f) {
    int64_t number = 0;
    if (text_get_integer(object, name, TEXT_REQUIRED, 1, TEXT_INTEGER_MAX, &number, f))
        return bad_member(f, name, "a whole number from 1");
    *ret = (uint64_t)number;
    return 0;
}

static int parse_timestamp(const json_t *object, struct event *e, struct fault *f) {
    const char *text = NULL;
    int r = text_get_string(object, "timestamp", TEXT_REQUIRED, &text, f);
    if (r)
        return r;
    return timestamp_parse(text, strlen(text), &e->timestamp)
               ? 0
               : bad_member(f, "timestamp", "a moment such as 2026-02-12T12:00:00.000Z");
}

static int parse_device(const json_t *object, struct event *e, struct fault *f) {
    const json_t *member = json_object_get(object, "deviceId");
    if (json_is_null(member))
        return 0;
    const char *device = json_string_value(member);
    if (!device || !session_device_is_valid(device, json_string_length(member)))
        return bad_member(f, "deviceId", "a device id or null");
    copy_text(e->device_id, sizeof(e->device_id), device);
    return 0;
}

static int parse_envelope(const json_t *object, struct event *e, struct fault *f) {
    int r;
    if ((r = parse_type(object, e, f)) || (r = parse_uuid(object, "sessionId", e->session_id, f)) ||
        (r = parse_count(object, "epoch", &e->position.epoch, f)) ||
        (r = parse_count(object, "version", &e->position.version, f)) ||
        (r = parse_timestamp(object, e, f)) || (r = parse_uuid(object, "userId", e->user_id, f)) ||
        (r = parse_device(object, e, f)))
        return r;
    if (event_is_versioned(e->type))
        name_versioned(e);
    if (e->type == EVENT_SESSION_REBUILT)
        name_rebuilt(e);
    return 0;
}

int event_parse(const char *body, size_t len, struct event *ret, json_t **ret_json,
                struct fault *f) {
    json_auto_t *object = NULL;
    int r = text_parse(body, len, &object, f);
    if (r)
        return r;
    if (!json_is_object(object))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, NULL, "an event is a JSON object");
    struct event e = {0};
    r = parse_envelope(object, &e, f);
    if (r)
        return r;
    *ret = e;
    if (ret_json)
        *ret_json = TAKE_PTR(object);
    return 0;
}
