/* What refuses a request in HTTP: application/problem+json (RFC 9457), contract section 3. Pure. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "proto/fault.h"

#define PROBLEM_REQUEST_ID_MAX 64
/* A client's X-Request-Id that is taken over: printable, and not too long. */
bool problem_request_id_is_valid(const char *text);

/* Appends the body. conflict: JSON text of an object whose members are added, or NULL. Of a 401 the
 * detail is left out: which check a token failed is for the log. */
void problem_print(const struct fault *fault, const char *request_id, const char *conflict,
                   struct buf *out);
