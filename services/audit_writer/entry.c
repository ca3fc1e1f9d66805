/* From an event to what it says about rows; see entry.h. The envelope was printed by the state
 * engine, so anything of another shape is refused as a whole rather than guessed at. */
#include "services/audit_writer/entry.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/trace.h"
#include "proto/route.h"
#include "proto/text.h"
#include "services/audit_writer/entry_scan.h"

int64_t entry_position(struct position p) {
    return (int64_t)(p.epoch << 32 | p.version);
}

/* ---- Members ---- */

static int take_text(const json_t *object, const char *name, enum text_need need, char *ret,
                     size_t cap, struct fault *f) {
    const char *text = NULL;
    if (json_is_null(json_object_get(object, name)) && need == TEXT_OPTIONAL)
        return 0;
    int r = text_get_string(object, name, need, &text, f);
    if (r || !text)
        return r;
    if (strlen(text) >= cap)
        return (int)fault_set(f, FAULT_INVALID_VALUE, name, "%s is too long", name);
    strcpy(ret, text);
    return 0;
}

static int take_moment(const json_t *object, const char *name, int64_t *ret, struct fault *f) {
    char text[TIMESTAMP_LEN + 1] = "";
    int r = take_text(object, name, TEXT_OPTIONAL, text, sizeof(text), f);
    if (r || !text[0])
        return r;
    if (!timestamp_parse(text, strlen(text), ret))
        return (int)fault_set(f, FAULT_INVALID_VALUE, name, "%s is no moment", name);
    return 0;
}

/* ---- Types ---- */

/* A UUIDv7 begins with the moment when it was made. */
static int64_t moment_of_id(const char *id, int64_t otherwise) {
    if (id[14] != '7')
        return otherwise;
    char digits[13] = "";
    memcpy(digits, id, 8);
    memcpy(digits + 8, id + 9, 4);
    return (int64_t)strtoull(digits, NULL, 16);
}

/* Of a status that has been taken. */
static void take_last_active(struct session_change *c) {
    if (!c->active_device[0])
        return;
    memcpy(c->last_active_device, c->active_device, sizeof(c->last_active_device));
    c->last_active_position = c->status_position;
}

static int take_created(struct session_change *c, const json_t *body, struct fault *f) {
    json_t *s = NULL;
    const char *name = NULL;
    int r;
    if ((r = text_get_object(body, "session", TEXT_REQUIRED, &s, f)) ||
        (r = take_text(s, "userId", TEXT_REQUIRED, c->user_id, sizeof(c->user_id), f)) ||
        (r = take_text(s, "type", TEXT_REQUIRED, c->type, sizeof(c->type), f)) ||
        (r = take_text(s, "onIdle", TEXT_REQUIRED, c->on_idle, sizeof(c->on_idle), f)) ||
        (r = text_get_integer(s, "ttlSeconds", TEXT_REQUIRED, 0, INT_MAX, &c->ttl_seconds, f)) ||
        (r = take_moment(s, "createdAt", &c->created_at, f)) ||
        (r = text_get_string(s, "name", TEXT_REQUIRED, &name, f)) ||
        (r = take_text(s, "status", TEXT_REQUIRED, c->status, sizeof(c->status), f)) ||
        (r = take_text(s, "activeDeviceId", TEXT_OPTIONAL, c->active_device,
                       sizeof(c->active_device), f)) ||
        (r = take_moment(s, "completedAt", &c->completed_at, f)) ||
        (r = take_moment(s, "lastModified", &c->last_modified, f)) ||
        (r = take_text(s, "modifiedBy", TEXT_OPTIONAL, c->modified_by, sizeof(c->modified_by),
                       f)) ||
        (r = take_text(s, "checksum", TEXT_REQUIRED, c->checksum, sizeof(c->checksum), f)))
        return r;
    if (!uuid_is(c->user_id, strlen(c->user_id)))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "userId", "userId is no UUID");
    c->has_created = true;
    c->name = must_strdup(name);
    c->name_position = c->status_position = c->data_position = entry_position(c->position);
    take_last_active(c);
    return change_take_clock(c, s, f);
}

/* The name that the operations leave, as far as they tell: one that is moved or copied there is
 * known to the engine only. */
static void take_name(struct session_change *c, const json_t *operations) {
    const char *name = NULL;
    size_t i;
    const json_t *operation;
    json_array_foreach(operations, i, operation) {
        const char *path = json_string_value(json_object_get(operation, "path"));
        if (path && strcmp(path, "/name") == 0)
            name = json_string_value(json_object_get(operation, "value"));
    }
    if (!name)
        return;
    c->name = must_strdup(name);
    c->name_position = entry_position(c->position);
}

