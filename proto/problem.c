/* Refusals as problem+json (RFC 9457); see problem.h. */
#include "proto/problem.h"

#include <inttypes.h>
#include <string.h>

#include "proto/text.h"

/* A detail may be cut in the middle of a character. */
static void put_member(struct buf *out, const char *name, const char *text) {
    buf_printf(out, ",\"%s\":", name);
    size_t len = strlen(text);
    while (len > 0 && !text_is_utf8(text, len))
        len--;
    buf_put_json(out, text, len);
}

/* The members of a JSON object's text, without its braces. */
static void put_members(struct buf *out, const char *object) {
    const char *begin = strchr(object, '{'), *end = strrchr(object, '}');
    if (!begin || !end || end <= begin + 1)
        return;
    buf_putc(out, ',');
    buf_put(out, begin + 1, (size_t)(end - begin - 1));
}

void problem_print(const struct fault *fault, const char *request_id, const char *conflict,
                   struct buf *out) {
    int status = fault_http_status(fault->code);
    const char *code = fault_wire_code(fault->code), *title = fault_title(fault->code);
    buf_printf(out, "{\"type\":\"urn:handoff:problem:%s\"", code);
    put_member(out, "title", title);
    buf_printf(out, ",\"status\":%d", status);
    put_member(out, "detail", status == 401 || !fault->detail[0] ? title : fault->detail);
    put_member(out, "code", code);
    put_member(out, "requestId", request_id);
    buf_printf(out, ",\"temporary\":%s", fault_is_temporary(fault->code) ? "true" : "false");
    if (fault->field[0])
        put_member(out, "field", fault->field);
    if (fault->pointer[0])
        put_member(out, "pointer", fault->pointer);
    if (fault->index >= 0)
        buf_printf(out, ",\"index\":%d", fault->index);
    if (fault->retry_after_ms > 0)
        buf_printf(out, ",\"retryAfterMs\":%" PRId64, fault->retry_after_ms);
    if (conflict)
        put_members(out, conflict);
    buf_putc(out, '}');
}

bool problem_request_id_is_valid(const char *text) {
    size_t len = strlen(text);
    return len >= 1 && len <= PROBLEM_REQUEST_ID_MAX && text_is_printable(text, len);
}
