/* The client's side: a URL of the server, a token's claims, a refusal. What is taken of a URL,
 * written again, is taken as the same; a device of a token is one; a refusal has its code. */
#include "clients/c/src/endpoint.h"
#include "clients/c/src/problem.h"
#include "fuzz_json.h"
#include "proto/claim.h"
#include "proto/session.h"

static void check_url(const char *url) {
    struct endpoint a, again;
    struct buf text = BUF_NULL;
    if (endpoint_parse(url, &a) != 0)
        return;
    must_hold(a.host[0] && a.port >= 1 && a.port <= 65535);
    must_hold(!strpbrk(a.path, "?#\" ") && (!a.path[0] || a.path[0] == '/'));
    bool is_v6 = strchr(a.host, ':') != NULL;
    buf_printf(&text, is_v6 ? "%s://[%s]:%d%s/ws" : "%s://%s:%d%s/ws", a.is_secure ? "wss" : "ws",
               a.host, a.port, a.path);
    must_hold(endpoint_parse(text.data, &again) == 0);
    must_hold(strcmp(a.host, again.host) == 0 && strcmp(a.path, again.path) == 0 &&
              a.port == again.port && a.is_secure == again.is_secure);
    must_hold(endpoint_is_loopback(&a) == endpoint_is_loopback(&again));
    endpoint_done(&a);
    endpoint_done(&again);
    buf_done(&text);
}

static void check_claim(const char *token) {
    char device[SESSION_DEVICE_MAX + 1] = "", small[4] = "";
    if (!claim_device(token, sizeof(device), device)) {
        must_hold(!device[0]);
        return;
    }
    must_hold(session_device_is_valid(device, strlen(device)));
    must_hold(claim_device(token, sizeof(small), small) == (strlen(device) < sizeof(small)));
}

static void check_problem(const json_t *frame) {
    struct handoff_error e;
    problem_from_frame(frame, &e);
    must_hold(strlen(e.code) < sizeof(e.code) && strlen(e.reason) < sizeof(e.reason));
    must_hold(e.retry_after_ms >= 0 && e.retry_after_ms <= 3600000);
    must_hold(problem_is_temporary(&e) == e.temporary);
    must_hold(!json_is_true(json_object_get(frame, "temporary")) || e.temporary);
    struct handoff_position p = frame_position(frame);
    must_hold(p.epoch == 0 ? p.version == 0 : p.epoch >= 1 && p.version >= 0);
    must_hold(!position_is_before(p, p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size);
    json_t *value = fuzz_value(data, size);
    check_url(text);
    check_claim(text);
    check_problem(value);
    json_decref(value);
    free(text);
    return 0;
}
