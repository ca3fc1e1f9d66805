/* What is parsed prints to a text that parses to the same; in the quick way nothing comes out that
 * does not come out in the strict one. */
#include <stdlib.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/text_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

static void check_quick(const char *text, size_t len) {
    json_auto_t *quick = text_parse_quickly(text, len), *strict = NULL;
    if (!quick)
        return;
    check(text_parse_strictly(text, len, &strict, NULL) == 0);
    _cleanup_(buf_done) struct buf first = BUF_NULL, second = BUF_NULL;
    text_print(quick, &first);
    text_print(strict, &second);
    check(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_quick((const char *)data, size);
    struct fault f = {0};
    json_auto_t *value = NULL, *again = NULL;
    int r = text_parse((const char *)data, size, &value, &f);
    if (r) {
        check(r == FAULT_INVALID_JSON && f.code == FAULT_INVALID_JSON && !value);
        check(f.detail[0] && text_is_utf8(f.detail, strlen(f.detail)));
        return 0;
    }
    check(text_is_utf8((const char *)data, size));
    _cleanup_(buf_done) struct buf first = BUF_NULL, second = BUF_NULL;
    text_print(value, &first);
    check(first.len == canonical_size(value)); /* the order of members changes nothing */
    check(text_depth(value, 2000) <= 1000);
    check(text_parse(first.data, first.len, &again, &f) == 0);
    check(text_equal(value, again) && text_equal(again, value));
    text_print(again, &second);
    check(strcmp(first.data, second.data) == 0);
    return 0;
}
