/* Who a connection is: the upgrade request with its Authorization header, or the first message, and
 * the refresh of a token on a live connection. Contract sections 1 and 4. */
#include <inttypes.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/text.h"
#include "services/ws_fanout/connection.h"
#include "services/ws_fanout/fanout.h"
#include "services/ws_fanout/protocol.h"
#include "services/ws_fanout/request.h"

#define MILLISECONDS 1000
#define SWITCHING_PROTOCOLS 101
#define RETRY_CONNECT_MS 5000 /* when another connection of the user may have ended */

static int check_request(const struct fanout *fanout, const struct socket_request *r,
                         struct fault *f) {
    if (strcmp(r->path, REQUEST_WS_PATH) != 0)
        return fault_set(f, FAULT_NOT_FOUND, NULL, "the WebSocket is at " REQUEST_WS_PATH);
    if (r->has_body)
        return fault_set(f, FAULT_INVALID_REQUEST, NULL, "a handshake has no body");
    int refused = request_check_origin(fanout, r, f);
    if (refused)
        return refused;
    if (!r->subprotocols || !request_list_has(r->subprotocols, PROTOCOL_SUBPROTOCOL))
        return fault_set(f, FAULT_INVALID_REQUEST, "Sec-WebSocket-Protocol",
                         "the subprotocol is " PROTOCOL_SUBPROTOCOL);
    if (strlen(r->subprotocols) > 100) /* lws drops such a handshake without an answer */
        return fault_set(f, FAULT_INVALID_REQUEST, "Sec-WebSocket-Protocol",
                         "the list of subprotocols is too long");
    if (r->query_too_long)
        return fault_set(f, FAULT_INVALID_REQUEST, NULL,
                         "the query is too long; it may have session, since, epoch and device_id");
    return request_check_room(fanout, f);
}

/* ---- devices and tokens ---- */

/* The device is the claim's, else the query's. */
static int choose_device(const struct principal *p, const char *query_device,
                         char ret[static SESSION_DEVICE_MAX + 1], struct fault *f) {
    const char *device = *p->device_id ? p->device_id : query_device;
    if (*p->device_id && *query_device && strcmp(p->device_id, query_device) != 0)
        return fault_set(f, FAULT_FORBIDDEN, "device_id", "device_id is another than the token's");
    if (!*device)
        return fault_set(f, FAULT_INVALID_REQUEST, "device_id",
                         "a WebSocket needs a device: in the token or as device_id in the query");
    memcpy(ret, device, strlen(device) + 1);
    return 0;
}

int connection_enter(struct connection *c, const struct principal *who, struct fault *f) {
    int64_t most = c->fanout->app->config->ws_connections_per_user;
    if (!users_enter(&c->fanout->users, who->user_id, most)) {
        fault_set(f, FAULT_RATE_LIMITED, NULL,
                  "the user has %" PRId64 " connections to this instance, as many as allowed",
                  most);
        f->retry_after_ms = RETRY_CONNECT_MS;
        return (int)f->code;
    }
    c->is_authenticated = true;
    return 0;
}

static int take_since(struct connection *c, const char *since, const char *epoch, struct fault *f) {
    c->query_since = (struct position){.epoch = 1};
    c->has_query_since = since != NULL;
    if (epoch && !since)
        return fault_set(f, FAULT_INVALID_REQUEST, "epoch", "epoch needs since beside it");
    if (since && !c->query_session)
        return fault_set(f, FAULT_INVALID_REQUEST, "since", "since needs session beside it");
    int r = request_take_number(since, "since", 0, &c->query_since.version, f);
    return r ? r : request_take_number(epoch, "epoch", 1, &c->query_since.epoch, f);
}

static int take_query(struct connection *c, const struct socket_request *r, struct fault *f) {
    f->code = FAULT_NONE;
    const char *device = request_query(r, "device_id", f);
    const char *session = request_query(r, "session", f);
    const char *since = request_query(r, "since", f), *epoch = request_query(r, "epoch", f);
    if (f->code)
        return (int)f->code;
    if (device && !session_device_is_valid(device, strlen(device)))
        return fault_set(f, FAULT_INVALID_REQUEST, "device_id",
                         "device_id has 1 to %d of A-Z a-z 0-9 . _ : -", SESSION_DEVICE_MAX);
    if (device)
        memcpy(c->query_device, device, strlen(device) + 1);
    if (session)
        c->query_session = must_strdup(session);
    return take_since(c, since, epoch, f);
}

static int take_header(struct connection *c, const char *authorization, struct fault *f) {
    size_t len = 0;
    const char *token = auth_bearer(authorization, &len);
    if (!token)
        return fault_set(f, FAULT_UNAUTHENTICATED, NULL, "Authorization is no bearer token");
    int r = request_verify(c->fanout, token, len, &c->principal, f);
    if (!r)
        r = choose_device(&c->principal, c->query_device, c->device_id, f);
    return r ? r : connection_enter(c, &c->principal, f);
}