static void note_delta(struct session_change *c, const struct event *e) {
    c->last_modified = e->timestamp;
    memcpy(c->modified_by, e->device_id, sizeof(c->modified_by));
    c->data_position = entry_position(c->position);
}

static int take_delta(struct session_change *c, const struct event *e, const json_t *body,
                      struct fault *f) {
    json_t *operations = NULL;
    int r;
    if ((r = take_text(body, "checksum", TEXT_REQUIRED, c->checksum, sizeof(c->checksum), f)) ||
        (r = text_get_array(body, "operations", TEXT_REQUIRED, &operations, f)))
        return r;
    note_delta(c, e);
    take_name(c, operations);
    return 0;
}

/* After a rebuild data may be older than the row tells; who changed it last, and when, stays. */
static int take_rebuilt(struct session_change *c, const json_t *body, struct fault *f) {
    c->data_position = entry_position(c->position);
    return take_text(body, "checksum", TEXT_REQUIRED, c->checksum, sizeof(c->checksum), f);
}

static int take_status(struct session_change *c, const struct event *e, const json_t *body,
                       struct fault *f) {
    enum session_status status;
    int r;
    if ((r = take_text(body, "to", TEXT_REQUIRED, c->status, sizeof(c->status), f)) ||
        (r = take_text(body, "activeDeviceId", TEXT_OPTIONAL, c->active_device,
                       sizeof(c->active_device), f)))
        return r;
    if (!session_status_parse(c->status, &status))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "to", "to is no status");
    c->completed_at = session_is_final(status) ? e->timestamp : 0;
    c->status_position = entry_position(c->position);
    take_last_active(c);
    return 0;
}

/* Its row in session_events goes without data, which lies in session_snapshots. */
static int take_snapshot(struct entry *e, json_t *body, struct fault *f) {
    char checksum[HASH_HEX_LEN + 1];
    int r = take_text(body, "checksum", TEXT_REQUIRED, checksum, sizeof(checksum), f);
    if (r)
        return r;
    const char *label = NULL;
    if ((r = text_get_string(body, "label", TEXT_OPTIONAL, &label, f)))
        return r;
    if (json_object_del(body, "data"))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "data", "a snapshot has data");
    e->label = label ? must_strdup(label) : NULL;
    struct buf payload = BUF_NULL;
    text_print(body, &payload);
    e->payload = buf_take(&payload);
    return 0;
}

static int take_participant(struct participant_change *p, const json_t *body, struct fault *f) {
    enum session_role role;
    int r;
    if ((r = take_text(body, "participant", TEXT_REQUIRED, p->user_id, sizeof(p->user_id), f)) ||
        (r = take_text(body, "role", TEXT_OPTIONAL, p->role, sizeof(p->role), f)))
        return r;
    if (!uuid_is(p->user_id, strlen(p->user_id)))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "participant", "participant is no UUID");
    if (p->role[0] && !session_role_parse(p->role, &role))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "role", "role is none");
    return 0;
}

static int take_removed(struct device_change *d, const json_t *body, struct fault *f) {
    d->tells_removed = true;
    int r = take_text(body, "device", TEXT_REQUIRED, d->device_id, sizeof(d->device_id), f);
    if (!r && !session_device_is_valid(d->device_id, strlen(d->device_id)))
        r = (int)fault_set(f, FAULT_INVALID_VALUE, "device", "device is no device id");
    return r ? r : text_get_bool(body, "removed", TEXT_REQUIRED, &d->removed, f);
}

static char *copy_member(const json_t *body, const char *name) {
    const char *text = json_string_value(json_object_get(body, name));
    return text && text[0] ? must_strdup(text) : NULL;
}

/* The device that the event is of was there; one that the engine made has none. */
static void take_seen(struct entry *e, const json_t *body) {
    struct device_change *d = &e->device;
    strcpy(d->device_id, e->event.device_id);
    d->was_seen = true;
    if (e->event.type != EVENT_DEVICE_JOINED && e->event.type != EVENT_DEVICE_LEFT)
        return;
    d->name = copy_member(body, "name");
    d->platform = copy_member(body, "platform");
}

static void begin_change(struct entry *e) {
    struct session_change *c = &e->change;
    strcpy(c->id, e->event.session_id);
    c->position = e->event.position;
    c->updated_at = event_is_versioned(e->event.type) ? e->event.timestamp : 0;
    c->created_at = moment_of_id(c->id, e->event.timestamp);
}

