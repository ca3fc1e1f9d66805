/* What refuses a request in HTTP: application/problem+json (RFC 9457), contract section 3. Pure. */
#pragma once

#include "base/buf.h"
#include "proto/fault.h"

/* Appends the body. conflict: JSON text of an object whose members are added, or NULL. Of a 401 the
 * detail is left out: which check a token failed is for the log. */
void problem_print(const struct fault *fault, const char *request_id, const char *conflict,
                   struct buf *out);