static struct connection *accept_connection(struct fanout *fanout,
                                            const struct socket_request *request,
                                            const struct request_caller *caller,
                                            struct socket_answer *answer) {
    struct fault f = {0};
    int r = check_request(fanout, request, &f);
    if (r) {
        metric_add(fanout->refused_metric, 1);
        request_refuse(fanout, caller, &f, answer);
        return NULL;
    }
    struct connection *c = connection_new(fanout, NULL);
    r = take_query(c, request, &f);
    if (!r && request->authorization)
        r = take_header(c, request->authorization, &f);
    if (r) {
        connection_closed(c);
        metric_add(fanout->refused_metric, 1);
        request_refuse(fanout, caller, &f, answer);
        return NULL;
    }
    return c;
}

bool connection_accept(void *arg, const struct socket_request *request, void **ret_connection,
                       struct socket_answer *answer) {
    struct fanout *fanout = arg;
    struct request_caller caller;
    request_caller_of(fanout, request, REQUEST_WS_PATH, &caller);
    struct connection *c = accept_connection(fanout, request, &caller, answer);
    request_trace(fanout, request, &caller, c ? SWITCHING_PROTOCOLS : answer->status,
                  c ? c->id : "");
    *ret_connection = c;
    return c != NULL;
}

/* ---- in messages ---- */

static void subscribe_as_url_says(struct connection *c) {
    struct fault f = {0};
    _cleanup_(freep) char *session = TAKE_PTR(c->query_session);
    if (!session)
        return;
    if (!uuid_is(session, strlen(session))) {
        fault_set(&f, FAULT_NOT_FOUND, "session", "no session has such an id");
        connection_send_fault(c, "", "", &f);
    } else
        hub_subscribe(c->fanout->hub, c, session, c->has_query_since ? &c->query_since : NULL, "");
}

void connection_print_hello(const struct connection *c, const char *id, struct buf *out) {
    const struct config *config = c->fanout->app->config;
    protocol_print_hello(
        id,
        &(struct protocol_hello){.connection_id = c->id,
                                 .server_time = store_now(c->fanout->store),
                                 .ping_seconds = (config->ping_after_ms + 999) / MILLISECONDS,
                                 .max_message_bytes = config->max_message_bytes},
        out);
}

void connection_welcome(struct connection *c, const char *id) {
    struct buf out = BUF_NULL;
    connection_print_hello(c, id, &out);
    connection_send_buf(c, &out);
    subscribe_as_url_says(c);
}

static void turn_away(struct connection *c, const char *id, const struct fault *f) {
    struct fault told = *f;
    connection_log_refusal(c, id, f);
    if (fault_http_status(f->code) == 401) /* which check failed is for the log */
        fault_set(&told, f->code, NULL, "the token was refused");
    connection_send_fault(c, id, "", &told);
    if (f->code == FAULT_RATE_LIMITED) {
        connection_send_away(c, f->retry_after_ms);
        return;
    }
    if (f->code == FAULT_UNAVAILABLE) { /* the token's key may come */
        _cleanup_(buf_done) struct buf reason = BUF_NULL;
        protocol_print_retry_after(f->retry_after_ms, &reason);
        connection_close(c, CLOSE_GOING_AWAY, reason.data);
        return;
    }
    connection_close(c,
                     f->code == FAULT_TOKEN_EXPIRED ? CLOSE_TOKEN_EXPIRED : CLOSE_UNAUTHENTICATED,
                     fault_wire_code(f->code));
}

/* Returns whether it is another than before. */
static bool take_said(char **ret, const char *said) {
    if (!said || (*ret && strcmp(*ret, said) == 0))
        return false;
    free(*ret);
    *ret = must_strdup(said);
    return true;
}

void connection_authenticate(struct connection *c, const struct protocol_message *m) {
    const char *id = m->id, *token = m->token;
    struct principal p = {0};
    char device[SESSION_DEVICE_MAX + 1];
    struct fault f = {0};
    int r = request_verify(c->fanout, token, strlen(token), &p, &f);
    if (!r)
        r = choose_device(&p, c->query_device, device, &f);
    if (!r && c->is_authenticated &&
        (strcmp(p.user_id, c->principal.user_id) != 0 || strcmp(device, c->device_id) != 0 ||
         strcmp(p.session_id, c->principal.session_id) != 0))
        r = fault_set(&f, FAULT_UNAUTHENTICATED, "token",
                      "a connection stays with its user and device, and with the session that its "
                      "token is for");
    bool rights_changed = c->is_authenticated && p.rights != c->principal.rights;
    if (!r && !c->is_authenticated)
        r = connection_enter(c, &p, &f);
    if (r) {
        turn_away(c, id, &f);
        return;
    }
    c->token_expiring_told = false;
    c->principal = p;
    deadlines_look_at(&c->fanout->deadlines, c);
    memcpy(c->device_id, device, sizeof(device));
    bool is_renamed = take_said(&c->device_name, m->device_name);
    is_renamed |= take_said(&c->device_platform, m->device_platform);
    if (is_renamed)
        presence_describe(c->fanout->presence, c);
    connection_welcome(c, id);
    if (rights_changed)
        hub_recheck(c->fanout->hub, c);
}