static int take(struct entry *e, json_t *body, struct fault *f) {
    struct session_change *c = &e->change;
    begin_change(e);
    int r = change_take_clock(c, body, f);
    if (r)
        return r;
    switch (e->event.type) {
    case EVENT_SESSION_CREATED:
        take_seen(e, body);
        return take_created(c, body, f);
    case EVENT_STATE_DELTA:
        return take_delta(c, &e->event, body, f);
    case EVENT_STATUS_CHANGED:
        take_seen(e, body);
        return take_status(c, &e->event, body, f);
    case EVENT_SESSION_REBUILT:
        return take_rebuilt(c, body, f);
    case EVENT_SESSION_DELETED:
        c->deleted_at = e->event.timestamp;
        return 0;
    case EVENT_SNAPSHOT:
        return take_snapshot(e, body, f);
    case EVENT_PARTICIPANT_CHANGED:
        return take_participant(&e->participant, body, f);
    case EVENT_DEVICE_CHANGED:
        return take_removed(&e->device, body, f);
    case EVENT_DEVICE_JOINED:
    case EVENT_DEVICE_LEFT:
        take_seen(e, body);
        return 0;
    default:
        return 0;
    }
}

/* ---- The whole ---- */

static int check_position(struct position p, struct fault *f) {
    if (p.version > INT_MAX || p.epoch > INT_MAX)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "version", "the position is out of range");
    return 0;
}

static int read_parsed(struct entry *e, struct fault *f) {
    json_auto_t *body = NULL;
    int r = event_parse(e->body, e->body_len, &e->event, &body, f);
    if (!r)
        r = check_position(e->event.position, f);
    if (r)
        return r;
    if (!event_is_durable(e->event.type))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "type", "events of this type are not kept");
    if (event_is_versioned(e->event.type))
        strcpy(e->message_id, e->event.message_id);
    else if (!e->message_id[0])
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "message_id", "there is no message_id");
    return take(e, body, f);
}

static int read_event(struct entry *e, struct fault *f) {
    char checksum[HASH_HEX_LEN + 1];
    if (!entry_scan_delta(e->body, e->body_len, &e->event, checksum))
        return read_parsed(e, f);
    int r = check_position(e->event.position, f);
    if (r)
        return r;
    strcpy(e->message_id, e->event.message_id);
    begin_change(e);
    memcpy(e->change.checksum, checksum, sizeof(checksum));
    note_delta(&e->change, &e->event);
    return 0;
}

static bool is_hash(const char *text) {
    return strlen(text) == HASH_HEX_LEN && strspn(text, "0123456789abcdef") == HASH_HEX_LEN;
}

/* What cannot be is left out: an event is worth keeping without them. */
static void take_headers(struct event *e, const struct bus_message *m) {
    e->trace = m->trace;
    if (uuid_is(m->command_id, strlen(m->command_id)))
        memcpy(e->command_id, m->command_id, sizeof(e->command_id));
    if (!is_hash(m->key_hash) || !is_hash(m->fingerprint))
        return;
    memcpy(e->key_hash, m->key_hash, sizeof(e->key_hash));
    memcpy(e->fingerprint, m->fingerprint, sizeof(e->fingerprint));
}

static void take_barrier(struct entry *e, const struct bus_message *m) {
    e->barrier = must_alloc(sizeof(*e->barrier));
    memcpy(e->barrier->reply_to, m->reply_to, sizeof(e->barrier->reply_to));
    memcpy(e->barrier->correlation_id, m->correlation_id, sizeof(e->barrier->correlation_id));
}

struct entry *entry_new(const struct bus_message *m, uint64_t generation,
                        int64_t now_monotonic_ms) {
    struct entry *e = must_alloc(sizeof(*e));
    e->tag = m->tag;
    e->generation = generation;
    e->arrived_at = now_monotonic_ms;
    if (strcmp(m->type, ROUTE_BARRIER_TYPE) == 0) {
        take_barrier(e, m);
        return e;
    }
    e->body = must_memdup(m->body, m->body_len);
    e->body_len = m->body_len;
    memcpy(e->message_id, m->message_id, sizeof(e->message_id));
    memcpy(e->type, m->type, sizeof(e->type));
    struct fault f = {0};
    if (m->too_large)
        snprintf(e->reason, sizeof(e->reason), "the message is too large to be an event");
    else if (read_event(e, &f))
        snprintf(e->reason, sizeof(e->reason), "%.*s", (int)sizeof(e->reason) - 1, f.detail);
    take_headers(&e->event, m);
    return e;
}

struct entry *entry_free(struct entry *e) {
    if (!e)
        return NULL;
    change_done(&e->change);
    event_done(&e->event);
    span_free(e->span);
    free(e->barrier);
    free(e->label);
    free(e->device.name);
    free(e->device.platform);
    free(e->payload);
    free(e->body);
    free(e);
    return NULL;
}

bool entry_is_row(const struct entry *e) {
    return !e->barrier && !e->reason[0];
}
