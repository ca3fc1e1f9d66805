/* Cursors: base64url of "<RFC 3339 moment>,<id>", without padding; see cursor.h. */
#include "services/session_api/cursor.h"

#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"

#define PLAIN_LEN (TIMESTAMP_LEN + 1 + UUID_LEN)
#define TEXT_LEN ((PLAIN_LEN * 8 + 5) / 6)

_Static_assert(TEXT_LEN < CURSOR_CAP, "a cursor fits");

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void cursor_print(const struct cursor *c, char ret[static CURSOR_CAP]) {
    char plain[PLAIN_LEN + 1], moment[TIMESTAMP_LEN + 1];
    timestamp_print(c->created_at, moment);
    snprintf(plain, sizeof(plain), "%s,%s", moment, c->id);
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < PLAIN_LEN; i++) {
        bits = bits << 8 | (unsigned char)plain[i];
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            ret[n++] = digits[bits >> (n_bits - 6) & 63];
    }
    if (n_bits > 0)
        ret[n++] = digits[bits << (6 - n_bits) & 63];
    ret[n] = '\0';
}

bool cursor_parse(const char *text, struct cursor *ret) {
    char plain[PLAIN_LEN + 1] = "";
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    if (strlen(text) != TEXT_LEN)
        return false;
    for (; *text; text++) {
        const char *digit = strchr(digits, *text);
        if (!digit)
            return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            plain[n++] = (char)(bits >> n_bits & 255);
        }
    }
    if ((bits & ((1u << n_bits) - 1)) != 0 || plain[TIMESTAMP_LEN] != ',' ||
        !uuid_is(plain + TIMESTAMP_LEN + 1, UUID_LEN) ||
        !timestamp_parse(plain, TIMESTAMP_LEN, &ret->created_at))
        return false;
    memcpy(ret->id, plain + TIMESTAMP_LEN + 1, UUID_LEN);
    ret->id[UUID_LEN] = '\0';
    return true;
}
