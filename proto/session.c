/* A session: rules, validity, and its JSON resource; see session.h. Its two parts in Redis are in
 * session_store.c. Data is carried as canonical text throughout, a clock as the text it is shown
 * as: both are spliced into what is printed, and parsed only where something looks inside. */
#include "proto/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/canonical.h"
#include "proto/text_private.h"

void session_done(struct session *s) {
    if (!s)
        return;
    free(s->name);
    free(s->data_text);
    free(s->clock_text);
    free(s->participants);
    free(s->removed_devices);
    *s = (struct session){0};
}

void session_copy_but_data(const struct session *from, struct session *ret) {
    *ret = *from;
    ret->data_text = NULL;
    ret->data_len = 0;
    ret->name = from->name ? must_strdup(from->name) : NULL;
    ret->clock_text = from->clock_text ? must_memdup(from->clock_text, from->clock_len) : NULL;
    ret->participants = from->participants ? must_strdup(from->participants) : NULL;
    ret->removed_devices = from->removed_devices ? must_strdup(from->removed_devices) : NULL;
}

void session_copy_data(const struct session *from, struct session *ret) {
    ret->data_text = from->data_text ? must_memdup(from->data_text, from->data_len) : NULL;
    ret->data_len = from->data_len;
}

void session_copy(const struct session *from, struct session *ret) {
    session_copy_but_data(from, ret);
    session_copy_data(from, ret);
}

void session_set_data(struct session *s, const json_t *data) {
    struct buf text = BUF_NULL;
    canonical_print(data, &text);
    session_take_data(s, &text);
}

void session_take_data(struct session *s, struct buf *canonical) {
    free(s->data_text);
    s->data_len = canonical->len;
    s->data_text = buf_take(canonical);
    hash_sha256_hex(s->data_text, s->data_len, s->checksum);
}

/* ---- Rules ---- */

int64_t session_expires_at(const struct session *s) {
    if (s->deleted || session_is_final(s->status) || session_clock_runs(s))
        return 0;
    if (s->status == SESSION_ACTIVE)
        return s->touched_at + (int64_t)s->ttl_seconds * 1000;
    int64_t since = s->touched_at > s->updated_at ? s->touched_at : s->updated_at;
    return since + SESSION_PAUSED_TTL_MS;
}

bool session_is_final(enum session_status status) {
    return status >= SESSION_COMPLETED;
}

bool session_may_become(enum session_status from, enum session_status to) {
    static const bool may[SESSION_N_STATUSES][SESSION_N_STATUSES] = {
        [SESSION_PENDING] =
            {[SESSION_ACTIVE] = true, [SESSION_CANCELLED] = true, [SESSION_EXPIRED] = true},
        [SESSION_ACTIVE] = {[SESSION_PAUSED] = true,
                            [SESSION_COMPLETED] = true,
                            [SESSION_CANCELLED] = true,
                            [SESSION_EXPIRED] = true},
        [SESSION_PAUSED] = {[SESSION_ACTIVE] = true,
                            [SESSION_COMPLETED] = true,
                            [SESSION_CANCELLED] = true,
                            [SESSION_EXPIRED] = true},
    };
    return from < SESSION_N_STATUSES && to < SESSION_N_STATUSES && may[from][to];
}

/* ---- Names on the wire ---- */

static const char *const status_names[] = {"pending",   "active",    "paused",
                                           "completed", "cancelled", "expired"};
static const char *const on_idle_names[] = {"pause", "expire"};
static const char *const role_names[] = {"none", "viewer", "editor", "owner"};

static bool find_name(const char *const *names, size_t n, const char *name, unsigned *ret) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) {
            *ret = (unsigned)i;
            return true;
        }
    return false;
}

const char *session_status_name(enum session_status status) {
    return status_names[status];
}

bool session_status_parse(const char *name, enum session_status *ret) {
    unsigned found;
    if (!find_name(status_names, N_ELEMENTS(status_names), name, &found))
        return false;
    *ret = (enum session_status)found;
    return true;
}

const char *session_on_idle_name(enum session_on_idle on_idle) {
    return on_idle_names[on_idle];
}

bool session_on_idle_parse(const char *name, enum session_on_idle *ret) {
    unsigned found;
    if (!find_name(on_idle_names, N_ELEMENTS(on_idle_names), name, &found))
        return false;
    *ret = (enum session_on_idle)found;
    return true;
}

const char *session_role_name(enum session_role role) {
    return role_names[role];
}

/* ---- Validity ---- */

