/* JSON Patch on canonical text: what most patches are (a value or a few, added, replaced, removed
 * or tested inside data) needs no tree of the document. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "proto/patch.h"

struct splice_result {
    struct buf data;    /* in canonical form; owned */
    json_t *operations; /* the patch without its `test`s: a new reference */
    bool writes;        /* whether any operation but `test` was there */
};

/* Applies a patch of a few operations on `/data` and what is below it to data's canonical text.
 * Where it returns true, *ret is what patch_apply comes to: the same bytes in canonical form, the
 * same operations, within the same limits (but for the time that the patch would take as a tree).
 * False, with *ret untouched: patch_apply has to judge. That is so for each patch that is refused,
 * so that no refusal is made here; for more than 8 operations, a `move` or `copy`, escapes in a
 * path, /name, and data over 512 KiB or values over 32 KiB. Each operation takes time linear in the
 * bytes up to what it writes, however deep that is; the patch, one copy. */
MUSTCHECK bool splice_apply(const char *data, size_t len, const json_t *operations,
                            const struct patch_limits *limits, struct splice_result *ret);
void splice_result_done(struct splice_result *r);
