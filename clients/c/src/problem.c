/* Refusals and frames; see problem.h. */
#include "clients/c/src/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "proto/text.h"

/* What a server may ask this side to wait. */
#define MAX_RETRY_AFTER_MS INT64_C(3600000)

static bool is_own_temporary(const char *code) {
    return strcmp(code, "connection_lost") == 0;
}

int problem_set(struct handoff_error *ret, const char *code, const char *format, ...) {
    if (!ret)
        return -1;
    va_list arguments;
    *ret = (struct handoff_error){0};
    snprintf(ret->code, sizeof(ret->code), "%s", code);
    va_start(arguments, format);
    vsnprintf(ret->reason, sizeof(ret->reason), format, arguments);
    va_end(arguments);
    ret->temporary = is_own_temporary(code) || fault_is_temporary(fault_from_wire(code, 0));
    return -1;
}

int problem_from_fault(struct handoff_error *ret, const struct fault *f) {
    return problem_set(ret, fault_wire_code(f->code), "%s%s%s", f->detail,
                       f->pointer[0] ? ", at " : "", f->pointer);
}

void problem_from_frame(const json_t *frame, struct handoff_error *ret) {
    const char *code = frame_string(frame, "code"), *detail = frame_string(frame, "detail");
    problem_set(ret, code ? code : "closed", "%s",
                detail ? detail : "the session is not told to this device any more");
    if (json_is_true(json_object_get(frame, "temporary")))
        ret->temporary = true;
    int64_t ms = frame_number(frame, "retryAfterMs");
    ret->retry_after_ms = ms < 0 ? 0 : ms > MAX_RETRY_AFTER_MS ? MAX_RETRY_AFTER_MS : ms;
}

bool problem_is_temporary(const struct handoff_error *e) {
    return e->temporary;
}

const char *frame_string(const json_t *frame, const char *name) {
    return json_string_value(json_object_get(frame, name));
}

int64_t frame_number(const json_t *frame, const char *name) {
    int64_t n = -1;
    int r = text_get_integer(frame, name, TEXT_OPTIONAL, 0, TEXT_INTEGER_MAX, &n, NULL);
    return r ? -1 : n;
}

struct handoff_position frame_position(const json_t *frame) {
    struct handoff_position p = {frame_number(frame, "epoch"), frame_number(frame, "version")};
    return p.epoch >= 1 && p.version >= 0 ? p : (struct handoff_position){0};
}

bool position_is_before(struct handoff_position a, struct handoff_position b) {
    return a.epoch < b.epoch || (a.epoch == b.epoch && a.version < b.version);
}

bool text_is_same(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

char *text_of(const json_t *value) {
    struct buf out = BUF_NULL;
    if (!value)
        return NULL;
    text_print(value, &out);
    return buf_take(&out);
}
