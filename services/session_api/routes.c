/* From a request to what answers it: what all requests have in common is checked here, in this
 * order: the address' limit, framing, path, method, headers that may be there once, Accept, token,
 * the user's limit, device, scope, the token's session. */
#include <string.h>
#include <time.h>

#include "base/timestamp.h"
#include "common/session_token.h"
#include "services/session_api/api.h"

static void answer_time(struct call *call) {
    char now[TIMESTAMP_LEN + 1];
    timestamp_print(store_now(call->api->store), now);
    struct buf body = BUF_NULL;
    buf_printf(&body, "{\"serverTime\":\"%s\"}", now);
    call_answer(call, 200, &body);
}

static void answer_health(struct call *call) {
    struct buf body = BUF_NULL;
    buf_puts(&body, "{\"status\":\"ok\"}");
    call_answer(call, 200, &body);
}

static void answer_ready(struct call *call) {
    struct health *health = call->api->app->health;
    int status = health_ready_status(health);
    struct buf body = BUF_NULL;
    health_print(health, &body);
    if (status >= 300)
        call_add_header(call, "Content-Type", "application/json");
    call_answer(call, status, &body);
}

static void answer_console(struct call *call) {
    console_answer(call->api->console, call);
}

static void answer_docs(struct call *call) {
    docs_answer(call->api->docs, call);
}

/* What answers each method of path.c's table. HEAD is GET, whose body http.c leaves out. */
static const struct {
    void (*get)(struct call *call);
    void (*post)(struct call *call);
    void (*patch)(struct call *call);
    void (*put)(struct call *call);
    void (*del)(struct call *call);
} handlers[RESOURCE_N] = {
    [RESOURCE_SESSIONS] = {.get = list_sessions, .post = sessions_create},
    [RESOURCE_SESSION] = {.get = reads_session,
                          .post = sessions_change_status,
                          .patch = sessions_patch,
                          .del = sessions_delete},
    [RESOURCE_HEARTBEAT] = {.post = sessions_heartbeat},
    [RESOURCE_DELTAS] = {.get = reads_deltas},
    [RESOURCE_BROADCAST] = {.post = broadcast_send},
    [RESOURCE_HISTORY] = {.get = history_list},
    [RESOURCE_SNAPSHOTS] = {.get = snapshots_list, .post = sessions_make_snapshot},
    [RESOURCE_SNAPSHOT] = {.get = versions_read},
    [RESOURCE_RESTORE] = {.post = versions_restore},
    [RESOURCE_DEVICES] = {.get = sharing_devices},
    [RESOURCE_DEVICE] = {.put = sessions_let_device_in, .del = sessions_remove_device},
    [RESOURCE_PARTICIPANTS] = {.get = sharing_participants},
    [RESOURCE_PARTICIPANT] = {.put = sessions_set_participant, .del = sessions_remove_participant},
    [RESOURCE_HANDOFF_CODES] = {.post = handoff_offer},
    [RESOURCE_HANDOFF_CODE] = {.get = handoff_show},
    [RESOURCE_HANDOFF] = {.post = handoff_redeem},
    [RESOURCE_SWITCH] = {.post = sessions_switch},
    [RESOURCE_CLOCK] = {.put = sessions_set_clock},
    [RESOURCE_CLOCK_PARTICIPANT] = {.post = sessions_adjust_clock},
    [RESOURCE_TOKEN] = {.post = tokens_renew},
    [RESOURCE_KEYS] = {.get = tokens_answer_keys},
    [RESOURCE_TIME] = {.get = answer_time},
    [RESOURCE_HEALTH] = {.get = answer_health},
    [RESOURCE_READY] = {.get = answer_ready},
    [RESOURCE_CONSOLE] = {.get = answer_console},
    [RESOURCE_DOCS] = {.get = answer_docs},
};

