/* A growable byte buffer; see buf.h. Growth doubles, so that appending costs O(1) on average. */
#include "base/buf.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void out_of_memory(void) {
    static const char message[] = "out of memory\n";
    fwrite(message, 1, sizeof(message) - 1, stderr);
    abort();
}

/* glibc's calloc knows nothing of the list that its malloc takes small pieces from. */
#define SMALL_BYTES 1024

void *must_alloc(size_t size) {
    if (size <= SMALL_BYTES)
        return memset(must_malloc(size), 0, size);
    void *p = calloc(1, size);
    if (!p)
        out_of_memory();
    return p;
}

void *must_malloc(size_t size) {
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *must_realloc(void *p, size_t size) {
    void *grown = realloc(p, size ? size : 1);
    if (!grown)
        out_of_memory();
    return grown;
}

char *must_memdup(const void *data, size_t len) {
    char *copy = must_realloc(NULL, len + 1);
    if (len)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

char *must_strdup(const char *text) {
    return must_memdup(text, strlen(text));
}

void buf_done(struct buf *b) {
    free(b->data);
    *b = BUF_NULL;
}

void buf_clear(struct buf *b) {
    b->len = 0;
    if (b->data)
        b->data[0] = '\0';
}

void buf_reserve(struct buf *b, size_t n_more) {
    size_t needed = b->len + n_more + 1;
    if (needed <= b->cap)
        return;
    size_t cap = b->cap ? b->cap * 2 : 128;
    if (cap < needed)
        cap = needed;
    b->data = must_realloc(b->data, cap);
    b->cap = cap;
}

void buf_put(struct buf *b, const void *data, size_t len) {
    buf_reserve(b, len);
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *text) {
    buf_put(b, text, strlen(text));
}

void buf_putc(struct buf *b, char c) {
    buf_put(b, &c, 1);
}

/* Appends what fits and returns how many bytes are needed. */
__attribute__((format(printf, 2, 0))) static size_t print_into(struct buf *b, const char *format,
                                                               va_list args) {
    buf_reserve(b, 0);
    int len = vsnprintf(b->data + b->len, b->cap - b->len, format, args);
    return len > 0 ? (size_t)len : 0;
}

void buf_printf(struct buf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t len = print_into(b, format, args);
    if (len >= b->cap - b->len) {
        buf_reserve(b, len);
        len = print_into(b, format, again);
    }
    b->len += len;
    va_end(again);
    va_end(args);
}

size_t buf_digits(uint64_t n, char ret[static BUF_DIGITS_MAX]) {
    char digits[BUF_DIGITS_MAX];
    size_t at = sizeof(digits), len;
    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10));
    len = sizeof(digits) - at;
    memcpy(ret, digits + at, len);
    return len;
}

void buf_put_u64(struct buf *b, uint64_t n) {
    char digits[BUF_DIGITS_MAX];
    size_t len = buf_digits(n, digits);
    buf_put(b, digits, len);
}

void buf_put_i64(struct buf *b, int64_t n) {
    if (n < 0)
        buf_putc(b, '-');
    buf_put_u64(b, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
}

static bool is_plain(unsigned char c) {
    return c >= 0x20 && c != '"' && c != '\\';
}

#define EACH_BYTE(c) (UINT64_C(0x0101010101010101) * (c))

/* Whether eight bytes are plain, at once; it may say no of some that are. */
static bool are_plain(const char *text) {
    uint64_t word;
    memcpy(&word, text, sizeof(word));
    uint64_t quotes = word ^ EACH_BYTE('"'), backslashes = word ^ EACH_BYTE('\\');
    uint64_t found = ((word - EACH_BYTE(0x20)) & ~word) | ((quotes - EACH_BYTE(1)) & ~quotes) |
                     ((backslashes - EACH_BYTE(1)) & ~backslashes);
    return (found & EACH_BYTE(0x80)) == 0;
}

static void put_escaped(struct buf *b, unsigned char c) {
    static const char short_form[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char escape[7];
    if (c == '"' || c == '\\')
        snprintf(escape, sizeof(escape), "\\%c", c);
    else if (short_form[c])
        snprintf(escape, sizeof(escape), "\\%c", short_form[c]);
    else
        snprintf(escape, sizeof(escape), "\\u%04x", c);
    buf_puts(b, escape);
}

void buf_put_json(struct buf *b, const char *text, size_t len) {
    buf_putc(b, '"');
    size_t from = 0;
    for (size_t i = 0; i < len;) {
        if (len - i >= 8 && are_plain(text + i)) {
            i += 8;
            continue;
        }
        size_t end = len - i >= 8 ? i + 8 : len;
        for (; i < end; i++) {
            unsigned char c = (unsigned char)text[i];
            if (is_plain(c))
                continue;
            buf_put(b, text + from, i - from);
            put_escaped(b, c);
            from = i + 1;
        }
    }
    buf_put(b, text + from, len - from);
    buf_putc(b, '"');
}

void buf_puts_json(struct buf *b, const char *text) {
    buf_put_json(b, text, strlen(text));
}

char *buf_take(struct buf *b) {
    buf_reserve(b, 0);
    b->data[b->len] = '\0';
    char *data = b->data;
    *b = BUF_NULL;
    return data;
}
