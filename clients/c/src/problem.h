/* What was refused, and reading frames: small things that all parts need. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "clients/c/handoff.h"
#include "proto/fault.h"

/* Fills *ret (when not NULL) and returns -1. temporary as the server judges that code; of this
 * side's own only connection_lost is. */
int problem_set(struct handoff_error *ret, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same from a fault of proto/. */
int problem_from_fault(struct handoff_error *ret, const struct fault *f);
/* Of an `error` frame, or one of `unsubscribed`. */
void problem_from_frame(const json_t *frame, struct handoff_error *ret);
/* Whether the same command, sent again later, may be answered otherwise. */
bool problem_is_temporary(const struct handoff_error *e);

/* NULL when it is not there, or no string. */
const char *frame_string(const json_t *frame, const char *name);
/* Whole and not negative; -1 otherwise. */
int64_t frame_number(const json_t *frame, const char *name);
/* epoch 0 when it has none. */
struct handoff_position frame_position(const json_t *frame);

bool position_is_before(struct handoff_position a, struct handoff_position b);

/* Both may be NULL. */
bool text_is_same(const char *a, const char *b);
/* A JSON value as text of its own; NULL for NULL. Caller frees. */
char *text_of(const json_t *value);
