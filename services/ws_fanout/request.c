/* See request.h. */
#include "services/ws_fanout/request.h"

#include <string.h>

#include "base/timestamp.h"
#include "base/uuid.h"
#include "common/origins.h"
#include "common/refusal.h"
#include "proto/problem.h"
#include "proto/text.h"
#include "services/ws_fanout/fanout.h"

#define MILLISECONDS 1000

bool request_list_has(const char *list, const char *item) {
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

/* ---- answers ---- */

void request_caller_of(const struct fanout *f, const struct socket_request *r, const char *route,
                       struct request_caller *ret) {
    *ret = (struct request_caller){.route = route};
    if (r->request_id && problem_request_id_is_valid(r->request_id))
        memcpy(ret->id, r->request_id, strlen(r->request_id) + 1);
    else
        uuid_v7(timestamp_wall_ms(), ret->id);
    ret->origin = origins_allow(f->app->config->allowed_origins, r->origin);
    ret->came_ns = uv_hrtime();
    trace_accept(f->app->tracer, r->traceparent, &ret->trace);
}

void request_trace(const struct fanout *f, const struct socket_request *r,
                   struct request_caller *caller, int status, const char *connection_id) {
    struct tracer *tracer = f->app->tracer;
    char name[SPAN_NAME_CAP];
    if (!caller->trace.is_sampled)
        return;
    snprintf(name, sizeof(name), "%s %s", *r->method ? r->method : "HTTP", caller->route);
    struct span *span = span_begin(tracer, &caller->trace, SPAN_SERVER, name, caller->came_ns);
    if (!span)
        return;
    span_text(span, SPAN_REQUEST_ID, caller->id);
    span_text(span, SPAN_CONNECTION_ID, connection_id);
    span_text(span, SPAN_METHOD, r->method);
    span_text(span, SPAN_ROUTE, caller->route);
    span_number(span, SPAN_STATUS, status);
    span->has_failed = status >= 500;
    span_end(tracer, span);
}

void request_add_headers(const struct request_caller *caller, struct socket_answer *answer) {
    buf_printf(&answer->headers, "X-Request-Id: %s\r\nVary: Authorization, Origin\r\n", caller->id);
    if (caller->origin)
        buf_printf(&answer->headers,
                   "Access-Control-Allow-Origin: %s\r\n"
                   "Access-Control-Expose-Headers: X-Request-Id, X-API-Version, Retry-After, "
                   "Allow, WWW-Authenticate\r\n",
                   caller->origin);
}

bool request_refuse(const struct fanout *fanout, const struct request_caller *caller,
                    const struct fault *f, struct socket_answer *answer) {
    REFUSAL_LOG(fanout->app->log, f->code, LOG_TEXT("requestId", caller->id),
                LOG_TEXT("route", caller->route), LOG_TEXT("code", fault_wire_code(f->code)),
                LOG_TEXT("detail", f->detail), LOG_TRACE(&caller->trace));
    answer->status = fault_http_status(f->code);
    request_add_headers(caller, answer);
    buf_puts(&answer->headers, "Content-Type: application/problem+json\r\n");
    if (answer->status == 401)
        buf_puts(&answer->headers, f->code == FAULT_TOKEN_EXPIRED
                                       ? "WWW-Authenticate: Bearer error=\"invalid_token\", "
                                         "error_description=\"expired\"\r\n"
                                       : "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n");
    if (answer->status == 429 || answer->status == 503)
        buf_printf(&answer->headers, "Retry-After: %lld\r\n",
                   (long long)(f->retry_after_ms + MILLISECONDS - 1) / MILLISECONDS +
                       !f->retry_after_ms);
    problem_print(f, caller->id, NULL, &answer->body);
    return false;
}

/* ---- requests ---- */

int request_check_origin(const struct fanout *f, const struct socket_request *r,
                         struct fault *fault) {
    if (!r->origin || origins_allow(f->app->config->allowed_origins, r->origin))
        return 0;
    return fault_set(fault, FAULT_FORBIDDEN, "Origin", "pages of this origin may not connect");
}

int request_check_room(const struct fanout *f, struct fault *fault) {
    if (!f->leaving.is_on && !f->is_draining && f->n_connections < f->app->config->max_connections)
        return 0;
    return fault_set(fault, FAULT_UNAVAILABLE, NULL, "no new connections are taken here now");
}

const char *request_query(const struct socket_request *r, const char *name, struct fault *fault) {
    const char *value = NULL;
    for (size_t i = 0; i < r->n_query; i++) {
        if (strcmp(r->query[i].name, name) != 0)
            continue;
        if (value)
            fault_set(fault, FAULT_INVALID_REQUEST, name, "%s is there twice", name);
        value = r->query[i].value;
    }
    return value;
}

int request_take_number(const char *text, const char *name, uint64_t least, uint64_t *ret,
                        struct fault *fault) {
    uint64_t number = 0;
    if (!text)
        return 0;
    size_t len = strlen(text);
    if (!len || len > 16 || strspn(text, "0123456789") != len)
        return fault_set(fault, FAULT_INVALID_REQUEST, name, "%s is a whole number", name);
    for (size_t i = 0; i < len; i++)
        number = 10 * number + (uint64_t)(text[i] - '0');
    if (number < least || number > TEXT_INTEGER_MAX)
        return fault_set(fault, FAULT_INVALID_VALUE, name, "%s is out of range", name);
    *ret = number;
    return 0;
}

int request_verify(const struct fanout *f, const char *token, size_t len, struct principal *ret,
                   struct fault *fault) {
    return auth_verify(f->auth, token, len, timestamp_wall_ms() / MILLISECONDS, ret, fault);
}
