/* Checks beyond single values; see app_check.h. */
#include "common/app_check.h"

#include <errno.h>

#include "common/bus_url.h"
#include "common/jwks_url.h"
#include "common/trace_export.h"

/* A missing or weak key is a bad configuration, also when the secret was well formed by itself. */
static int check_keys(const struct config *config, struct auth **ret, FILE *err) {
    if (!(config->service & (CONFIG_SESSION_API | CONFIG_WS_FANOUT)))
        return 0;
    _cleanup_(freep) char *error = NULL;
    int r = auth_new(ret, config, &error);
    if (r == 0 && *config->jwks_url)
        r = jwks_url_check(config->jwks_url, config->jwks_ca_file, &error);
    if (r < 0)
        fprintf(err, "%s: %s\n", config->service_name, error);
    return r;
}

static int check_addresses(const struct config *config, FILE *err) {
    struct bus_url url;
    int r = bus_url_parse(&url, config->amqp_url);
    if (r < 0)
        fprintf(err,
                "%s: HANDOFF_AMQP_URL has a bad value; allowed: "
                "amqp://user:password@host:port/vhost, up to %d host:port separated by commas, "
                "no TLS\n",
                config->service_name, BUS_ADDRESSES_MAX);
    else
        bus_url_done(&url);
    return r;
}

static int check_collector(const struct config *config, FILE *err) {
    _cleanup_(freep) char *url = NULL;
    if (!*config->otlp_url || trace_export_url(config->otlp_url, &url) == 0)
        return 0;
    fprintf(err,
            "%s: HANDOFF_OTLP_URL has a bad value; allowed: http://host[:port][/path], or https\n",
            config->service_name);
    return -EINVAL;
}

int app_check(const struct config *config, struct auth **ret_auth, FILE *err) {
    struct auth *auth = NULL;
    int r = check_keys(config, &auth, err);
    if (r == 0)
        r = check_addresses(config, err);
    if (r == 0)
        r = check_collector(config, err);
    if (r < 0)
        auth_free(auth);
    else
        *ret_auth = auth;
    return r;
}
