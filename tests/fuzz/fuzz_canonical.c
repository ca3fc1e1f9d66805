/* The canonical form is a fixed point, has the size foretold, and numbers read back as they were.
 * The input is JSON; its first 8 bytes are also taken as a double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

static void check_number(const uint8_t *data) {
    double number;
    memcpy(&number, data, sizeof(number));
    if (!isfinite(number))
        return;
    char printed[CANONICAL_NUMBER_CAP];
    size_t len = canonical_number(number, printed);
    check(len == strlen(printed) && len < CANONICAL_NUMBER_CAP);
    check(strtod(printed, NULL) == number);
    json_auto_t *value = json_real(number), *parsed = NULL;
    check(canonical_size(value) == len);
    check(text_parse(printed, len, &parsed, NULL) == 0 && text_equal(value, parsed));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size >= sizeof(double))
        check_number(data);
    json_auto_t *value = NULL, *again = NULL;
    if (text_parse((const char *)data, size, &value, NULL) != 0)
        return 0;
    _cleanup_(buf_done) struct buf first = BUF_NULL, second = BUF_NULL;
    canonical_print(value, &first);
    check(first.len == canonical_size(value));
    check(text_parse(first.data, first.len, &again, NULL) == 0);
    check(text_equal(value, again));
    canonical_print(again, &second);
    check(strcmp(first.data, second.data) == 0);
    return 0;
}
