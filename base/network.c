/* Addresses and networks; see network.h. */
#include "base/network.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define MAPPED_BITS 96
#define BLOCK_BYTES 8

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_mapped(const struct address *a) {
    return memcmp(a->bytes, mapped, sizeof(mapped)) == 0;
}

bool address_parse(const char *text, size_t len, struct address *ret) {
    char copy[ADDRESS_CAP];
    struct address address;
    const char *zone = memchr(text, '%', len);
    size_t n = zone ? (size_t)(zone - text) : len;
    if (n >= sizeof(copy))
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    memcpy(address.bytes, mapped, sizeof(mapped));
    if (strlen(copy) != n || (inet_pton(AF_INET, copy, address.bytes + sizeof(mapped)) != 1 &&
                              inet_pton(AF_INET6, copy, address.bytes) != 1))
        return false;
    *ret = address;
    return true;
}

/* Digits without a leading zero. */
static bool parse_bits(const char *text, size_t len, unsigned most, unsigned *ret) {
    unsigned n = 0;
    if (len < 1 || len > 3 || (len > 1 && *text == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = 10 * n + (unsigned)(text[i] - '0');
    }
    *ret = n;
    return n <= most;
}

static bool bit(const struct address *a, unsigned i) {
    return a->bytes[i / 8] & (0x80u >> i % 8);
}

bool network_parse(const char *text, size_t len, struct network *ret) {
    struct network n = {.n_bits = 128};
    const char *slash = memchr(text, '/', len);
    size_t address_len = slash ? (size_t)(slash - text) : len;
    if (!address_parse(text, address_len, &n.address))
        return false;
    if (slash) {
        unsigned above = memchr(text, ':', address_len) ? 0 : MAPPED_BITS;
        if (!parse_bits(slash + 1, len - address_len - 1, 128 - above, &n.n_bits))
            return false;
        n.n_bits += above;
    }
    for (unsigned i = n.n_bits; i < 128; i++)
        if (bit(&n.address, i))
            return false;
    *ret = n;
    return true;
}

bool network_has(const struct network *n, const struct address *a) {
    unsigned i = 0;
    while (i < n->n_bits && bit(&n->address, i) == bit(a, i))
        i++;
    return i == n->n_bits;
}

void address_print_block(const struct address *a, char ret[static ADDRESS_CAP]) {
    struct address block = *a;
    if (is_mapped(a)) {
        inet_ntop(AF_INET, a->bytes + sizeof(mapped), ret, ADDRESS_CAP);
        return;
    }
    memset(block.bytes + BLOCK_BYTES, 0, sizeof(block.bytes) - BLOCK_BYTES);
    inet_ntop(AF_INET6, block.bytes, ret, ADDRESS_CAP - sizeof("/64"));
    strcat(ret, "/64");
}
