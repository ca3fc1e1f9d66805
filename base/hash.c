/* Digests; see hash.h. EVP picks the processor's SHA instructions by itself. Its one-shot call
 * looks the algorithm up and makes a context each time, which takes as long as to hash half a
 * kilobyte: SHA-256, which every request needs, keeps a context for each thread. */
#include "base/hash.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <threads.h>

static once_flag once = ONCE_FLAG_INIT;
static tss_t sha256_key;

static void free_context(void *context) {
    EVP_MD_CTX_free(context);
}

static void make_key(void) {
    if (tss_create(&sha256_key, free_context) != thrd_success)
        abort();
}

/* This thread's; freed when it ends. */
static EVP_MD_CTX *sha256_context(void) {
    call_once(&once, make_key);
    EVP_MD_CTX *context = tss_get(sha256_key);
    if (context)
        return context;
    context = EVP_MD_CTX_new();
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
        tss_set(sha256_key, context) != thrd_success)
        abort(); /* only without memory: the kind is compiled in */
    return context;
}

void hash_sha256(const void *data, size_t len, uint8_t ret_digest[static 32]) {
    EVP_MD_CTX *context = sha256_context();
    if (EVP_DigestInit_ex(context, NULL, NULL) != 1 || EVP_DigestUpdate(context, data, len) != 1 ||
        EVP_DigestFinal_ex(context, ret_digest, NULL) != 1)
        abort();
}

void hash_sha1(const void *data, size_t len, uint8_t ret_digest[static 20]) {
    if (EVP_Digest(data, len, ret_digest, NULL, EVP_sha1(), NULL) != 1)
        abort(); /* only without memory: the kind is compiled in */
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

bool hash_is_hex(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
            return false;
    return len == HASH_HEX_LEN;
}
