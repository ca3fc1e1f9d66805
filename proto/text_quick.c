/* JSON text to values in one pass, for the usual text; see text_private.h. jansson reads byte by
 * byte through a function, and a change is read by three services. Nothing is refused here: what is
 * not plainly right is left to the strict way, which says what is wrong. */
#include <string.h>

#include "base/buf.h"
#include "proto/text_private.h"

#define MAX_NESTING 64
#define MAX_DIGITS 15 /* every number of so many is an exact double before its point is set */

struct quick {
    const char *at;
    const char *end;
    size_t nesting;
    struct buf unescaped; /* scratch */
};

static json_t *read_value(struct quick *q);

static void skip_space(struct quick *q) {
    while (q->at < q->end && (*q->at == ' ' || *q->at == '\n' || *q->at == '\t' || *q->at == '\r'))
        q->at++;
}

static bool take(struct quick *q, char c) {
    if (q->at == q->end || *q->at != c)
        return false;
    q->at++;
    return true;
}

/* ---- strings ---- */

#define EACH_BYTE(c) (UINT64_C(0x0101010101010101) * (c))

static uint64_t has_zero(uint64_t word) {
    return (word - EACH_BYTE(1)) & ~word & EACH_BYTE(0x80);
}

/* How many bytes stand for themselves: ASCII but controls, quotes and backslashes. */
static size_t n_plain(const char *text, size_t len) {
    size_t n = 0;
    for (; len - n >= 8; n += 8) {
        uint64_t word;
        memcpy(&word, text + n, 8);
        uint64_t controls = (word - EACH_BYTE(0x20)) & ~word;
        if (((word | controls) & EACH_BYTE(0x80)) || has_zero(word ^ EACH_BYTE('"')) ||
            has_zero(word ^ EACH_BYTE('\\')))
            break;
    }
    for (; n < len; n++) {
        unsigned char c = (unsigned char)text[n];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            break;
    }
    return n;
}

/* What stands between quotes up to the first backslash or the end of the string. */
static bool skip_characters(struct quick *q) {
    for (;;) {
        q->at += n_plain(q->at, (size_t)(q->end - q->at));
        if (q->at == q->end)
            return false;
        unsigned char c = (unsigned char)*q->at;
        if (c == '"' || c == '\\')
            return true;
        size_t n = c < 0x80
                       ? 0
                       : text_utf8_sequence((const unsigned char *)q->at, (size_t)(q->end - q->at));
        if (n == 0)
            return false;
        q->at += n;
    }
}

