/* The golden examples in proto/examples, for unit tests that run in the root of the tree. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "proto/text.h"

/* A new reference to the example's value. */
static inline json_t *golden_load(const char *name) {
    char path[256];
    snprintf(path, sizeof(path), "proto/examples/%s.json", name);
    FILE *file = fopen(path, "re");
    if (!file)
        fail_msg("%s cannot be opened: run this in the root of the tree", path);
    struct buf text = BUF_NULL;
    char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof(piece), file)) > 0;)
        buf_put(&text, piece, n);
    fclose(file);
    json_t *value = NULL;
    struct fault f = {0};
    if (text_parse(text.data, text.len, &value, &f) != 0)
        fail_msg("%s: %s", path, f.detail);
    buf_done(&text);
    return value;
}

/* Its compact text, members in the order of the file; owned. */
static inline char *golden_text(const char *name) {
    json_t *value = golden_load(name);
    struct buf text = BUF_NULL;
    text_print(value, &text);
    json_decref(value);
    return buf_take(&text);
}

/* text equals the example, member order included. */
static inline void golden_equal(const char *text, const char *name) {
    char *expected = golden_text(name);
    assert_string_equal(text, expected);
    free(expected);
}

/* A value from text that a test has as a literal; new reference. */
static inline json_t *golden_value(const char *text) {
    json_t *value = NULL;
    struct fault f = {0};
    if (text_parse(text, strlen(text), &value, &f) != 0)
        fail_msg("%s: %s", text, f.detail);
    return value;
}
