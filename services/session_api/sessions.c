/* Writes: each request becomes one command, whose reply becomes the answer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/text.h"
#include "services/session_api/api.h"
#include "services/session_api/bodies.h"

/* ---- replies ---- */

static void put_moment(struct buf *out, const char *name, int64_t moment) {
    char text[TIMESTAMP_LEN + 1] = "null";
    if (moment)
        timestamp_print(moment, text);
    buf_putc(out, '"');
    buf_puts(out, name);
    buf_puts(out, moment ? "\":\"" : "\":");
    buf_puts(out, text);
    if (moment)
        buf_putc(out, '"');
}

static void print_patch_result(const struct reply *reply, struct buf *out) {
    buf_reserve(out, 384);
    buf_puts(out, "{\"id\":\"");
    buf_puts(out, reply->session_id);
    buf_puts(out, "\",\"version\":");
    buf_put_u64(out, reply->position.version);
    buf_puts(out, ",\"baseVersion\":");
    buf_put_u64(out, reply->base_version);
    buf_puts(out, ",\"epoch\":");
    buf_put_u64(out, reply->position.epoch);
    buf_puts(out, ",\"checksum\":\"");
    buf_puts(out, reply->checksum);
    buf_puts(out, "\",");
    put_moment(out, "lastModified", reply->last_modified);
    buf_puts(out, reply->rebased ? ",\"rebased\":true}" : ",\"rebased\":false}");
}

static void print_heartbeat(const struct call *call, const struct reply *reply, struct buf *out) {
    buf_putc(out, '{');
    put_moment(out, "expiresAt", reply->expires_at);
    buf_putc(out, ',');
    put_moment(out, "serverTime", store_now(call->api->store));
    buf_putc(out, '}');
}

/* A repeat's reply has the position of then, its session is today's: the tag has to be the body's.
 */
static struct position position_of_body(const struct reply *reply) {
    json_auto_t *session = NULL;
    int64_t version = 0, epoch = 0;
    if (!reply->replayed ||
        text_parse(reply->session, strlen(reply->session), &session, NULL) != 0 ||
        text_get_integer(session, "version", TEXT_REQUIRED, 1, TEXT_INTEGER_MAX, &version, NULL) ||
        text_get_integer(session, "epoch", TEXT_REQUIRED, 1, TEXT_INTEGER_MAX, &epoch, NULL))
        return reply->position;
    return (struct position){(uint64_t)version, (uint64_t)epoch};
}

/* 200 or 201 with the session, whose text the reply carries. */
static void answer_session(struct call *call, const struct reply *reply, int status) {
    struct buf body = BUF_NULL;
    if (!reply->session) {
        call_refuse_with(call, FAULT_INTERNAL, "the engine's reply has no session");
        return;
    }
    buf_puts(&body, reply->session);
    call_add_tag(call, position_of_body(reply));
    call_answer(call, status, &body);
}

static void answer_patch(struct call *call, const struct reply *reply) {
    if (call->command.wants_session && reply->session) {
        call_add_header(call, "Preference-Applied", "return=representation");
        answer_session(call, reply, 200);
        return;
    }
    struct buf body = BUF_NULL;
    print_patch_result(reply, &body);
    call_add_tag(call, reply->position);
    call_answer(call, 200, &body);
}

static void answer_create(struct call *call, const struct reply *reply) {
    snprintf(call->location, sizeof(call->location), "/sessions/%s", reply->session_id);
    call_add_header(call, "Location", call->location);
    answer_session(call, reply, 201);
}

static void answer_snapshot(struct call *call, const struct reply *reply) {
    struct buf body = BUF_NULL;
    buf_puts(&body, "{\"version\":");
    buf_put_u64(&body, reply->position.version);
    buf_puts(&body, ",\"epoch\":");
    buf_put_u64(&body, reply->position.epoch);
    buf_putc(&body, ',');
    put_moment(&body, "createdAt", reply->last_modified);
    buf_printf(&body, ",\"checksum\":\"%s\",\"label\":", reply->checksum);
    if (call->command.label)
        buf_puts_json(&body, call->command.label);
    else
        buf_puts(&body, "null");
    buf_putc(&body, '}');
    snprintf(call->location, sizeof(call->location),
             "/sessions/%s/snapshots/%" PRIu64 "?epoch=%" PRIu64, reply->session_id,
             reply->position.version, reply->position.epoch);
    call_add_header(call, "Location", call->location);
    call_add_tag(call, reply->position);
    call_answer(call, 201, &body);
}

