/* Drives the pure JSON layer from tests in other languages: one JSON request a line on stdin, one
 * JSON answer a line on stdout. Requests:
 *   {"op":"apply","resource":{…},"operations":[…],"maxBytes"?:n,"maxDepth"?:n}
 *   {"op":"merge","resource":{…},"patch":{…}}     operations, and what they make of the resource
 *   {"op":"overlaps","operations":[…],"since":[…]}
 *   {"op":"canonical","text":"…"}                 parse, canonical form, checksum
 *   {"op":"number","bits":"<16 hex digits>"}
 * Answers: {"result":…} or {"code":"…","detail":"…","index":n,"pointer":"…"}. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/canonical.h"
#include "proto/merge.h"
#include "proto/patch.h"
#include "proto/text.h"

static json_t *refusal(int r, const struct fault *f) {
    return json_pack("{s:s, s:s, s:i, s:s, s:s}", "code",
                     r > 0 ? fault_wire_code(f->code) : "errno", "detail", f->detail, "index",
                     f->index, "pointer", f->pointer, "field", f->field);
}

static size_t member_or(const json_t *request, const char *name, size_t otherwise) {
    const json_t *member = json_object_get(request, name);
    return member ? (size_t)json_number_value(member) : otherwise;
}

static json_t *apply(const json_t *request, const json_t *operations) {
    struct fault f = {0};
    json_t *resource = json_object_get(request, "resource");
    struct patch_limits limits = {.max_data_bytes = member_or(request, "maxBytes", 512 * 1024),
                                  .max_data_depth = member_or(request, "maxDepth", 64)};
    _cleanup_(buf_done) struct buf before = BUF_NULL, after = BUF_NULL;
    text_print(request, &before);
    _cleanup_(patch_result_done) struct patch_result result = {0};
    int r = patch_apply(resource, canonical_size(json_object_get(resource, "data")), operations,
                        &limits, &result, &f);
    text_print(request, &after);
    if (strcmp(before.data, after.data) != 0)
        return json_pack("{s:s}", "bug", "the patch changed what it was given");
    if (r)
        return refusal(r, &f);
    if (result.data_bytes != canonical_size(json_object_get(result.document, "data")))
        return json_pack("{s:s}", "bug", "the running size is wrong");
    return json_pack("{s:{s:O, s:O, s:b}}", "result", "document", result.document, "operations",
                     result.operations, "writes", result.writes);
}

static json_t *merge(const json_t *request) {
    struct fault f = {0};
    json_auto_t *operations = NULL;
    int r = merge_to_operations(json_object_get(request, "resource"),
                                json_object_get(request, "patch"), &operations, &f);
    return r ? refusal(r, &f) : apply(request, operations);
}

static json_t *canonical(const json_t *request) {
    struct fault f = {0};
    const json_t *text = json_object_get(request, "text");
    json_auto_t *value = NULL;
    int r = text_parse(json_string_value(text), json_string_length(text), &value, &f);
    if (r)
        return refusal(r, &f);
    _cleanup_(buf_done) struct buf printed = BUF_NULL;
    canonical_print(value, &printed);
    if (printed.len != canonical_size(value))
        return json_pack("{s:s}", "bug", "canonical_size differs from what is printed");
    char checksum[HASH_HEX_LEN + 1];
    canonical_checksum(value, checksum);
    return json_pack("{s:{s:s%, s:s}}", "result", "text", printed.data, printed.len, "checksum",
                     checksum);
}

static json_t *number(const json_t *request) {
    const char *hex = json_string_value(json_object_get(request, "bits"));
    uint64_t bits = strtoull(hex, NULL, 16);
    double value;
    memcpy(&value, &bits, sizeof(value));
    char printed[CANONICAL_NUMBER_CAP];
    canonical_number(value, printed);
    return json_pack("{s:s}", "result", printed);
}

static json_t *answer(const char *line, size_t len) {
    struct fault f = {0};
    json_auto_t *request = NULL;
    int r = text_parse(line, len, &request, &f);
    if (r)
        return refusal(r, &f);
    const char *op = json_string_value(json_object_get(request, "op"));
    const json_t *operations = json_object_get(request, "operations");
    if (op && strcmp(op, "apply") == 0)
        return apply(request, operations);
    if (op && strcmp(op, "merge") == 0)
        return merge(request);
    if (op && strcmp(op, "overlaps") == 0)
        return json_pack("{s:b}", "result",
                         patch_overlaps(operations, json_object_get(request, "since")));
    if (op && strcmp(op, "canonical") == 0)
        return canonical(request);
    if (op && strcmp(op, "number") == 0)
        return number(request);
    return json_pack("{s:s}", "bug", "no such op");
}

int main(void) {
    _cleanup_(freep) char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    while ((len = getline(&line, &cap, stdin)) > 0) {
        json_auto_t *json = answer(line, (size_t)len);
        buf_clear(&out);
        text_print(json, &out);
        buf_putc(&out, '\n');
        fwrite(out.data, 1, out.len, stdout);
        fflush(stdout);
    }
    return 0;
}
