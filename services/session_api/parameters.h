/* Query parameters, typed. */
#pragma once

#include <stdint.h>

#include "common/http.h"
#include "proto/fault.h"
#include "proto/text.h"

#define PARAMETERS_LIMIT_DEFAULT 20
#define PARAMETERS_LIMIT_MAX 100

/* The parameter's text, borrowed from the request; *ret stays when it is absent.
 * FAULT_INVALID_REQUEST when it is there twice. */
MUSTCHECK int parameters_text(struct http_request *r, const char *name, const char **ret,
                              struct fault *f);
/* Also FAULT_INVALID_REQUEST for what is no number, FAULT_INVALID_VALUE outside [least, most]. */
MUSTCHECK int parameters_number(struct http_request *r, const char *name, uint64_t least,
                                uint64_t most, uint64_t *ret, struct fault *f);
