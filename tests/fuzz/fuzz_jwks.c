/* Fuzzes jwks_parse: any bytes as the answer of an identity provider. What comes out are keys that
 * can be read again, of an allowed kind, with names of their own; the same text gives the same
 * keys. */
#include <openssl/pem.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/jwks_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_key(const struct auth_key *key) {
    struct auth_key again = {0};
    BIO *bio = BIO_new_mem_buf(key->pem, -1);
    EVP_PKEY *read = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    if (!read || auth_keys_judge(read, &again) || again.algorithm != key->algorithm ||
        strcmp(again.pem, key->pem) != 0)
        abort();
    if (!*key->kid || strlen(key->kid) > JWKS_KID_MAX)
        abort();
    free(again.pem);
    EVP_PKEY_free(read);
    BIO_free(bio);
}

static void check_set(const struct jwks_set *s) {
    if (s->keys.n + s->n_ignored > JWKS_KEYS_MAX)
        abort();
    for (size_t i = 0; i < s->keys.n; i++) {
        check_key(&s->keys.keys[i]);
        if (auth_keys_find(&s->keys, s->keys.keys[i].kid) != &s->keys.keys[i])
            abort();
    }
    for (size_t i = 0; i < s->n_ignored; i++)
        if (!s->ignored[i].why || !s->ignored[i].kid)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct jwks_set one = {0}, again = {0};
    const char *why = NULL, *why_again = NULL;
    int r = jwks_parse((const char *)data, size, &one, &why);
    if (jwks_parse((const char *)data, size, &again, &why_again) != r || why != why_again)
        abort();
    if ((r == 0) == (why != NULL) || one.keys.n != again.keys.n || one.n_ignored != again.n_ignored)
        abort();
    check_set(&one);
    jwks_set_done(&one);
    jwks_set_done(&again);
    return 0;
}
