/* What needs no server: open files, keys for tokens (and the identity provider that has them). */
#include <inttypes.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "common/jwks.h"
#include "tools/handoff/doctor_parts.h"
#include "tools/handoff/keys.h"

#define OTHER_FILES 200 /* beside a service's connections */

/* The limit of this process: that of the services where they are started from the same place. */
static void look_at_files(struct report *r, const struct config *c) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    uint64_t needed = (uint64_t)c->max_connections + OTHER_FILES, most = (uint64_t)limit.rlim_max;
    bool is_fine = limit.rlim_max == RLIM_INFINITY || most >= needed;
    report_add(r, is_fine ? REPORT_OK : REPORT_FAILED, "limits.open-files", c->service_name,
               is_fine ? ""
                       : "ulimit -Hn, LimitNOFILE= of systemd's unit, ulimits of the container; or "
                         "a smaller HANDOFF_MAX_CONNECTIONS",
               "%" PRIu64 " here, %" PRIu64 " needed (HANDOFF_MAX_CONNECTIONS and some)", most,
               needed);
}

static void look_at_provider(struct report *r, const struct config *c, struct auth *auth) {
    _cleanup_(freep) char *error = NULL;
    if (!auth_jwks(auth))
        return;
    if (keys_fetch(auth, c, &error))
        report_add(r, REPORT_FAILED, "tokens.provider", c->service_name,
                   "HANDOFF_JWKS_URL and HANDOFF_JWKS_CA_FILE: docs/operations/tokens.md", "%s",
                   error);
    else
        report_add(r, REPORT_OK, "tokens.provider", c->service_name, "", "%zu keys",
                   jwks_n_keys(auth_jwks(auth)));
}

static void look_at_keys(struct report *r, const struct config *c) {
    _cleanup_(auth_freep) struct auth *auth = NULL;
    _cleanup_(freep) char *error = NULL;
    if (keys_load(&auth, c, &error)) {
        report_add(r, REPORT_FAILED, "tokens.keys", c->service_name,
                   "the service does not start with them: docs/CONFIG.md", "%s", error);
        return;
    }
    const char *warning = auth_warning(auth);
    report_add(r, warning ? REPORT_WARNING : REPORT_OK, "tokens.keys", c->service_name,
               warning ? "let nobody but the service read it" : "", "%s",
               warning ? warning : "a key for each algorithm that is allowed");
    look_at_provider(r, c, auth);
}

void doctor_here(struct report *r, const struct config *c) {
    look_at_files(r, c);
    look_at_keys(r, c);
}