/* The method is one that check_target() let through. */
static void dispatch(struct call *call) {
    switch (call->method) {
    case METHOD_POST:
        handlers[call->resource].post(call);
        break;
    case METHOD_PATCH:
        handlers[call->resource].patch(call);
        break;
    case METHOD_PUT:
        handlers[call->resource].put(call);
        break;
    case METHOD_DELETE:
        handlers[call->resource].del(call);
        break;
    default:
        handlers[call->resource].get(call);
        break;
    }
}

/* ---- checks: 0, or a fault ---- */

static int check_framing(enum http_problem problem, struct fault *f) {
    switch (problem) {
    case HTTP_BAD_FRAMING:
        return (int)fault_set(f, FAULT_INVALID_REQUEST, NULL,
                              "the request's framing is ambiguous: Content-Length, "
                              "Transfer-Encoding, Host, or a header's or the first line's form");
    case HTTP_BODY_TOO_LARGE:
        return (int)fault_set(f, FAULT_BODY_TOO_LARGE, NULL, "the body is over the limit");
    case HTTP_BUSY:
        return (int)fault_set(f, FAULT_UNAVAILABLE, NULL,
                              "too many large requests are in hand, or answers that nobody takes");
    case HTTP_FINE:
        break;
    }
    return 0;
}

static int check_target(const struct call *call, struct fault *f) {
    if (call->resource == RESOURCE_NONE)
        return (int)fault_set(f, FAULT_NOT_FOUND, NULL, "there is nothing at this path");
    if (!(path_methods(call->resource) & call->method))
        return (int)fault_set(f, FAULT_METHOD_NOT_ALLOWED, NULL, "allowed: %s",
                              path_allow(call->resource));
    return 0;
}

/* Refusals are problem+json whatever it says: nothing else says what is wrong. */
static int check_accept(struct call *call, struct fault *f) {
    const char *accept = http_header(call->request, "Accept");
    if (call->resource == RESOURCE_HANDOFF_CODE) {
        call->media_type = headers_accept(accept, handoff_media_types, HANDOFF_N_MEDIA_TYPES);
        if (call->media_type < 0)
            return (int)fault_set(f, FAULT_NOT_ACCEPTABLE, "Accept",
                                  "answers are image/svg+xml, image/png or text/plain, none of "
                                  "which Accept takes");
    } else if (call->resource != RESOURCE_CONSOLE && call->resource != RESOURCE_DOCS &&
               !headers_accept_json(accept)) {
        return (int)fault_set(f, FAULT_NOT_ACCEPTABLE, "Accept",
                              "answers are application/json, which Accept does not take");
    }
    return 0;
}

static int check_headers(struct call *call, struct fault *f) {
    static const char *const single[] = {"Authorization", "Content-Type", "Idempotency-Key",
                                         "X-Device-Id",   "X-Request-Id", "Origin"};
    for (size_t i = 0; i < N_ELEMENTS(single); i++)
        if (http_n_headers(call->request, single[i]) > 1)
            return (int)fault_set(f, FAULT_INVALID_REQUEST, single[i], "%s is there twice",
                                  single[i]);
    if (http_n_headers(call->request, "Content-Encoding") > 0)
        return (int)fault_set(f, FAULT_UNSUPPORTED_MEDIA_TYPE, "Content-Encoding",
                              "a body is taken as it is: without Content-Encoding");
    return check_accept(call, f);
}

static int check_token(struct call *call, struct fault *f) {
    size_t len = 0;
    const char *header = http_header(call->request, "Authorization");
    if (!header)
        return (int)fault_set(f, FAULT_UNAUTHENTICATED, NULL, "no Authorization header");
    const char *token = auth_bearer(header, &len);
    if (!token)
        return (int)fault_set(f, FAULT_UNAUTHENTICATED, NULL, "Authorization is no Bearer token");
    int64_t now_s = timestamp_wall_ms() / 1000;
    return auth_verify(call->api->auth, token, len, now_s, &call->who, f);
}

