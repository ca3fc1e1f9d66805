/* A state_delta as the engine prints it, which nearly all events are, read mark by mark and without
 * a tree. What is taken here is what text_parse would take, and says the same; whatever is written
 * otherwise, or could mean more (a name, nested objects, escapes), is left to the parser. */
#include <string.h>

#include "proto/reader.h"
#include "services/audit_writer/entry_scan.h"

#define MAX_NESTING 16
#define MAX_DIGITS 15 /* exact in a double, and printed back as they are */

/* ---- Values without objects ---- */

/* Without escapes. */
static bool skip_text(struct reader *r, const char **ret, size_t *ret_len) {
    if (!reader_skip(r, "\"") || !reader_quoted(r, ret, ret_len))
        return false;
    bool is_ascii = true;
    for (size_t i = 0; i < *ret_len; i++) {
        unsigned char c = (unsigned char)(*ret)[i];
        if (c < 0x20 || c == '\\')
            return false;
        is_ascii &= c < 0x80;
    }
    return is_ascii || text_is_utf8(*ret, *ret_len);
}

static size_t skip_digits(struct reader *r) {
    size_t n = 0;
    while (n < r->left && r->at[n] >= '0' && r->at[n] <= '9')
        n++;
    reader_advance(r, n);
    return n;
}

/* Not negative, without an exponent. */
static bool skip_number(struct reader *r) {
    const char *first = r->at;
    size_t n = skip_digits(r);
    if (!n || n > MAX_DIGITS || (n > 1 && *first == '0'))
        return false;
    if (!reader_skip(r, "."))
        return true;
    size_t n_behind = skip_digits(r);
    return n_behind && n + n_behind <= MAX_DIGITS;
}

static bool skip_scalar(struct reader *r) {
    const char *text;
    size_t len;
    if (r->left && *r->at == '"')
        return skip_text(r, &text, &len);
    return reader_skip(r, "true") || reader_skip(r, "false") || reader_skip(r, "null") ||
           skip_number(r);
}

/* A scalar, or arrays of them. */
static bool skip_value(struct reader *r) {
    size_t nesting = 0;
    do {
        bool is_empty = false;
        while (!is_empty && reader_skip(r, "[")) {
            if (++nesting > MAX_NESTING)
                return false;
            is_empty = r->left && *r->at == ']';
        }
        if (!is_empty && !skip_scalar(r))
            return false;
        while (nesting && reader_skip(r, "]"))
            nesting--;
    } while (nesting && reader_skip(r, ","));
    return !nesting;
}

/* ---- Operations ---- */

static bool skip_operation(struct reader *r) {
    const char *op, *path, *from;
    size_t op_len, path_len, from_len;
    if (!reader_skip(r, "{\"op\":") || !skip_text(r, &op, &op_len))
        return false;
    if (reader_skip(r, ",\"from\":") && !skip_text(r, &from, &from_len))
        return false;
    if (!reader_skip(r, ",\"path\":") || !skip_text(r, &path, &path_len))
        return false;
    if (path_len == strlen("/name") && memcmp(path, "/name", path_len) == 0)
        return false;
    if (reader_skip(r, ",\"value\":") && !skip_value(r))
        return false;
    return reader_skip(r, "}");
}

static bool skip_operations(struct reader *r) {
    if (!reader_skip(r, "["))
        return false;
    if (reader_skip(r, "]"))
        return true;
    do
        if (!skip_operation(r))
            return false;
    while (reader_skip(r, ","));
    return reader_skip(r, "]");
}

/* ---- Members ---- */

static bool take_text(struct reader *r, char *ret, size_t cap) {
    const char *text;
    size_t len;
    if (!skip_text(r, &text, &len) || len >= cap)
        return false;
    memcpy(ret, text, len);
    ret[len] = '\0';
    return true;
}

static bool take_uuid(struct reader *r, char ret[static UUID_LEN + 1]) {
    return take_text(r, ret, UUID_LEN + 1) && uuid_is(ret, strlen(ret));
}

static bool take_device(struct reader *r, struct event *e) {
    if (reader_skip(r, "null"))
        return true;
    return take_text(r, e->device_id, sizeof(e->device_id)) &&
           session_device_is_valid(e->device_id, strlen(e->device_id));
}

static bool take_envelope(struct reader *r, struct event *e) {
    e->type = EVENT_STATE_DELTA;
    return reader_skip(r, "{\"type\":\"state_delta\",\"sessionId\":") &&
           take_uuid(r, e->session_id) && reader_skip(r, ",\"epoch\":") &&
           reader_number(r, &e->position.epoch) && e->position.epoch &&
           reader_skip(r, ",\"version\":") && reader_number(r, &e->position.version) &&
           e->position.version && reader_skip(r, ",\"timestamp\":\"") &&
           reader_moment(r, &e->timestamp) && reader_skip(r, "\",\"userId\":") &&
           take_uuid(r, e->user_id) && reader_skip(r, ",\"deviceId\":") && take_device(r, e);
}

static char *print_number(char *at, uint64_t number) {
    char digits[24];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    *at++ = ':';
    while (n)
        *at++ = digits[--n];
    return at;
}

/* <id>:<epoch>:<version> */
static void name(struct event *e) {
    memcpy(e->message_id, e->session_id, UUID_LEN);
    char *at = print_number(e->message_id + UUID_LEN, e->position.epoch);
    *print_number(at, e->position.version) = '\0';
}

bool entry_scan_delta(const char *body, size_t len, struct event *ret,
                      char ret_checksum[static HASH_HEX_LEN + 1]) {
    struct reader r = {body, len};
    struct event e = {0};
    uint64_t base;
    bool ok = take_envelope(&r, &e) && reader_skip(&r, ",\"baseVersion\":") &&
              reader_number(&r, &base) && reader_skip(&r, ",\"operations\":") &&
              skip_operations(&r) && reader_skip(&r, ",\"checksum\":") &&
              take_text(&r, ret_checksum, HASH_HEX_LEN + 1) &&
              (reader_skip(&r, ",\"rebased\":true}") || reader_skip(&r, "}")) && !r.left;
    if (!ok)
        return false;
    name(&e);
    *ret = e;
    return true;
}
