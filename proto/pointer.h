/* JSON Pointer: RFC 6901. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "proto/fault.h"

#define POINTER_MAX_TOKENS 128
#define POINTER_MAX_BYTES 65536

struct pointer_token {
    char *name; /* unescaped, NUL-terminated; owned by the pointer's storage */
    size_t len;
};

struct pointer {
    struct pointer_token *tokens; /* owned */
    size_t n_tokens;              /* 0: the whole document */
    char *storage;                /* owned */
};

/* Refused as FAULT_INVALID_REQUEST (field "path" is the caller's to correct): not empty and not
 * starting with '/', a '~' not followed by 0 or 1, over POINTER_MAX_BYTES; more than
 * POINTER_MAX_TOKENS tokens is FAULT_INVALID_VALUE. */
MUSTCHECK int pointer_parse(const char *text, size_t len, struct pointer *ret, struct fault *f);
void pointer_done(struct pointer *p);

/* The value there, borrowed; NULL when there is none. Array indexes: "0" or digits without a
 * leading zero; "-" and what is past the end find nothing. n_tokens lets the caller stop early
 * (parent). */
json_t *pointer_find(json_t *document, const struct pointer *p, size_t n_tokens);
/* Reads an array index token; false when it is none (leading zero, "-", not digits, over 2^31). */
bool pointer_index(const struct pointer_token *token, size_t *ret);

/* Whether a is a proper prefix of b. */
bool pointer_is_above(const struct pointer *a, const struct pointer *b);
