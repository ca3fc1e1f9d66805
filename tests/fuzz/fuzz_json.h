/* For the fuzz targets of what is read from JSON. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant that the compiler never leaves out. */
static inline void must_hold(int condition) {
    if (!condition)
        abort();
}

/* The value of a stranger's bytes, a new reference, or NULL. */
static inline json_t *fuzz_value(const uint8_t *data, size_t size) {
    json_t *value = NULL;
    return text_parse((const char *)data, size, &value, NULL) == 0 ? value : NULL;
}

/* The value of what we printed ourselves: it must be there. */
static inline json_t *fuzz_reparsed(const struct buf *text) {
    json_t *value = NULL;
    must_hold(text_parse(text->data, text->len, &value, NULL) == 0);
    return value;
}

static inline void must_equal(const struct buf *a, const struct buf *b) {
    must_hold(a->len == b->len && memcmp(a->data, b->data, a->len) == 0);
}
