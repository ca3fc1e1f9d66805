/* Input: [data, operations, since?, maxBytes?, maxDepth?]. A patch changes nothing that it was
 * given, its running size is the true one, limits hold, and applying the operations that it hands
 * back leads to the same. */
#include <stdlib.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/patch.h"
#include "proto/patch_read.h"
#include "proto/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

static size_t number_or(const json_t *value, size_t otherwise) {
    double number = json_number_value(value);
    return number >= 1 && number < 1e6 ? (size_t)number : otherwise;
}

static void check_repeats(json_t *resource, size_t bytes, const struct patch_limits *limits,
                          const struct patch_result *first) {
    _cleanup_(patch_result_done) struct patch_result second = {0};
    check(patch_apply(resource, bytes, first->operations, limits, &second, NULL) == 0);
    check(text_equal(first->document, second.document));
    check(text_equal(first->operations, second.operations));
}

static void check_applied(json_t *resource, size_t bytes, const struct patch_limits *limits,
                          const struct patch_result *result) {
    const json_t *data = json_object_get(result->document, "data");
    check(canonical_size(data) == result->data_bytes);
    check(result->data_bytes <= limits->max_data_bytes || result->data_bytes <= bytes);
    check(text_depth(data, 2000) <= limits->max_data_depth);
    check(patch_check(result->operations, NULL) == 0);
    check(result->writes == (json_array_size(result->operations) > 0));
    check_repeats(resource, bytes, limits, result);
}

static bool can_be_read(const json_t *operations) {
    bool can = true;
    for (size_t i = 0; can && i < json_array_size(operations); i++) {
        _cleanup_(op_done) struct op op = {0};
        can = op_read(json_array_get(operations, i), &op, NULL) == 0;
    }
    return can;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_auto_t *input = NULL;
    if (text_parse((const char *)data, size, &input, NULL) != 0 || json_array_size(input) < 2)
        return 0;
    struct patch_limits limits = {number_or(json_array_get(input, 3), 4096),
                                  number_or(json_array_get(input, 4), 16)};
    if (text_depth(json_array_get(input, 0), limits.max_data_depth) > limits.max_data_depth)
        return 0;
    json_auto_t *resource = json_object();
    json_object_set_new(resource, "version", json_real(1));
    json_object_set_new(resource, "name", json_string("n"));
    json_object_set(resource, "data", json_array_get(input, 0));
    const json_t *operations = json_array_get(input, 1);
    size_t bytes = canonical_size(json_object_get(resource, "data"));
    _cleanup_(buf_done) struct buf before = BUF_NULL, after = BUF_NULL;
    text_print(input, &before);
    struct fault f = {0};
    _cleanup_(patch_result_done) struct patch_result result = {0};
    int r = patch_apply(resource, bytes, operations, &limits, &result, &f);
    text_print(input, &after);
    check(strcmp(before.data, after.data) == 0);
    check(r == (int)f.code);
    if (r == 0)
        check_applied(resource, bytes, &limits, &result);
    else
        check(text_is_utf8(f.detail, strlen(f.detail)) &&
              text_is_utf8(f.pointer, strlen(f.pointer)));
    const json_t *since = json_array_get(input, 2);
    if (patch_check(operations, NULL) == 0 && since)
        check(patch_overlaps(operations, since) || can_be_read(since));
    return 0;
}
