/* Private to auth.c and auth_take.c. */
#pragma once

#include "common/auth.h"
#include "common/auth_cache.h"
#include "common/auth_keys.h"
#include "common/session_keys.h"

struct auth {
    struct secret {
        char *text; /* owned; NULL: none */
        uint8_t id[AUTH_KEY_ID];
    } secrets[2]; /* the second: while rotating */
    struct auth_keys keys;
    struct jwks *jwks;       /* owned; NULL without HANDOFF_JWKS_URL */
    uint64_t n_withdrawals;  /* of jwks, when the cache began */
    uint64_t n_taken;        /* how often keys were replaced as a whole */
    struct session_keys own; /* Handoff's: for session tokens, and for nothing else */
    bool allowed[AUTH_N_ALGORITHMS];
    char *issuer, *audience; /* owned; "" when not looked at */
    char *session_claim;     /* owned */
    struct auth_cache *cache;
};

/* Each token is to be verified anew. */
void auth_forget_verified(struct auth *a);