static void on_reply(void *arg, struct reply *reply) {
    struct call *call = arg;
    struct buf body = BUF_NULL;
    if (reply->fault.code) {
        call_refuse(call, &reply->fault, reply->conflict);
        return;
    }
    if (reply->replayed && !reply->session && call->command.kind == COMMAND_CREATE) {
        call_refuse_with(call, FAULT_NOT_FOUND, "the session that this key created was deleted");
        return;
    }
    if (reply->replayed)
        call_add_header(call, "Idempotency-Replayed", "true");
    switch (call->command.kind) {
    case COMMAND_CREATE:
        answer_create(call, reply);
        break;
    case COMMAND_PATCH:
        answer_patch(call, reply);
        break;
    case COMMAND_STATUS:
    case COMMAND_RESTORE:
    case COMMAND_SWITCH:
    case COMMAND_CLOCK_SET:
    case COMMAND_CLOCK_ADJUST:
        answer_session(call, reply, 200);
        break;
    case COMMAND_SNAPSHOT:
        answer_snapshot(call, reply);
        break;
    case COMMAND_DELETE:
    case COMMAND_PARTICIPANT:
    case COMMAND_DEVICE:
        call_answer(call, 204, NULL);
        break;
    default:
        print_heartbeat(call, reply, &body);
        call_answer(call, 200, &body);
        break;
    }
}

/* ---- commands ---- */

static bool takes_key(enum command_kind kind) {
    switch (kind) {
    case COMMAND_CREATE:
    case COMMAND_PATCH:
    case COMMAND_STATUS:
    case COMMAND_RESTORE:
    case COMMAND_SNAPSHOT:
    case COMMAND_SWITCH:
    case COMMAND_CLOCK_SET:
    case COMMAND_CLOCK_ADJUST:
        return true;
    default:
        return false;
    }
}

/* What every command has: who, where, under which key and If-Match. */
static int fill_command(struct call *call, enum command_kind kind, struct fault *f) {
    struct command *c = &call->command;
    c->kind = kind;
    memcpy(c->session_id, call->session_id, sizeof(c->session_id));
    memcpy(c->user_id, call->who.user_id, sizeof(c->user_id));
    memcpy(c->device_id, call->device_id, sizeof(c->device_id));
    c->rights = call->who.rights;
    const char *key = http_header(call->request, "Idempotency-Key");
    int r = key && takes_key(kind) ? headers_idempotency_key(key, c->key, f) : 0;
    const char *if_match = http_header(call->request, "If-Match");
    if (r || !if_match || kind == COMMAND_CREATE)
        return r;
    return headers_if_match(if_match, c, f);
}

static void send_command(struct call *call) {
    call->command.trace = call->trace;
    commander_send(call->api->commander, &call->command, on_reply, call);
}

void sessions_create(struct call *call) {
    struct fault fault;
    size_t len = 0;
    const char *body = http_body(call->request, &len);
    enum media_type type = headers_media_type(http_header(call->request, "Content-Type"));
    uuid_v7(store_now(call->api->store), call->session_id);
    if (fill_command(call, COMMAND_CREATE, &fault) ||
        bodies_read_create(type, body, len, &call->command, &fault))
        call_refuse(call, &fault, NULL);
    else if (!quota_take(call->api->quota, call->who.user_id))
        call_refuse_with(call, FAULT_TOO_MANY_SESSIONS,
                         "the user has as many sessions as allowed that have not ended");
    else
        send_command(call);
}

void sessions_patch(struct call *call) {
    struct fault fault;
    size_t len = 0;
    const char *body = http_body(call->request, &len);
    enum media_type type = headers_media_type(http_header(call->request, "Content-Type"));
    call->command.wants_session =
        headers_prefer_representation(http_header(call->request, "Prefer"));
    if (fill_command(call, COMMAND_PATCH, &fault) ||
        bodies_read_patch(type, body, len, &call->command, &fault))
        call_refuse(call, &fault, NULL);
    else
        send_command(call);
}

