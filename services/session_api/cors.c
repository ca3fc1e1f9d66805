/* Cross-origin requests of browser pages, from configured origins. No credentials mode is needed: a
 * token is a header that the page sends itself. */
#include "common/origins.h"
#include "services/session_api/api.h"

static const char *allowed_origin(struct call *call) {
    return origins_allow(call->api->app->config->allowed_origins,
                         http_header(call->request, "Origin"));
}

void cors_add_headers(struct call *call) {
    const char *origin = allowed_origin(call);
    if (!origin)
        return;
    call_add_header(call, "Access-Control-Allow-Origin", origin);
    call_add_header(call, "Access-Control-Expose-Headers",
                    "ETag, Location, Link, X-Request-Id, X-API-Version, Idempotency-Replayed, "
                    "Preference-Applied, Retry-After, Allow, Accept-Patch, Accept-Post, "
                    "WWW-Authenticate, RateLimit, RateLimit-Policy");
}

void cors_answer_options(struct call *call) {
    const char *allow = path_allow(call->resource);
    call_add_header(call, "Allow", allow);
    if (allowed_origin(call) && http_header(call->request, "Access-Control-Request-Method")) {
        call_add_header(call, "Access-Control-Allow-Methods", allow);
        call_add_header(call, "Access-Control-Allow-Headers",
                        "Authorization, Content-Type, Accept, If-Match, If-None-Match, "
                        "Idempotency-Key, Prefer, X-Device-Id, X-Request-Id, traceparent");
        call_add_header(call, "Access-Control-Max-Age", "600");
    }
    call_answer(call, 204, NULL);
}
