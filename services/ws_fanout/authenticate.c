/* Who a connection is: the upgrade request with its Authorization header, or the first message, and
 * the refresh of a token on a live connection. Contract sections 1 and 4. */
#include <inttypes.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/text.h"
#include "services/ws_fanout/connection.h"
#include "services/ws_fanout/fanout.h"
#include "services/ws_fanout/protocol.h"

#define PATH "/ws"
#define MILLISECONDS 1000
#define RETRY_CONNECT_MS 5000 /* when another connection of the user may have ended */

/* ---- refusals in HTTP ---- */

static void print_problem(const struct fault *f, int status, struct buf *out) {
    buf_puts(out, "{\"type\":\"about:blank\",\"title\":");
    buf_puts_json(out, fault_title(f->code));
    buf_printf(out, ",\"status\":%d,\"code\":", status);
    buf_puts_json(out, fault_wire_code(f->code));
    if (status != 401) {
        buf_puts(out, ",\"detail\":");
        buf_puts_json(out, f->detail);
        if (*f->field) {
            buf_puts(out, ",\"field\":");
            buf_puts_json(out, f->field);
        }
    }
    if (f->retry_after_ms > 0)
        buf_printf(out, ",\"retryAfterMs\":%" PRId64, f->retry_after_ms);
    buf_puts(out, fault_is_temporary(f->code) ? ",\"temporary\":true}" : ",\"temporary\":false}");
}

/* Always false, for accept. */
static bool refuse(const struct fault *f, struct socket_refusal *ret) {
    ret->status = fault_http_status(f->code);
    if (ret->status == 401)
        ret->challenge = f->code == FAULT_TOKEN_EXPIRED
                             ? "Bearer error=\"invalid_token\", error_description=\"expired\""
                             : "Bearer error=\"invalid_token\"";
    ret->retry_after_s = (f->retry_after_ms + MILLISECONDS - 1) / MILLISECONDS;
    print_problem(f, ret->status, &ret->body);
    return false;
}

void connection_answer_plain(void *arg, struct socket_refusal *answer) {
    struct fault f = {0};
    (void)arg;
    fault_set(&f, FAULT_NOT_FOUND, NULL, "here is only the WebSocket at " PATH);
    refuse(&f, answer);
}

/* Whether the comma-separated list has item, with white space around it or not. */
static bool list_has(const char *list, const char *item) {
    size_t n_item = strlen(item);
    for (const char *at = list; at && *at;) {
        at += strspn(at, ", \t");
        size_t n = strcspn(at, ", \t");
        if (n == n_item && memcmp(at, item, n) == 0)
            return true;
        at += n;
    }
    return false;
}

static const char *query_get(const struct socket_request *r, const char *name, struct fault *f) {
    const char *value = NULL;
    for (size_t i = 0; i < r->n_query; i++) {
        if (strcmp(r->query[i].name, name) != 0)
            continue;
        if (value)
            fault_set(f, FAULT_INVALID_REQUEST, name, "%s is there twice", name);
        value = r->query[i].value;
    }
    return value;
}

