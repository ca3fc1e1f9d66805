/* Keys in use; see identity.h. */
#include "common/identity.h"

#include <string.h>

#include "base/buf.h"
#include "common/jwks_fetch.h"

struct identity {
    struct app *app;
    struct auth *auth;
    struct jwks_fetch *fetch; /* of auth's keys; NULL without a provider */
};

static void warn(const struct identity *i, const struct auth *auth) {
    const char *warning = auth_warning(auth);
    if (warning)
        log_warn(i->app->log, "session_token_key_exposed", "A private key is not private.",
                 LOG_TEXT("hint", warning));
}

static int fail(const struct app *app, int err, const char *why) {
    log_error(app->log, "part_failed", "A part of the service cannot start.",
              LOG_TEXT("part", "identity"), LOG_TEXT("err", strerror(-err)),
              LOG_TEXT("hint", why ? why : ""));
    return err;
}

int identity_new(struct identity **ret, struct app *app) {
    _cleanup_(freep) char *error = NULL;
    struct auth *auth = NULL;
    int err = auth_new(&auth, app->config, &error);
    if (err < 0)
        return fail(app, err, error);
    struct identity *i = must_alloc(sizeof(*i));
    *i = (struct identity){.app = app, .auth = auth};
    warn(i, auth);
    err = jwks_fetch_new(&i->fetch, app, auth_jwks(auth));
    if (err < 0) {
        identity_free(i);
        return fail(app, err, "libcurl cannot start");
    }
    *ret = i;
    return 0;
}

struct identity *identity_free(struct identity *i) {
    if (!i)
        return NULL;
    jwks_fetch_free(i->fetch);
    auth_free(i->auth);
    free(i);
    return NULL;
}

struct auth *identity_auth(const struct identity *i) {
    return i->auth;
}

void identity_reload(struct identity *i, struct auth *fresh) {
    size_t n_gone = auth_take(i->auth, fresh);
    warn(i, i->auth);
    jwks_fetch_demand(i->fetch);
    log_info(i->app->log, "keys_reloaded", "Tokens are verified with the keys that were read.",
             LOG_NUMBER("keys", (int64_t)auth_n_keys(i->auth)),
             LOG_NUMBER("gone", (int64_t)n_gone));
}
