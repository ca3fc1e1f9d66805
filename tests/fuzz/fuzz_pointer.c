/* Two pointers, separated by a newline: tokens escape back to the text, and the relations agree
 * with each other. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/pointer.h"
#include "proto/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

static void check_escapes_back(const struct pointer *p, const char *text, size_t len) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    for (size_t i = 0; i < p->n_tokens; i++) {
        buf_putc(&out, '/');
        for (size_t j = 0; j < p->tokens[i].len; j++) {
            char c = p->tokens[i].name[j];
            if (c == '~' || c == '/')
                buf_puts(&out, c == '~' ? "~0" : "~1");
            else
                buf_putc(&out, c);
        }
        check(p->tokens[i].name[p->tokens[i].len] == '\0');
    }
    check(out.len == len && (len == 0 || memcmp(out.data, text, len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char document_text[] = "{\"a\":[0,{\"b\":[[]]}],\"\":{\"~\":1,\"/\":2},\"-\":3}";
    const char *text = (const char *)data;
    const char *newline = size ? memchr(text, '\n', size) : NULL;
    size_t len = newline ? (size_t)(newline - text) : size;
    _cleanup_(pointer_done) struct pointer a = {0}, b = {0};
    if (pointer_parse(text, len, &a, NULL) != 0)
        return 0;
    check_escapes_back(&a, text, len);
    json_auto_t *document = NULL;
    check(text_parse(document_text, strlen(document_text), &document, NULL) == 0);
    json_t *parent = a.n_tokens ? pointer_find(document, &a, a.n_tokens - 1) : NULL;
    check(!a.n_tokens || parent || !pointer_find(document, &a, a.n_tokens));
    if (!newline || pointer_parse(newline + 1, size - len - 1, &b, NULL) != 0)
        return 0;
    check(!(pointer_is_above(&a, &b) && pointer_is_above(&b, &a)));
    check(!pointer_is_above(&a, &b) || a.n_tokens < b.n_tokens);
    return 0;
}
