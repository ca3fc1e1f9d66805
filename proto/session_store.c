/* A session's two parts in Redis; see session.h. The state string has a fixed frame around data, so
 * that half a megabyte of data is never parsed to read five members; meta is a table of fields. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/reader.h"
#include "proto/session.h"
#include "proto/text.h"

/* ---- State ---- */

static const char version_mark[] = "{\"version\":";
static const char modified_mark[] = ",\"lastModified\":\"";
static const char by_mark[] = "\",\"modifiedBy\":\"";
static const char by_end_mark[] = "\"";
static const char clock_mark[] = ",\"clock\":";
static const char data_mark[] = ",\"data\":";
static const char checksum_mark[] = ",\"checksum\":\"";
static const char end_mark[] = "\"}";

void session_print_state(const struct session *s, struct buf *out) {
    char moment[TIMESTAMP_LEN + 1];
    timestamp_print(s->last_modified, moment);
    buf_reserve(out, 512 + s->clock_len + s->data_len);
    buf_puts(out, version_mark);
    buf_put_u64(out, s->position.version);
    buf_puts(out, modified_mark);
    buf_puts(out, moment);
    buf_puts(out, by_mark);
    buf_puts(out, s->modified_by); /* a device id: nothing in it needs an escape */
    buf_puts(out, by_end_mark);
    if (s->clock_text) {
        buf_puts(out, clock_mark);
        buf_put(out, s->clock_text, s->clock_len);
    }
    buf_puts(out, data_mark);
    buf_put(out, s->data_text, s->data_len);
    buf_puts(out, checksum_mark);
    buf_puts(out, s->checksum);
    buf_puts(out, end_mark);
}

/* A device id with the quote after it, or nothing but that. */
static bool read_device(struct reader *r, const char **ret, size_t *ret_len) {
    return reader_quoted(r, ret, ret_len) &&
           (*ret_len == 0 || session_device_is_valid(*ret, *ret_len));
}

/* A clock, or nothing: *ret_len is 0. */
static bool read_clock(struct reader *r, const char **ret, size_t *ret_len) {
    *ret_len = 0;
    if (!reader_skip(r, clock_mark))
        return true;
    size_t len = session_clock_span(r->at, r->left);
    *ret = r->at;
    *ret_len = len;
    reader_advance(r, len);
    return len > 0;
}

/* What follows data: its length is known, so it is found from the end. */
static bool read_tail(struct reader *r, size_t *ret_data_len, const char **ret_checksum) {
    const size_t tail_len = sizeof(checksum_mark) - 1 + HASH_HEX_LEN + sizeof(end_mark) - 1;
    if (r->left <= tail_len)
        return false;
    struct reader tail = {r->at + r->left - tail_len, tail_len};
    if (!reader_skip(&tail, checksum_mark))
        return false;
    const char *checksum = tail.at;
    reader_advance(&tail, HASH_HEX_LEN);
    if (!hash_is_hex(checksum, HASH_HEX_LEN) || !reader_skip(&tail, end_mark))
        return false;
    *ret_data_len = r->left - tail_len;
    *ret_checksum = checksum;
    return true;
}

static void set_text(char **text, size_t *text_len, const char *value, size_t len) {
    free(*text);
    *text = len ? must_memdup(value, len) : NULL;
    *text_len = len;
}

static void copy_text(char *ret, const char *text, size_t len) {
    if (len)
        memcpy(ret, text, len);
    ret[len] = '\0';
}

int session_parse_state(struct session *s, const char *text, size_t len) {
    struct reader r = {text, len};
    uint64_t version;
    int64_t last_modified;
    const char *by, *clock = NULL, *checksum;
    size_t by_len, clock_len, data_len;
    if (!reader_skip(&r, version_mark) || !reader_number(&r, &version) ||
        !reader_skip(&r, modified_mark) || !reader_moment(&r, &last_modified) ||
        !reader_skip(&r, by_mark) || !read_device(&r, &by, &by_len) ||
        !read_clock(&r, &clock, &clock_len) || !reader_skip(&r, data_mark) ||
        !read_tail(&r, &data_len, &checksum))
        return -EBADMSG;
    s->position.version = version;
    s->last_modified = last_modified;
    copy_text(s->modified_by, by, by_len);
    set_text(&s->clock_text, &s->clock_len, clock, clock_len);
    set_text(&s->data_text, &s->data_len, r.at, data_len);
    copy_text(s->checksum, checksum, HASH_HEX_LEN);
    return 0;
}

