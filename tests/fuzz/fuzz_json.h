/* For the fuzz targets of what is read from JSON. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant that the compiler never leaves out. */
#define must_hold(condition)                                                                       \
    ((condition) ? (void)0 : must_have_held(#condition, __FILE__, __LINE__))

_Noreturn static inline void must_have_held(const char *condition, const char *file, int line) {
    fprintf(stderr, "%s:%d: it must hold that %s\n", file, line, condition);
    abort();
}

/* A stranger's bytes as a C string; owned by the caller. */
static inline char *fuzz_text(const uint8_t *data, size_t size) {
    char *text = must_alloc(size + 1);
    if (size > 0)
        memcpy(text, data, size);
    return text;
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
