/* Private to patch.c: a session resource while a patch changes it. Values are shared with the
 * resource and the patch given until they are written: then the containers on the way there, and
 * only they, are copied. Time and size are accounted for as it goes. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "proto/fault.h"
#include "proto/patch.h"
#include "proto/pointer.h"

struct document {
    json_t *root;      /* owned, and shared with nobody */
    size_t data_bytes; /* the canonical size of /data, 0 while it is not there */
    struct patch_limits limits;
    size_t work_bytes;  /* copied and compared so far */
    uint64_t effort_ns; /* what the work so far takes at the most, about */
};

/* A value on its way into a document. */
struct placement {
    json_t *value;    /* borrowed */
    size_t bytes;     /* canonical; 0 when it counted as data before and still does */
    bool check_depth; /* whether it may go deeper than before */
    bool must_exist;  /* replace, not add */
};

void document_init(struct document *d, json_t *resource, size_t data_bytes,
                   const struct patch_limits *limits);
void document_done(struct document *d);

/* The canonical size of a value, its cost accounted for. */
size_t document_measure(struct document *d, const json_t *value);
/* The same for a value that is copied or, as costly as measuring it again, compared. */
size_t document_measure_copied(struct document *d, const json_t *value);
size_t document_measure_compared(struct document *d, const json_t *value);

/* Both fail with FAULT_PATCH_FAILED when the place is not there; document_put also with
 * FAULT_STATE_TOO_LARGE. *ret is a new reference; *ret_bytes is its size, or 0 when !measure. */
MUSTCHECK int document_take(struct document *d, const struct pointer *from, bool measure,
                            json_t **ret, size_t *ret_bytes, struct fault *f);
MUSTCHECK int document_put(struct document *d, const struct pointer *at,
                           const struct placement *placement, struct fault *f);

/* Whether the patch still is within what it may cost: FAULT_PATCH_FAILED if not. */
MUSTCHECK int document_check_cost(const struct document *d, struct fault *f);