int session_verify(const struct session *s) {
    char hex[HASH_HEX_LEN + 1];
    if (!s->data_text)
        return -EBADMSG;
    hash_sha256_hex(s->data_text, s->data_len, hex);
    return strcmp(hex, s->checksum) == 0 ? 0 : -EBADMSG;
}

/* ---- Meta ---- */

enum meta_kind {
    META_NUMBER,
    META_MOMENT,
    META_TEXT,
    META_NAME,
    META_STATUS,
    META_ON_IDLE,
    META_TTL,
    META_FLAG,
    META_LIST
};

typedef bool meta_valid_fn(const char *value, size_t len);

static bool is_device_or_none(const char *value, size_t len) {
    return len == 0 || session_device_is_valid(value, len);
}

static bool is_list_of_versions(const char *value, size_t len) {
    for (size_t i = 0; i < len; i++) {
        bool digit = value[i] >= '0' && value[i] <= '9';
        bool between = i > 0 && i + 1 < len && value[i - 1] != ',';
        if (!digit && !(value[i] == ',' && between))
            return false;
    }
    return true;
}

static const struct meta_field {
    const char *name;
    enum meta_kind kind;
    size_t offset;
    size_t cap; /* META_TEXT: of the array, with its NUL */
    meta_valid_fn *is_valid;
} meta_fields[] = {
#define NUMBER(name, member)                                                                       \
    { name, META_NUMBER, offsetof(struct session, member), 0, NULL }
#define MOMENT(name, member)                                                                       \
    { name, META_MOMENT, offsetof(struct session, member), 0, NULL }
#define FLAG(name, member)                                                                         \
    { name, META_FLAG, offsetof(struct session, member), 0, NULL }
#define TEXT(name, member, is_valid)                                                               \
    {                                                                                              \
        name, META_TEXT, offsetof(struct session, member), sizeof(((struct session *)0)->member),  \
            is_valid                                                                               \
    }
    NUMBER("version", position.version),
    NUMBER("epoch", position.epoch),
    TEXT("userId", user_id, uuid_is),
    {"name", META_NAME, 0, 0, NULL},
    TEXT("type", type, session_type_is_valid),
    {"status", META_STATUS, 0, 0, NULL},
    MOMENT("createdAt", created_at),
    MOMENT("updatedAt", updated_at),
    MOMENT("completedAt", completed_at),
    MOMENT("touchedAt", touched_at),
    {"ttlSeconds", META_TTL, 0, 0, NULL},
    {"onIdle", META_ON_IDLE, 0, 0, NULL},
    TEXT("activeDeviceId", active_device, is_device_or_none),
    TEXT("lastActiveDeviceId", last_active_device, is_device_or_none),
    NUMBER("published", published),
    TEXT("snapshots", snapshots, is_list_of_versions),
    TEXT("run_id", run_id, text_is_printable),
    TEXT("cooling", cooling, text_is_printable),
    TEXT("saver", saver, text_is_printable),
    MOMENT("saverSince", saver_since),
    FLAG("deleted", deleted),
    MOMENT("clockAt", clock_at),
    MOMENT("clockTold", clock_told),
    FLAG("clockRuns", clock_runs),
    {"participants", META_LIST, offsetof(struct session, participants), 0,
     session_participants_are_valid},
    {"removedDevices", META_LIST, offsetof(struct session, removed_devices), 0,
     session_removed_devices_are_valid},
#undef NUMBER
#undef MOMENT
#undef FLAG
#undef TEXT
};

static void print_meta(const struct session *s, const struct meta_field *field, struct buf *out) {
    const char *member = (const char *)s + field->offset;
    switch (field->kind) {
    case META_NUMBER:
        buf_put_u64(out, *(const uint64_t *)(const void *)member);
        break;
    case META_MOMENT:
        buf_put_i64(out, *(const int64_t *)(const void *)member);
        break;
    case META_TEXT:
        buf_puts(out, member);
        break;
    case META_NAME:
        buf_puts(out, s->name ? s->name : "");
        break;
    case META_STATUS:
        buf_puts(out, session_status_name(s->status));
        break;
    case META_ON_IDLE:
        buf_puts(out, session_on_idle_name(s->on_idle));
        break;
    case META_TTL:
        buf_put_u64(out, s->ttl_seconds);
        break;
    case META_FLAG:
        buf_putc(out, *(const bool *)(const void *)member ? '1' : '0');
        break;
    case META_LIST: {
        const char *list = *(char *const *)(const void *)member;
        buf_puts(out, list ? list : "");
        break;
    }
    }
}

static bool is_same_text(const char *a, const char *b) {
    return a == b || strcmp(a ? a : "", b ? b : "") == 0;
}

