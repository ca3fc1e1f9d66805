/* A position as a person gives it. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "proto/session.h"

/* As an ETag's tag: 42, or 42.2 in the second epoch; quotes may stand around it. False: it is none.
 */
MUSTCHECK bool position_parse(const char *text, struct position *ret);
