/* The shape of a patch: what can be refused without looking at the session; see patch_read.h. */
#include "proto/patch_read.h"

#include <string.h>

#include "base/buf.h"
#include "proto/patch.h"
#include "proto/text.h"

static const char *const op_names[] = {
    [OP_ADD] = "add",   [OP_REMOVE] = "remove", [OP_REPLACE] = "replace",
    [OP_MOVE] = "move", [OP_COPY] = "copy",     [OP_TEST] = "test",
};

static int read_kind(const json_t *json, enum op_kind *ret, struct fault *f) {
    const char *name = NULL;
    int r = text_get_string(json, "op", TEXT_REQUIRED, &name, f);
    if (r)
        return r;
    for (size_t kind = 0; kind < N_ELEMENTS(op_names); kind++)
        if (strcmp(op_names[kind], name) == 0) {
            *ret = (enum op_kind)kind;
            return 0;
        }
    return (int)fault_set(f, FAULT_INVALID_REQUEST, "op",
                          "op must be add, remove, replace, move, copy or test");
}

static bool is_token(const struct pointer_token *token, const char *name) {
    return token->len == strlen(name) && memcmp(token->name, name, token->len) == 0;
}

static bool is_writable(const struct pointer *p) {
    return (p->n_tokens >= 1 && is_token(&p->tokens[0], "data")) ||
           (p->n_tokens == 1 && is_token(&p->tokens[0], "name"));
}

static int read_pointer(const json_t *json, const char *member, bool must_be_writable,
                        const char **ret_text, struct pointer *ret, struct fault *f) {
    int r = text_get_string(json, member, TEXT_REQUIRED, ret_text, f);
    if (r)
        return r;
    r = pointer_parse(*ret_text, strlen(*ret_text), ret, f);
    if (r > 0) {
        if (f)
            strcpy(f->field, member);
        return r;
    }
    if (must_be_writable && !is_writable(ret)) {
        fault_set(f, FAULT_PATH_NOT_WRITABLE, member,
                  "only /data, what is below it, and /name can be written or moved or copied from");
        fault_set_place(f, *ret_text, -1);
        return FAULT_PATH_NOT_WRITABLE;
    }
    return r;
}

int op_read(json_t *json, struct op *op, struct fault *f) {
    if (!json_is_object(json))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "operations",
                              "an operation must be an object");
    op->json = json;
    int r = read_kind(json, &op->kind, f);
    if (r)
        return r;
    bool needs_from = op->kind == OP_MOVE || op->kind == OP_COPY;
    bool needs_value = op->kind == OP_ADD || op->kind == OP_REPLACE || op->kind == OP_TEST;
    op->value = needs_value ? json_object_get(json, "value") : NULL;
    if (needs_value && !op->value)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "value", "value is missing");
    if (needs_from) {
        r = read_pointer(json, "from", true, &op->from_text, &op->from, f);
        if (r)
            return r;
    }
    return read_pointer(json, "path", op->kind != OP_TEST, &op->path_text, &op->path, f);
}

int op_list_read(const json_t *operations, struct op_list *ret, struct fault *f) {
    if (!json_is_array(operations))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "operations",
                              "a patch must be an array of operations");
    size_t n = json_array_size(operations);
    if (n > PATCH_MAX_OPERATIONS)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "operations",
                              "%zu operations; %d are allowed", n, PATCH_MAX_OPERATIONS);
    _cleanup_(op_list_done) struct op_list list = {.n_ops = n};
    list.ops = must_alloc(n * sizeof(*list.ops));
    for (size_t i = 0; i < n; i++) {
        int r = op_read(json_array_get(operations, i), &list.ops[i], f);
        if (r > 0 && f)
            f->index = (int)i;
        if (r)
            return r;
    }
    *ret = (struct op_list){.ops = TAKE_PTR(list.ops), .n_ops = n};
    return 0;
}

void op_done(struct op *op) {
    pointer_done(&op->path);
    pointer_done(&op->from);
    json_decref(op->name_put);
}

void op_list_done(struct op_list *list) {
    for (size_t i = 0; list->ops && i < list->n_ops; i++)
        op_done(&list->ops[i]);
    free(list->ops);
    *list = (struct op_list){0};
}
