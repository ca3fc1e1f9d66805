/* Private to auth*.c: the public keys that tokens may be signed with. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/auth.h"

struct evp_pkey_st; /* OpenSSL's EVP_PKEY */

enum auth_algorithm { AUTH_HS256, AUTH_RS256, AUTH_ES256, AUTH_N_ALGORITHMS };

struct auth_key {
    char *kid; /* owned: its file's name without .pem */
    enum auth_algorithm algorithm;
    char *pem; /* owned: the key as it was checked, printed anew */
    uint8_t id[AUTH_KEY_ID];
};

struct auth_keys {
    struct auth_key *keys; /* owned */
    size_t n;
};

/* Reads each <kid>.pem of the folder. A key that is neither RSA of 2048 to 16384 bits nor P-256, or
 * no key at all: -EINVAL, and why in ret_error (owned by the caller). */
MUSTCHECK int auth_keys_load(struct auth_keys *ret, const char *folder, char **ret_error);
/* Sets the algorithm and the PEM of a key that is allowed (the same for keys of files and of
 * providers), and leaves kid. NULL, or why it is not (static). */
const char *auth_keys_judge(struct evp_pkey_st *key, struct auth_key *ret);
/* Of the bytes that make a key what it is. */
void auth_key_id(const void *data, size_t len, uint8_t ret[static AUTH_KEY_ID]);
void auth_keys_done(struct auth_keys *k);
bool auth_keys_have(const struct auth_keys *k, enum auth_algorithm algorithm);
/* Without kid (NULL): the only key there is. NULL when there is none, or no only one. */
const struct auth_key *auth_keys_find(const struct auth_keys *k, const char *kid);
bool auth_keys_have_id(const struct auth_keys *k, const uint8_t id[static AUTH_KEY_ID]);
