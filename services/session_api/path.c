/* Paths and methods; see path.h. A path is compared raw: an escaped one is another resource, which
 * does not exist. */
#include "services/session_api/path.h"

#include <string.h>

#include "base/cleanup.h"

static const struct {
    const char *pattern;
    unsigned methods;
    const char *allow;
    bool needs_token;
} resources[RESOURCE_N] = {
    [RESOURCE_NONE] = {"none", 0, "", false},
    [RESOURCE_SESSIONS] = {"/sessions", METHOD_GET | METHOD_HEAD | METHOD_POST | METHOD_OPTIONS,
                           "GET, HEAD, POST, OPTIONS", true},
    [RESOURCE_SESSION] = {"/sessions/{id}",
                          METHOD_GET | METHOD_HEAD | METHOD_POST | METHOD_PATCH | METHOD_DELETE |
                              METHOD_OPTIONS,
                          "GET, HEAD, POST, PATCH, DELETE, OPTIONS", true},
    [RESOURCE_HEARTBEAT] = {"/sessions/{id}/heartbeat", METHOD_POST | METHOD_OPTIONS,
                            "POST, OPTIONS", true},
    [RESOURCE_DELTAS] = {"/sessions/{id}/deltas", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS,
                         "GET, HEAD, OPTIONS", true},
    [RESOURCE_BROADCAST] = {"/sessions/{id}/broadcast", METHOD_POST | METHOD_OPTIONS,
                            "POST, OPTIONS", true},
    [RESOURCE_TIME] = {"/time", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, "GET, HEAD, OPTIONS",
                       false},
    [RESOURCE_HEALTH] = {"/health", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, "GET, HEAD, OPTIONS",
                         false},
    [RESOURCE_READY] = {"/ready", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, "GET, HEAD, OPTIONS",
                        false},
};

static const struct {
    enum method method;
    const char *name;
} methods[] = {{METHOD_GET, "GET"},     {METHOD_HEAD, "HEAD"},     {METHOD_POST, "POST"},
               {METHOD_PATCH, "PATCH"}, {METHOD_DELETE, "DELETE"}, {METHOD_OPTIONS, "OPTIONS"}};

enum method path_method(const char *name) {
    for (size_t i = 0; i < N_ELEMENTS(methods); i++)
        if (strcmp(name, methods[i].name) == 0)
            return methods[i].method;
    return METHOD_OTHER;
}

const char *path_method_name(enum method method) {
    for (size_t i = 0; i < N_ELEMENTS(methods); i++)
        if (method == methods[i].method)
            return methods[i].name;
    return "other";
}

enum resource path_parse(const char *path, char ret_session_id[static UUID_LEN + 1]) {
    static const char prefix[] = "/sessions/";
    static const size_t prefix_len = sizeof(prefix) - 1;
    for (enum resource r = RESOURCE_NONE + 1; r < RESOURCE_N; r++)
        if (!strchr(resources[r].pattern, '{') && strcmp(path, resources[r].pattern) == 0)
            return r;
    if (strncmp(path, prefix, prefix_len) != 0)
        return RESOURCE_NONE;
    const char *id = path + prefix_len;
    size_t id_len = strcspn(id, "/");
    if (!uuid_is(id, id_len))
        return RESOURCE_NONE;
    for (enum resource r = RESOURCE_NONE + 1; r < RESOURCE_N; r++) {
        const char *rest = strchr(resources[r].pattern, '}');
        if (!rest || strcmp(rest + 1, id + id_len) != 0)
            continue;
        memcpy(ret_session_id, id, id_len);
        ret_session_id[id_len] = '\0';
        return r;
    }
    return RESOURCE_NONE;
}

const char *path_pattern(enum resource resource) {
    return resources[resource].pattern;
}

unsigned path_methods(enum resource resource) {
    return resources[resource].methods;
}

const char *path_allow(enum resource resource) {
    return resources[resource].allow;
}

bool path_needs_token(enum resource resource) {
    return resources[resource].needs_token;
}
