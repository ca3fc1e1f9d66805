/* A token's claims; see claim.h. */
#include "clients/c/src/claim.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "clients/c/src/problem.h"
#include "proto/text.h"

#define DEVICE_MAX 128

bool claim_is_device(const char *text) {
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
    size_t len = strlen(text);
    return len >= 1 && len <= DEVICE_MAX && strspn(text, allowed) == len &&
           strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

static int value_of(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* base64url without padding (RFC 4648, section 5). */
static bool decode(const char *text, size_t len, struct buf *out) {
    unsigned bits = 0, n_bits = 0;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (unsigned)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buf_putc(out, (char)(bits >> n_bits & 0xff));
        }
    }
    return true;
}

bool claim_device(const char *token, size_t cap, char ret[]) {
    const char *begin = strchr(token, '.'), *end = begin ? strchr(begin + 1, '.') : NULL;
    _cleanup_(buf_done) struct buf payload = BUF_NULL;
    json_auto_t *claims = NULL;
    if (!end || !decode(begin + 1, (size_t)(end - begin - 1), &payload) ||
        text_parse(payload.data ? payload.data : "", payload.len, &claims, NULL) != 0)
        return false;
    const char *device = frame_string(claims, "device_id");
    if (!device || !claim_is_device(device) || strlen(device) >= cap)
        return false;
    memcpy(ret, device, strlen(device) + 1);
    return true;
}
