/* Base64url: what is decoded prints as the very text, whatever is printed is decoded again, and
 * nothing is taken that openssl's decoder of plain base64 takes otherwise. */
#include <openssl/evp.h>

#include "base/base64url.h"
#include "fuzz_json.h"
#include "services/session_api/handoff_code.h"

/* In openssl's alphabet, padded; -1: of another alphabet. */
static ssize_t decode_slowly(const char *text, size_t len, unsigned char *ret) {
    size_t padded = (len + 3) / 4 * 4;
    char *plain = must_alloc(padded + 1);
    bool is_ours = true;
    for (size_t i = 0; i < padded; i++) {
        char c = '=';
        if (i < len)
            c = text[i];
        is_ours = is_ours && (i >= len || base64url_value(c) >= 0);
        if (c == '-' || c == '_')
            c = c == '-' ? '+' : '/';
        plain[i] = c;
    }
    int n = is_ours && len % 4 != 1
                ? EVP_DecodeBlock(ret, (const unsigned char *)plain, (int)padded)
                : -1;
    free(plain);
    return n < 0 ? -1 : n - (ssize_t)(padded - len);
}

static void check_decoded(const char *text, size_t len) {
    char *bytes = must_alloc(len + 4), *again = must_alloc(len + 4);
    unsigned char *slowly = must_alloc(len + 4);
    ssize_t n = base64url_decode(text, len, bytes), n_slowly = decode_slowly(text, len, slowly);
    if (n >= 0) {
        must_hold(n == n_slowly && memcmp(bytes, slowly, (size_t)n) == 0);
        must_hold(BASE64URL_LEN((size_t)n) == len);
        base64url_print(bytes, (size_t)n, again);
        must_hold(memcmp(again, text, len) == 0 && !again[len]);
    } else if (n_slowly >= 0) {
        /* Only since bits are set that mean nothing. */
        base64url_print(slowly, (size_t)n_slowly, again);
        must_hold(memcmp(again, text, len) != 0);
    }
    free(bytes);
    free(again);
    free(slowly);
}

static void check_printed(const uint8_t *data, size_t size) {
    struct buf out = BUF_NULL;
    char *bytes = must_alloc(size + 4);
    buf_puts(&out, "x");
    base64url_put(&out, data, size);
    must_hold(out.len == 1 + BASE64URL_LEN(size));
    must_hold(base64url_decode(out.data + 1, out.len - 1, bytes) == (ssize_t)size);
    must_hold(size == 0 || memcmp(bytes, data, size) == 0);
    buf_done(&out);
    free(bytes);
}

static void check_code(const char *text, size_t len) {
    char bytes[HANDOFF_CODE_LEN + 1];
    if (!handoff_code_is(text, len))
        return;
    must_hold(len == HANDOFF_CODE_LEN);
    for (size_t i = 0; i < len; i++)
        must_hold(base64url_value(text[i]) >= 0);
    (void)!base64url_decode(text, len, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size);
    check_decoded(text, size);
    check_printed(data, size);
    check_code(text, strlen(text));
    free(text);
    return 0;
}