static int read_status(struct call *call, struct fault *f) {
    bool is_twice = false;
    const char *name = http_query(call->request, "status", &is_twice);
    if (!name || is_twice)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "status",
                              "the query must have status once: active, paused, completed or "
                              "cancelled");
    return command_take_status(name, &call->command, f);
}

void sessions_change_status(struct call *call) {
    struct fault fault;
    if (read_status(call, &fault) || fill_command(call, COMMAND_STATUS, &fault))
        call_refuse(call, &fault, NULL);
    else
        send_command(call);
}

static void send_plain(struct call *call, enum command_kind kind) {
    struct fault fault;
    if (fill_command(call, kind, &fault))
        call_refuse(call, &fault, NULL);
    else
        send_command(call);
}

void sessions_delete(struct call *call) {
    send_plain(call, COMMAND_DELETE);
}

void sessions_heartbeat(struct call *call) {
    send_plain(call, COMMAND_HEARTBEAT);
}

/* ---- sharing, devices, snapshots, restore ---- */

static const char *read_body(const struct call *call, enum media_type *ret_type, size_t *ret_len) {
    *ret_type = headers_media_type(http_header(call->request, "Content-Type"));
    return http_body(call->request, ret_len);
}

void sessions_set_participant(struct call *call) {
    struct fault fault;
    enum media_type type;
    size_t len = 0;
    const char *body = read_body(call, &type, &len);
    memcpy(call->command.participant_id, call->parameter, UUID_LEN + 1);
    if (bodies_read_participant(type, body, len, &call->command, &fault))
        call_refuse(call, &fault, NULL);
    else
        send_plain(call, COMMAND_PARTICIPANT);
}

void sessions_remove_participant(struct call *call) {
    memcpy(call->command.participant_id, call->parameter, UUID_LEN + 1);
    call->command.participant_role = SESSION_ROLE_NONE;
    send_plain(call, COMMAND_PARTICIPANT);
}

static void set_device(struct call *call, bool removed) {
    memcpy(call->command.target_device, call->parameter, sizeof(call->command.target_device));
    call->command.device_removed = removed;
    send_plain(call, COMMAND_DEVICE);
}

void sessions_let_device_in(struct call *call) {
    set_device(call, false);
}

void sessions_remove_device(struct call *call) {
    set_device(call, true);
}

void sessions_make_snapshot(struct call *call) {
    struct fault fault;
    enum media_type type;
    size_t len = 0;
    const char *body = read_body(call, &type, &len);
    if (bodies_read_snapshot(type, body, len, &call->command, &fault))
        call_refuse(call, &fault, NULL);
    else
        send_plain(call, COMMAND_SNAPSHOT);
}

int sessions_read_restore(struct call *call, struct fault *f) {
    enum media_type type;
    size_t len = 0;
    const char *body = read_body(call, &type, &len);
    int r = bodies_read_restore(type, body, len, &call->command, f);
    call->command.wants_session = true;
    return r ? r : fill_command(call, COMMAND_RESTORE, f);
}

void sessions_restore(struct call *call) {
    send_command(call);
}

/* ---- clocks ---- */

typedef int read_body_fn(enum media_type type, const char *body, size_t len, struct command *c,
                         struct fault *f);

static void send_clock_command(struct call *call, enum command_kind kind, read_body_fn *read) {
    struct fault fault;
    enum media_type type;
    size_t len = 0;
    const char *body = read_body(call, &type, &len);
    call->command.wants_session = true;
    if (read(type, body, len, &call->command, &fault))
        call_refuse(call, &fault, NULL);
    else
        send_plain(call, kind);
}

void sessions_switch(struct call *call) {
    send_clock_command(call, COMMAND_SWITCH, bodies_read_switch);
}

void sessions_set_clock(struct call *call) {
    send_clock_command(call, COMMAND_CLOCK_SET, bodies_read_clock);
}

void sessions_adjust_clock(struct call *call) {
    memcpy(call->command.clock_participant, call->parameter,
           sizeof(call->command.clock_participant));
    send_clock_command(call, COMMAND_CLOCK_ADJUST, bodies_read_adjust);
}
