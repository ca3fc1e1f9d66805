/* Paths and methods; see path.h. A path is compared raw: an escaped one is another resource, which
 * does not exist. */
#include "services/session_api/path.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "proto/clock.h"
#include "proto/text.h"
#include "services/session_api/handoff_code.h"

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
    [RESOURCE_HISTORY] = {"/sessions/{id}/history", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS,
                          "GET, HEAD, OPTIONS", true},
    [RESOURCE_SNAPSHOTS] = {"/sessions/{id}/snapshots",
                            METHOD_GET | METHOD_HEAD | METHOD_POST | METHOD_OPTIONS,
                            "GET, HEAD, POST, OPTIONS", true},
    [RESOURCE_SNAPSHOT] = {"/sessions/{id}/snapshots/{version}",
                           METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, "GET, HEAD, OPTIONS", true},
    [RESOURCE_RESTORE] = {"/sessions/{id}/restore", METHOD_POST | METHOD_OPTIONS, "POST, OPTIONS",
                          true},
    [RESOURCE_DEVICES] = {"/sessions/{id}/devices", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS,
                          "GET, HEAD, OPTIONS", true},
    [RESOURCE_DEVICE] = {"/sessions/{id}/devices/{deviceId}",
                         METHOD_PUT | METHOD_DELETE | METHOD_OPTIONS, "PUT, DELETE, OPTIONS", true},
    [RESOURCE_PARTICIPANTS] = {"/sessions/{id}/participants",
                               METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, "GET, HEAD, OPTIONS",
                               true},
    [RESOURCE_PARTICIPANT] = {"/sessions/{id}/participants/{userId}",
                              METHOD_PUT | METHOD_DELETE | METHOD_OPTIONS, "PUT, DELETE, OPTIONS",
                              true},
    [RESOURCE_HANDOFF_CODES] = {"/sessions/{id}/handoff-codes", METHOD_POST | METHOD_OPTIONS,
                                "POST, OPTIONS", true},
    [RESOURCE_HANDOFF_CODE] = {"/sessions/{id}/handoff-codes/{code}",
                               METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, "GET, HEAD, OPTIONS",
                               true},
    [RESOURCE_HANDOFF] = {"/handoff", METHOD_POST | METHOD_OPTIONS, "POST, OPTIONS", true},
    [RESOURCE_SWITCH] = {"/sessions/{id}/switch", METHOD_POST | METHOD_OPTIONS, "POST, OPTIONS",
                         true},
    [RESOURCE_CLOCK] = {"/sessions/{id}/clock", METHOD_PUT | METHOD_OPTIONS, "PUT, OPTIONS", true},
    [RESOURCE_CLOCK_PARTICIPANT] = {"/sessions/{id}/clock/{participantId}",
                                    METHOD_POST | METHOD_OPTIONS, "POST, OPTIONS", true},
    [RESOURCE_TOKEN] = {"/sessions/{id}/token", METHOD_POST | METHOD_OPTIONS, "POST, OPTIONS",
                        true},
    [RESOURCE_KEYS] = {"/.well-known/jwks.json", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS,
                       "GET, HEAD, OPTIONS", false},
    [RESOURCE_TIME] = {"/time", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, "GET, HEAD, OPTIONS",
                       false},
    [RESOURCE_HEALTH] = {"/health", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, "GET, HEAD, OPTIONS",
                         false},
    [RESOURCE_READY] = {"/ready", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, "GET, HEAD, OPTIONS",
                        false},
    [RESOURCE_CONSOLE] = {"console", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS,
                          "GET, HEAD, OPTIONS", false},
    [RESOURCE_DOCS] = {"docs", METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, "GET, HEAD, OPTIONS",
                       false},
};

static const struct {
    enum method method;
    const char *name;
} methods[] = {{METHOD_GET, "GET"},     {METHOD_HEAD, "HEAD"},     {METHOD_POST, "POST"},
               {METHOD_PATCH, "PATCH"}, {METHOD_DELETE, "DELETE"}, {METHOD_OPTIONS, "OPTIONS"},
               {METHOD_PUT, "PUT"}};

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

/* ---- a path's last segment ---- */

static bool take_version(const char *text, char ret[static PATH_PARAMETER_CAP]) {
    size_t len = strlen(text);
    uint64_t version;
    if (!text_parse_number(text, len, &version) || version == 0)
        return false;
    memcpy(ret, text, len + 1);
    return true;
}

static bool take_user(const char *text, char ret[static PATH_PARAMETER_CAP]) {
    if (!uuid_is(text, strlen(text)))
        return false;
    memcpy(ret, text, UUID_LEN + 1);
    return true;
}

_Static_assert(CLOCK_ID_MAX == SESSION_DEVICE_MAX, "ids of both kinds have the same rule");

/* A device's id, or that of a clock's participant. */
static bool take_id(const char *text, char ret[static PATH_PARAMETER_CAP]) {
    char id[PATH_PARAMETER_CAP];
    size_t n = 0;
    while (*text && n + 1 < sizeof(id)) {
        bool is_colon = strncasecmp(text, "%3A", 3) == 0;
        id[n++] = *text;
        if (is_colon)
            id[n - 1] = ':';
        text += is_colon ? 3 : 1;
    }
    id[n] = '\0';
    if (*text || !session_device_is_valid(id, n))
        return false;
    memcpy(ret, id, n + 1);
    return true;
}

static bool take_code(const char *text, char ret[static PATH_PARAMETER_CAP]) {
    size_t len = strlen(text);
    if (!handoff_code_is(text, len))
        return false;
    memcpy(ret, text, len + 1);
    return true;
}

static const struct {
    const char *name;
    bool (*take)(const char *text, char ret[static PATH_PARAMETER_CAP]);
} parameters[] = {{"{version}", take_version},
                  {"{userId}", take_user},
                  {"{deviceId}", take_id},
                  {"{participantId}", take_id},
                  {"{code}", take_code}};

/* pattern, path: what follows the session's id. */
static bool is_match(const char *pattern, const char *path,
                     char ret_parameter[static PATH_PARAMETER_CAP]) {
    const char *parameter = strchr(pattern, '{');
    if (!parameter)
        return strcmp(pattern, path) == 0;
    size_t len = (size_t)(parameter - pattern);
    if (strncmp(pattern, path, len) != 0)
        return false;
    for (size_t i = 0; i < N_ELEMENTS(parameters); i++)
        if (strcmp(parameter, parameters[i].name) == 0)
            return parameters[i].take(path + len, ret_parameter);
    return false;
}

static bool is_in(const char *path, const char *folder) {
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && (!path[len] || path[len] == '/');
}

enum resource path_parse(const char *path, char ret_session_id[static UUID_LEN + 1],
                         char ret_parameter[static PATH_PARAMETER_CAP]) {
    static const char prefix[] = "/sessions/";
    static const size_t prefix_len = sizeof(prefix) - 1;
    if (strcmp(path, "/") == 0 || is_in(path, "/console"))
        return RESOURCE_CONSOLE;
    if (is_in(path, "/docs"))
        return RESOURCE_DOCS;
    for (enum resource r = RESOURCE_NONE + 1; *path == '/' && r < RESOURCE_N; r++)
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
        if (!rest || !is_match(rest + 1, id + id_len, ret_parameter))
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
