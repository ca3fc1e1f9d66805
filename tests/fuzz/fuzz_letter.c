/* A dead letter on a terminal: whoever made it, what is shown of it is UTF-8 without control
 * characters, a line is a line, and the JSON is JSON. */
#include <stdio.h>

#include "base/base64url.h"
#include "common/clean.h"
#include "fuzz_bus_message.h"
#include "tools/handoff/letter.h"

#define QUEUE "audit.dead"

static void must_be_plain(const char *text, size_t len) {
    must_hold(text_is_utf8(text, len));
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        must_hold((c >= ' ' || c == '\n') && c != 0x7f);
        must_hold(c != 0xc2 || (unsigned char)text[i + 1] >= 0xa0);
    }
}

static size_t print(void (*put)(const char *queue, const struct bus_message *m, FILE *out),
                    const struct bus_message *m, char **ret) {
    size_t len = 0;
    FILE *out = open_memstream(ret, &len);
    put(QUEUE, m, out);
    fclose(out);
    return len;
}

static void check_line(const struct bus_message *m) {
    char *text = NULL, id[LETTER_ID_LEN + 1];
    size_t len = print(letter_print_line, m, &text);
    must_be_plain(text, len);
    must_hold(strchr(text, '\n') == text + len - 1);
    letter_id(QUEUE, m, id);
    must_hold(strncmp(text, id, LETTER_ID_LEN) == 0);
    free(text);
}

static void check_json(const struct bus_message *m) {
    char *text = NULL, id[LETTER_ID_LEN + 1];
    json_t *value = NULL;
    size_t len = print(letter_print_json, m, &text);
    must_hold(strchr(text, '\n') == text + len - 1);
    must_hold(text_parse(text, len, &value, NULL) == 0);
    letter_id(QUEUE, m, id);
    must_hold(strcmp(json_string_value(json_object_get(value, "id")), id) == 0);
    must_hold((size_t)json_number_value(json_object_get(value, "bytes")) == m->body_len);
    const char *type = json_string_value(json_object_get(value, "type"));
    must_hold(!type == !m->type[0]);
    if (type && !strstr(type, "\xef\xbf\xbd"))
        must_hold(strcmp(type, m->type) == 0);
    json_decref(value);
    free(text);
}

/* And the body, in one form or the other. */
static void check_whole_json(const struct bus_message *m) {
    char *text = NULL;
    json_t *value = NULL;
    size_t len = print(letter_print_whole_json, m, &text);
    must_hold(strchr(text, '\n') == text + len - 1);
    must_hold(text_parse(text, len, &value, NULL) == 0);
    const json_t *body = json_object_get(value, "body");
    const char *coded = json_string_value(json_object_get(value, "bodyBase64url"));
    must_hold(!body == !!coded && (!coded || strlen(coded) == BASE64URL_LEN(m->body_len)));
    must_hold(!body || (json_string_length(body) == m->body_len &&
                        memcmp(json_string_value(body), m->body, m->body_len) == 0));
    json_decref(value);
    free(text);
}

/* The body is given as it is to what is no terminal. */
static void check_whole(const struct bus_message *m) {
    char *text = NULL;
    size_t len = print(letter_print_whole, m, &text);
    must_hold(len >= m->body_len + 2 && text[len - 1] == '\n');
    must_hold(m->body_len == 0 || memcmp(text + len - 1 - m->body_len, m->body, m->body_len) == 0);
    must_be_plain(text, len - 1 - m->body_len);
    free(text);
}

static void check_clean(const char *text, size_t len) {
    struct buf whole = BUF_NULL, cut = BUF_NULL;
    buf_puts(&whole, "");
    clean_put(&whole, text, len, 3 * len);
    must_hold(text_is_utf8(whole.data, whole.len));
    clean_put(&cut, text, len, 16);
    must_hold(cut.len <= 16 && cut.len <= whole.len);
    must_hold(cut.len == 0 || memcmp(cut.data, whole.data, cut.len) == 0);
    buf_done(&whole);
    buf_done(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_message m;
    fuzz_message(data, size, &m);
    check_line(&m.message);
    check_json(&m.message);
    check_whole_json(&m.message);
    check_whole(&m.message);
    check_clean((const char *)data, size);
    fuzz_message_done(&m);
    return 0;
}
