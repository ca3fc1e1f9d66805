/* What libmicrohttpd 0.9.75 lets through and a proxy before us may read in another way (request
 * smuggling): two lengths, a length and a coding, two hosts, folds. A fold after an empty value
 * arrives glued to the header's name ("Transfer-Encodingchunked"), a blank before the colon as part
 * of it.
 *
 * Some of it libmicrohttpd does not tell: a NUL, behind which it ends every text; a line without a
 * carriage return; two blanks in the first line; and a header without a name, at which it ends the
 * head, so that the rest of the head would be taken for the body. But it says how long the head
 * was, and it cuts the lines where they stand: what they come to has to be that length. */
#include <string.h>
#include <strings.h>

#include "common/http_parts.h"

static bool is_alphanumeric(unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_token(const char *text, size_t len) {
    static const char symbols[] = "!#$%&'*+-.^_`|~";
    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!is_alphanumeric(c) && (c == '\0' || !strchr(symbols, c)))
            return false;
    }
    return true;
}

static bool parse_length(const char *text, size_t len, uint64_t *ret) {
    if (len == 0 || len > 18)
        return false;
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    *ret = n;
    return true;
}

static void take_length(struct http_framing *f, const char *value, size_t len) {
    uint64_t length = 0;
    if (!parse_length(value, len, &length) || (f->has_length && f->length != length))
        f->is_bad = true;
    f->has_length = true;
    f->length = length;
}

/* From the name to the line break, with the colon and the blanks that are in between. */
static size_t line_bytes(const char *name, size_t name_len, const char *value, size_t value_len) {
    static const size_t colon = 1, line_break = 2;
    if (!value)
        return name_len + colon + line_break;
    return (size_t)((uintptr_t)value - (uintptr_t)name) + value_len + line_break;
}

static bool is_value(const char *value, size_t len) {
    return !memchr(value, '\0', len) && !memchr(value, '\r', len) && !memchr(value, '\n', len);
}

/* Of the characters that a name, an address and a port have (RFC 3986, section 3.2.2); it may be
 * empty. What it names is nothing to us: whoever routes by it must not see another in it. */
static bool is_host(const char *value, size_t len) {
    static const char symbols[] = "-._~!$&'()*+,;=:[]%";
    for (size_t i = 0; i < len; i++)
        if (!is_alphanumeric((unsigned char)value[i]) && (!value[i] || !strchr(symbols, value[i])))
            return false;
    return true;
}

static bool is_named(const char *name, size_t len, const char *known, struct http_framing *f) {
    size_t known_len = strlen(known);
    if (len < known_len || strncasecmp(name, known, known_len) != 0)
        return false;
    if (len > known_len)
        f->is_bad = true;
    return len == known_len;
}

void http_framing_take(struct http_framing *f, const char *name, size_t name_len, const char *value,
                       size_t value_len) {
    if (!is_token(name, name_len) || (value && !is_value(value, value_len)))
        f->is_bad = true;
    f->n_bytes += line_bytes(name, name_len, value, value_len);
    if (is_named(name, name_len, "Content-Length", f))
        take_length(f, value, value_len);
    if (is_named(name, name_len, "Host", f)) {
        f->n_hosts++;
        f->is_bad |= value && !is_host(value, value_len);
    }
    if (is_named(name, name_len, "Transfer-Encoding", f)) {
        f->n_codings++;
        if (!value || value_len != 7 || strncasecmp(value, "chunked", 7) != 0)
            f->is_bad = true;
    }
}

bool http_framing_is_bad(const struct http_framing *f, const char *version) {
    if (f->is_bad || f->n_hosts > 1 || f->n_codings > 1 || (f->has_length && f->n_codings > 0))
        return true;
    if (f->n_hosts == 0 && strcmp(version, "HTTP/1.0") != 0)
        return true;
    return f->n_codings > 0 && strcmp(version, "HTTP/1.1") != 0;
}

bool http_framing_is_whole(const struct http_framing *f, size_t n_line, size_t n_head) {
    static const size_t line_break = 2;
    return n_line + line_break + f->n_bytes + line_break == n_head;
}
