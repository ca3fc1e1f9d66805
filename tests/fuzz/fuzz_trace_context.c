/* A traceparent of a stranger's. What is taken is printed as version 00 has it, and read back the
 * same; nothing but its flags and its version may differ from what came. */
#include "fuzz_json.h"
#include "proto/trace_context.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct trace_context c, again, trimmed;
    char printed[TRACE_PARENT_LEN + 1];
    char *text = must_malloc(size + 1); /* nothing lies behind it */
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    bool taken = trace_context_parse(text, size, &c);
    must_hold(taken == c.is_set);
    trace_context_take(text, &trimmed);
    must_hold(!taken || strlen(text) < size || trimmed.is_set);
    trace_context_take(NULL, &again);
    must_hold(!again.is_set);
    if (taken) {
        trace_context_print(&c, printed);
        must_hold(strlen(printed) == TRACE_PARENT_LEN);
        must_hold(memcmp(printed + 2, text + 2, TRACE_PARENT_LEN - 4) == 0);
        must_hold(trace_context_parse(printed, TRACE_PARENT_LEN, &again));
        must_hold(again.is_sampled == c.is_sampled);
        must_hold(memcmp(again.trace_id, c.trace_id, sizeof(c.trace_id)) == 0);
        must_hold(memcmp(again.span_id, c.span_id, sizeof(c.span_id)) == 0);
    }
    free(text);
    return 0;
}
