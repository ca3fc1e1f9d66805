/* Operations (RFC 6902) that lead from one value to another. */
#pragma once

#include <jansson.h>

/* Below `path`, a JSON Pointer. What goes from the front or out of the middle of an array is told
 * as that, so that what others do to the elements behind it stays theirs. A new reference. More
 * than a patch may have are folded into one `replace` of the whole. */
json_t *diff_values(const json_t *before, const json_t *after, const char *path);
