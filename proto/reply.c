/* Replies: what became of a command; see command.h. */
#include "proto/command.h"

#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/text.h"

void reply_done(struct reply *r) {
    if (!r)
        return;
    free(r->session);
    free(r->conflict);
    *r = (struct reply){0};
}

/* ---- Printing ---- */

static void put_name(struct buf *out, const char *name) {
    buf_puts(out, ",\"");
    buf_puts(out, name);
    buf_puts(out, "\":");
}

/* A detail or pointer that was cut in the middle of a character loses the rest of it: one bad byte
 * would make all replies of the message unreadable. */
static void put_cut_text(struct buf *out, const char *name, const char *text) {
    size_t len = strlen(text);
    for (int n = 0; n < 3 && len && !text_is_utf8(text, len); n++)
        len--;
    put_name(out, name);
    buf_put_json(out, text, text_is_utf8(text, len) ? len : 0);
}

/* Nothing in text needs an escape. */
static void put_quoted(struct buf *out, const char *text) {
    buf_putc(out, '"');
    buf_puts(out, text);
    buf_putc(out, '"');
}

static void put_number(struct buf *out, const char *name, uint64_t value) {
    put_name(out, name);
    buf_put_u64(out, value);
}

static void put_moment(struct buf *out, const char *name, int64_t ms) {
    char moment[TIMESTAMP_LEN + 1];
    put_name(out, name);
    if (ms) {
        timestamp_print(ms, moment);
        put_quoted(out, moment);
    } else {
        buf_puts(out, "null");
    }
}

static void put_raw(struct buf *out, const char *name, const char *json) {
    if (!json)
        return;
    put_name(out, name);
    buf_puts(out, json);
}

static void put_error(struct buf *out, const struct reply *r) {
    const struct fault *f = &r->fault;
    buf_printf(out, ",\"error\":{\"code\":\"%s\",\"status\":%d", fault_wire_code(f->code),
               fault_http_status(f->code));
    put_cut_text(out, "detail", f->detail);
    if (f->field[0])
        put_cut_text(out, "field", f->field);
    if (f->pointer[0])
        put_cut_text(out, "pointer", f->pointer);
    if (f->index >= 0)
        put_number(out, "index", (uint64_t)f->index);
    put_raw(out, "conflict", r->conflict);
    buf_putc(out, '}');
}

static void put_effect(struct buf *out, const struct reply *r) {
    put_number(out, "version", r->position.version);
    put_number(out, "epoch", r->position.epoch);
    if (r->base_version)
        put_number(out, "baseVersion", r->base_version);
    if (r->checksum[0]) {
        put_name(out, "checksum");
        put_quoted(out, r->checksum);
    }
    if (r->last_modified)
        put_moment(out, "lastModified", r->last_modified);
    put_moment(out, "expiresAt", r->expires_at);
    if (r->rebased)
        buf_puts(out, ",\"rebased\":true");
    if (r->replayed)
        buf_puts(out, ",\"replayed\":true");
    put_raw(out, "session", r->session);
}

void reply_print(const struct reply *r, struct buf *out) {
    buf_puts(out, "{\"id\":");
    put_quoted(out, r->id);
    put_name(out, "sessionId");
    put_quoted(out, r->session_id);
    if (r->fault.code)
        put_error(out, r);
    else
        put_effect(out, r);
    buf_putc(out, '}');
}

/* ---- Parsing ---- */

static int bad_member(struct fault *f, const char *name) {
    return (int)fault_set(f, FAULT_INVALID_REQUEST, name, "%s cannot be in a reply", name);
}

/* A string shorter than cap; longer than any that reply_print writes is refused. */
static int take_text(const json_t *object, const char *name, enum text_need need, char *ret,
                     size_t cap, struct fault *f) {
    const char *text = NULL;
    int r = text_get_string(object, name, need, &text, f);
    if (r || !text)
        return r;
    size_t len = strlen(text);
    if (len >= cap)
        return bad_member(f, name);
    memcpy(ret, text, len + 1);
    return 0;
}

static int take_uuid(const json_t *object, const char *name, char ret[static UUID_LEN + 1],
                     struct fault *f) {
    int r = take_text(object, name, TEXT_REQUIRED, ret, UUID_LEN + 1, f);
    if (r)
        return r;
    return uuid_is(ret, strlen(ret)) ? 0 : bad_member(f, name);
}

