/* The table of refusals; see fault.h. What goes into a fault may come from a stranger and be cut to
 * fit: it is cut between characters, so that the detail can always be printed as JSON. */
#include "proto/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/text.h"

struct fault_row {
    const char *wire_code;
    int http_status;
    bool temporary;
    const char *title;
};

#define FAULT_ROW(name, code, status, temporary, title) [name] = {code, status, temporary, title},
static const struct fault_row rows[FAULT_N_CODES] = {FAULTS(FAULT_ROW)};
#undef FAULT_ROW

/* A code outside the table is a bug of ours, and is shown to the client as one. */
static const struct fault_row *row_of(enum fault_code code) {
    return &rows[code > FAULT_NONE && code < FAULT_N_CODES ? code : FAULT_INTERNAL];
}

static size_t sequence_len(unsigned char lead) {
    return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* Without the halves of characters that were cut, be it at the end or, by a format's precision,
 * before it. */
static void keep_whole_characters(char *text) {
    size_t len = strlen(text), n_kept = 0;
    if (text_is_utf8(text, len))
        return;
    for (size_t at = 0, size; at < len; at += size) {
        size = sequence_len((unsigned char)text[at]);
        if (size > len - at || !text_is_utf8(text + at, size)) {
            size = 1;
            continue;
        }
        memmove(text + n_kept, text + at, size);
        n_kept += size;
    }
    text[n_kept] = '\0';
}

static void copy_cut(char *ret, size_t cap, const char *text) {
    size_t len = strnlen(text, cap - 1);
    memcpy(ret, text, len);
    ret[len] = '\0';
    keep_whole_characters(ret);
}

enum fault_code fault_set(struct fault *f, enum fault_code code, const char *field,
                          const char *format, ...) {
    if (!f)
        return code;
    /* The arguments may lie in *f itself: a detail that is put into a longer one. */
    struct fault filled = {.code = code, .index = -1};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(filled.detail, sizeof(filled.detail), format, args);
    va_end(args);
    keep_whole_characters(filled.detail);
    if (field)
        copy_cut(filled.field, sizeof(filled.field), field);
    *f = filled;
    return code;
}

void fault_set_place(struct fault *f, const char *pointer, int index) {
    if (!f)
        return;
    copy_cut(f->pointer, sizeof(f->pointer), pointer);
    f->index = index;
}

const char *fault_wire_code(enum fault_code code) {
    return row_of(code)->wire_code;
}

const char *fault_title(enum fault_code code) {
    return row_of(code)->title;
}

int fault_http_status(enum fault_code code) {
    return row_of(code)->http_status;
}

bool fault_is_temporary(enum fault_code code) {
    return row_of(code)->temporary;
}

enum fault_code fault_from_wire(const char *wire_code, int http_status) {
    enum fault_code first = FAULT_NONE;
    for (enum fault_code code = FAULT_NONE + 1; code < FAULT_N_CODES; code++) {
        if (strcmp(rows[code].wire_code, wire_code) != 0)
            continue;
        if (rows[code].http_status == http_status)
            return code;
        if (first == FAULT_NONE)
            first = code;
    }
    return first;
}
