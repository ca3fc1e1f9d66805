/* What an instance's /metrics says, as `handoff drain` and `handoff rebalance` read it: a sum is
 * what a second reading finds, which takes the lines apart first. */
#include "fuzz_json.h"
#include "tools/handoff/metrics_text.h"

static bool take_line(const char *line, const char *name, int64_t *sum) {
    size_t len = strlen(name);
    if (strncmp(line, name, len) != 0 || (line[len] != ' ' && line[len] != '{'))
        return false;
    const char *end = line[len] == '{' ? strchr(line + len, '}') : line + len;
    const char *value = !end ? "" : *end == '}' ? end + 1 : end;
    while (*value == ' ')
        value++;
    double number = *value >= '0' && *value <= '9' ? strtod(value, NULL) : -1;
    if (number < 0 || number > 1e15)
        return false;
    *sum += (int64_t)number;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char name[] = "handoff_ws_connections";
    char *text = fuzz_text(data, size), *copy = must_strdup(text), *at = copy;
    int64_t sum = 0;
    bool is_any = false;
    while (at)
        is_any |= take_line(strsep(&at, "\n"), name, &sum);
    must_hold(metrics_text_sum(text, name) == (is_any ? sum : -1));
    free(copy);
    free(text);
    return 0;
}