static int take_count(const json_t *object, const char *name, enum text_need need, uint64_t *ret,
                      struct fault *f) {
    int64_t number = 0;
    if (text_get_integer(object, name, need, 1, TEXT_INTEGER_MAX, &number, f))
        return bad_member(f, name);
    *ret = (uint64_t)number;
    return 0;
}

static int take_moment(const json_t *object, const char *name, int64_t *ret, struct fault *f) {
    const json_t *member = json_object_get(object, name);
    if (!member || json_is_null(member))
        return 0;
    const char *text = json_string_value(member);
    return text && timestamp_parse(text, json_string_length(member), ret) ? 0 : bad_member(f, name);
}

static int take_checksum(const json_t *object, char ret[static HASH_HEX_LEN + 1], struct fault *f) {
    int r = take_text(object, "checksum", TEXT_OPTIONAL, ret, HASH_HEX_LEN + 1, f);
    if (r || !ret[0])
        return r;
    return hash_is_hex(ret, strlen(ret)) ? 0 : bad_member(f, "checksum");
}

/* An object's text, owned. */
static int take_raw(const json_t *object, const char *name, char **ret, struct fault *f) {
    json_t *member = NULL;
    int r = text_get_object(object, name, TEXT_OPTIONAL, &member, f);
    if (r || !member)
        return r;
    struct buf text = BUF_NULL;
    text_print(member, &text);
    *ret = buf_take(&text);
    return 0;
}

static int take_error(const json_t *error, struct reply *reply, struct fault *f) {
    struct fault *fault = &reply->fault;
    char code[64] = "";
    int64_t status = 0, index = -1;
    if (take_text(error, "code", TEXT_REQUIRED, code, sizeof(code), f) ||
        text_get_integer(error, "status", TEXT_REQUIRED, 100, 599, &status, f) ||
        take_text(error, "detail", TEXT_OPTIONAL, fault->detail, sizeof(fault->detail), f) ||
        take_text(error, "field", TEXT_OPTIONAL, fault->field, sizeof(fault->field), f) ||
        take_text(error, "pointer", TEXT_OPTIONAL, fault->pointer, sizeof(fault->pointer), f) ||
        text_get_integer(error, "index", TEXT_OPTIONAL, 0, INT32_MAX, &index, f) ||
        take_raw(error, "conflict", &reply->conflict, f))
        return bad_member(f, "error");
    fault->index = (int)index;
    fault->code = fault_from_wire(code, (int)status);
    return fault->code ? 0 : bad_member(f, "code");
}

static int take_effect(const json_t *object, struct reply *reply, struct fault *f) {
    int r;
    if ((r = take_count(object, "version", TEXT_REQUIRED, &reply->position.version, f)) ||
        (r = take_count(object, "epoch", TEXT_REQUIRED, &reply->position.epoch, f)) ||
        (r = take_count(object, "baseVersion", TEXT_OPTIONAL, &reply->base_version, f)) ||
        (r = take_checksum(object, reply->checksum, f)) ||
        (r = take_moment(object, "lastModified", &reply->last_modified, f)) ||
        (r = take_moment(object, "expiresAt", &reply->expires_at, f)) ||
        (r = text_get_bool(object, "rebased", TEXT_OPTIONAL, &reply->rebased, f)) ||
        (r = text_get_bool(object, "replayed", TEXT_OPTIONAL, &reply->replayed, f)))
        return r;
    return take_raw(object, "session", &reply->session, f);
}

static int take_all(const json_t *object, struct reply *reply, struct fault *f) {
    json_t *error = NULL;
    int r;
    if ((r = take_uuid(object, "id", reply->id, f)) ||
        (r = take_uuid(object, "sessionId", reply->session_id, f)) ||
        (r = text_get_object(object, "error", TEXT_OPTIONAL, &error, f)))
        return r;
    return error ? take_error(error, reply, f) : take_effect(object, reply, f);
}

int reply_parse(const json_t *object, struct reply *ret, struct fault *f) {
    struct reply reply = {.fault.index = -1};
    if (!json_is_object(object))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "replies", "a reply is a JSON object");
    int r = take_all(object, &reply, f);
    if (r) {
        reply_done(&reply);
        return r;
    }
    *ret = reply;
    return 0;
}
