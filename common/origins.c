/* See origins.h. */
#include "common/origins.h"

#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"

#define SEPARATORS ", \t"
#define ANY_PORT ":*"
#define N_ANY_PORT 2
#define MAX_PORT_DIGITS 5
#define MAX_PORT 65535

static const char *const schemes[] = {"http://", "https://"};

/* The length of the scheme, 0: another one. */
static size_t scheme_length(const char *text, size_t len) {
    for (size_t i = 0; i < N_ELEMENTS(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (len > n && memcmp(text, schemes[i], n) == 0)
            return n;
    }
    return 0;
}

static bool has_any_port(const char *text, size_t len) {
    return len > N_ANY_PORT && memcmp(text + len - N_ANY_PORT, ANY_PORT, N_ANY_PORT) == 0;
}

static bool is_loopback(const char *host, size_t len) {
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < N_ELEMENTS(names); i++)
        if (strlen(names[i]) == len && memcmp(names[i], host, len) == 0)
            return true;
    return false;
}

static bool is_origin(const char *text, size_t len) {
    size_t n = scheme_length(text, len);
    if (!n)
        return false;
    if (has_any_port(text, len))
        return is_loopback(text + n, len - n - N_ANY_PORT);
    for (size_t i = n; i < len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f || strchr("/?#@,*", text[i]))
            return false;
    return true;
}

bool origins_are_valid(const char *text) {
    if (strcmp(text, "*") == 0)
        return true;
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        if (!is_origin(at, len))
            return false;
        at += len;
        if (!*at)
            return true;
    }
}

/* "", where the scheme's own port is meant, or ":" and a number, as browsers write it. */
static bool is_port(const char *text) {
    if (!*text)
        return true;
    size_t n = strspn(text + 1, "0123456789");
    if (*text != ':' || n < 1 || n > MAX_PORT_DIGITS || text[1 + n] || text[1] == '0')
        return false;
    uint32_t port = 0;
    for (size_t i = 1; i <= n; i++)
        port = 10 * port + (uint32_t)(text[i] - '0');
    return port <= MAX_PORT;
}

static bool entry_matches(const char *entry, size_t len, const char *origin) {
    size_t n = has_any_port(entry, len) ? len - N_ANY_PORT : len;
    if (strncmp(entry, origin, n) != 0)
        return false;
    return n < len ? is_port(origin + n) : !origin[n];
}

const char *origins_allow(const char *allowed, const char *origin) {
    if (!origin || !*origin)
        return NULL;
    for (const char *at = allowed; *at;) {
        at += strspn(at, SEPARATORS);
        size_t len = strcspn(at, SEPARATORS);
        if (len == 1 && *at == '*')
            return "*";
        if (len && entry_matches(at, len, origin))
            return origin;
        at += len;
    }
    return NULL;
}
