/* Handoff codes; see handoff_code.h. */
#include "services/session_api/handoff_code.h"

#include <stdint.h>
#include <string.h>

#include "base/random.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void handoff_code_new(char ret[static HANDOFF_CODE_LEN + 1]) {
    uint8_t bytes[16];
    uint32_t bits = 0;
    unsigned n_bits = 0;
    char *at = ret;
    random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bits = bits << 8 | bytes[i];
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            *at++ = digits[bits >> (n_bits - 6) & 63];
    }
    *at++ = digits[bits << (6 - n_bits) & 63];
    *at = '\0';
}

bool handoff_code_is(const char *text, size_t len) {
    return len == HANDOFF_CODE_LEN && strspn(text, digits) >= len;
}

void handoff_code_put_url(const char *url, const char *code, struct buf *out) {
    static const char mark[] = "{code}";
    const char *at = strstr(url, mark);
    size_t before = at ? (size_t)(at - url) : strlen(url);
    buf_put(out, url, before);
    if (!at)
        return;
    buf_puts(out, code);
    buf_puts(out, at + sizeof(mark) - 1);
}
