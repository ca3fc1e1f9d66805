/* Where a member or an element stands in canonical text; see splice_private.h. */
#include <stdint.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/pointer.h"
#include "proto/reader.h"
#include "proto/splice_private.h"

#define NAME_CAP 256 /* of a stored name that has escapes */

/* ---- names ---- */

static bool hex_digit(char c, unsigned *ret) {
    if (c >= '0' && c <= '9')
        *ret = (unsigned)(c - '0');
    else if (c >= 'a' && c <= 'f')
        *ret = (unsigned)(c - 'a' + 10);
    else
        return false;
    return true;
}

/* One character behind a backslash; how many bytes that are, 0: none that canonical text has. */
static size_t unescape(const char *at, size_t left, char *ret) {
    static const char short_form[] = "\"\\btnfr", meant[] = "\"\\\b\t\n\f\r";
    const char *found = left ? memchr(short_form, *at, sizeof(short_form) - 1) : NULL;
    unsigned high, low;
    if (found) {
        *ret = meant[found - short_form];
        return 1;
    }
    if (left < 5 || memcmp(at, "u00", 3) != 0 || !hex_digit(at[3], &high) ||
        !hex_digit(at[4], &low))
        return 0;
    *ret = (char)(high << 4 | low);
    return 5;
}

static bool decode(const char *text, size_t len, char ret[static NAME_CAP], size_t *ret_len) {
    size_t n = 0;
    for (size_t i = 0; i < len; n++) {
        if (n == NAME_CAP)
            return false;
        if (text[i] != '\\') {
            ret[n] = text[i++];
            continue;
        }
        size_t used = unescape(text + i + 1, len - i - 1, &ret[n]);
        if (used == 0)
            return false;
        i += 1 + used;
    }
    *ret_len = n;
    return true;
}

/* How a stored name, without its quotes, sorts against the token. */
static bool compare(const char *text, size_t len, const struct token *token, int *ret) {
    char decoded[NAME_CAP];
    if (memchr(text, '\\', len)) {
        if (!decode(text, len, decoded, &len))
            return false;
        text = decoded;
    }
    *ret = canonical_compare(text, len, token->name, token->len);
    return true;
}

/* ---- places ---- */

static bool find_member(const char *at, const char *end, const struct token *token, bool is_last,
                        struct place *ret) {
    struct place p = {.in_object = true, .start = ++at};
    if (at < end && *at == '}') {
        *ret = p;
        return true;
    }
    for (;; p.has_before = true) {
        p.start = at;
        const char *name_end = at < end && *at == '"' ? reader_string_end(at, end) : NULL;
        if (!name_end || name_end == end || *name_end != ':')
            return false;
        int order;
        if (!compare(at + 1, (size_t)(name_end - at) - 2, token, &order))
            return false;
        p.has_after = true;
        if (order > 0)
            break;
        if (order == 0 && !is_last) {
            p.value = name_end + 1;
            p.end = end;
            break;
        }
        p.end = reader_value_end(name_end + 1, end);
        if (!p.end || p.end == end || (*p.end != ',' && *p.end != '}'))
            return false;
        p.has_after = *p.end == ',';
        if (order == 0) {
            p.value = name_end + 1;
            break;
        }
        at = p.end + 1;
        if (!p.has_after) {
            p.start = p.end;
            p.has_before = true;
            break;
        }
    }
    *ret = p;
    return true;
}

/* Index SIZE_MAX: the place behind the last. */
static bool find_element(const char *at, const char *end, size_t index, bool is_last,
                         struct place *ret) {
    struct place p = {.start = ++at};
    bool is_empty = at < end && *at == ']';
    for (size_t i = 0; !is_empty; i++, p.has_before = true) {
        p.start = at;
        if (i == index && !is_last) {
            p.value = at;
            p.end = end;
            break;
        }
        p.end = reader_value_end(at, end);
        if (!p.end || p.end == end || (*p.end != ',' && *p.end != ']'))
            return false;
        p.has_after = *p.end == ',';
        if (i == index) {
            p.value = at;
            break;
        }
        at = p.end + 1;
        if (!p.has_after) {
            if (index != SIZE_MAX && index != i + 1)
                return false;
            p.start = p.end;
            p.has_before = true;
            break;
        }
    }
    if (is_empty && index != SIZE_MAX && index != 0)
        return false;
    *ret = p;
    return true;
}

static bool find_index(const struct token *token, size_t *ret) {
    char name[16];
    if (token->len >= sizeof(name))
        return false;
    memcpy(name, token->name, token->len);
    name[token->len] = '\0';
    *ret = SIZE_MAX;
    return strcmp(name, "-") == 0 || pointer_index(&(struct pointer_token){name, token->len}, ret);
}

bool splice_find(const char *at, const char *end, const struct token *token, bool is_last,
                 struct place *ret) {
    size_t index;
    if (at < end && *at == '{')
        return find_member(at, end, token, is_last, ret);
    return at < end && *at == '[' && find_index(token, &index) &&
           find_element(at, end, index, is_last, ret);
}
