/* JSON Merge Patch (RFC 7396) on a session's name and data, turned into RFC 6902 operations so that
 * every change of a session is one kind of event. */
#pragma once

#include <jansson.h>

#include "base/cleanup.h"
#include "proto/fault.h"

/* Checks the shape: an object with no members but `name` (string) and `data` (any value; null would
 * remove it: FAULT_INVALID_VALUE). FAULT_PATH_NOT_WRITABLE names another member. */
MUSTCHECK int merge_check(const json_t *merge_patch, struct fault *f);

/* The operations that lead from resource to what RFC 7396 section 2 makes of it; what is equal
 * already yields none. *ret_operations is a new reference to an array that patch_apply takes; more
 * than PATCH_MAX_OPERATIONS are folded into one `replace` of the nearest ancestor that holds them.
 * Work is linear in the patch and in what it touches. */
MUSTCHECK int merge_to_operations(const json_t *resource, const json_t *merge_patch,
                                  json_t **ret_operations, struct fault *f);
