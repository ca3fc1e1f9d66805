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
/* A moment as RFC 3339 has it, with any offset and fraction (cut to milliseconds), as Unix time in
 * ms. Also FAULT_INVALID_VALUE for what is none. *ret_is_there tells whether the parameter is. */
MUSTCHECK int parameters_moment(struct http_request *r, const char *name, bool *ret_is_there,
                                int64_t *ret, struct fault *f);
/* The text alone; false when it is none. */
bool parameters_parse_moment(const char *text, int64_t *ret_unix_ms);
