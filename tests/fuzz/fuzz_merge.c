/* Input: [data, merge patch]. The operations made of a merge patch lead to what RFC 7396's own
 * pseudo code makes of it, and to nothing when done twice. */
#include <stdlib.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/merge.h"
#include "proto/patch.h"
#include "proto/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

/* RFC 7396, section 2, on copies. */
static json_t *merge(const json_t *target, json_t *patch) {
    if (!json_is_object(patch))
        return json_deep_copy(patch);
    json_t *result = json_is_object(target) ? json_deep_copy(target) : json_object();
    const char *name;
    json_t *value;
    json_object_foreach(patch, name, value) {
        if (json_is_null(value))
            json_object_del(result, name);
        else
            json_object_set_new(result, name, merge(json_object_get(result, name), value));
    }
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct patch_limits limits = {.max_data_bytes = 1 << 20, .max_data_depth = 1000};
    json_auto_t *input = NULL, *operations = NULL, *again = NULL;
    if (text_parse((const char *)data, size, &input, NULL) != 0 || json_array_size(input) != 2)
        return 0;
    if (text_depth(input, 100) > 100)
        return 0;
    json_auto_t *resource = json_object();
    json_object_set_new(resource, "name", json_string("n"));
    json_object_set(resource, "data", json_array_get(input, 0));
    json_t *patch = json_array_get(input, 1);
    struct fault f = {0};
    int r = merge_to_operations(resource, patch, &operations, &f);
    check(r == (int)f.code && r == merge_check(patch, NULL));
    if (r)
        return 0;
    check(patch_check(operations, NULL) == 0);
    _cleanup_(patch_result_done) struct patch_result result = {0};
    size_t bytes = canonical_size(json_object_get(resource, "data"));
    r = patch_apply(resource, bytes, operations, &limits, &result, &f);
    check(r == 0 || r == FAULT_INVALID_VALUE); /* a name that is too long */
    if (r)
        return 0;
    json_auto_t *expected = merge(resource, patch);
    check(text_equal(expected, result.document));
    check(result.writes == !text_equal(expected, resource));
    check(merge_to_operations(result.document, patch, &again, &f) == 0);
    check(json_array_size(again) == 0);
    return 0;
}
