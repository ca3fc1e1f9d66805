/* Reads text that Handoff itself wrote, whose frame is fixed: mark by mark, without a tree. Each
 * returns false, with the reader anywhere, when the text goes on otherwise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/text.h"

struct reader {
    const char *at; /* borrowed */
    size_t left;
};

static inline void reader_advance(struct reader *r, size_t n) {
    r->at += n;
    r->left -= n;
}

static inline bool reader_skip(struct reader *r, const char *mark) {
    size_t len = strlen(mark);
    if (r->left < len || memcmp(r->at, mark, len) != 0)
        return false;
    reader_advance(r, len);
    return true;
}

/* Digits without leading zeros, up to TEXT_INTEGER_MAX. */
static inline bool reader_number(struct reader *r, uint64_t *ret) {
    size_t n = 0;
    while (n < r->left && r->at[n] >= '0' && r->at[n] <= '9')
        n++;
    if (!text_parse_number(r->at, n, ret))
        return false;
    reader_advance(r, n);
    return true;
}

static inline bool reader_moment(struct reader *r, int64_t *ret) {
    if (r->left < TIMESTAMP_LEN || !timestamp_parse(r->at, TIMESTAMP_LEN, ret))
        return false;
    reader_advance(r, TIMESTAMP_LEN);
    return true;
}

/* What stands before the next quote, which it goes beyond. */
static inline bool reader_quoted(struct reader *r, const char **ret, size_t *ret_len) {
    const char *quote = r->left ? memchr(r->at, '"', r->left) : NULL;
    if (!quote)
        return false;
    *ret = r->at;
    *ret_len = (size_t)(quote - r->at);
    reader_advance(r, *ret_len + 1);
    return true;
}

/* Where the string that begins at `at` ends (behind its quote), or the value; NULL when it does not
 * before end. Of a value only quotes and brackets are looked at. */
const char *reader_string_end(const char *at, const char *end);
const char *reader_value_end(const char *at, const char *end);

/* A whole object; *ret is borrowed. */
static inline bool reader_object(struct reader *r, const char **ret, size_t *ret_len) {
    const char *end = r->left && *r->at == '{' ? reader_value_end(r->at, r->at + r->left) : NULL;
    if (!end)
        return false;
    *ret = r->at;
    *ret_len = (size_t)(end - r->at);
    reader_advance(r, *ret_len);
    return true;
}
