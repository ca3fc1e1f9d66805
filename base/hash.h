/* Digests, by OpenSSL's libcrypto; the only border to it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_HEX_LEN 64

/* Whether it is one as hash_sha256_hex writes it. */
bool hash_is_hex(const char *text, size_t len);
/* SHA-256 as 64 lower-case hexadecimal digits and a NUL. */
void hash_sha256_hex(const void *data, size_t len, char ret_hex[static HASH_HEX_LEN + 1]);
void hash_sha256(const void *data, size_t len, uint8_t ret_digest[static 32]);
void hash_sha1(const void *data, size_t len, uint8_t ret_digest[static 20]);
