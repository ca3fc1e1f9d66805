/* JSON Patch; see patch.h. patch_read.c knows the patch, patch_document.c the session under change;
 * here the operations meet it. */
#include "proto/patch.h"

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "proto/patch_document.h"
#include "proto/patch_read.h"
#include "proto/text.h"

#define NAME_MAX_CHARACTERS 255

static int check_name(const json_t *name, struct fault *f) {
    const char *text = json_string_value(name);
    size_t n = text ? text_n_characters(text, json_string_length(name)) : 0;
    if (n >= 1 && n <= NAME_MAX_CHARACTERS)
        return 0;
    fault_set(f, FAULT_INVALID_VALUE, "name", "name must be a string of 1 to %d characters",
              NAME_MAX_CHARACTERS);
    fault_set_place(f, "/name", -1);
    return FAULT_INVALID_VALUE;
}

static int check_result(const json_t *resource, struct fault *f) {
    if (!json_object_get(resource, "data")) {
        fault_set(f, FAULT_INVALID_VALUE, "data", "data must not be removed");
        fault_set_place(f, "/data", -1);
        return FAULT_INVALID_VALUE;
    }
    return check_name(json_object_get(resource, "name"), f);
}

static int apply_put(struct document *d, const struct op *op, struct fault *f) {
    struct placement placement = {.value = op->value,
                                  .bytes = document_measure(d, op->value),
                                  .check_depth = true,
                                  .must_exist = op->kind == OP_REPLACE};
    return document_put(d, &op->path, &placement, f);
}

static int apply_remove(struct document *d, const struct op *op, struct fault *f) {
    json_auto_t *removed = NULL;
    size_t bytes;
    return document_take(d, &op->path, true, &removed, &bytes, f);
}

static int apply_move(struct document *d, const struct op *op, struct fault *f) {
    if (pointer_is_above(&op->from, &op->path))
        return (int)fault_set(f, FAULT_PATCH_FAILED, "from",
                              "a value cannot be moved into a part of itself");
    bool stays_inside = op->from.n_tokens > 1 && op->path.n_tokens > 1;
    json_auto_t *value = NULL;
    size_t bytes;
    int r = document_take(d, &op->from, !stays_inside, &value, &bytes, f);
    if (r) {
        fault_set_place(f, op->from_text, -1);
        return r;
    }
    bool deeper = !stays_inside || op->path.n_tokens > op->from.n_tokens;
    struct placement placement = {.value = value, .bytes = bytes, .check_depth = deeper};
    return document_put(d, &op->path, &placement, f);
}

static int apply_copy(struct document *d, const struct op *op, struct fault *f) {
    json_auto_t *value = json_incref(pointer_find(d->root, &op->from, op->from.n_tokens));
    if (!value) {
        fault_set(f, FAULT_PATCH_FAILED, "from", "nothing is at this path");
        fault_set_place(f, op->from_text, -1);
        return FAULT_PATCH_FAILED;
    }
    struct placement placement = {
        .value = value, .bytes = document_measure_copied(d, value), .check_depth = true};
    int r = document_check_cost(d, f);
    return r ? r : document_put(d, &op->path, &placement, f);
}

static int apply_test(struct document *d, const struct op *op, struct fault *f) {
    const json_t *found = pointer_find(d->root, &op->path, op->path.n_tokens);
    if (!found)
        return (int)fault_set(f, FAULT_PATCH_FAILED, NULL, "nothing is at this path");
    document_measure_compared(d, op->value);
    int r = document_check_cost(d, f);
    if (r || text_equal(found, op->value))
        return r;
    return (int)fault_set(f, FAULT_PATCH_FAILED, NULL,
                          "the value is another one than `test` names");
}

static int apply_op(struct document *d, const struct op *op, struct fault *f) {
    int r = 0;
    switch (op->kind) {
    case OP_ADD:
    case OP_REPLACE:
        r = apply_put(d, op, f);
        break;
    case OP_REMOVE:
        r = apply_remove(d, op, f);
        break;
    case OP_MOVE:
        r = apply_move(d, op, f);
        break;
    case OP_COPY:
        r = apply_copy(d, op, f);
        break;
    case OP_TEST:
        r = apply_test(d, op, f);
        break;
    }
    return r ? r : document_check_cost(d, f);
}

/* name: as it was before the operation. Only a valid one: another was made and is written over by
 * this very patch, and may be as large as the data. */
static void note_name(const struct document *d, json_t *name, struct op *op) {
    if (op->kind != OP_MOVE && op->kind != OP_COPY)
        return;
    bool from_name = strcmp(op->from_text, "/name") == 0;
    bool to_name = strcmp(op->path_text, "/name") == 0;
    json_t *put = to_name ? json_object_get(d->root, "name") : from_name ? name : NULL;
    if (check_name(put, NULL) != 0)
        return;
    op->name_put = json_incref(put);
    op->replaces_name = to_name && name && (op->kind == OP_COPY || !from_name);
}

static int apply_all(struct document *d, struct op_list *list, struct fault *f) {
    for (size_t i = 0; i < list->n_ops; i++) {
        json_auto_t *name = json_incref(json_object_get(d->root, "name"));
        int r = apply_op(d, &list->ops[i], f);
        if (r == 0)
            note_name(d, name, &list->ops[i]);
        if (r > 0 && f) {
            if (!f->pointer[0])
                fault_set_place(f, list->ops[i].path_text, (int)i);
            f->index = (int)i;
        }
        if (r)
            return r;
    }
    return 0;
}

int patch_check(const json_t *operations, struct fault *f) {
    _cleanup_(op_list_done) struct op_list list = {0};
    return op_list_read(operations, &list, f);
}

/* ---- what is told of it ---- */

/* Who reads the operations without having the whole document (an audit row has the name alone, a
 * snapshot the data) cannot know what was moved or copied between the two: told as what it comes
 * to.
 */
static void append_name_put(json_t *kept, const struct op *op) {
    if (op->kind == OP_MOVE)
        json_array_append_new(kept, json_pack("{s:s, s:s}", "op", "remove", "path", op->from_text));
    json_array_append_new(kept,
                          json_pack("{s:s, s:s, s:O}", "op", op->replaces_name ? "replace" : "add",
                                    "path", op->path_text, "value", op->name_put));
}

static json_t *without_tests(const struct op_list *list) {
    json_t *kept = json_array();
    for (size_t i = 0; i < list->n_ops; i++) {
        const struct op *op = &list->ops[i];
        if (op->name_put)
            append_name_put(kept, op);
        else if (op->kind != OP_TEST)
            json_array_append(kept, op->json);
    }
    return kept;
}

int patch_apply(json_t *resource, size_t data_bytes, const json_t *operations,
                const struct patch_limits *limits, struct patch_result *ret, struct fault *f) {
    _cleanup_(op_list_done) struct op_list list = {0};
    int r = op_list_read(operations, &list, f);
    if (r)
        return r;
    _cleanup_(document_done) struct document d = {0};
    document_init(&d, resource, data_bytes, limits);
    r = apply_all(&d, &list, f);
    if (r)
        return r;
    json_auto_t *kept = without_tests(&list);
    bool writes = json_array_size(kept) > 0;
    if (writes)
        r = check_result(d.root, f);
    if (r)
        return r;
    *ret = (struct patch_result){.document = TAKE_PTR(d.root),
                                 .operations = TAKE_PTR(kept),
                                 .data_bytes = d.data_bytes,
                                 .writes = writes};
    return 0;
}

void patch_result_done(struct patch_result *r) {
    json_decref(r->document);
    json_decref(r->operations);
    *r = (struct patch_result){0};
}
