/* Private to auth*.c and session_token.c: Handoff's own keys, with which session tokens are signed
 * and verified. Kept apart from those of identity providers: what one of these keys signed is a
 * session token or nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "common/auth.h"

struct evp_pkey_st;

#define SESSION_KEYS_MAX 2 /* today's, and while rotating the next or the one before */
#define SESSION_KEY_COORDINATE 32
#define SESSION_KEY_SIGNATURE 64 /* r and s, RFC 7518, section 3.4 */
#define SESSION_KEY_KID_LEN 43   /* a SHA-256 as base64url */

struct session_key {
    char kid[SESSION_KEY_KID_LEN + 1]; /* the thumbprint, RFC 7638 */
    struct evp_pkey_st *public_key;    /* owned */
    uint8_t x[SESSION_KEY_COORDINATE], y[SESSION_KEY_COORDINATE];
    uint8_t id[AUTH_KEY_ID];
};

struct session_keys {
    struct session_key keys[SESSION_KEYS_MAX];
    size_t n;
    struct evp_pkey_st *private_key; /* owned; NULL: nothing is signed here */
    size_t signer;                   /* of keys: its public half */
    bool is_exposed;                 /* every user of the machine can read the private key's file */
};

/* Reads the private key's file and that of the public keys; "" for none. Without public_path the
 * private key's own public half is the one public key. !signs: the private key is not kept, and
 * not even read beside public keys. A file that cannot be read or holds anything but P-256 keys, a
 * private key whose public half is not among the public ones: -EINVAL, and why in ret_error (owned
 * by the caller). */
MUSTCHECK int session_keys_load(struct session_keys *ret, const char *private_path,
                                const char *public_path, bool signs, char **ret_error);
void session_keys_done(struct session_keys *k);
/* kid: NULL without one. NULL when it is none of these. */
const struct session_key *session_keys_find(const struct session_keys *k, const char *kid);
/* Whether the public key in PEM form is one of these. */
bool session_keys_have_pem(const struct session_keys *k, const char *pem);
/* ES256 of the bytes. -EOPNOTSUPP without a private key; -EIO when libcrypto fails. */
MUSTCHECK int session_keys_sign(const struct session_keys *k, const void *data, size_t len,
                                uint8_t ret[static SESSION_KEY_SIGNATURE]);
/* Whether signature is the key's ES256 of the bytes. Eight times as fast as libjwt, which parses
 * the key's text each time: a forged token costs as much, and the kid that it needs is public. */
bool session_key_verify(const struct session_key *key, const void *data, size_t len,
                        const uint8_t signature[static SESSION_KEY_SIGNATURE]);
/* {"keys":[…]}, RFC 7517, section 5. */
void session_keys_print_set(const struct session_keys *k, struct buf *out);

/* ---- auth.c ---- */
const struct session_keys *auth_session_keys(const struct auth *a);
