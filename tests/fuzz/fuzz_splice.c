/* Input: [data, operations, maxBytes?, maxDepth?]. A patch on the text leads to what it leads to on
 * the tree: the same bytes, and the same operations are told; what the tree refuses it leaves. */
#include "fuzz_json.h"
#include "proto/canonical.h"
#include "proto/patch.h"
#include "proto/splice.h"

static size_t number_or(const json_t *value, size_t otherwise) {
    double number = json_number_value(value);
    return number >= 1 && number < 1e6 ? (size_t)number : otherwise;
}

static void must_print_alike(const json_t *a, const json_t *b) {
    _cleanup_(buf_done) struct buf left = BUF_NULL, right = BUF_NULL;
    text_print(a, &left);
    text_print(b, &right);
    must_equal(&left, &right);
}

static void check_applied(const struct buf *data, const json_t *value, const json_t *operations,
                          const struct patch_limits *limits, const struct splice_result *spliced) {
    json_auto_t *resource = json_object();
    json_object_set_new(resource, "name", json_string("n"));
    json_object_set(resource, "data", (json_t *)(uintptr_t)value);
    _cleanup_(patch_result_done) struct patch_result result = {0};
    _cleanup_(buf_done) struct buf printed = BUF_NULL;
    must_hold(patch_apply(resource, data->len, operations, limits, &result, NULL) == 0);
    canonical_print(json_object_get(result.document, "data"), &printed);
    must_equal(&printed, &spliced->data);
    must_print_alike(result.operations, spliced->operations);
    must_hold(result.writes == spliced->writes);
}

/* Of bytes that are no canonical text nothing is expected, but that it ends. */
static void check_damaged(const struct buf *data, const json_t *operations,
                          const struct patch_limits *limits) {
    for (size_t i = 0; i < data->len && i < 64; i++) {
        _cleanup_(splice_result_done) struct splice_result spliced = {0};
        _cleanup_(freep) char *cut = must_malloc(i);
        memcpy(cut, data->data, i);
        if (splice_apply(cut, i, operations, limits, &spliced))
            must_hold(spliced.data.data != NULL);
    }
    for (size_t i = 0; i < data->len && i < 64; i++) {
        _cleanup_(splice_result_done) struct splice_result spliced = {0};
        _cleanup_(freep) char *changed = must_memdup(data->data, data->len);
        changed[i] = "},:]\\\"x"[(i + data->len) % 7];
        if (splice_apply(changed, data->len, operations, limits, &spliced))
            must_hold(spliced.data.data != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_auto_t *input = fuzz_value(data, size);
    if (json_array_size(input) < 2)
        return 0;
    const json_t *value = json_array_get(input, 0), *operations = json_array_get(input, 1);
    struct patch_limits limits = {number_or(json_array_get(input, 2), 4096),
                                  number_or(json_array_get(input, 3), 16)};
    if (text_depth(value, limits.max_data_depth) > limits.max_data_depth)
        return 0;
    _cleanup_(buf_done) struct buf text = BUF_NULL;
    _cleanup_(splice_result_done) struct splice_result spliced = {0};
    canonical_print(value, &text);
    if (splice_apply(text.data, text.len, operations, &limits, &spliced))
        check_applied(&text, value, operations, &limits, &spliced);
    check_damaged(&text, operations, &limits);
    return 0;
}
