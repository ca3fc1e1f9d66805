/* Finding a token's key; see auth_lookup.h. */
#include "common/auth_lookup.h"

#include "common/jwks.h"

static const struct auth_key *find(const struct auth_keys *own, const struct jwks *jwks,
                                   const char *kid) {
    if (!jwks)
        return auth_keys_find(own, kid);
    if (!kid)
        return own->n == 0              ? jwks_only(jwks)
               : jwks_n_keys(jwks) == 0 ? auth_keys_find(own, NULL)
                                        : NULL;
    const struct auth_key *key = auth_keys_find(own, kid);
    return key ? key : jwks_find(jwks, kid);
}

int auth_lookup(const struct auth_keys *own, struct jwks *jwks, const char *kid,
                const struct auth_key **ret, struct fault *f) {
    const struct auth_key *key = find(own, jwks, kid);
    if (key) {
        *ret = key;
        return 0;
    }
    bool may_come = jwks && (kid || !jwks_is_loaded(jwks));
    int64_t wait_ms = may_come ? jwks_miss(jwks) : 0;
    if (wait_ms == 0)
        return fault_set(f, FAULT_UNAUTHENTICATED, NULL, "%s",
                         kid ? "the header's kid is not known"
                             : "the header has no kid, and there is not just one key");
    fault_set(f, FAULT_UNAVAILABLE, NULL, "the identity provider is being asked for keys");
    f->retry_after_ms = wait_ms;
    return FAULT_UNAVAILABLE;
}
