/* See base64url.h. */
#include "base/base64url.h"

static const char alphabet[] = BASE64URL_ALPHABET;

void base64url_print(const void *data, size_t len, char *ret) {
    const unsigned char *bytes = data;
    unsigned bits = 0, n_bits = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | bytes[i]) & 0xffff;
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            *ret++ = alphabet[bits >> (n_bits - 6) & 63];
    }
    if (n_bits)
        *ret++ = alphabet[bits << (6 - n_bits) & 63];
    *ret = '\0';
}

void base64url_put(struct buf *out, const void *data, size_t len) {
    buf_reserve(out, BASE64URL_LEN(len) + 1);
    base64url_print(data, len, out->data + out->len);
    out->len += BASE64URL_LEN(len);
}

int base64url_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

ssize_t base64url_decode(const char *text, size_t len, char *ret) {
    uint32_t bits = 0;
    unsigned n_bits = 0;
    ssize_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int value = base64url_value(text[i]);
        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            ret[n++] = (char)(bits >> n_bits);
        }
        bits &= (1u << n_bits) - 1;
    }
    return n_bits < 6 && bits == 0 ? n : -1;
}
