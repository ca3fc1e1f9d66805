/* The settings of an identity provider's keys; see jwks_url.h. The URL is read by libcurl, which is
 * who will use it: no other reading of it could differ. */
#include "common/jwks_url.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/network.h"

DEFINE_CLEANUP(CURLU *, curl_url_cleanup)
DEFINE_CLEANUP(FILE *, fclose)
DEFINE_CLEANUP(X509 *, X509_free)

static bool is_loopback(const char *host) {
    static const char *const networks[] = {"127.0.0.0/8", "::1"};
    size_t len = strlen(host), brackets = host[0] == '[';
    struct network network;
    struct address address;
    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (!address_parse(host + brackets, len - 2 * brackets, &address))
        return false;
    for (size_t i = 0; i < N_ELEMENTS(networks); i++)
        if (network_parse(networks[i], strlen(networks[i]), &network) &&
            network_has(&network, &address))
            return true;
    return false;
}

static bool has_part(CURLU *url, CURLUPart part) {
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

static bool host_is_loopback(CURLU *url) {
    char *host = NULL;
    bool is = curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK && is_loopback(host);
    curl_free(host);
    return is;
}

static bool is_https(CURLU *url) {
    char *scheme = NULL;
    bool is = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              strcmp(scheme, "https") == 0;
    curl_free(scheme);
    return is;
}

bool jwks_url_is_loopback(const char *url) {
    _cleanup_(curl_url_cleanupp) CURLU *parts = curl_url();
    return parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
           host_is_loopback(parts);
}

/* NULL, or what is wrong. */
static const char *judge_url(const char *url) {
    _cleanup_(curl_url_cleanupp) CURLU *parts = curl_url();
    if (!parts || curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK)
        return "HANDOFF_JWKS_URL is no URL";
    if (has_part(parts, CURLUPART_USER) || has_part(parts, CURLUPART_PASSWORD) ||
        has_part(parts, CURLUPART_FRAGMENT))
        return "HANDOFF_JWKS_URL has a user or a fragment; allowed: "
               "https://host[:port]/path[?query]";
    if (!is_https(parts) && !host_is_loopback(parts))
        return "HANDOFF_JWKS_URL is not https; allowed: https, or http to localhost, 127.0.0.1 or "
               "[::1]";
    return NULL;
}

static bool holds_certificate(const char *path) {
    _cleanup_(fclosep) FILE *file = fopen(path, "re");
    _cleanup_(X509_freep) X509 *certificate = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    ERR_clear_error();
    return certificate != NULL;
}

int jwks_url_check(const char *url, const char *ca_file, char **ret_error) {
    const char *why = judge_url(url);
    if (!why && *ca_file && !holds_certificate(ca_file))
        why = "HANDOFF_JWKS_CA_FILE cannot be read, or holds no certificate in PEM form";
    if (!why)
        return 0;
    *ret_error = must_strdup(why);
    return -EINVAL;
}
