/* Input: HANDOFF_ALLOWED_ORIGINS, a newline, an Origin. A page may call only if an entry is its
 * origin, or a loopback host's with any port; what was configured with a path never was taken. */
#include "common/origins.h"
#include "fuzz_json.h"

/* The host of http://host:port, without the port, as a browser that knows only loopback reads it.
 */
static bool is_loopback(const char *origin) {
    static const char *const hosts[] = {"http://localhost", "https://localhost",
                                        "http://127.0.0.1", "https://127.0.0.1",
                                        "http://[::1]",     "https://[::1]"};
    for (size_t i = 0; i < N_ELEMENTS(hosts); i++) {
        size_t len = strlen(hosts[i]);
        if (strncmp(origin, hosts[i], len) == 0 && (!origin[len] || origin[len] == ':'))
            return strspn(origin + len, ":0123456789") == strlen(origin + len);
    }
    return false;
}

static bool is_listed(const char *list, const char *origin) {
    size_t n = strlen(origin);
    for (const char *at = list;; at++) {
        size_t len = strcspn(at, ",");
        if (len == n && memcmp(at, origin, len) == 0)
            return true;
        at += len;
        if (!*at)
            return false;
    }
}

static void check(const char *list, const char *origin) {
    if (!origins_are_valid(list))
        return;
    must_hold(strcmp(list, "*") == 0 || !strstr(list, "*") || strstr(list, ":*"));
    must_hold(!origins_allow(list, NULL) && !origins_allow(list, ""));
    const char *allowed = origins_allow(list, origin);
    if (strcmp(list, "*") == 0) {
        must_hold(!*origin || strcmp(allowed, "*") == 0);
        return;
    }
    must_hold(!allowed || allowed == origin);
    /* "http://localhost:*" is no origin that a browser sends. */
    if (allowed)
        must_hold(is_listed(list, origin) || is_loopback(origin));
    else
        must_hold(!*origin || strchr(origin, '*') || !is_listed(list, origin) ||
                  strpbrk(list, " \t"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *newline = strchr(text, '\n');
    if (newline)
        *newline = '\0';
    check(text, newline ? newline + 1 : "http://localhost:8080");
    free(text);
    return 0;
}
