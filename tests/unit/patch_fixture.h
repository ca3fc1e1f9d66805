/* Sessions, patches and their outcomes as texts, for the tests of patch.h. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "proto/canonical.h"
#include "proto/patch.h"
#include "proto/text.h"

static const struct patch_limits limits = {.max_data_bytes = 512 * 1024, .max_data_depth = 64};

static inline json_t *parse(const char *text) {
    json_t *value = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &value, &f), 0);
    return value;
}

static inline int apply_json(json_t *resource, const json_t *operations, struct patch_result *ret,
                             struct fault *f) {
    size_t data_bytes = canonical_size(json_object_get(resource, "data"));
    int r = patch_apply(resource, data_bytes, operations, &limits, ret, f);
    if (r == 0)
        assert_int_equal(ret->data_bytes, canonical_size(json_object_get(ret->document, "data")));
    return r;
}

/* Applies to {"version":3,"name":"n","data":<data>}. */
static inline int apply(const char *data, const char *operations, struct patch_result *ret,
                        struct fault *f) {
    json_auto_t *resource = parse("{\"version\":3,\"name\":\"n\"}");
    json_object_set_new(resource, "data", parse(data));
    json_auto_t *patch = parse(operations);
    _cleanup_(buf_done) struct buf before = BUF_NULL, after = BUF_NULL;
    text_print(resource, &before);
    text_print(patch, &before);
    int r = apply_json(resource, patch, ret, f);
    text_print(resource, &after);
    text_print(patch, &after);
    assert_string_equal(before.data, after.data);
    return r;
}

static inline void assert_data(const char *data, const char *operations, const char *expected) {
    _cleanup_(patch_result_done) struct patch_result result = {0};
    struct fault f = {0};
    assert_int_equal(apply(data, operations, &result, &f), 0);
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    canonical_print(json_object_get(result.document, "data"), &out);
    assert_string_equal(out.data, expected);
}

static inline struct fault refused(const char *data, const char *operations, enum fault_code code) {
    struct patch_result result = {0};
    struct fault f = {0};
    assert_int_equal(apply(data, operations, &result, &f), code);
    assert_int_equal(f.code, code);
    assert_null(result.document);
    assert_null(result.operations);
    assert_true(f.detail[0] != '\0');
    return f;
}

static inline void assert_failed(const char *data, const char *operations, int index,
                                 const char *pointer) {
    struct fault f = refused(data, operations, FAULT_PATCH_FAILED);
    assert_int_equal(f.index, index);
    assert_string_equal(f.pointer, pointer);
}
