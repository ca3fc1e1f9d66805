/* Commands: printing and fingerprints; see command.h. Reading them is command_parse.c. */
#include "proto/command.h"

#include <inttypes.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/command_names.h"
#include "proto/text.h"

void command_done(struct command *c) {
    if (!c)
        return;
    free(c->name);
    free(c->label);
    json_decref(c->data);
    json_decref(c->patch);
    if (c->clock)
        clock_done(c->clock);
    free(c->clock);
    json_decref(c->clock_request);
    free(c->reason);
    *c = (struct command){0};
}

const char *command_kind_name(enum command_kind kind) {
    return command_kind_names[kind];
}

/* ---- Printing ---- */

static void put_name(struct buf *out, const char *name) {
    buf_puts(out, ",\"");
    buf_puts(out, name);
    buf_puts(out, "\":");
}

static void put_text(struct buf *out, const char *name, const char *value) {
    put_name(out, name);
    buf_puts_json(out, value);
}

static void put_text_if_any(struct buf *out, const char *name, const char *value) {
    if (value[0])
        put_text(out, name, value);
}

static void put_number(struct buf *out, const char *name, int64_t value) {
    put_name(out, name);
    buf_put_i64(out, value);
}

static void put_json(struct buf *out, const char *name, const json_t *value) {
    put_name(out, name);
    text_print(value, out);
}

static void put_scope(struct buf *out, unsigned rights) {
    const char *separator = "";
    buf_puts(out, ",\"scope\":[");
    for (unsigned i = 0; i < COMMAND_N_RIGHTS; i++) {
        if (!(rights & 1u << i))
            continue;
        buf_puts(out, separator);
        buf_puts_json(out, command_right_names[i]);
        separator = ",";
    }
    buf_putc(out, ']');
}

static void put_base(struct buf *out, const struct command *c) {
    if (c->if_match_any) {
        put_text(out, "ifMatch", "*");
    } else if (c->n_if_match) {
        buf_puts(out, ",\"ifMatch\":[");
        for (size_t i = 0; i < c->n_if_match; i++)
            buf_printf(out, "%s{\"version\":%" PRIu64 ",\"epoch\":%" PRIu64 "}", i ? "," : "",
                       c->if_match[i].version, c->if_match[i].epoch);
        buf_putc(out, ']');
    }
    if (c->has_base) {
        put_number(out, "baseVersion", (int64_t)c->base.version);
        put_number(out, "epoch", (int64_t)c->base.epoch);
    }
}

static void put_create(struct buf *out, const struct command *c) {
    put_text(out, "name", c->name ? c->name : "");
    put_text(out, "type", c->type);
    put_text(out, "status", session_status_name(c->status));
    if (c->data)
        put_json(out, "data", c->data);
    if (c->ttl_seconds)
        put_number(out, "ttlSeconds", c->ttl_seconds);
    put_text(out, "onIdle", session_on_idle_name(c->on_idle));
    if (c->clock)
        put_json(out, "clock", c->clock_request);
}

static void put_patch(struct buf *out, const struct command *c) {
    put_json(out, c->format == COMMAND_PATCH_MERGE ? "mergePatch" : "operations", c->patch);
    if (c->disjoint)
        put_text(out, "merge", "disjoint");
    put_text_if_any(out, "checksum", c->checksum);
}

static void put_restore(struct buf *out, const struct command *c) {
    buf_printf(out, ",\"restored\":{\"version\":%" PRIu64 ",\"epoch\":%" PRIu64 "}",
               c->restored.version, c->restored.epoch);
    put_json(out, "data", c->data);
    put_text(out, "checksum", c->checksum);
}

static void put_participant(struct buf *out, const struct command *c) {
    put_text(out, "participant", c->participant_id);
    if (c->participant_role == SESSION_ROLE_NONE)
        buf_puts(out, ",\"role\":null");
    else
        put_text(out, "role", session_role_name(c->participant_role));
}

static void put_device(struct buf *out, const struct command *c) {
    put_text(out, "device", c->target_device);
    buf_puts(out, c->device_removed ? ",\"removed\":true" : ",\"removed\":false");
}

static void put_switch(struct buf *out, const struct command *c) {
    put_text_if_any(out, "nextParticipantId", c->next_participant);
    put_text_if_any(out, "currentParticipantId", c->current_participant);
}

static void put_adjust(struct buf *out, const struct command *c) {
    put_text(out, "participantId", c->clock_participant);
    put_number(out, "adjustMs", c->adjust_ms);
    put_text(out, "reason", c->reason);
}

static void put_own(struct buf *out, const struct command *c) {
    switch (c->kind) {
    case COMMAND_CREATE:
        put_create(out, c);
        break;
    case COMMAND_PATCH:
        put_patch(out, c);
        break;
    case COMMAND_STATUS:
        put_text(out, "status", session_status_name(c->status));
        break;
    case COMMAND_RESTORE:
        put_restore(out, c);
        break;
    case COMMAND_SNAPSHOT:
        if (c->label)
            put_text(out, "label", c->label);
        break;
    case COMMAND_PARTICIPANT:
        put_participant(out, c);
        break;
    case COMMAND_DEVICE:
        put_device(out, c);
        break;
    case COMMAND_SWITCH:
        put_switch(out, c);
        break;
    case COMMAND_CLOCK_SET:
        put_json(out, "clock", c->clock_request);
        break;
    case COMMAND_CLOCK_ADJUST:
        put_adjust(out, c);
        break;
    default:
        break;
    }
}

static void put_trace(struct buf *out, const struct trace_context *trace) {
    char text[TRACE_PARENT_LEN + 1];
    trace_context_print(trace, text);
    put_text(out, "traceparent", text);
}