static int check_request(const struct fanout *fanout, const struct socket_request *r,
                         struct fault *f) {
    const char *origins = fanout->app->config->allowed_origins;
    if (!r->path || strcmp(r->path, PATH) != 0)
        return fault_set(f, FAULT_NOT_FOUND, NULL, "here is only the WebSocket at " PATH);
    if (r->origin && !list_has(origins, "*") && !list_has(origins, r->origin))
        return fault_set(f, FAULT_FORBIDDEN, "Origin", "pages of this origin may not connect");
    if (!r->subprotocols || !list_has(r->subprotocols, PROTOCOL_SUBPROTOCOL))
        return fault_set(f, FAULT_INVALID_REQUEST, "Sec-WebSocket-Protocol",
                         "the subprotocol is " PROTOCOL_SUBPROTOCOL);
    if (strlen(r->subprotocols) > 100) /* lws drops such a handshake without an answer */
        return fault_set(f, FAULT_INVALID_REQUEST, "Sec-WebSocket-Protocol",
                         "the list of subprotocols is too long");
    if (r->query_too_long)
        return fault_set(f, FAULT_INVALID_REQUEST, NULL,
                         "the query is too long; it may have session, since, epoch and device_id");
    if (fanout->is_draining || fanout->n_connections >= fanout->app->config->max_connections)
        return fault_set(f, FAULT_UNAVAILABLE, NULL, "no new connections are taken here now");
    return 0;
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

static int verify(const struct fanout *fanout, const char *token, size_t len, struct principal *ret,
                  struct fault *f) {
    int r = auth_verify(fanout->auth, token, len, timestamp_wall_ms() / MILLISECONDS, ret, f);
    if (r > 0)
        log_info(fanout->app->log, "unauthenticated", "A token was refused.",
                 LOG_TEXT("detail", f->detail));
    return r;
}

/* The connection counts as the user's from now on, until it is closed. */
static int enter(struct connection *c, const struct principal *p, struct fault *f) {
    int64_t most = c->fanout->app->config->ws_connections_per_user;
    if (!users_enter(&c->fanout->users, p->user_id, most)) {
        fault_set(f, FAULT_RATE_LIMITED, NULL,
                  "the user has %" PRId64 " connections to this instance, as many as allowed",
                  most);
        f->retry_after_ms = RETRY_CONNECT_MS;
        return (int)f->code;
    }
    c->is_authenticated = true;
    return 0;
}

/* A whole number from least on; *ret is left alone without one. */
static int take_number(const char *text, const char *name, uint64_t least, uint64_t *ret,
                       struct fault *f) {
    uint64_t number = 0;
    if (!text)
        return 0;
    size_t len = strlen(text);
    if (!len || len > 16 || strspn(text, "0123456789") != len)
        return fault_set(f, FAULT_INVALID_REQUEST, name, "%s is a whole number", name);
    for (size_t i = 0; i < len; i++)
        number = 10 * number + (uint64_t)(text[i] - '0');
    if (number < least || number > TEXT_INTEGER_MAX)
        return fault_set(f, FAULT_INVALID_VALUE, name, "%s is out of range", name);
    *ret = number;
    return 0;
}

static int take_since(struct connection *c, const char *since, const char *epoch, struct fault *f) {
    c->query_since = (struct position){.epoch = 1};
    c->has_query_since = since != NULL;
    if (epoch && !since)
        return fault_set(f, FAULT_INVALID_REQUEST, "epoch", "epoch needs since beside it");
    if (since && !c->query_session)
        return fault_set(f, FAULT_INVALID_REQUEST, "since", "since needs session beside it");
    int r = take_number(since, "since", 0, &c->query_since.version, f);
    return r ? r : take_number(epoch, "epoch", 1, &c->query_since.epoch, f);
}

static int take_query(struct connection *c, const struct socket_request *r, struct fault *f) {
    f->code = FAULT_NONE;
    const char *device = query_get(r, "device_id", f);
    const char *session = query_get(r, "session", f);
    const char *since = query_get(r, "since", f), *epoch = query_get(r, "epoch", f);
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
    int r = verify(c->fanout, token, len, &c->principal, f);
    if (!r)
        r = choose_device(&c->principal, c->query_device, c->device_id, f);
    return r ? r : enter(c, &c->principal, f);
}

bool connection_accept(void *arg, const struct socket_request *request, void **ret_connection,
                       struct socket_refusal *refusal) {
    struct fanout *fanout = arg;
    struct fault f = {0};
    int r = check_request(fanout, request, &f);
    if (r) {
        metric_add(fanout->refused_metric, 1);
        return refuse(&f, refusal);
    }
    struct connection *c = connection_new(fanout);
    r = take_query(c, request, &f);
    if (!r && request->authorization)
        r = take_header(c, request->authorization, &f);
    if (r) {
        connection_closed(c);
        metric_add(fanout->refused_metric, 1);
        return refuse(&f, refusal);
    }
    *ret_connection = c;
    return true;
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

void connection_welcome(struct connection *c, const char *id) {
    const struct config *config = c->fanout->app->config;
    struct buf out = BUF_NULL;
    protocol_print_hello(
        id,
        &(struct protocol_hello){.connection_id = c->id,
                                 .server_time = store_now(c->fanout->store),
                                 .ping_seconds = (config->ping_after_ms + 999) / MILLISECONDS,
                                 .max_message_bytes = config->max_message_bytes},
        &out);
    connection_send_buf(c, &out);
    subscribe_as_url_says(c);
}

static void turn_away(struct connection *c, const char *id, const struct fault *f) {
    struct fault told = *f;
    if (fault_http_status(f->code) == 401) /* which check failed is for the log */
        fault_set(&told, f->code, NULL, "the token was refused");
    connection_send_fault(c, id, "", &told);
    if (f->code == FAULT_RATE_LIMITED) {
        connection_send_away(c, f->retry_after_ms);
        return;
    }
    connection_close(c,
                     f->code == FAULT_TOKEN_EXPIRED ? CLOSE_TOKEN_EXPIRED : CLOSE_UNAUTHENTICATED,
                     fault_wire_code(f->code));
}

static void take_said(char **ret, const char *said) {
    if (!said)
        return;
    free(*ret);
    *ret = must_strdup(said);
}

void connection_authenticate(struct connection *c, const struct protocol_message *m) {
    const char *id = m->id, *token = m->token;
    struct principal p = {0};
    char device[SESSION_DEVICE_MAX + 1];
    struct fault f = {0};
    int r = verify(c->fanout, token, strlen(token), &p, &f);
    if (!r)
        r = choose_device(&p, c->query_device, device, &f);
    if (!r && c->is_authenticated &&
        (strcmp(p.user_id, c->principal.user_id) != 0 || strcmp(device, c->device_id) != 0))
        r = fault_set(&f, FAULT_UNAUTHENTICATED, "token",
                      "a connection stays with its user and device");
    bool rights_changed = c->is_authenticated && p.rights != c->principal.rights;
    if (!r && !c->is_authenticated)
        r = enter(c, &p, &f);
    if (r) {
        turn_away(c, id, &f);
        return;
    }
    c->token_expiring_told = false;
    c->principal = p;
    memcpy(c->device_id, device, sizeof(device));
    take_said(&c->device_name, m->device_name);
    take_said(&c->device_platform, m->device_platform);
    connection_welcome(c, id);
    if (rights_changed)
        hub_recheck(c->fanout->hub, c);
}
