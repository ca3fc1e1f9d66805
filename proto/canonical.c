/* RFC 8785; see canonical.h. jansson's own dump differs in three places (escapes, order of members,
 * numbers), so nothing of it is used here. */
#include "proto/canonical.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/shortest.h"

#define N_MEMBERS_ON_STACK 16

struct member {
    const char *name;
    size_t len;
    const json_t *value;
};

/* Code points sort as UTF-8 bytes do, but in UTF-16 those above U+FFFF (lead byte 0xf0 and up) are
 * written with surrogates and come before U+E000 to U+FFFF (lead bytes 0xee and 0xef). */
int canonical_compare(const char *a, size_t a_len, const char *b, size_t b_len) {
    size_t common = a_len < b_len ? a_len : b_len;
    for (size_t i = 0; i < common; i++) {
        unsigned char x = (unsigned char)a[i], y = (unsigned char)b[i];
        if (x == y)
            continue;
        if (x >= 0xee && y >= 0xee && (x >= 0xf0) != (y >= 0xf0))
            return x >= 0xf0 ? -1 : 1;
        return x < y ? -1 : 1;
    }
    return a_len < b_len ? -1 : a_len > b_len;
}

static int compare_members(const void *a, const void *b) {
    const struct member *left = a, *right = b;
    return canonical_compare(left->name, left->len, right->name, right->len);
}

static void sort_members(struct member *members, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (compare_members(&members[i - 1], &members[i]) > 0) {
            qsort(members, n, sizeof(*members), compare_members);
            return;
        }
}

/* How many there are. */
static size_t list_members(const json_t *object, struct member *ret) {
    json_t *borrowed = (json_t *)(uintptr_t)object; /* jansson iterates over non-const only */
    size_t n = 0;
    for (void *i = json_object_iter(borrowed); i; i = json_object_iter_next(borrowed, i))
        ret[n++] = (struct member){.name = json_object_iter_key(i),
                                   .len = json_object_iter_key_len(i),
                                   .value = json_object_iter_value(i)};
    return n;
}

static void print_object(const json_t *object, struct buf *out) {
    size_t n = json_object_size(object);
    struct member few[N_MEMBERS_ON_STACK];
    _cleanup_(freep) struct member *many = NULL;
    if (n > N_MEMBERS_ON_STACK)
        many = must_alloc(n * sizeof(*many));
    struct member *members = many ? many : few;
    n = list_members(object, members);
    sort_members(members, n);
    buf_putc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(out, ',');
        buf_put_json(out, members[i].name, members[i].len);
        buf_putc(out, ':');
        canonical_print(members[i].value, out);
    }
    buf_putc(out, '}');
}

static void print_array(const json_t *array, struct buf *out) {
    size_t n = json_array_size(array);
    buf_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(out, ',');
        canonical_print(json_array_get(array, i), out);
    }
    buf_putc(out, ']');
}

void canonical_print(const json_t *value, struct buf *out) {
    char number[CANONICAL_NUMBER_CAP];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        print_object(value, out);
        break;
    case JSON_ARRAY:
        print_array(value, out);
        break;
    case JSON_STRING:
        buf_put_json(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        buf_put(out, number, canonical_number(json_number_value(value), number));
        break;
    case JSON_TRUE:
        buf_puts(out, "true");
        break;
    case JSON_FALSE:
        buf_puts(out, "false");
        break;
    case JSON_NULL:
        buf_puts(out, "null");
        break;
    }
}

static bool is_safe_integer(double magnitude) {
    return magnitude < 9007199254740992.0 && magnitude == (double)(int64_t)magnitude;
}

/* Small integers are most of what a large document can be made of: they need no printing. */
static size_t number_size(double number) {
    char printed[CANONICAL_NUMBER_CAP];
    double magnitude = fabs(number);
    if (magnitude >= 1000 || !is_safe_integer(magnitude))
        return canonical_number(number, printed);
    return (number < 0) + 1 + (magnitude >= 10) + (magnitude >= 100);
}

