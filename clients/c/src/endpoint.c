/* URLs; see endpoint.h. */
#include "clients/c/src/endpoint.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

static const struct {
    const char *scheme;
    bool is_secure;
} schemes[] = {{"ws://", false}, {"wss://", true}, {"http://", false}, {"https://", true}};

static const char *parse_scheme(const char *url, bool *ret_is_secure) {
    for (size_t i = 0; i < N_ELEMENTS(schemes); i++) {
        size_t len = strlen(schemes[i].scheme);
        if (strncasecmp(url, schemes[i].scheme, len) == 0) {
            *ret_is_secure = schemes[i].is_secure;
            return url + len;
        }
    }
    return NULL;
}

static bool is_host_char(char c, bool is_bracketed) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || (is_bracketed && c == ':');
}

static const char *parse_host(const char *at, struct endpoint *ret) {
    bool is_bracketed = *at == '[';
    const char *begin = at + is_bracketed, *end = begin;
    while (is_host_char(*end, is_bracketed))
        end++;
    if (end == begin || (is_bracketed && *end != ']'))
        return NULL;
    ret->host = must_memdup(begin, (size_t)(end - begin));
    return end + is_bracketed;
}

static const char *parse_port(const char *at, struct endpoint *ret) {
    ret->port = ret->is_secure ? 443 : 80;
    if (*at != ':')
        return at;
    int port = 0;
    for (at++; *at >= '0' && *at <= '9' && port <= 65535; at++)
        port = port * 10 + (*at - '0');
    if (port < 1 || port > 65535)
        return NULL;
    ret->port = port;
    return at;
}

/* A URL that ends in /ws, as the services print it, means the same. */
static int parse_path(const char *at, struct endpoint *ret) {
    size_t len = strlen(at);
    for (size_t i = 0; i < len; i++)
        if (at[i] <= ' ' || at[i] >= 0x7f || at[i] == '?' || at[i] == '#' || at[i] == '"')
            return -EINVAL;
    if (len && *at != '/')
        return -EINVAL;
    while (len && at[len - 1] == '/')
        len--;
    if (len >= 3 && memcmp(at + len - 3, "/ws", 3) == 0)
        len -= 3;
    ret->path = must_memdup(at, len);
    return 0;
}

int endpoint_parse(const char *url, struct endpoint *ret) {
    struct endpoint a = {0};
    const char *at = url ? parse_scheme(url, &a.is_secure) : NULL;
    at = at ? parse_host(at, &a) : NULL;
    at = at ? parse_port(at, &a) : NULL;
    if (!at || parse_path(at, &a) != 0) {
        endpoint_done(&a);
        return -EINVAL;
    }
    *ret = a;
    return 0;
}

void endpoint_done(struct endpoint *a) {
    free(a->host);
    free(a->path);
    *a = (struct endpoint){0};
}

bool endpoint_is_loopback(const struct endpoint *a) {
    return strcmp(a->host, "localhost") == 0 || strncmp(a->host, "127.", 4) == 0 ||
           strcmp(a->host, "::1") == 0;
}
