/* A request's frame: its id, its answer's headers, its end; see call.h. */
#include "services/session_api/call.h"

#include <string.h>

#include "services/session_api/api.h"
#include "services/session_api/handoff.h"
#include "services/session_api/version_job.h"

#define MAX_SPARES 128

/* A call has some kilobytes, which malloc would look for anew each time. */
static struct call *take_spare(struct api *api) {
    struct call *call = api->spares;
    if (!call)
        return must_alloc(sizeof(*call));
    api->spares = call->next_spare;
    api->n_spares--;
    memset(call, 0, sizeof(*call));
    return call;
}

static void put_away(struct api *api, struct call *call) {
    if (api->n_spares == MAX_SPARES) {
        free(call);
        return;
    }
    call->next_spare = api->spares;
    api->spares = call;
    api->n_spares++;
}

void call_free_spares(struct api *api) {
    for (struct call *call; (call = api->spares);) {
        api->spares = call->next_spare;
        free(call);
    }
    api->n_spares = 0;
}

static void on_gone(void *data) {
    struct call *call = data;
    struct api *api = call->api;
    command_done(&call->command);
    json_decref(call->message);
    buf_done(&call->filters);
    devices_done(&call->devices);
    session_done(&call->cold);
    if (call->version_job)
        version_job_forget(call->version_job);
    free(call->handoff);
    span_free(call->span);
    put_away(api, call);
    api_request_gone(api);
}

_Static_assert(PROBLEM_REQUEST_ID_MAX > 8 + 1 + 20, "a prefix and a number fit");

static void print_request_id(struct api *api, char *ret) {
    char digits[20];
    size_t at = sizeof(digits), prefix_len = sizeof(api->request_prefix) - 1;
    uint64_t n = ++api->n_requests;
    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10));
    memcpy(ret, api->request_prefix, prefix_len);
    ret[prefix_len] = '-';
    memcpy(ret + prefix_len + 1, digits + at, sizeof(digits) - at);
    ret[prefix_len + 1 + sizeof(digits) - at] = '\0';
}

/* A change's is the id of its command as well, which the audit trail has: whoever has the answer
 * finds the row. */
static void take_request_id(struct call *call) {
    enum { CHANGES = METHOD_POST | METHOD_PATCH | METHOD_PUT | METHOD_DELETE };
    const char *id = http_header(call->request, "X-Request-Id");
    if (id && problem_request_id_is_valid(id)) {
        memcpy(call->request_id, id, strlen(id) + 1);
    } else if (call->method & CHANGES) {
        uuid_v7(store_now(call->api->store), call->request_id);
        call->names_command = true;
    } else {
        print_request_id(call->api, call->request_id);
    }
}

struct call *call_new(struct api *api, struct http_request *request) {
    struct call *call = take_spare(api);
    call->api = api;
    call->request = request;
    call->started_ns = uv_hrtime();
    call->method = path_method(http_method(request));
    call->resource = path_parse(http_path(request), call->session_id, call->parameter);
    if ((call->resource == RESOURCE_CONSOLE && !api->console) ||
        (call->resource == RESOURCE_DOCS && !api->docs))
        call->resource = RESOURCE_NONE;
    take_request_id(call);
    call_trace_begin(call);
    http_set_data(request, call, on_gone);
    return call;
}

void call_add_header(struct call *call, const char *name, const char *value) {
    if (call->n_headers == CALL_MAX_HEADERS)
        return;
    call->headers[2 * call->n_headers] = name;
    call->headers[2 * call->n_headers + 1] = value;
    call->n_headers++;
}

void call_add_tag(struct call *call, struct position position) {
    position_print_tag(position, call->tag);
    call_add_header(call, "ETag", call->tag);
}

/* Of the answer the status and the body are set. */
static void finish(struct call *call, struct http_answer *answer) {
    call_add_header(call, "X-Request-Id", call->request_id);
    call_add_header(call, "X-API-Version", "1");
    limits_add_headers(call);
    double seconds = (double)(uv_hrtime() - call->started_ns) / 1e9;
    call_metrics_count(call->api->metrics, call, answer->status, seconds);
    call_trace_end(call, answer->status);
    answer->headers = call->headers;
    http_answer(call->request, answer);
}

void call_answer(struct call *call, int status, struct buf *body) {
    call_add_header(call, "Cache-Control",
                    call->cache_control ? call->cache_control : "private, no-cache");
    call_add_header(call, "Vary",
                    call->resource == RESOURCE_HANDOFF_CODE ? "Authorization, Origin, Accept"
                                                            : "Authorization, Origin");
    if (body && status < 300)
        call_add_header(call, "Content-Type",
                        call->content_type ? call->content_type : "application/json");
    cors_add_headers(call);
    struct http_answer answer = {.status = status, .body_len = body ? body->len : 0};
    answer.body = body ? buf_take(body) : NULL;
    finish(call, &answer);
}

static void add_file_headers(struct call *call, const char *type) {
    call_add_header(call, "Cache-Control", "no-cache");
    if (type)
        call_add_header(call, "Content-Type", type);
}

void call_answer_file(struct call *call, int status, const char *type, const char *text,
                      size_t len) {
    struct http_answer answer = {.status = status, .lasting = text, .body_len = len};
    add_file_headers(call, type);
    finish(call, &answer);
}

void call_answer_text(struct call *call, int status, const char *type, struct buf *text) {
    struct http_answer answer = {.status = status, .body_len = text->len};
    answer.body = buf_take(text);
    add_file_headers(call, type);
    finish(call, &answer);
}
