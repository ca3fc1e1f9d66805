/* UUIDs; see uuid.h. */
#include "base/uuid.h"

#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/random.h"

static const char hex_digits[] = "0123456789abcdef";

static bool is_dash_place(size_t i) {
    return i == 8 || i == 13 || i == 18 || i == 23;
}

static void print_bytes(const uint8_t bytes[static 16], char *ret) {
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (is_dash_place(at))
            ret[at++] = '-';
        ret[at++] = hex_digits[bytes[i] >> 4];
        ret[at++] = hex_digits[bytes[i] & 15];
    }
    ret[UUID_LEN] = '\0';
}

static void set_version(uint8_t bytes[static 16], unsigned version) {
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | (version << 4));
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
}

void uuid_v4(char ret[static UUID_LEN + 1]) {
    uint8_t bytes[16];
    random_bytes(bytes, sizeof(bytes));
    set_version(bytes, 4);
    print_bytes(bytes, ret);
}

void uuid_v7(int64_t unix_ms, char ret[static UUID_LEN + 1]) {
    uint8_t bytes[16];
    random_bytes(bytes + 6, sizeof(bytes) - 6);
    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)((uint64_t)unix_ms >> (40 - 8 * i));
    set_version(bytes, 7);
    print_bytes(bytes, ret);
}

static unsigned hex_value(char c) {
    return (unsigned)(strchr(hex_digits, c) - hex_digits);
}

static void parse_bytes(const char *text, uint8_t ret[static 16]) {
    for (size_t i = 0, at = 0; i < 16; i++) {
        if (is_dash_place(at))
            at++;
        ret[i] = (uint8_t)(hex_value(text[at]) << 4 | hex_value(text[at + 1]));
        at += 2;
    }
}

void uuid_v5(const char *namespace_id, const void *name, size_t len,
             char ret[static UUID_LEN + 1]) {
    _cleanup_(freep) uint8_t *input = malloc(16 + len);
    if (!input)
        abort();
    parse_bytes(namespace_id, input);
    memcpy(input + 16, name, len);
    uint8_t digest[20];
    hash_sha1(input, 16 + len, digest);
    set_version(digest, 5);
    print_bytes(digest, ret);
}

bool uuid_lower(const char *text, size_t len, char ret[static UUID_LEN + 1]) {
    char lower[UUID_LEN + 1];
    if (len != UUID_LEN)
        return false;
    for (size_t i = 0; i < UUID_LEN; i++) {
        unsigned char c = (unsigned char)text[i];
        if (is_dash_place(i) ? c != '-' : !isxdigit(c))
            return false;
        lower[i] = (char)tolower(c);
    }
    lower[UUID_LEN] = '\0';
    memcpy(ret, lower, sizeof(lower));
    return true;
}

bool uuid_is(const char *text, size_t len) {
    if (len != UUID_LEN)
        return false;
    for (size_t i = 0; i < UUID_LEN; i++) {
        char c = text[i];
        bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (is_dash_place(i) ? c != '-' : !is_hex)
            return false;
    }
    return true;
}
