/* Query parameters; see parameters.h. */
#include "services/session_api/parameters.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/timestamp.h"

int parameters_text(struct http_request *r, const char *name, const char **ret, struct fault *f) {
    bool is_twice = false;
    const char *text = http_query(r, name, &is_twice);
    if (is_twice)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, name, "%s is there twice", name);
    if (text)
        *ret = text;
    return 0;
}

int parameters_number(struct http_request *r, const char *name, uint64_t least, uint64_t most,
                      uint64_t *ret, struct fault *f) {
    const char *text = NULL;
    int err = parameters_text(r, name, &text, f);
    if (err || !text)
        return err;
    size_t len = strlen(text);
    if (len == 0 || strspn(text, "0123456789") != len)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, name, "%s must be a whole number", name);
    uint64_t n = len < 20 ? strtoull(text, NULL, 10) : UINT64_MAX;
    if (n < least || n > most)
        return (int)fault_set(f, FAULT_INVALID_VALUE, name, "%s must be %" PRIu64 " to %" PRIu64,
                              name, least, most);
    *ret = n;
    return 0;
}

/* ---- moments ---- */

/* What follows the seconds up to the offset; the digits that count go to millis. */
static const char *take_fraction(const char *p, char millis[static 3]) {
    if (*p != '.')
        return p;
    size_t n = strspn(++p, "0123456789");
    memcpy(millis, p, n < 3 ? n : 3);
    return n ? p + n : NULL;
}

/* Z or ±hh:mm, to the end. */
static bool take_offset(const char *p, int64_t *ret_ms) {
    if ((*p == 'Z' || *p == 'z') && !p[1]) {
        *ret_ms = 0;
        return true;
    }
    if ((*p != '+' && *p != '-') || strlen(p) != 6 || p[3] != ':' ||
        strspn(p + 1, "0123456789") != 2 || strspn(p + 4, "0123456789") != 2)
        return false;
    long hours = strtol(p + 1, NULL, 10), minutes = strtol(p + 4, NULL, 10);
    *ret_ms = (hours * 60 + minutes) * 60000 * (*p == '-' ? -1 : 1);
    return hours < 24 && minutes < 60;
}

bool parameters_parse_moment(const char *text, int64_t *ret_unix_ms) {
    static const size_t seconds_len = TIMESTAMP_LEN - 5; /* without .mmmZ */
    char plain[] = "0000-00-00T00:00:00.000Z";
    int64_t moment, offset;
    if (strlen(text) <= seconds_len)
        return false;
    memcpy(plain, text, seconds_len);
    if (plain[10] == 't')
        plain[10] = 'T';
    const char *p = take_fraction(text + seconds_len, plain + seconds_len + 1);
    if (!p || !take_offset(p, &offset) || !timestamp_parse(plain, TIMESTAMP_LEN, &moment))
        return false;
    *ret_unix_ms = moment - offset;
    return true;
}

int parameters_moment(struct http_request *r, const char *name, bool *ret_is_there, int64_t *ret,
                      struct fault *f) {
    const char *text = NULL;
    int err = parameters_text(r, name, &text, f);
    *ret_is_there = !err && text;
    if (err || !text)
        return err;
    if (!parameters_parse_moment(text, ret))
        return (int)fault_set(f, FAULT_INVALID_VALUE, name,
                              "%s must be a moment of RFC 3339, such as 2026-02-12T12:00:00Z",
                              name);
    return 0;
}
