/* JSON Patch (RFC 6902) on a session, within Handoff's rules: pointers are relative to the session
 * resource, only /data, what is below it, and /name can be written or be a `from`. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "proto/fault.h"

#define PATCH_MAX_OPERATIONS 1000
#define PATCH_MAX_WORK_BYTES (4u << 20) /* copied and compared by one patch, in all */

struct patch_limits {
    size_t max_data_bytes; /* of data's canonical form, after each operation */
    size_t max_data_depth; /* levels */
};

struct patch_result {
    /* New references. Below its root the document shares values with the resource and the patch
     * given (and with itself, after a copy): none of them may be changed in place, save by
     * patch_apply. */
    json_t *document;   /* the resource after the patch */
    json_t *operations; /* the patch without its `test`s; the array may be empty */
    size_t data_bytes;  /* the canonical size of the document's data */
    bool writes;        /* whether any operation but `test` was there */
};

/* Checks the shape alone (an array of objects with `op`, `path`, and `value` or `from` as the op
 * needs; other members are ignored, RFC 6902 section 4): FAULT_INVALID_REQUEST, more than
 * PATCH_MAX_OPERATIONS FAULT_INVALID_VALUE, writing elsewhere FAULT_PATH_NOT_WRITABLE. For services
 * that pass a patch on: a refusal here needs no engine. */
MUSTCHECK int patch_check(const json_t *operations, struct fault *f);

/* Applies all operations or none. resource is the session resource as an object (`test` may read
 * any member); data_bytes is the canonical size of its /data (known from the store, never computed
 * here). All six operations; `test` compares numbers by value, objects whatever their order;
 * indexes without leading zeros; `-` for the place after the last; moving a value into its own
 * child is refused. Faults: those of patch_check; FAULT_PATCH_FAILED with index and pointer (path
 * not there, `test` unequal, over PATCH_MAX_WORK_BYTES or over the time that a patch may take);
 * FAULT_STATE_TOO_LARGE as soon as one operation's result is over the limits; FAULT_INVALID_VALUE
 * when afterwards data is missing or name is not a string of 1 to 255 characters. No patch within
 * the limits takes more than 50 ms. */
MUSTCHECK int patch_apply(json_t *resource, size_t data_bytes, const json_t *operations,
                          const struct patch_limits *limits, struct patch_result *ret,
                          struct fault *f);
void patch_result_done(struct patch_result *r);

/* Whether any pointer that `operations` reads or writes overlaps (equals, is above or below) one
 * that `since` wrote; an add, remove, move or copy whose last token is `-` or digits counts as
 * writing the parent (contract section 3, Base). Both are arrays of operations that patch_check
 * accepted; `since` may join those of many deltas, and one call for all is what keeps it linear. */
bool patch_overlaps(const json_t *operations, const json_t *since);
