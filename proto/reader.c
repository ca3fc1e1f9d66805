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

/* What the end of a container hangs on. */
static const bool is_mark[256] = {
    ['"'] = true, ['{'] = true, ['}'] = true, ['['] = true, [']'] = true};

static const char *container_end(const char *at, const char *end) {
    size_t depth = 0;
    do {
        while (at < end && !is_mark[(unsigned char)*at])
            at++;
        if (at == end)
            return NULL;
        if (*at == '"') {
            at = reader_string_end(at, end);
            continue;
        }
        depth += *at == '{' || *at == '[' ? 1 : SIZE_MAX;
        at++;
    } while (at && depth > 0);
    return at;
}

const char *reader_value_end(const char *at, const char *end) {
    if (!at || at == end)
        return NULL;
    switch (*at) {
    case '"':
        return reader_string_end(at, end);
    case '{':
    case '[':
        return container_end(at, end);
    case '}':
    case ']':
    case ',':
    case ':':
        return NULL;
    default:
        return skip_word(at, end);
    }
}
