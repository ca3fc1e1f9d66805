/* Requests in HTTP: who may have a stream of which session, from where on. Contract sections 1, 3
 * and 4. */
#include <string.h>

#include "proto/text.h"
#include "services/ws_fanout/events.h"
#include "services/ws_fanout/fanout.h"

#define ALLOW "GET, HEAD, OPTIONS"

/* ---- the request line ---- */

/* /sessions/{id}/events; an id that is none is no path of ours. */
static bool parse_path(const char *path, char ret_session_id[static UUID_LEN + 1]) {
    static const char before[] = "/sessions/", after[] = "/events";
    const size_t n_before = sizeof(before) - 1;
    if (strncmp(path, before, n_before) != 0 ||
        !uuid_is(path + n_before, strcspn(path + n_before, "/")))
        return false;
    if (strcmp(path + n_before + UUID_LEN, after) != 0)
        return false;
    memcpy(ret_session_id, path + n_before, UUID_LEN);
    ret_session_id[UUID_LEN] = '\0';
    return true;
}

static int check_request(const struct fanout *fanout, const struct socket_request *r,
                         struct fault *f) {
    bool is_1_1 = strcmp(r->version, "HTTP/1.1") == 0;
    if ((!is_1_1 && strcmp(r->version, "HTTP/1.0") != 0) || (is_1_1 && !r->host))
        return fault_set(f, FAULT_INVALID_REQUEST, "Host",
                         "the request is HTTP/1.1 with one Host, or HTTP/1.0");
    if (r->has_upgrade)
        return fault_set(f, FAULT_INVALID_REQUEST, "Upgrade",
                         "a stream is plain HTTP/1.1: leave Upgrade out");
    if (r->has_body)
        return fault_set(f, FAULT_INVALID_REQUEST, NULL, "the request has no body");
    if (r->query_too_long)
        return fault_set(f, FAULT_INVALID_REQUEST, NULL,
                         "the query is too long; it may have device_id, since and epoch");
    int refused = request_check_origin(fanout, r, f);
    return refused ? refused : request_check_room(fanout, f);
}

/* ---- the position ---- */

int events_parse_id(const char *text, struct position *ret, struct fault *f) {
    const char *colon = strchr(text, ':');
    if (!colon || !text_parse_number(text, (size_t)(colon - text), &ret->epoch) || !ret->epoch ||
        !text_parse_number(colon + 1, strlen(colon + 1), &ret->version))
        return fault_set(f, FAULT_INVALID_REQUEST, "Last-Event-ID",
                         "Last-Event-ID is <epoch>:<version>, as the events' id has it");
    return 0;
}

static int take_number(const struct socket_request *r, const char *name, uint64_t least,
                       uint64_t *ret, bool *ret_is_there, struct fault *f) {
    const char *text = request_query(r, name, f);
    *ret_is_there = text != NULL;
    return f->code ? (int)f->code : request_take_number(text, name, least, ret, f);
}

/* The header is what a client that lost its connection adds by itself: it knows more than the URL.
 */
static int take_position(struct events *e, const struct socket_request *r, struct fault *f) {
    bool has_epoch = false;
    e->since = (struct position){.epoch = 1};
    int refused = take_number(r, "since", 0, &e->since.version, &e->has_since, f);
    if (!refused)
        refused = take_number(r, "epoch", 1, &e->since.epoch, &has_epoch, f);
    if (refused)
        return refused;
    if (has_epoch && !e->has_since)
        return fault_set(f, FAULT_INVALID_REQUEST, "epoch", "epoch needs since beside it");
    if (!r->last_event_id)
        return 0;
    e->has_since = true;
    return events_parse_id(r->last_event_id, &e->since, f);
}

/* ---- who asks ---- */

/* A device that is named in several places is the same in all of them. device: NULL without. */
static int take_device(struct connection *c, const char *name, const char *device,
                       struct fault *f) {
    if (!device)
        return 0;
    if (!session_device_is_valid(device, strlen(device)))
        return fault_set(f, FAULT_INVALID_REQUEST, name,
                         "a device has 1 to %d of A-Z a-z 0-9 . _ : -", SESSION_DEVICE_MAX);
    if (*c->device_id && strcmp(c->device_id, device) != 0)
        return fault_set(f, FAULT_FORBIDDEN, name, "%s is another device than the one named before",
                         name);
    memcpy(c->device_id, device, strlen(device) + 1);
    return 0;
}

static int take_devices(struct connection *c, const struct socket_request *r, struct fault *f) {
    const char *query = request_query(r, "device_id", f);
    if (f->code)
        return (int)f->code;
    memcpy(c->device_id, c->principal.device_id, sizeof(c->device_id));
    int refused = take_device(c, "X-Device-Id", r->device_id, f);
    return refused ? refused : take_device(c, "device_id", query, f);
}

static int authenticate(struct connection *c, const char *authorization, struct fault *f) {
    size_t len = 0;
    const char *token = authorization ? auth_bearer(authorization, &len) : NULL;
    if (!token)
        return fault_set(f, FAULT_UNAUTHENTICATED, NULL, "there is no bearer token");
    int r = request_verify(c->fanout, token, len, &c->principal, f);
    return r ? r : connection_enter(c, &c->principal, f);
}

