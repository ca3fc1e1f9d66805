/* Digests; see hash.h. The one-shot EVP call picks the processor's SHA instructions by itself. */
#include "base/hash.h"

#include <openssl/evp.h>
#include <stdlib.h>

static void digest(const EVP_MD *kind, const void *data, size_t len, uint8_t *ret) {
    if (EVP_Digest(data, len, ret, NULL, kind, NULL) != 1)
        abort(); /* only without memory: the kinds are compiled in */
}

void hash_sha256(const void *data, size_t len, uint8_t ret_digest[static 32]) {
    digest(EVP_sha256(), data, len, ret_digest);
}

void hash_sha1(const void *data, size_t len, uint8_t ret_digest[static 20]) {
    digest(EVP_sha1(), data, len, ret_digest);
}

void hash_sha256_hex(const void *data, size_t len, char ret_hex[static HASH_HEX_LEN + 1]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[32];
    hash_sha256(data, len, bytes);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        ret_hex[2 * i] = digits[bytes[i] >> 4];
        ret_hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_hex[HASH_HEX_LEN] = '\0';
}
