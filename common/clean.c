/* Text made fit to be shown; see clean.h. */
#include "common/clean.h"

#include <stdbool.h>

#include "proto/text.h"

/* Bytes of the character at text, 0 when there is none. */
static size_t character_len(const char *text, size_t len) {
    for (size_t n = 1; n <= 4 && n <= len; n++)
        if (text_is_utf8(text, n))
            return n;
    return 0;
}

static bool is_c1(const char *text, size_t n) {
    return n == 2 && (unsigned char)text[0] == 0xc2 && (unsigned char)text[1] < 0xa0;
}

void clean_put(struct buf *out, const char *text, size_t len, size_t most) {
    static const char replacement[] = "\xef\xbf\xbd";
    size_t end = out->len + most;
    for (size_t at = 0; at < len;) {
        size_t n = character_len(text + at, len - at);
        bool keep = n > 0 && !is_c1(text + at, n);
        const char *put = keep ? text + at : replacement;
        size_t put_len = keep ? n : sizeof(replacement) - 1;
        if (out->len + put_len > end)
            return;
        buf_put(out, put, put_len);
        at += n ? n : 1;
    }
}