static bool unescape(struct quick *q) {
    static const char written[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *found = ++q->at < q->end ? memchr(written, *q->at, sizeof(written) - 1) : NULL;
    if (!found)
        return false;
    q->at++;
    buf_putc(&q->unescaped, meant[found - written]);
    return true;
}

/* Borrowed from the text or the scratch, until the next. */
static bool read_text(struct quick *q, const char **ret, size_t *ret_len) {
    if (!take(q, '"'))
        return false;
    const char *from = q->at;
    if (!skip_characters(q))
        return false;
    if (*q->at == '"') {
        *ret = from;
        *ret_len = (size_t)(q->at++ - from);
        return true;
    }
    buf_clear(&q->unescaped);
    while (*q->at != '"') {
        buf_put(&q->unescaped, from, (size_t)(q->at - from));
        if (!unescape(q))
            return false;
        from = q->at;
        if (!skip_characters(q))
            return false;
    }
    buf_put(&q->unescaped, from, (size_t)(q->at++ - from));
    *ret = q->unescaped.data;
    *ret_len = q->unescaped.len;
    return true;
}

static json_t *read_string(struct quick *q) {
    const char *text;
    size_t len;
    return read_text(q, &text, &len) ? json_stringn_nocheck(text, len) : NULL;
}

/* ---- numbers ---- */

static size_t read_digits(struct quick *q, uint64_t *number) {
    const char *from = q->at;
    for (; q->at < q->end && *q->at >= '0' && *q->at <= '9' && q->at - from <= MAX_DIGITS; q->at++)
        *number = *number * 10 + (uint64_t)(*q->at - '0');
    return (size_t)(q->at - from);
}

/* Both the digits and the power of ten are exact doubles, so that the quotient is the nearest one.
 */
static json_t *read_number(struct quick *q) {
    static const double powers[MAX_DIGITS + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    uint64_t digits = 0;
    bool is_negative = take(q, '-');
    bool has_zero_first = q->at < q->end && *q->at == '0';
    size_t n_whole = read_digits(q, &digits), n_behind = 0;
    if (n_whole == 0 || (has_zero_first && n_whole > 1))
        return NULL;
    if (take(q, '.')) {
        n_behind = read_digits(q, &digits);
        if (n_behind == 0)
            return NULL;
    }
    if (n_whole + n_behind > MAX_DIGITS || (q->at < q->end && (*q->at == 'e' || *q->at == 'E')))
        return NULL;
    double number = (double)digits / powers[n_behind];
    return json_real(is_negative && number != 0 ? -number : number);
}

static bool skip_word(struct quick *q, const char *word, size_t len) {
    if ((size_t)(q->end - q->at) < len || memcmp(q->at, word, len) != 0)
        return false;
    q->at += len;
    return true;
}

/* ---- containers ---- */

static json_t *read_array(struct quick *q) {
    json_auto_t *array = json_array();
    q->at++;
    skip_space(q);
    if (take(q, ']'))
        return TAKE_PTR(array);
    do {
        json_t *element = read_value(q);
        if (!element || json_array_append_new(array, element) != 0)
            return NULL;
    } while (take(q, ','));
    return take(q, ']') ? TAKE_PTR(array) : NULL;
}

/* A name that was there does not make the object larger. */
static bool read_member(struct quick *q, json_t *object, size_t n_before) {
    const char *name;
    size_t len;
    skip_space(q);
    if (!read_text(q, &name, &len))
        return false;
    _cleanup_(freep) char *copy = name == q->unescaped.data ? must_memdup(name, len) : NULL;
    skip_space(q);
    json_t *value = take(q, ':') ? read_value(q) : NULL;
    return value && json_object_setn_new_nocheck(object, copy ? copy : name, len, value) == 0 &&
           json_object_size(object) == n_before + 1;
}

static json_t *read_object(struct quick *q) {
    json_auto_t *object = json_object();
    size_t n = 0;
    q->at++;
    skip_space(q);
    if (take(q, '}'))
        return TAKE_PTR(object);
    do {
        if (!read_member(q, object, n++))
            return NULL;
    } while (take(q, ','));
    return take(q, '}') ? TAKE_PTR(object) : NULL;
}

static json_t *read_nested(struct quick *q) {
    if (++q->nesting > MAX_NESTING)
        return NULL;
    json_t *value = *q->at == '{' ? read_object(q) : read_array(q);
    q->nesting--;
    return value;
}

/* With the white space around it. */
static json_t *read_value(struct quick *q) {
    json_t *value = NULL;
    skip_space(q);
    if (q->at == q->end)
        return NULL;
    switch (*q->at) {
    case '{':
    case '[':
        value = read_nested(q);
        break;
    case '"':
        value = read_string(q);
        break;
    case 't':
        value = skip_word(q, "true", 4) ? json_true() : NULL;
        break;
    case 'f':
        value = skip_word(q, "false", 5) ? json_false() : NULL;
        break;
    case 'n':
        value = skip_word(q, "null", 4) ? json_null() : NULL;
        break;
    default:
        value = read_number(q);
    }
    skip_space(q);
    return value;
}

json_t *text_read_quickly(const char **text, const char *end) {
    struct quick q = {.at = *text, .end = end};
    json_t *value = read_value(&q);
    buf_done(&q.unescaped);
    *text = q.at;
    return value;
}

json_t *text_parse_quickly(const char *text, size_t len) {
    const char *at = text;
    json_auto_t *value = len ? text_read_quickly(&at, text + len) : NULL;
    return at == text + len ? TAKE_PTR(value) : NULL;
}
