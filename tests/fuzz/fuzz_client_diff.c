/* Input: [before, after]. The operations that the client finds between two values lead from the one
 * to the other, by the rules that the engine applies. */
#include "clients/c/src/diff.h"
#include "fuzz_json.h"
#include "proto/canonical.h"
#include "proto/patch.h"

static json_t *document_of(json_t *data) {
    return json_pack("{s:s, s:O}", "name", "n", "data", data);
}

static void check(json_t *before, json_t *after) {
    static const struct patch_limits limits = {.max_data_bytes = 1 << 20, .max_data_depth = 1000};
    struct patch_result result = {0};
    json_t *document = document_of(before);
    json_t *operations = diff_values(before, after, "/data");
    must_hold((json_array_size(operations) == 0) == text_equal(before, after));
    must_hold(json_array_size(operations) <= PATCH_MAX_OPERATIONS);
    if (json_array_size(operations) > 0) {
        must_hold(
            patch_apply(document, canonical_size(before), operations, &limits, &result, NULL) == 0);
        must_hold(text_equal(json_object_get(result.document, "data"), after));
    }
    patch_result_done(&result);
    json_decref(operations);
    json_decref(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_auto_t *input = fuzz_value(data, size);
    if (json_array_size(input) != 2 || text_depth(input, 100) > 100)
        return 0;
    check(json_array_get(input, 0), json_array_get(input, 1));
    check(json_array_get(input, 1), json_array_get(input, 0));
    return 0;
}
