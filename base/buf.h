/* A growable byte buffer. Appending never fails for the caller: when memory runs out the process
 * ends with a message, as everywhere in Handoff (an allocation of bounded size that fails leaves
 * nothing sensible to do). */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct buf {
    char *data; /* owned; NUL-terminated once anything was appended, NULL before */
    size_t len; /* without the NUL */
    size_t cap;
};

#define BUF_NULL ((struct buf){0})

void buf_done(struct buf *b);
void buf_clear(struct buf *b);
void buf_reserve(struct buf *b, size_t n_more);
void buf_put(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *text);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Decimal digits of n, without a NUL; returns how many they are. */
#define BUF_DIGITS_MAX 20
size_t buf_digits(uint64_t n, char ret[static BUF_DIGITS_MAX]);
void buf_put_u64(struct buf *b, uint64_t n);
void buf_put_i64(struct buf *b, int64_t n);
/* A JSON string literal with its quotes, escaped as RFC 8785 has it. text must be UTF-8. */
void buf_put_json(struct buf *b, const char *text, size_t len);
void buf_puts_json(struct buf *b, const char *text);
/* Hands over the bytes (caller frees; never NULL) and leaves the buffer empty. */
char *buf_take(struct buf *b);

/* malloc family that ends the process instead of returning NULL; caller frees. */
void *must_alloc(size_t size);  /* zeroed */
void *must_malloc(size_t size); /* not zeroed: for libraries that take an allocator */
void *must_realloc(void *p, size_t size);
char *must_strdup(const char *text);
char *must_memdup(const void *data, size_t len); /* a NUL is added */
