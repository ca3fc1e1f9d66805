/* Handoff's own keys; see session_keys.h. A private key never leaves libcrypto's own memory once it
 * is read. */
#include "common/session_keys.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base64url.h"
#include "base/hash.h"
#include "common/auth_keys.h"
#include "common/config_file.h"

#define PRIVATE_NAME "HANDOFF_SESSION_TOKEN_KEY"
#define DER_MAX 80 /* a signature of P-256 has at most 72 bytes */
#define PUBLIC_NAME "HANDOFF_SESSION_TOKEN_PUBLIC_KEYS"

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(EVP_PKEY_CTX *, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
DEFINE_CLEANUP(BIO *, BIO_free)
DEFINE_CLEANUP(ECDSA_SIG *, ECDSA_SIG_free)

/* ---- one key ---- */

static bool is_p256(const EVP_PKEY *key) {
    char group[64] = "";
    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

static bool take_coordinate(const EVP_PKEY *key, const char *name, uint8_t *ret) {
    BIGNUM *taken = NULL;
    bool fine = EVP_PKEY_get_bn_param(key, name, &taken) == 1 &&
                BN_bn2binpad(taken, ret, SESSION_KEY_COORDINATE) == SESSION_KEY_COORDINATE;
    BN_free(taken);
    return fine;
}

/* The members that RFC 7638, section 3.2, wants of a thumbprint, in its order. */
static void put_members(const struct session_key *key, struct buf *out) {
    buf_puts(out, "\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
    base64url_put(out, key->x, sizeof(key->x));
    buf_puts(out, "\",\"y\":\"");
    base64url_put(out, key->y, sizeof(key->y));
    buf_putc(out, '"');
}

static void make_thumbprint(struct session_key *key) {
    struct buf json = BUF_NULL, text = BUF_NULL;
    uint8_t digest[32];
    buf_putc(&json, '{');
    put_members(key, &json);
    buf_putc(&json, '}');
    hash_sha256(json.data, json.len, digest);
    base64url_put(&text, digest, sizeof(digest));
    memcpy(key->kid, text.data, sizeof(key->kid));
    auth_key_id(key->kid, SESSION_KEY_KID_LEN, key->id);
    buf_done(&json);
    buf_done(&text);
}

/* Without a private half. NULL when libcrypto fails. */
static EVP_PKEY *copy_public(EVP_PKEY *key) {
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    const unsigned char *at = der;
    EVP_PKEY *copy = len > 0 ? d2i_PUBKEY(NULL, &at, len) : NULL;
    OPENSSL_free(der);
    return copy;
}

/* NULL, or what is wrong with the key. */
static const char *describe(EVP_PKEY *key, struct session_key *ret) {
    struct session_key k = {0};
    if (!is_p256(key))
        return "has a key that is not allowed: only EC on P-256 is";
    if (!take_coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X, k.x) ||
        !take_coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y, k.y) || !(k.public_key = copy_public(key)))
        return "has a key whose public half cannot be read";
    make_thumbprint(&k);
    *ret = k;
    return NULL;
}

static int refuse(char **ret_error, const char *name, const char *path, const char *why) {
    struct buf error = BUF_NULL;
    ERR_clear_error();
    buf_printf(&error, "%s: %s %s", name, path, why);
    *ret_error = buf_take(&error);
    return -EINVAL;
}

static int refuse_file(char **ret_error, const char *name, const char *path, int err) {
    struct buf why = BUF_NULL;
    buf_printf(&why, "cannot be read (%s): a text file up to 64KiB is allowed", strerror(-err));
    int r = refuse(ret_error, name, path, why.data);
    buf_done(&why);
    return r;
}

/* ---- public keys ---- */

/* The next block's key, NULL at the end and where *ret_why says what is wrong. Block by block,
 * since libcrypto's own reader of public keys skips what is none. */
static EVP_PKEY *next_public(BIO *bio, const char **ret_why) {
    char *name = NULL, *header = NULL;
    unsigned char *der = NULL;
    long len = 0;
    EVP_PKEY *key = NULL;
    if (PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
        const unsigned char *at = der;
        if (strcmp(name, PEM_STRING_PUBLIC) == 0)
            key = d2i_PUBKEY(NULL, &at, len);
        if (!key || at != der + len)
            *ret_why = "has a block that is no public key (BEGIN PUBLIC KEY)";
    } else if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        *ret_why = "has a block that is damaged";
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(der);
    ERR_clear_error();
    return key;
}

/* NULL, or what is wrong with the key. */
static const char *add_public(struct session_keys *k, EVP_PKEY *key) {
    if (k->n == SESSION_KEYS_MAX)
        return "has more than two keys";
    struct session_key one;
    const char *why = describe(key, &one);
    if (why)
        return why;
    bool is_twice = session_keys_find(k, one.kid) != NULL;
    k->keys[k->n++] = one;
    return is_twice ? "has the same key twice" : NULL;
}

/* NULL, or what is wrong with the file. */
static const char *read_public(struct session_keys *k, const char *text) {
    const char *why = NULL;
    _cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(text, -1);
    for (bool is_end = !bio; !is_end && !why;) {
        _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = next_public(bio, &why);
        is_end = !key;
        if (key && !why)
            why = add_public(k, key);
    }
    return why || k->n ? why : "has no public key in PEM form (BEGIN PUBLIC KEY)";
}

static int load_public(struct session_keys *k, const char *path, char **ret_error) {
    _cleanup_(freep) char *text = NULL;
    int r = config_file_read(path, &text);
    if (r < 0)
        return refuse_file(ret_error, PUBLIC_NAME, path, r);
    const char *why = read_public(k, text);
    return why ? refuse(ret_error, PUBLIC_NAME, path, why) : 0;
}

/* ---- the private key ---- */

/* Else libcrypto would ask on the terminal. */
static int no_passphrase(char *buf, int size, int is_writing, void *arg) {
    (void)buf, (void)size, (void)is_writing, (void)arg;
    return -1;
}

static bool is_sound(EVP_PKEY *key) {
    _cleanup_(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    return context && EVP_PKEY_check(context) == 1;
}

/* NULL, or what is wrong with it. */
static const char *read_private(struct session_keys *k, const char *text, const char *public_path) {
    _cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(text, -1);
    _cleanup_(EVP_PKEY_freep) EVP_PKEY *key =
        bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    if (!key)
        return "has no private key in PEM form, or one with a passphrase, which nobody is there to "
               "enter";
    struct session_key public_half;
    const char *why = describe(key, &public_half);
    if (why)
        return why;
    if (!*public_path)
        k->keys[k->n++] = public_half;
    const struct session_key *known = session_keys_find(k, public_half.kid);
    if (*public_path)
        EVP_PKEY_free(public_half.public_key);
    if (!known)
        return "is not among the keys of " PUBLIC_NAME ": nobody could verify what it signs";
    if (!is_sound(key))
        return "has a key whose halves do not belong together";
    k->signer = (size_t)(known - k->keys);
    k->private_key = TAKE_PTR(key);
    return NULL;
}

static int load_private(struct session_keys *k, const char *path, const char *public_path,
                        char **ret_error) {
    _cleanup_(freep) char *text = NULL;
    struct stat about = {0};
    int r = config_file_read(path, &text);
    if (r < 0)
        return refuse_file(ret_error, PRIVATE_NAME, path, r);
    const char *why = read_private(k, text, public_path);
    explicit_bzero(text, strlen(text));
    k->is_exposed = stat(path, &about) == 0 && about.st_mode & (S_IROTH | S_IWOTH);
    return why ? refuse(ret_error, PRIVATE_NAME, path, why) : 0;
}

/* ---- both ---- */

static void drop_private(struct session_keys *k) {
    EVP_PKEY_free(k->private_key);
    k->private_key = NULL;
}

int session_keys_load(struct session_keys *ret, const char *private_path, const char *public_path,
                      bool signs, char **ret_error) {
    struct session_keys k = {0};
    int r = *public_path ? load_public(&k, public_path, ret_error) : 0;
    if (r == 0 && *private_path && (signs || !*public_path))
        r = load_private(&k, private_path, public_path, ret_error);
    if (r == 0 && !signs)
        drop_private(&k);
    if (r < 0)
        session_keys_done(&k);
    else
        *ret = k;
    return r;
}

void session_keys_done(struct session_keys *k) {
    for (size_t i = 0; i < k->n; i++)
        EVP_PKEY_free(k->keys[i].public_key);
    drop_private(k);
    *k = (struct session_keys){0};
}

const struct session_key *session_keys_find(const struct session_keys *k, const char *kid) {
    for (size_t i = 0; kid && i < k->n; i++)
        if (strcmp(k->keys[i].kid, kid) == 0)
            return &k->keys[i];
    return NULL;
}

bool session_keys_have_pem(const struct session_keys *k, const char *pem) {
    _cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(pem, -1);
    _cleanup_(EVP_PKEY_freep) EVP_PKEY *key =
        bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    struct session_key one;
    bool known = key && !describe(key, &one);
    ERR_clear_error();
    if (!known)
        return false;
    EVP_PKEY_free(one.public_key);
    return session_keys_find(k, one.kid) != NULL;
}

/* ---- what they are for ---- */

/* libcrypto has a signature as DER, JOSE has r and s in a row. */
static bool unpack(const unsigned char *der, size_t len, uint8_t *ret) {
    _cleanup_(ECDSA_SIG_freep) ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)len);
    return signature &&
           BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret, SESSION_KEY_COORDINATE) > 0 &&
           BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret + SESSION_KEY_COORDINATE,
                        SESSION_KEY_COORDINATE) > 0;
}

