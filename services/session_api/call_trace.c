/* A request in its trace. Probes come every few seconds and tell nothing: they have none. */
#include <stdio.h>

#include "services/session_api/api.h"

static bool is_probe(const struct call *call) {
    return call->resource == RESOURCE_HEALTH || call->resource == RESOURCE_READY;
}

void call_trace_begin(struct call *call) {
    struct tracer *tracer = call->api->app->tracer;
    char name[SPAN_NAME_CAP];
    if (is_probe(call))
        return;
    trace_accept(tracer, http_header(call->request, "traceparent"), &call->trace);
    if (!call->trace.is_sampled)
        return;
    snprintf(name, sizeof(name), "%s %s", path_method_name(call->method),
             path_pattern(call->resource));
    call->span = span_begin(tracer, &call->trace, SPAN_SERVER, name, call->started_ns);
}

void call_trace_end(struct call *call, int status) {
    struct span *span = TAKE_PTR(call->span);
    if (!span)
        return;
    span_text(span, SPAN_REQUEST_ID, call->request_id);
    span_text(span, SPAN_SESSION_ID, call->session_id);
    span_text(span, SPAN_COMMAND_ID, call->command.id);
    span_text(span, SPAN_METHOD, path_method_name(call->method));
    span_text(span, SPAN_ROUTE, path_pattern(call->resource));
    span_number(span, SPAN_STATUS, status);
    span->has_failed = status >= 500;
    span_end(call->api->app->tracer, span);
}