void command_print(const struct command *c, struct buf *out) {
    buf_puts(out, "{\"id\":");
    buf_puts_json(out, c->id);
    put_text(out, "kind", command_kind_names[c->kind]);
    put_text(out, "sessionId", c->session_id);
    put_text(out, "userId", c->user_id);
    put_text_if_any(out, "deviceId", c->device_id);
    put_scope(out, c->rights);
    put_text_if_any(out, "key", c->key);
    put_number(out, "deadline", c->deadline);
    if (c->sent_at)
        put_number(out, "sentAt", c->sent_at);
    put_base(out, c);
    if (c->wants_session)
        buf_puts(out, ",\"wantsSession\":true");
    if (c->trace.is_set)
        put_trace(out, &c->trace);
    put_own(out, c);
    buf_putc(out, '}');
}

/* ---- Fingerprints ---- */

static void set_text(json_t *object, const char *name, const char *value) {
    json_object_set_new(object, name, json_string(value));
}

static void set_number(json_t *object, const char *name, uint64_t value) {
    json_object_set_new(object, name, json_real((double)value));
}

static json_t *position_to_json(struct position p) {
    json_t *object = json_object();
    set_number(object, "version", p.version);
    set_number(object, "epoch", p.epoch);
    return object;
}

static void set_base(json_t *object, const struct command *c) {
    if (c->if_match_any) {
        set_text(object, "ifMatch", "*");
    } else if (c->n_if_match) {
        json_t *list = json_array();
        for (size_t i = 0; i < c->n_if_match; i++)
            json_array_append_new(list, position_to_json(c->if_match[i]));
        json_object_set_new(object, "ifMatch", list);
    }
    if (c->has_base)
        json_object_set_new(object, "base", position_to_json(c->base));
}

/* As it was understood: what is left out and its default are one clock. */
static void set_clock(json_t *object, const struct clock *clock) {
    _cleanup_(buf_done) struct buf text = BUF_NULL;
    clock_print(clock, &text);
    json_object_set_new(object, "clock", json_stringn(text.data, text.len));
}

/* What is left out and its default are one request. */
static void set_create(json_t *object, const struct command *c) {
    set_text(object, "name", c->name ? c->name : "");
    set_text(object, "type", c->type);
    set_text(object, "status", session_status_name(c->status));
    json_object_set_new(object, "data", c->data ? json_incref(c->data) : json_object());
    set_number(object, "ttlSeconds", c->ttl_seconds ? c->ttl_seconds : SESSION_TTL_DEFAULT_S);
    set_text(object, "onIdle", session_on_idle_name(c->on_idle));
    if (c->clock)
        set_clock(object, c->clock);
}

static void set_adjust(json_t *object, const struct command *c) {
    set_text(object, "participant", c->clock_participant);
    json_object_set_new(object, "adjustMs", json_real((double)c->adjust_ms));
    set_text(object, "reason", c->reason);
}

static void set_patch(json_t *object, const struct command *c) {
    const char *name = c->format == COMMAND_PATCH_MERGE ? "mergePatch" : "operations";
    json_object_set_new(object, name, json_incref(c->patch));
    json_object_set_new(object, "disjoint", json_boolean(c->disjoint));
    set_text(object, "checksum", c->checksum);
}

/* Of a restore: which version, since data follows from it. */
static void set_own(json_t *object, const struct command *c) {
    switch (c->kind) {
    case COMMAND_CREATE:
        set_create(object, c);
        break;
    case COMMAND_PATCH:
        set_patch(object, c);
        break;
    case COMMAND_STATUS:
        set_text(object, "status", session_status_name(c->status));
        break;
    case COMMAND_RESTORE:
        json_object_set_new(object, "restored", position_to_json(c->restored));
        break;
    case COMMAND_SNAPSHOT:
        set_text(object, "label", c->label ? c->label : "");
        break;
    case COMMAND_PARTICIPANT:
        set_text(object, "participant", c->participant_id);
        set_text(object, "role", session_role_name(c->participant_role));
        break;
    case COMMAND_DEVICE:
        set_text(object, "device", c->target_device);
        json_object_set_new(object, "removed", json_boolean(c->device_removed));
        break;
    case COMMAND_SWITCH:
        set_text(object, "next", c->next_participant);
        set_text(object, "current", c->current_participant);
        break;
    case COMMAND_CLOCK_SET:
        set_clock(object, c->clock);
        break;
    case COMMAND_CLOCK_ADJUST:
        set_adjust(object, c);
        break;
    default:
        break;
    }
}

void command_fingerprint(const struct command *c, char ret_hex[static HASH_HEX_LEN + 1]) {
    json_auto_t *object = json_object();
    set_text(object, "kind", command_kind_names[c->kind]);
    if (c->kind != COMMAND_CREATE)
        set_text(object, "sessionId", c->session_id);
    set_base(object, c);
    set_own(object, c);
    canonical_checksum(object, ret_hex);
}

void command_hash_id(const char *id, char ret_hex[static HASH_HEX_LEN + 1]) {
    hash_sha256_hex(id, strlen(id), ret_hex);
}

void command_key_hash(const struct command *c, char ret_hex[static HASH_HEX_LEN + 1]) {
    char text[sizeof(c->user_id) + 1 + sizeof(c->key)];
    if (!c->key[0]) {
        command_hash_id(c->id, ret_hex);
        return;
    }
    int len = snprintf(text, sizeof(text), "%s\n%s", c->user_id, c->key);
    hash_sha256_hex(text, (size_t)len, ret_hex);
}

enum session_role command_role(const struct session *s, const char *user_id, unsigned rights) {
    enum session_role role = session_role_of(s, user_id);
    return role == SESSION_ROLE_NONE && (rights & COMMAND_ADMIN) ? SESSION_ROLE_VIEWER : role;
}