int session_keys_sign(const struct session_keys *k, const void *data, size_t len,
                      uint8_t ret[static SESSION_KEY_SIGNATURE]) {
    unsigned char der[DER_MAX];
    size_t der_len = sizeof(der);
    if (!k->private_key)
        return -EOPNOTSUPP;
    _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool fine = context &&
                EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, k->private_key) == 1 &&
                EVP_DigestSign(context, der, &der_len, data, len) == 1 && unpack(der, der_len, ret);
    ERR_clear_error();
    return fine ? 0 : -EIO;
}

/* The reverse of unpack. Returns how many bytes; 0: not possible. */
static size_t pack(const uint8_t *raw, unsigned char *ret_der) {
    _cleanup_(ECDSA_SIG_freep) ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, SESSION_KEY_COORDINATE, NULL);
    BIGNUM *s = BN_bin2bn(raw + SESSION_KEY_COORDINATE, SESSION_KEY_COORDINATE, NULL);
    if (!signature || !r || !s || ECDSA_SIG_set0(signature, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return 0;
    }
    int len = i2d_ECDSA_SIG(signature, &ret_der);
    return len > 0 ? (size_t)len : 0;
}

bool session_key_verify(const struct session_key *key, const void *data, size_t len,
                        const uint8_t signature[static SESSION_KEY_SIGNATURE]) {
    unsigned char der[DER_MAX];
    size_t der_len = pack(signature, der);
    _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool fine = der_len && context &&
                EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key->public_key) == 1 &&
                EVP_DigestVerify(context, der, der_len, data, len) == 1;
    ERR_clear_error();
    return fine;
}

void session_keys_print_set(const struct session_keys *k, struct buf *out) {
    buf_puts(out, "{\"keys\":[");
    for (size_t i = 0; i < k->n; i++) {
        buf_puts(out, i ? ",{" : "{");
        put_members(&k->keys[i], out);
        buf_printf(out, ",\"kid\":\"%s\",\"use\":\"sig\",\"alg\":\"ES256\"}", k->keys[i].kid);
    }
    buf_puts(out, "]}");
}
