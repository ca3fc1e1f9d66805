/* Files of keys in a folder of their own, for test_session_token.c and test_session_keys.c. Comes
 * after cmocka.h. */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/jwt_maker.h"

#define KEY_FILES_MAX 64

struct key_files {
    char folder[64];
    char *paths[KEY_FILES_MAX]; /* owned */
    size_t n;
};

static inline void key_files_init(struct key_files *k) {
    *k = (struct key_files){0};
    strcpy(k->folder, "/tmp/handoff-test-keys-XXXXXX");
    assert_non_null(mkdtemp(k->folder));
}

static inline void key_files_done(struct key_files *k) {
    for (size_t i = 0; i < k->n; i++) {
        unlink(k->paths[i]);
        free(k->paths[i]);
    }
    rmdir(k->folder);
}

/* The path, borrowed. */
static inline const char *key_files_path(struct key_files *k, const char *name) {
    struct buf path = BUF_NULL;
    assert_true(k->n < KEY_FILES_MAX);
    buf_printf(&path, "%s/%s.pem", k->folder, name);
    return k->paths[k->n++] = buf_take(&path);
}

static inline const char *key_files_text(struct key_files *k, const char *name, const char *text) {
    const char *path = key_files_path(k, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    chmod(path, 0600);
    return path;
}

/* The key's public half; the caller frees. */
static inline char *key_files_pem(EVP_PKEY *key) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    PEM_write_bio_PUBKEY(bio, key);
    long len = BIO_get_mem_data(bio, &data);
    char *pem = must_memdup(data, (size_t)len);
    BIO_free(bio);
    return pem;
}

static inline const char *key_files_public(struct key_files *k, const char *name, EVP_PKEY **keys,
                                           size_t n) {
    struct buf text = BUF_NULL;
    for (size_t i = 0; i < n; i++) {
        char *pem = key_files_pem(keys[i]);
        buf_puts(&text, pem);
        free(pem);
    }
    const char *path = key_files_text(k, name, text.data);
    buf_done(&text);
    return path;
}

/* As `openssl genpkey` writes it; with a passphrase unless that is NULL. */
static inline const char *key_files_locked(struct key_files *k, const char *name, EVP_PKEY *key,
                                           const char *passphrase) {
    const char *path = key_files_path(k, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    PEM_write_PKCS8PrivateKey(file, key, passphrase ? EVP_aes_128_cbc() : NULL, passphrase,
                              passphrase ? (int)strlen(passphrase) : 0, NULL, NULL);
    fclose(file);
    chmod(path, 0600);
    return path;
}

static inline const char *key_files_private(struct key_files *k, const char *name, EVP_PKEY *key) {
    return key_files_locked(k, name, key, NULL);
}
