/* Over whole strings and values; see reader.h. */
#include "proto/reader.h"

const char *reader_string_end(const char *at, const char *end) {
    for (at++; at < end;) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        if (!quote)
            return NULL;
        const char *from = quote;
        while (from > at && from[-1] == '\\')
            from--;
        at = quote + 1;
        if ((quote - from) % 2 == 0)
            return at;
    }
    return NULL;
}

static const char *skip_word(const char *at, const char *end) {
    while (at < end && *at != ',' && *at != ']' && *at != '}')
        at++;
    return at;
}

const char *reader_value_end(const char *at, const char *end) {
    size_t depth = 0;
    do {
        if (!at || at == end)
            return NULL;
        switch (*at) {
        case '"':
            at = reader_string_end(at, end);
            break;
        case '{':
        case '[':
            depth++;
            at++;
            break;
        case '}':
        case ']':
            if (depth == 0)
                return NULL;
            depth--;
            at++;
            break;
        case ',':
        case ':':
            if (depth == 0)
                return NULL;
            at++;
            break;
        default:
            at = skip_word(at, end);
        }
    } while (depth > 0);
    return at;
}
