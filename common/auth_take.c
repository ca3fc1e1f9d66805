/* Keys that give way to others while the service runs; see auth.h. */
#include <string.h>

#include "common/auth_private.h"
#include "common/jwks.h"

void auth_forget_verified(struct auth *a) {
    auth_cache_free(a->cache);
    a->cache = auth_cache_new();
}

static bool has_file_key(const struct auth *a, const uint8_t *id) {
    for (size_t i = 0; i < N_ELEMENTS(a->secrets); i++)
        if (a->secrets[i].text && memcmp(a->secrets[i].id, id, AUTH_KEY_ID) == 0)
            return true;
    for (size_t i = 0; i < a->own.n; i++)
        if (memcmp(a->own.keys[i].id, id, AUTH_KEY_ID) == 0)
            return true;
    return auth_keys_have_id(&a->keys, id);
}

bool auth_has_key_of(const struct auth *a, const struct principal *p) {
    return has_file_key(a, p->key_id) || (a->jwks && jwks_has_id(a->jwks, p->key_id));
}

static size_t n_lost(const struct auth *a, const struct auth *fresh) {
    size_t n = 0;
    for (size_t i = 0; i < N_ELEMENTS(a->secrets); i++)
        n += a->secrets[i].text && !has_file_key(fresh, a->secrets[i].id);
    for (size_t i = 0; i < a->own.n; i++)
        n += !has_file_key(fresh, a->own.keys[i].id);
    for (size_t i = 0; i < a->keys.n; i++)
        n += !has_file_key(fresh, a->keys.keys[i].id);
    return n;
}

size_t auth_take(struct auth *a, struct auth *fresh) {
    size_t n = n_lost(a, fresh);
    struct auth before = *a;
    memcpy(a->secrets, fresh->secrets, sizeof(a->secrets));
    a->keys = fresh->keys;
    a->own = fresh->own;
    memcpy(fresh->secrets, before.secrets, sizeof(before.secrets));
    fresh->keys = before.keys;
    fresh->own = before.own;
    auth_forget_verified(a);
    a->n_taken++;
    return n;
}

size_t auth_n_keys(const struct auth *a) {
    return !!a->secrets[0].text + !!a->secrets[1].text + a->keys.n + a->own.n +
           (a->jwks ? jwks_n_keys(a->jwks) : 0);
}

uint64_t auth_n_demands(const struct auth *a) {
    return a->n_taken + (a->jwks ? jwks_n_demands(a->jwks) : 0);
}
