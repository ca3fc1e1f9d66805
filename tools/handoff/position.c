/* See position.h. */
#include "tools/handoff/position.h"

#include <string.h>

#include "proto/text.h"

bool position_parse(const char *text, struct position *ret) {
    uint64_t version = 0, epoch = 1;
    size_t len = strlen(text);
    if (len >= 2 && text[0] == '"' && text[len - 1] == '"')
        text++, len -= 2;
    const char *dot = memchr(text, '.', len);
    size_t version_len = dot ? (size_t)(dot - text) : len;
    if (!text_parse_number(text, version_len, &version) ||
        (dot && (!text_parse_number(dot + 1, len - version_len - 1, &epoch) || epoch < 2)))
        return false;
    *ret = (struct position){version, epoch};
    return true;
}
