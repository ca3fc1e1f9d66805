/* Query parameters of a request's target: read raw, since libmicrohttpd's own unescaping would hide
 * what was sent. */
#include <string.h>

#include "base/buf.h"
#include "common/http_parts.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *unescape(const char *text, size_t len) {
    struct buf out = BUF_NULL;
    for (size_t i = 0; i < len; i++) {
        int high = text[i] == '%' && i + 2 < len ? hex_digit(text[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low >= 0 && (high || low)) {
            buf_putc(&out, (char)(high << 4 | low));
            i += 2;
        } else {
            buf_putc(&out, (char)(text[i] == '+' ? ' ' : text[i]));
        }
    }
    return buf_take(&out);
}

struct part {
    char *name; /* owned, unescaped */
    const char *value;
    size_t value_len;
};

/* Takes the next parameter off *query; false at the end. */
static bool next_part(const char **query, struct part *ret) {
    while (**query == '&')
        (*query)++;
    if (!**query)
        return false;
    size_t len = strcspn(*query, "&");
    const char *equals = memchr(*query, '=', len);
    size_t name_len = equals ? (size_t)(equals - *query) : len;
    ret->name = unescape(*query, name_len);
    ret->value = equals ? equals + 1 : *query + len;
    ret->value_len = equals ? len - name_len - 1 : 0;
    *query += len;
    return true;
}

char *http_query_find(const char *query, const char *name, size_t *ret_n) {
    char *found = NULL;
    size_t n = 0;
    for (struct part part; next_part(&query, &part);) {
        _cleanup_(freep) char *part_name = part.name;
        if (strcmp(part_name, name) != 0)
            continue;
        if (n++ == 0)
            found = unescape(part.value, part.value_len);
    }
    *ret_n = n;
    return found;
}
