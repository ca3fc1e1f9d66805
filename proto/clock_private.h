/* Between the clock's files only; see clock.h. */
#pragma once

#include "proto/clock.h"

/* An index whose participant has the id of one before it; CLOCK_NOBODY: the ids are unique. */
size_t clock_double(const struct clock *c);
/* The index of a participant whose time is shared with one before it, and that `differs` from it;
 * CLOCK_NOBODY: those who share agree. */
typedef bool clock_differs_fn(const struct clock_participant *a, const struct clock_participant *b);
size_t clock_disagreement(const struct clock *c, clock_differs_fn *differs);
/* What the mode needs and the clock has not, such as "timePerCycleMs", and whose it is (*ret_who;
 * CLOCK_NOBODY: the clock's); NULL: nothing is missing. */
const char *clock_missing(const struct clock *c, size_t *ret_who);
