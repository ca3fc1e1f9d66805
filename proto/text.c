/* JSON text in and out; see text.h. What is not read in the quick way (text_quick.c) jansson
 * parses, after one pass over the bytes that refuses what it would take silently: nesting up to
 * 2048, integers that a double cannot keep, NUL bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/text_private.h"

#define MAX_NESTING 1000
/* Every integer of up to 15 digits is exact; RFC 8785 prints integers with up to 21. */
#define DIGITS_ALWAYS_EXACT 15
#define DIGITS_EVER_PRINTED 21

struct scan {
    const char *text;
    size_t len;
    size_t at;
    size_t nesting;
    bool may_have_minus_zero;
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

size_t text_utf8_sequence(const unsigned char *bytes, size_t n) {
    unsigned char lead = bytes[0];
    if (lead < 0x80)
        return 1;
    size_t len = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (lead == 0xe0 && bytes[1] < 0xa0) || (lead == 0xf0 && bytes[1] < 0x90);
    bool surrogate = lead == 0xed && bytes[1] > 0x9f;
    bool beyond = lead == 0xf4 && bytes[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : len;
}

/* The number of bytes at the start of text that are valid UTF-8. */
static size_t utf8_prefix(const char *text, size_t len) {
    size_t at = 0;
    while (at < len) {
        size_t n = text_utf8_sequence((const unsigned char *)text + at, len - at);
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

bool text_is_utf8(const char *bytes, size_t len) {
    return utf8_prefix(bytes, len) == len;
}

size_t text_n_characters(const char *utf8, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)utf8[i] & 0xc0) != 0x80;
    return n;
}

/* Refuses the byte at `at`, by line and column (both from 1, in characters). */
static int refuse(const char *text, size_t at, const char *what, struct fault *f) {
    size_t line = 1, line_start = 0;
    for (size_t i = 0; i < at; i++)
        if (text[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    size_t column = 1 + text_n_characters(text + line_start, at - line_start);
    return (int)fault_set(f, FAULT_INVALID_JSON, NULL, "line %zu, column %zu: %s", line, column,
                          what);
}

static void skip_string(struct scan *s) {
    s->at++;
    while (s->at < s->len && s->text[s->at] != '"')
        s->at += s->text[s->at] == '\\' ? 2 : 1;
    s->at++;
}

static bool prints_back(const char *literal, size_t len, size_t n_digits) {
    if (n_digits > DIGITS_EVER_PRINTED)
        return false;
    char copy[DIGITS_EVER_PRINTED + 2], printed[CANONICAL_NUMBER_CAP];
    memcpy(copy, literal, len);
    copy[len] = '\0';
    canonical_number(strtod(copy, NULL), printed);
    return strcmp(copy, printed) == 0;
}

static int scan_number(struct scan *s, struct fault *f) {
    size_t start = s->at;
    bool negative = s->text[start] == '-';
    size_t first = start + negative, end = first;
    while (end < s->len && is_digit(s->text[end]))
        end++;
    s->at = end;
    bool integer = end == s->len || !strchr(".eE", s->text[end]);
    while (s->at < s->len && strchr("0123456789.eE+-", s->text[s->at]))
        s->at++;
    if (end == first) /* a minus alone; there may be nothing behind it */
        return 0;
    if (negative && first < s->len && (!integer || s->text[first] == '0'))
        s->may_have_minus_zero = true;
    /* Leading zeros are bad syntax, which jansson says better. */
    if (integer && end - first > DIGITS_ALWAYS_EXACT && s->text[first] != '0' &&
        !prints_back(s->text + start, end - start, end - first))
        return refuse(s->text, start, "an integer that an IEEE double cannot hold exactly", f);
    return 0;
}

/* One pass over what is outside strings. Wrong syntax may fool it, but not into refusing what is
 * right: jansson sees all that passes. */
static int scan_all(struct scan *s, struct fault *f) {
    while (s->at < s->len) {
        char c = s->text[s->at];
        if (c == '"') {
            skip_string(s);
        } else if (c == '-' || is_digit(c)) {
            int r = scan_number(s, f);
            if (r)
                return r;
        } else {
            if ((c == '[' || c == '{') && ++s->nesting > MAX_NESTING)
                return refuse(s->text, s->at, "nesting over 1000 levels", f);
            if ((c == ']' || c == '}') && s->nesting > 0)
                s->nesting--;
            s->at++;
        }
    }
    return 0;
}

static void clear_minus_zeros(json_t *value) {
    size_t i;
    const char *name;
    json_t *inner;
    if (json_is_real(value) && json_real_value(value) == 0)
        json_real_set(value, 0.0);
    json_array_foreach(value, i, inner) clear_minus_zeros(inner);
    json_object_foreach(value, name, inner) clear_minus_zeros(inner);
}

int text_parse_strictly(const char *text, size_t len, json_t **ret, struct fault *f) {
    size_t valid = utf8_prefix(text, len);
    if (valid < len)
        return refuse(text, valid, "invalid UTF-8", f);
    const char *nul = len ? memchr(text, '\0', len) : NULL;
    if (nul) /* jansson takes one for the end */
        return refuse(text, (size_t)(nul - text), "a NUL byte", f);
    struct scan scan = {.text = text, .len = len};
    int r = scan_all(&scan, f);
    if (r)
        return r;
    json_error_t error;
    json_t *value = json_loadb(
        text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
    if (!value) {
        /* What follows " near" is the client's text, cut anywhere. */
        char *near = strstr(error.text, " near");
        if (near)
            *near = '\0';
        return (int)fault_set(f, FAULT_INVALID_JSON, NULL, "line %d, column %d: %s", error.line,
                              error.column, error.text);
    }
    if (scan.may_have_minus_zero)
        clear_minus_zeros(value);
    *ret = value;
    return 0;
}

int text_parse(const char *text, size_t len, json_t **ret, struct fault *f) {
    json_t *value = text_parse_quickly(text, len);
    if (!value)
        return text_parse_strictly(text, len, ret, f);
    *ret = value;
    return 0;
}

static void print_object(const json_t *object, struct buf *out) {
    json_t *borrowed = (json_t *)(uintptr_t)object; /* jansson iterates over non-const only */
    const char *separator = "";
    buf_putc(out, '{');
    for (void *i = json_object_iter(borrowed); i; i = json_object_iter_next(borrowed, i)) {
        buf_puts(out, separator);
        buf_put_json(out, json_object_iter_key(i), json_object_iter_key_len(i));
        buf_putc(out, ':');
        text_print(json_object_iter_value(i), out);
        separator = ",";
    }
    buf_putc(out, '}');
}

void text_print(const json_t *value, struct buf *out) {
    if (json_is_object(value)) {
        print_object(value, out);
    } else if (json_is_array(value)) {
        size_t n = json_array_size(value);
        buf_putc(out, '[');
        for (size_t i = 0; i < n; i++) {
            if (i > 0)
                buf_putc(out, ',');
            text_print(json_array_get(value, i), out);
        }
        buf_putc(out, ']');
    } else {
        canonical_print(value, out);
    }
}

size_t text_depth(const json_t *value, size_t most) {
    if (!json_is_object(value) && !json_is_array(value))
        return 0;
    if (most == 0)
        return 1;
    size_t deepest = 0; /* of what is inside */
    json_t *borrowed = (json_t *)(uintptr_t)value;
    for (size_t i = 0, n = json_array_size(value); i < n && deepest < most; i++) {
        size_t depth = text_depth(json_array_get(value, i), most - 1);
        deepest = depth > deepest ? depth : deepest;
    }
    for (void *i = json_object_iter(borrowed); i && deepest < most;
         i = json_object_iter_next(borrowed, i)) {
        size_t depth = text_depth(json_object_iter_value(i), most - 1);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

static bool object_equal(const json_t *a, const json_t *b) {
    json_t *left = (json_t *)(uintptr_t)a, *right = (json_t *)(uintptr_t)b;
    if (json_object_size(a) != json_object_size(b))
        return false;
    void *i = json_object_iter(left), *j = json_object_iter(right);
    for (; i; i = json_object_iter_next(left, i)) {
        const char *name = json_object_iter_key(i);
        /* Objects mostly have the same order, which spares the look-ups. */
        const json_t *other = j && strcmp(name, json_object_iter_key(j)) == 0
                                  ? json_object_iter_value(j)
                                  : json_object_get(b, name);
        if (!other || !text_equal(json_object_iter_value(i), other))
            return false;
        j = j ? json_object_iter_next(right, j) : NULL;
    }
    return true;
}

bool text_equal(const json_t *a, const json_t *b) {
    if (a == b)
        return true;
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_object(a))
        return object_equal(a, b);
    if (json_is_array(a)) {
        size_t n = json_array_size(a);
        if (n != json_array_size(b))
            return false;
        for (size_t i = 0; i < n; i++)
            if (!text_equal(json_array_get(a, i), json_array_get(b, i)))
                return false;
        return true;
    }
    if (json_is_string(a))
        return json_string_length(a) == json_string_length(b) &&
               memcmp(json_string_value(a), json_string_value(b), json_string_length(a)) == 0;
    return true;
}

/* ---- plain text ---- */

bool text_is_printable(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

bool text_has_controls(const char *utf8, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)utf8[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)utf8[i + 1] < 0xa0))
            return true;
    }
    return false;
}

bool text_parse_number(const char *text, size_t len, uint64_t *ret) {
    uint64_t value = 0;
    if (len == 0 || len > 16 || (len > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    if (value > TEXT_INTEGER_MAX)
        return false;
    *ret = value;
    return true;
}