/* ---- answers ---- */

static struct events *events_new(const struct request_caller *caller,
                                 const struct socket_request *r, const char *session_id) {
    struct events *e = must_alloc(sizeof(*e));
    memcpy(e->request_id, caller->id, sizeof(e->request_id));
    e->route = caller->route;
    e->trace = caller->trace;
    memcpy(e->session_id, session_id, sizeof(e->session_id));
    e->origin = caller->origin ? must_strdup(caller->origin) : NULL;
    e->is_head = strcmp(r->method, "HEAD") == 0;
    return e;
}

/* What a page may send; its first question, without a token. */
static bool answer_options(const struct request_caller *caller, const struct socket_request *r,
                           struct socket_answer *answer) {
    answer->status = 204;
    request_add_headers(caller, answer);
    buf_puts(&answer->headers, "Allow: " ALLOW "\r\n");
    if (caller->origin && r->asked_method)
        buf_puts(&answer->headers,
                 "Access-Control-Allow-Methods: " ALLOW "\r\n"
                 "Access-Control-Allow-Headers: Authorization, Last-Event-ID, X-Device-Id, "
                 "X-Request-Id, Cache-Control, traceparent\r\n"
                 "Access-Control-Max-Age: 600\r\n");
    return false;
}

static int check_method(const struct socket_request *r, struct socket_answer *answer,
                        struct fault *f) {
    if (strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0)
        return 0;
    buf_puts(&answer->headers, "Allow: " ALLOW "\r\n");
    return fault_set(f, FAULT_METHOD_NOT_ALLOWED, NULL, "an event stream is for " ALLOW);
}

static int judge(struct connection *c, const struct socket_request *r, struct fault *f) {
    int refused = authenticate(c, r->authorization, f);
    if (!refused)
        refused = take_devices(c, r, f);
    return refused ? refused : take_position(c->events, r, f);
}

static bool refuse(const struct fanout *fanout, const struct request_caller *caller,
                   const struct socket_request *r, const struct fault *f,
                   struct socket_answer *answer) {
    metric_add(fanout->refused_metric, 1);
    answer->is_head = strcmp(r->method, "HEAD") == 0;
    return request_refuse(fanout, caller, f, answer);
}

/* What came for the WebSocket, and is no handshake for one; the header is of RFC 6455, section 4.4.
 */
static bool refuse_handshake(const struct fanout *fanout, const struct request_caller *caller,
                             const struct socket_request *r, struct socket_answer *answer) {
    struct fault f = {0};
    if (strcmp(r->method, "GET") != 0) {
        buf_puts(&answer->headers, "Allow: GET\r\n");
        fault_set(&f, FAULT_METHOD_NOT_ALLOWED, NULL, "a WebSocket is for GET");
        return refuse(fanout, caller, r, &f, answer);
    }
    buf_puts(&answer->headers, "Sec-WebSocket-Version: 13\r\n");
    fault_set(
        &f, FAULT_INVALID_REQUEST, NULL,
        "here is a WebSocket: HTTP/1.1 with one Host, Connection: Upgrade, Upgrade: websocket, "
        "Sec-WebSocket-Version: 13, one Sec-WebSocket-Key of 24 characters");
    return refuse(fanout, caller, r, &f, answer);
}

static bool request_events(struct fanout *fanout, const struct socket_request *r,
                           const struct request_caller *caller, struct connection **ret_connection,
                           struct socket_answer *answer) {
    struct fault f = {0};
    char session_id[UUID_LEN + 1];
    if (!parse_path(r->path, session_id)) {
        fault_set(&f, FAULT_NOT_FOUND, NULL,
                  "here are the WebSocket at /ws and streams at /sessions/{id}/events");
        return refuse(fanout, caller, r, &f, answer);
    }
    if (strcmp(r->method, "OPTIONS") == 0)
        return answer_options(caller, r, answer);
    if (check_method(r, answer, &f) || check_request(fanout, r, &f))
        return refuse(fanout, caller, r, &f, answer);
    struct connection *c = connection_new(fanout, events_new(caller, r, session_id));
    if (judge(c, r, &f)) {
        connection_closed(c);
        return refuse(fanout, caller, r, &f, answer);
    }
    *ret_connection = c;
    return true;
}

bool events_request(void *arg, const struct socket_request *r, void **ret_connection,
                    struct socket_answer *answer) {
    struct fanout *fanout = arg;
    struct request_caller caller;
    struct connection *c = NULL;
    bool is_for_socket = strcmp(r->path, REQUEST_WS_PATH) == 0;
    request_caller_of(fanout, r, is_for_socket ? REQUEST_WS_PATH : "/sessions/{id}/events",
                      &caller);
    bool is_taken = is_for_socket ? refuse_handshake(fanout, &caller, r, answer)
                                  : request_events(fanout, r, &caller, &c, answer);
    request_trace(fanout, r, &caller, is_taken ? 200 : answer->status, is_taken ? c->id : "");
    *ret_connection = c;
    return is_taken;
}
