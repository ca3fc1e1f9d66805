/* Input: a text that goes into an event stream, or, behind a newline, numbers and lists of a
 * request. What a browser's EventSource joins of a frame is the text that it was made of; a number
 * is within its bounds; an item is found in a list as another reading finds it. */
#include "fuzz_json.h"
#include "services/ws_fanout/frame.h"
#include "services/ws_fanout/request.h"

/* As the standard's parser: fields up to an empty line, data joined with LF. */
static void join(const char *text, size_t len, struct buf *ret_data, struct buf *ret_id) {
    bool has_data = false;
    for (size_t at = 0; at < len;) {
        size_t n = 0;
        while (at + n < len && text[at + n] != '\n' && text[at + n] != '\r')
            n++;
        if (n >= 6 && memcmp(text + at, "data: ", 6) == 0) {
            if (has_data)
                buf_putc(ret_data, '\n');
            buf_put(ret_data, text + at + 6, n - 6);
            has_data = true;
        } else if (n >= 4 && memcmp(text + at, "id: ", 4) == 0) {
            buf_put(ret_id, text + at + 4, n - 4);
        } else {
            must_hold(n == 0);
        }
        at += n + 1;
    }
    must_hold(has_data && len >= 2 && memcmp(text + len - 2, "\n\n", 2) == 0);
}

/* A line break of any kind is one LF. */
static void normalize(const char *text, size_t len, struct buf *out) {
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
            continue;
        buf_putc(out, (char)(text[i] == '\r' ? '\n' : text[i]));
    }
}

static void check_frame(const char *text, size_t len) {
    struct frame *f = frame_new(text, len);
    struct buf joined = BUF_NULL, id = BUF_NULL, wanted = BUF_NULL;
    f->position = (struct position){len, 2};
    const struct frame *event = frame_as_event(f);
    must_hold(frame_as_event(f) == event);
    join((const char *)event->bytes + FRAME_HEADROOM, event->len, &joined, &id);
    normalize(text, len, &wanted);
    must_hold(joined.len == wanted.len &&
              (joined.len == 0 || memcmp(joined.data, wanted.data, joined.len) == 0));
    must_hold(len == 0 ? id.len == 0 : strncmp(id.data, "2:", 2) == 0);
    frame_unref(f);
    buf_done(&joined);
    buf_done(&id);
    buf_done(&wanted);
}

static void check_number(const char *text) {
    uint64_t number = 7;
    struct fault f = {0};
    int r = request_take_number(text, "since", 1, &number, &f);
    if (r)
        must_hold(number == 7 && r == (int)f.code && f.detail[0]);
    else
        must_hold(number >= 1 && number <= TEXT_INTEGER_MAX && number == strtoull(text, NULL, 10));
    must_hold(request_take_number(NULL, "since", 1, &number, &f) == 0);
}

static void check_list(const char *list) {
    static const char item[] = "handoff.v1";
    char *copy = must_strdup(list), *at = copy;
    bool has = false;
    while (at)
        has = strcmp(strsep(&at, ", \t"), item) == 0 || has;
    must_hold(request_list_has(list, item) == has);
    must_hold(!request_list_has(NULL, item));
    free(copy);
}

static void check_query(const char *text) {
    struct socket_request r = {.n_query = 2};
    struct fault f = {0};
    snprintf(r.query[0].name, sizeof(r.query[0].name), "%s", text);
    strcpy(r.query[1].name, "since");
    strcpy(r.query[1].value, "5");
    const char *value = request_query(&r, "since", &f);
    must_hold(strcmp(value, "5") == 0 && (f.code != 0) == (strcmp(r.query[0].name, "since") == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size);
    check_frame(text, size);
    check_number(text);
    check_list(text);
    check_query(text);
    free(text);
    return 0;
}
