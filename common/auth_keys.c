/* Public keys from PEM files; see auth_keys.h. Each key's kind is settled here, once, so that no
 * token can have a key used for another algorithm than its own (an RSA PEM as an HMAC secret, say).
 */
#include "common/auth_keys.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "common/config_file.h"

#define KEYS_MAX 256

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(BIO *, BIO_free)
DEFINE_CLEANUP(DIR *, closedir)

static bool settle_kind(const EVP_PKEY *key, enum auth_algorithm *ret) {
    if (EVP_PKEY_is_a(key, "RSA")) {
        *ret = AUTH_RS256;
        return EVP_PKEY_get_bits(key) >= 2048 && EVP_PKEY_get_bits(key) <= 16384;
    }
    char group[64] = "";
    *ret = AUTH_ES256;
    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

static char *print_pem(EVP_PKEY *key) {
    _cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    if (!bio || PEM_write_bio_PUBKEY(bio, key) != 1)
        return NULL;
    long len = BIO_get_mem_data(bio, &data);
    return must_memdup(data, (size_t)len);
}

const char *auth_keys_judge(EVP_PKEY *key, struct auth_key *ret) {
    if (!settle_kind(key, &ret->algorithm))
        return "is no key that is allowed: RSA of 2048 to 16384 bits, or EC on P-256";
    ret->pem = print_pem(key);
    if (!ret->pem)
        return "cannot be printed";
    auth_key_id(ret->pem, strlen(ret->pem), ret->id);
    return NULL;
}

void auth_key_id(const void *data, size_t len, uint8_t ret[static AUTH_KEY_ID]) {
    uint8_t digest[32];
    hash_sha256(data, len, digest);
    memcpy(ret, digest, AUTH_KEY_ID);
}

bool auth_keys_have_id(const struct auth_keys *k, const uint8_t id[static AUTH_KEY_ID]) {
    for (size_t i = 0; i < k->n; i++)
        if (memcmp(k->keys[i].id, id, AUTH_KEY_ID) == 0)
            return true;
    return false;
}

/* NULL, or what is wrong with the file. */
static const char *read_key(const char *path, struct auth_key *ret) {
    _cleanup_(freep) char *text = NULL;
    if (config_file_read(path, &text) < 0)
        return "cannot be read (a text file up to 64KiB is allowed)";
    _cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(text, -1);
    _cleanup_(EVP_PKEY_freep) EVP_PKEY *key =
        bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    ERR_clear_error();
    if (!key)
        return "is no public key in PEM form (BEGIN PUBLIC KEY)";
    return auth_keys_judge(key, ret);
}

static int refuse(char **ret_error, const char *path, const char *why) {
    struct buf error = BUF_NULL;
    buf_printf(&error, "HANDOFF_JWT_KEYS: %s %s", path, why);
    *ret_error = buf_take(&error);
    return -EINVAL;
}

static int add_key(struct auth_keys *k, const char *folder, const char *name, size_t kid_len,
                   char **ret_error) {
    struct buf path = BUF_NULL;
    buf_printf(&path, "%s/%s", folder, name);
    struct auth_key key = {0};
    const char *why = k->n < KEYS_MAX ? read_key(path.data, &key) : "is one key too many";
    int r = why ? refuse(ret_error, path.data, why) : 0;
    buf_done(&path);
    if (r < 0)
        return r;
    key.kid = must_memdup(name, kid_len);
    k->keys = must_realloc(k->keys, (k->n + 1) * sizeof(*k->keys));
    k->keys[k->n++] = key;
    return 0;
}

static int load(struct auth_keys *k, const char *folder, char **ret_error) {
    _cleanup_(closedirp) DIR *dir = opendir(folder);
    if (!dir)
        return refuse(ret_error, folder, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || len <= 4 || strcmp(entry->d_name + len - 4, ".pem") != 0)
            continue;
        int r = add_key(k, folder, entry->d_name, len - 4, ret_error);
        if (r < 0)
            return r;
    }
    return k->n ? 0 : refuse(ret_error, folder, "holds no file <kid>.pem");
}

int auth_keys_load(struct auth_keys *ret, const char *folder, char **ret_error) {
    struct auth_keys k = {0};
    int r = load(&k, folder, ret_error);
    if (r < 0)
        auth_keys_done(&k);
    else
        *ret = k;
    return r;
}

void auth_keys_done(struct auth_keys *k) {
    for (size_t i = 0; i < k->n; i++) {
        free(k->keys[i].kid);
        free(k->keys[i].pem);
    }
    free(k->keys);
    *k = (struct auth_keys){0};
}

bool auth_keys_have(const struct auth_keys *k, enum auth_algorithm algorithm) {
    for (size_t i = 0; i < k->n; i++)
        if (k->keys[i].algorithm == algorithm)
            return true;
    return false;
}

const struct auth_key *auth_keys_find(const struct auth_keys *k, const char *kid) {
    if (!kid)
        return k->n == 1 ? &k->keys[0] : NULL;
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->keys[i].kid, kid) == 0)
            return &k->keys[i];
    return NULL;
}