static int check_device(struct call *call, struct fault *f) {
    const char *header = http_header(call->request, "X-Device-Id");
    const char *claim = call->who.device_id;
    if (header && !session_device_is_valid(header, strlen(header)))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "X-Device-Id",
                              "a device has 1 to %d of A-Z a-z 0-9 . _ : -", SESSION_DEVICE_MAX);
    if (header && *claim && strcmp(header, claim) != 0)
        return (int)fault_set(f, FAULT_FORBIDDEN, "X-Device-Id",
                              "X-Device-Id differs from the token's device_id");
    const char *device = *claim ? claim : header ? header : "";
    memcpy(call->device_id, device, strlen(device) + 1);
    return 0;
}

static bool is_admins_write(struct call *call) {
    if (call->resource != RESOURCE_SESSION)
        return false;
    const char *status = http_query(call->request, "status", NULL);
    return call->method == METHOD_DELETE ||
           (call->method == METHOD_POST && status && strcmp(status, "cancelled") == 0);
}

static int check_scope(struct call *call, struct fault *f) {
    bool is_read = call->method == METHOD_GET || call->method == METHOD_HEAD;
    unsigned enough = is_read ? COMMAND_READ : COMMAND_WRITE;
    if (is_read ? call->resource != RESOURCE_SESSIONS : is_admins_write(call))
        enough |= COMMAND_ADMIN;
    if (!(call->who.rights & enough))
        return (int)fault_set(f, FAULT_FORBIDDEN, NULL, "the token's scope has no sessions:%s",
                              is_read ? "read" : "write");
    /* A device that redeems a code may name itself in the body: handoff_redeem.c. */
    if (!is_read && !call->device_id[0] && call->resource != RESOURCE_HANDOFF)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "X-Device-Id",
                              "a write needs a device: claim device_id or header X-Device-Id");
    return 0;
}

/* A token for one session knows no other, and nothing that is of no session: what a new path is for
 * does not matter here. Another session is refused as one that is not there. */
static int check_session(const struct call *call, struct fault *f) {
    if (auth_covers(&call->who, call->session_id))
        return 0;
    if (!*call->session_id)
        return (int)fault_set(f, FAULT_FORBIDDEN, NULL, "the token is for one session");
    return (int)fault_set(f, FAULT_NOT_FOUND, NULL, "there is no such session");
}

/* ---- a request's way ---- */

/* Who has no token yet may come by a handoff code, where Handoff can sign one for it. */
static bool is_guest(const struct call *call) {
    return call->resource == RESOURCE_HANDOFF && call->method == METHOD_POST &&
           !http_header(call->request, "Authorization") && session_token_can_sign(call->api->auth);
}

static void on_user_admitted(struct call *call) {
    struct fault fault;
    if (check_device(call, &fault) || check_scope(call, &fault) || check_session(call, &fault))
        call_refuse(call, &fault, NULL);
    else
        dispatch(call);
}

static void on_address_admitted(struct call *call) {
    struct fault fault;
    bool is_options = call->method == METHOD_OPTIONS;
    call->is_guest = is_guest(call);
    bool needs_token = !is_options && path_needs_token(call->resource) && !call->is_guest;
    if (check_framing(call->problem, &fault) || check_target(call, &fault) ||
        (!is_options && check_headers(call, &fault)) ||
        (needs_token && check_token(call, &fault)) ||
        (call->is_guest && check_device(call, &fault)))
        call_refuse(call, &fault, NULL);
    else if (is_options)
        cors_answer_options(call);
    else if (needs_token)
        limits_take_user(call, on_user_admitted);
    else
        dispatch(call);
}

void routes_on_request(void *arg, struct http_request *request, enum http_problem problem) {
    struct api *api = arg;
    struct call *call = call_new(api, request);
    call->problem = problem;
    call_metrics_set_in_flight(api->metrics, http_n_in_hand(api->http));
    limits_take_address(call, on_address_admitted);
}
