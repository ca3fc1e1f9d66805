/* Private to patch*.c: a patch's operations, read and checked. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "proto/fault.h"
#include "proto/pointer.h"

enum op_kind { OP_ADD, OP_REMOVE, OP_REPLACE, OP_MOVE, OP_COPY, OP_TEST };

/* Texts and JSON are borrowed from the array of operations. */
struct op {
    enum op_kind kind;
    struct pointer path;
    struct pointer from;   /* of a move or copy, else empty */
    const char *path_text; /* as it came */
    const char *from_text; /* NULL but for a move or copy */
    json_t *value;         /* of an add, replace or test, else NULL */
    json_t *json;          /* the operation itself */
    json_t *name_put;      /* owned: the name that a move or copy took or made, else NULL */
    bool replaces_name;    /* there was one, also after the removal of what was moved */
};

struct op_list {
    struct op *ops; /* owned */
    size_t n_ops;
};

/* One operation, which may be filled in part on failure: op_done either way. */
MUSTCHECK int op_read(json_t *json, struct op *ret, struct fault *f);
void op_done(struct op *op);

/* The faults of patch_check, with the operation's index. */
MUSTCHECK int op_list_read(const json_t *operations, struct op_list *ret, struct fault *f);
void op_list_done(struct op_list *list);
