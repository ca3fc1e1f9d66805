/* Handoff codes; see handoff_code.h. */
#include "services/session_api/handoff_code.h"

#include <stdint.h>
#include <string.h>

#include "base/base64url.h"
#include "base/random.h"

#define CODE_BYTES 16
_Static_assert(BASE64URL_LEN(CODE_BYTES) == HANDOFF_CODE_LEN, "a code is its bytes in base64url");

void handoff_code_new(char ret[static HANDOFF_CODE_LEN + 1]) {
    uint8_t bytes[CODE_BYTES];
    random_bytes(bytes, sizeof(bytes));
    base64url_print(bytes, sizeof(bytes), ret);
}

bool handoff_code_is(const char *text, size_t len) {
    return len == HANDOFF_CODE_LEN && strspn(text, BASE64URL_ALPHABET) >= len;
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
