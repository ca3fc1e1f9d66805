/* See token_sign.h. By libcrypto itself: what it makes is verified by libjwt, when it is checked.
 */
#include "common/token_sign.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/base64url.h"
#include "base/buf.h"
#include "common/auth_keys.h"
#include "common/config_file.h"

#define SECRET_MIN 32
#define COORDINATE 32
#define SIGNATURE_MAX 2048 /* of RSA with 16384 bits */

struct token_signer {
    enum auth_algorithm algorithm;
    EVP_PKEY *key; /* owned; of HS256 the secret */
    char *kid;     /* owned; NULL: none */
};

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
DEFINE_CLEANUP(ECDSA_SIG *, ECDSA_SIG_free)
DEFINE_CLEANUP(BIO *, BIO_free)

struct token_signer *token_signer_free(struct token_signer *s) {
    if (!s)
        return NULL;
    EVP_PKEY_free(s->key);
    free(s->kid);
    free(s);
    return NULL;
}

static int refuse(char **ret_error, const char *what, const char *why) {
    struct buf text = BUF_NULL;
    buf_printf(&text, "%s %s", what, why);
    *ret_error = buf_take(&text);
    return -EINVAL;
}

int token_signer_of_secret(struct token_signer **ret, const char *secret, char **ret_error) {
    size_t len = strlen(secret);
    if (len < SECRET_MIN)
        return refuse(ret_error, "the secret", "has under 32 bytes");
    _cleanup_(token_signer_freep) struct token_signer *s = must_alloc(sizeof(*s));
    s->algorithm = AUTH_HS256;
    s->key = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, (const unsigned char *)secret, len);
    if (!s->key)
        return refuse(ret_error, "the secret", "cannot be used");
    *ret = TAKE_PTR(s);
    return 0;
}

/* Nobody is asked for one. */
static int no_passphrase(char *buffer, int size, int writes, void *arg) {
    (void)buffer, (void)size, (void)writes, (void)arg;
    return -1;
}

static EVP_PKEY *read_private(const char *text) {
    _cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    ERR_clear_error();
    return key;
}

int token_signer_of_file(struct token_signer **ret, const char *path, const char *kid,
                         char **ret_error) {
    char *text = NULL;
    int err = config_file_read(path, &text);
    if (err < 0)
        return refuse(ret_error, path, strerror(-err));
    _cleanup_(token_signer_freep) struct token_signer *s = must_alloc(sizeof(*s));
    s->key = read_private(text);
    explicit_bzero(text, strlen(text));
    free(text);
    if (!s->key)
        return refuse(ret_error, path, "is no private key in PEM form without a passphrase");
    struct auth_key public = {0};
    const char *why = auth_keys_judge(s->key, &public);
    free(public.pem);
    if (why)
        return refuse(ret_error, path, why);
    s->algorithm = public.algorithm;
    s->kid = kid ? must_strdup(kid) : NULL;
    *ret = TAKE_PTR(s);
    return 0;
}

/* libcrypto has a signature as DER, JOSE has r and s in a row. */
static bool unpack(const unsigned char *der, size_t len, struct buf *out) {
    unsigned char raw[2 * COORDINATE];
    _cleanup_(ECDSA_SIG_freep) ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)len);
    if (!signature || BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw, COORDINATE) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw + COORDINATE, COORDINATE) < 0)
        return false;
    base64url_put(out, raw, sizeof(raw));
    return true;
}

static bool put_signature(const struct token_signer *s, struct buf *token) {
    unsigned char made[SIGNATURE_MAX];
    size_t len = sizeof(made);
    _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_made =
        context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, s->key) == 1 &&
        EVP_DigestSign(context, made, &len, (unsigned char *)token->data, token->len) == 1;
    ERR_clear_error();
    if (!is_made)
        return false;
    buf_putc(token, '.');
    if (s->algorithm == AUTH_ES256)
        return unpack(made, len, token);
    base64url_put(token, made, len);
    return true;
}

char *token_sign(const struct token_signer *s, const char *claims) {
    static const char *const names[AUTH_N_ALGORITHMS] = {
        [AUTH_HS256] = "HS256", [AUTH_RS256] = "RS256", [AUTH_ES256] = "ES256"};
    struct buf header = BUF_NULL, token = BUF_NULL;
    buf_printf(&header, "{\"alg\":\"%s\",\"typ\":\"JWT\"", names[s->algorithm]);
    if (s->kid) {
        buf_puts(&header, ",\"kid\":");
        buf_puts_json(&header, s->kid);
    }
    buf_putc(&header, '}');
    base64url_put(&token, header.data, header.len);
    buf_done(&header);
    buf_putc(&token, '.');
    base64url_put(&token, claims, strlen(claims));
    if (put_signature(s, &token))
        return buf_take(&token);
    buf_done(&token);
    return NULL;
}
