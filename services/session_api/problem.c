/* Refusals: the answer, its headers, and what the log says. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/refusal.h"
#include "proto/problem.h"
#include "services/session_api/api.h"

/* In whole seconds, rounded up; 1 where it is not known better. */
static void add_retry_after(struct call *call, int64_t retry_after_ms) {
    int64_t seconds = retry_after_ms > 0 ? (retry_after_ms + 999) / 1000 : 1;
    snprintf(call->retry_after, sizeof(call->retry_after), "%" PRId64, seconds);
    call_add_header(call, "Retry-After", call->retry_after);
}

static void add_headers(struct call *call, const struct fault *fault) {
    call_add_header(call, "Content-Type", "application/problem+json");
    switch (fault_http_status(fault->code)) {
    case 401:
        call_add_header(call, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
        break;
    case 405:
        call_add_header(call, "Allow", path_allow(call->resource));
        break;
    case 415:
        if (call->method == METHOD_PATCH)
            call_add_header(call, "Accept-Patch",
                            "application/json-patch+json, application/merge-patch+json, "
                            "application/json");
        else
            call_add_header(call, "Accept-Post", "application/json");
        break;
    case 429:
    case 503:
        add_retry_after(call, fault->retry_after_ms);
        break;
    default:
        break;
    }
}

static void log_refusal(const struct call *call, const struct fault *fault) {
    REFUSAL_LOG(call->api->app->log, fault->code, LOG_TEXT("requestId", call->request_id),
                LOG_TEXT("route", path_pattern(call->resource)),
                LOG_TEXT("code", fault_wire_code(fault->code)), LOG_TEXT("detail", fault->detail),
                LOG_KNOWN("sessionId", call->session_id), LOG_KNOWN("commandId", call->command.id),
                LOG_TRACE(&call->trace));
}

void call_refuse(struct call *call, const struct fault *fault, const char *conflict) {
    struct buf body = BUF_NULL;
    problem_print(fault, call->request_id, conflict, &body);
    add_headers(call, fault);
    log_refusal(call, fault);
    span_text(call->span, SPAN_ERROR, fault_wire_code(fault->code));
    call_answer(call, fault_http_status(fault->code), &body);
}

void call_refuse_with(struct call *call, enum fault_code code, const char *detail) {
    struct fault fault;
    (void)fault_set(&fault, code, NULL, "%s", detail);
    call_refuse(call, &fault, NULL);
}
