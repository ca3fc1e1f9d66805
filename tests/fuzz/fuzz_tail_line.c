/* An event as a line: whatever a server or a client chose, it is one line of five columns, UTF-8,
 * without control characters. */
#include "fuzz_json.h"
#include "tools/handoff/tail_line.h"

static void check_line(const struct buf *line) {
    size_t n_tabs = 0;
    must_hold(text_is_utf8(line->data, line->len) && strlen(line->data) == line->len);
    for (size_t i = 0; i < line->len; i++) {
        unsigned char c = (unsigned char)line->data[i];
        n_tabs += c == '\t';
        must_hold((c >= ' ' || c == '\t') && c != 0x7f);
        must_hold(c != 0xc2 || (unsigned char)line->data[i + 1] >= 0xa0);
    }
    must_hold(n_tabs == 4);
}

static void check(const json_t *value, const char *json) {
    const char *type = json_string_value(json_object_get(value, "type"));
    struct buf line = BUF_NULL;
    struct handoff_event event = {
        .type = type ? type : "broadcast",
        .timestamp = json_string_value(json_object_get(value, "timestamp")),
        .device_id = json_string_value(json_object_get(value, "deviceId")),
        .position = {json_integer_value(json_object_get(value, "epoch")),
                     json_integer_value(json_object_get(value, "version"))},
        .json = json};
    tail_line(&event, &line);
    check_line(&line);
    buf_done(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *value = fuzz_value(data, size);
    char *text = fuzz_text(data, size);
    if (value || text_is_utf8(text, strlen(text)))
        check(value, text);
    json_decref(value);
    free(text);
    return 0;
}