static size_t measure_object(const json_t *object, size_t *n_values) {
    json_t *borrowed = (json_t *)(uintptr_t)object;
    size_t n = json_object_size(object);
    size_t size = 2 + n + (n ? n - 1 : 0); /* braces, colons, commas */
    for (void *i = json_object_iter(borrowed); i; i = json_object_iter_next(borrowed, i))
        size += canonical_string_size(json_object_iter_key(i), json_object_iter_key_len(i)) +
                canonical_measure(json_object_iter_value(i), n_values);
    return size;
}

static size_t measure_array(const json_t *array, size_t *n_values) {
    size_t n = json_array_size(array);
    size_t size = 2 + (n ? n - 1 : 0);
    for (size_t i = 0; i < n; i++)
        size += canonical_measure(json_array_get(array, i), n_values);
    return size;
}

size_t canonical_size(const json_t *value) {
    size_t n_values = 0;
    return canonical_measure(value, &n_values);
}

size_t canonical_measure(const json_t *value, size_t *n_values) {
    ++*n_values;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return measure_object(value, n_values);
    case JSON_ARRAY:
        return measure_array(value, n_values);
    case JSON_STRING:
        return canonical_string_size(json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
    case JSON_REAL:
        return number_size(json_number_value(value));
    case JSON_TRUE:
    case JSON_NULL:
        return 4;
    case JSON_FALSE:
        return 5;
    }
    return 0;
}

size_t canonical_string_size(const char *text, size_t len) {
    size_t size = len + 2;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\' || (c >= '\b' && c <= '\r' && c != '\v'))
            size += 1; /* the backslash */
        else if (c < 0x20)
            size += 5; /* \u00xx */
    }
    return size;
}

static size_t put_digits(uint64_t number, char *ret) {
    char reversed[20];
    size_t n = 0;
    do
        reversed[n++] = (char)('0' + number % 10);
    while ((number /= 10));
    for (size_t i = 0; i < n; i++)
        ret[i] = reversed[n - 1 - i];
    return n;
}

/* 1e+21, 1.5e-7: the first digit, the others behind a point, and the point's place. */
static size_t put_scientific(const char *digits, size_t n, int point, char *ret) {
    char *end = ret;
    *end++ = digits[0];
    if (n > 1) {
        *end++ = '.';
        memcpy(end, digits + 1, n - 1);
        end += n - 1;
    }
    *end++ = 'e';
    *end++ = point > 0 ? '+' : '-';
    end += put_digits((uint64_t)abs(point - 1), end);
    return (size_t)(end - ret);
}

/* ECMA-262, Number::toString: the digits with the decimal point after the first `point` of them. */
static size_t put_decimal(struct shortest number, char *ret) {
    char digits[20];
    size_t n = put_digits(number.digits, digits);
    int point = (int)n + number.exponent;
    if (point > 21 || point <= -6)
        return put_scientific(digits, n, point, ret);
    char *end = ret;
    if (point <= 0) {
        size_t zeros = (size_t)-point;
        memcpy(end, "0.00000", 2 + zeros);
        memcpy(end + 2 + zeros, digits, n);
        return 2 + zeros + n;
    }
    size_t before = (size_t)point < n ? (size_t)point : n;
    memcpy(end, digits, before);
    memset(end + before, '0', (size_t)point - before);
    end += point;
    if (before < n) {
        *end++ = '.';
        memcpy(end, digits + before, n - before);
        end += n - before;
    }
    return (size_t)(end - ret);
}

size_t canonical_number(double number, char ret[static CANONICAL_NUMBER_CAP]) {
    char *end = ret;
    double magnitude = fabs(number);
    if (number < 0) /* not -0 */
        *end++ = '-';
    if (is_safe_integer(magnitude))
        end += put_digits((uint64_t)magnitude, end);
    else
        end += put_decimal(shortest_digits(magnitude), end);
    *end = '\0';
    return (size_t)(end - ret);
}

void canonical_checksum(const json_t *value, char ret_hex[static HASH_HEX_LEN + 1]) {
    _cleanup_(buf_done) struct buf text = BUF_NULL;
    canonical_print(value, &text);
    hash_sha256_hex(text.data, text.len, ret_hex);
}
