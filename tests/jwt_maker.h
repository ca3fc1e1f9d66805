/* Signs tokens of any shape, right or wrong, straight with OpenSSL: independent of common/auth.c
 * and of libjwt. For test_auth.c and fuzz_jwt.c. */
#pragma once

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

static inline void jwt_put_base64url(struct buf *out, const void *data, size_t len) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *bytes = data;
    unsigned bits = 0, n_bits = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | bytes[i]) & 0xffff;
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            buf_putc(out, alphabet[(bits >> (n_bits - 6)) & 63]);
    }
    if (n_bits)
        buf_putc(out, alphabet[(bits << (6 - n_bits)) & 63]);
}

/* base64url(header) "." base64url(payload) */
static inline void jwt_put_input(struct buf *out, const char *header, const void *payload,
                                 size_t payload_len) {
    jwt_put_base64url(out, header, strlen(header));
    buf_putc(out, '.');
    jwt_put_base64url(out, payload, payload_len);
}

/* Appends "." and the HMAC of what is there. */
static inline void jwt_sign_hmac(struct buf *token, const EVP_MD *kind, const char *key) {
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    HMAC(kind, key, (int)strlen(key), (const unsigned char *)token->data, token->len, mac, &len);
    buf_putc(token, '.');
    jwt_put_base64url(token, mac, len);
}

/* ECDSA's r and s as JWS has them: each in 32 bytes, not in DER. */
static inline void jwt_put_raw_ecdsa(struct buf *token, const unsigned char *der, size_t len) {
    unsigned char raw[64];
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)len);
    BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw + 32, 32);
    ECDSA_SIG_free(signature);
    jwt_put_base64url(token, raw, sizeof(raw));
}

/* Appends "." and the signature by an RSA or P-256 key with SHA-256. */
static inline void jwt_sign_key(struct buf *token, EVP_PKEY *key) {
    unsigned char signature[2048];
    size_t len = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key);
    EVP_DigestSign(context, signature, &len, (const unsigned char *)token->data, token->len);
    EVP_MD_CTX_free(context);
    buf_putc(token, '.');
    if (EVP_PKEY_is_a(key, "EC"))
        jwt_put_raw_ecdsa(token, signature, len);
    else
        jwt_put_base64url(token, signature, len);
}

/* Writes <folder>/<name> with the public key; its PEM goes to ret_pem (caller frees) unless NULL.
 */
static inline void jwt_write_public_key(EVP_PKEY *key, const char *folder, const char *name,
                                        char **ret_pem) {
    struct buf path = BUF_NULL;
    buf_printf(&path, "%s/%s", folder, name);
    FILE *file = fopen(path.data, "we");
    buf_done(&path);
    PEM_write_PUBKEY(file, key);
    fclose(file);
    if (!ret_pem)
        return;
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    PEM_write_bio_PUBKEY(bio, key);
    long len = BIO_get_mem_data(bio, &data);
    *ret_pem = must_memdup(data, (size_t)len);
    BIO_free(bio);
}