bool session_name_is_valid(const char *name, size_t len) {
    /* A character has at most 4 bytes: what is longer need not be looked at. */
    if (len == 0 || len > 4 * SESSION_NAME_MAX_CHARACTERS || memchr(name, '\0', len))
        return false;
    return text_is_utf8(name, len) && text_n_characters(name, len) <= SESSION_NAME_MAX_CHARACTERS;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}

bool session_type_is_valid(const char *type, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!is_lower(type[i]) && !is_digit(type[i]) && type[i] != '_' && type[i] != '-')
            return false;
    return len >= 1 && len <= SESSION_TYPE_MAX;
}

/* ---- The resource ---- */

static bool has_active_device(const struct session *s) {
    return s->active_device[0] && s->status != SESSION_PENDING && s->status != SESSION_PAUSED;
}

static void put_text(struct buf *out, const char *name, const char *value) {
    buf_puts(out, ",\"");
    buf_puts(out, name);
    buf_puts(out, "\":");
    if (value)
        buf_puts_json(out, value);
    else
        buf_puts(out, "null");
}

static void put_number(struct buf *out, const char *name, uint64_t value) {
    buf_puts(out, ",\"");
    buf_puts(out, name);
    buf_puts(out, "\":");
    buf_put_u64(out, value);
}

static void put_moment(struct buf *out, const char *name, int64_t ms) {
    char text[TIMESTAMP_LEN + 1];
    if (ms)
        timestamp_print(ms, text);
    put_text(out, name, ms ? text : NULL);
}

static void print_head(const struct session *s, enum session_role role, struct buf *out) {
    buf_puts(out, "{\"id\":");
    buf_puts_json(out, s->id);
    put_text(out, "userId", s->user_id);
    put_text(out, "name", s->name ? s->name : "");
    put_text(out, "type", s->type);
    put_text(out, "status", session_status_name(s->status));
    put_text(out, "role", session_role_name(role));
    put_number(out, "version", s->position.version);
    put_number(out, "epoch", s->position.epoch);
    put_moment(out, "createdAt", s->created_at);
    put_moment(out, "updatedAt", s->updated_at);
    put_moment(out, "completedAt", s->completed_at);
    put_number(out, "ttlSeconds", s->ttl_seconds);
    put_text(out, "onIdle", session_on_idle_name(s->on_idle));
    put_moment(out, "expiresAt", session_expires_at(s));
    put_text(out, "activeDeviceId", has_active_device(s) ? s->active_device : NULL);
    put_moment(out, "lastModified", s->last_modified);
    put_text(out, "modifiedBy", s->modified_by);
}

void session_print(const struct session *s, enum session_role role, struct buf *out) {
    buf_reserve(out, 1024 + s->clock_len + s->data_len);
    print_head(s, role, out);
    if (s->clock_text) {
        buf_puts(out, ",\"clock\":");
        buf_put(out, s->clock_text, s->clock_len);
    }
    buf_puts(out, ",\"data\":");
    if (s->data_text)
        buf_put(out, s->data_text, s->data_len);
    else
        buf_puts(out, "null");
    put_text(out, "checksum", s->checksum);
    buf_putc(out, '}');
}

void session_print_summary(const struct session *s, enum session_role role, struct buf *out) {
    print_head(s, role, out);
    put_text(out, "checksum", s->checksum);
    buf_putc(out, '}');
}

int session_to_json(const struct session *s, enum session_role role, json_t **ret) {
    struct buf text = BUF_NULL;
    struct fault f;
    session_print(s, role, &text);
    int r = text_parse(text.data, text.len, ret, &f);
    buf_done(&text);
    return r ? -EBADMSG : 0;
}

int session_writable_to_json(const struct session *s, json_t **ret) {
    json_t *data = text_parse_quickly(s->data_text, s->data_len);
    if (!data)
        data =
            json_loadb(s->data_text, s->data_len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    if (!data)
        return -EBADMSG;
    json_t *resource = json_object();
    json_object_set_new(resource, "name", json_string_nocheck(s->name));
    json_object_set_new(resource, "data", data);
    *ret = resource;
    return 0;
}

/* ---- Positions ---- */

void position_print_tag(struct position p, char ret[static POSITION_TAG_CAP]) {
    if (p.epoch <= 1)
        snprintf(ret, POSITION_TAG_CAP, "\"%" PRIu64 "\"", p.version);
    else
        snprintf(ret, POSITION_TAG_CAP, "\"%" PRIu64 ".%" PRIu64 "\"", p.version, p.epoch);
}

bool position_equal(struct position a, struct position b) {
    return a.version == b.version && a.epoch == b.epoch;
}
