/* Addresses of the Internet protocol and networks of them, as text. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address {
    uint8_t bytes[16]; /* of IPv6; an IPv4 address as ::ffff:a.b.c.d */
};

struct network {
    struct address address;
    unsigned n_bits; /* 0 to 128 that an address must have in common */
};

#define ADDRESS_CAP 64

/* All of text[0..len): 192.0.2.1 or 2001:db8::1; a zone behind % is passed over. */
bool address_parse(const char *text, size_t len, struct address *ret);
/* An address alone, or with /bits; bits of the address beyond them must be 0. */
bool network_parse(const char *text, size_t len, struct network *ret);
bool network_has(const struct network *n, const struct address *a);
/* What one subscriber has: the address itself, or of IPv6 its /64. */
void address_print_block(const struct address *a, char ret[static ADDRESS_CAP]);