static bool is_same_meta(const struct session *a, const struct session *b,
                         const struct meta_field *field) {
    const char *in_a = (const char *)a + field->offset, *in_b = (const char *)b + field->offset;
    switch (field->kind) {
    case META_NUMBER:
        return *(const uint64_t *)(const void *)in_a == *(const uint64_t *)(const void *)in_b;
    case META_MOMENT:
        return *(const int64_t *)(const void *)in_a == *(const int64_t *)(const void *)in_b;
    case META_TEXT:
        return strcmp(in_a, in_b) == 0;
    case META_NAME:
        return is_same_text(a->name, b->name);
    case META_STATUS:
        return a->status == b->status;
    case META_ON_IDLE:
        return a->on_idle == b->on_idle;
    case META_TTL:
        return a->ttl_seconds == b->ttl_seconds;
    case META_FLAG:
        return *(const bool *)(const void *)in_a == *(const bool *)(const void *)in_b;
    case META_LIST:
        return is_same_text(*(char *const *)(const void *)in_a, *(char *const *)(const void *)in_b);
    }
    return false;
}

void session_each_meta(const struct session *s, const struct session *before, session_put_fn *put,
                       void *arg) {
    struct buf value = BUF_NULL;
    for (size_t i = 0; i < N_ELEMENTS(meta_fields); i++) {
        if (before && is_same_meta(s, before, &meta_fields[i]))
            continue;
        buf_clear(&value);
        print_meta(s, &meta_fields[i], &value);
        put(arg, meta_fields[i].name, value.data ? value.data : "", value.len);
    }
    buf_done(&value);
}

static bool take_text(char *ret, const struct meta_field *field, const char *value, size_t len) {
    if (len >= field->cap || !field->is_valid(value, len))
        return false;
    copy_text(ret, value, len);
    return true;
}

/* A tombstone's name is empty. */
static bool take_name(struct session *s, const char *value, size_t len) {
    if (len && !session_name_is_valid(value, len))
        return false;
    free(s->name);
    s->name = must_memdup(value, len);
    return true;
}

static bool take_list(char **ret, meta_valid_fn *is_valid, const char *value, size_t len) {
    if (!is_valid(value, len))
        return false;
    free(*ret);
    *ret = len ? must_memdup(value, len) : NULL;
    return true;
}

static bool take_ttl(struct session *s, const char *value, size_t len) {
    uint64_t number;
    if (!text_parse_number(value, len, &number) || number > SESSION_TTL_MAX_S)
        return false;
    s->ttl_seconds = (uint32_t)number;
    return true;
}

static bool take_moment(int64_t *ret, const char *value, size_t len) {
    uint64_t number;
    if (!text_parse_number(value, len, &number))
        return false;
    *ret = (int64_t)number;
    return true;
}

/* The names that the enums have are all shorter than this. */
#define WORD_CAP 16

static bool take_word(struct session *s, enum meta_kind kind, const char *value, size_t len) {
    char word[WORD_CAP];
    if (len >= sizeof(word) || memchr(value, '\0', len))
        return false;
    copy_text(word, value, len);
    if (kind == META_STATUS)
        return session_status_parse(word, &s->status);
    return session_on_idle_parse(word, &s->on_idle);
}

static bool take_flag(bool *ret, const char *value, size_t len) {
    if (len != 1 || (value[0] != '0' && value[0] != '1'))
        return false;
    *ret = value[0] == '1';
    return true;
}

static bool take_meta(struct session *s, const struct meta_field *field, const char *value,
                      size_t len) {
    char *member = (char *)s + field->offset;
    switch (field->kind) {
    case META_NUMBER:
        return text_parse_number(value, len, (uint64_t *)(void *)member);
    case META_MOMENT:
        return take_moment((int64_t *)(void *)member, value, len);
    case META_TEXT:
        return take_text(member, field, value, len);
    case META_NAME:
        return take_name(s, value, len);
    case META_TTL:
        return take_ttl(s, value, len);
    case META_LIST:
        return take_list((char **)(void *)member, field->is_valid, value, len);
    case META_FLAG:
        return take_flag((bool *)(void *)member, value, len);
    case META_STATUS:
    case META_ON_IDLE:
        return take_word(s, field->kind, value, len);
    }
    return false;
}

int session_take_meta(struct session *s, const char *field, const char *value, size_t len) {
    for (size_t i = 0; i < N_ELEMENTS(meta_fields); i++)
        if (meta_fields[i].name[0] == field[0] && strcmp(meta_fields[i].name, field) == 0)
            return take_meta(s, &meta_fields[i], value, len) ? 0 : -EBADMSG;
    return 0;
}
