/* The first line of a request to session_api: a method, a newline, a target. A path leads to one
 * resource, and what it names there is one; a parameter that is taken is within its bounds. */
#include "common/http_parts.h"
#include "common/http_server.h"
#include "fuzz_embedded.h"
#include "fuzz_json.h"
#include "services/session_api/console.h"
#include "services/session_api/handoff_code.h"
#include "services/session_api/parameters.h"
#include "services/session_api/path.h"

static void check_parameter(enum resource resource, const char *parameter) {
    size_t len = strlen(parameter);
    uint64_t version;
    must_hold(len < PATH_PARAMETER_CAP);
    if (resource == RESOURCE_SNAPSHOT)
        must_hold(text_parse_number(parameter, len, &version) && version >= 1);
    if (resource == RESOURCE_PARTICIPANT)
        must_hold(uuid_is(parameter, len));
    if (resource == RESOURCE_DEVICE || resource == RESOURCE_CLOCK_PARTICIPANT)
        must_hold(session_device_is_valid(parameter, len));
    if (resource == RESOURCE_HANDOFF_CODE)
        must_hold(handoff_code_is(parameter, len));
}

static void check_path(const char *path) {
    char id[UUID_LEN + 1] = "", parameter[PATH_PARAMETER_CAP] = "";
    enum resource resource = path_parse(path, id, parameter);
    must_hold(resource < RESOURCE_N && path_pattern(resource)[0]);
    must_hold(!strstr(path_pattern(resource), "{id}") == !id[0]);
    must_hold(!id[0] || (uuid_is(id, strlen(id)) && strstr(path, id)));
    if (parameter[0])
        check_parameter(resource, parameter);
    must_hold(resource == RESOURCE_NONE || path[0] == '/');
}

static void check_method(const char *name) {
    enum method method = path_method(name);
    must_hold(method == METHOD_OTHER || strcmp(path_method_name(method), name) == 0);
    must_hold(strcmp(path_method_name(METHOD_OTHER), "other") == 0);
    for (enum resource r = RESOURCE_NONE; r < RESOURCE_N; r++)
        must_hold(!(path_methods(r) & METHOD_OPTIONS) == !strstr(path_allow(r), "OPTIONS") &&
                  (path_methods(r) || !path_needs_token(r)));
}

static void check_query(struct http_request *r) {
    struct fault f = {0};
    const char *text = NULL;
    uint64_t number = 0;
    int64_t moment = 0;
    bool is_there = false;
    int err = parameters_text(r, "limit", &text, &f);
    must_hold(err == (int)f.code && (!err || !text));
    err = parameters_number(r, "limit", 1, 200, &number, &f);
    must_hold(err == (int)f.code && (err || number <= 200));
    must_hold(!text || err || number == strtoull(text, NULL, 10));
    err = parameters_moment(r, "from", &is_there, &moment, &f);
    must_hold((err == 0 || f.detail[0]) && (is_there || moment == 0));
}

/* What the console's policy names cannot be more than one host. */
static void check_console(const char *host) {
    struct console_sources sources;
    must_hold(console_find_sources("", host, &sources));
    must_hold(!strpbrk(sources.policy, ";,'\"\\<>") && !strpbrk(sources.url, "\"\\<> ?#"));
    bool is_url = strncmp(host, "ws://", 5) == 0 || strncmp(host, "wss://", 6) == 0;
    if (is_url && console_find_sources(host, NULL, &sources)) /* as the configuration's row says */
        must_hold(strcmp(sources.url, host) == 0 && !strpbrk(sources.policy, ";,'\"\\<>"));
}

/* Of an address that is split, one host is left and one port. */
static void check_address(const char *text) {
    char *copy = must_strdup(text);
    const char *host = NULL, *port = NULL;
    if (http_split_address(copy, &host, &port))
        must_hold(strlen(port) <= 5 && (!host || (*host && !strchr(host, '['))));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *at = text;
    const char *method = strsep(&at, "\n");
    struct http_request *r = http_request_new(at ? at : "");
    check_method(method);
    check_path(http_path(r));
    check_query(r);
    check_console(method);
    check_address(method);
    http_request_free(r);
    free(text);
    return 0;
}
