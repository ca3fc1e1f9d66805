/* See splice.h. The text is canonical: no white space, members sorted, one way to write each value.
 * So a value is found by going over the bytes before it, two values are equal when their bytes are,
 * and a member's place is before the first name that sorts behind it. Whatever is not as expected
 * ends the attempt. */
#include "proto/splice.h"

#include <string.h>

#include "proto/canonical.h"
#include "proto/pointer.h"
#include "proto/splice_private.h"
#include "proto/text.h"

/* Each operation goes over data once, 2.4 ns a byte at the most: within these a patch takes 10 ms,
 * and its copies 1, of the 50 that a request may cost. */
#define MAX_DATA_BYTES (512u << 10)
#define MAX_VALUE_BYTES (32u << 10)
#define MAX_OPERATIONS 8

/* ---- operations ---- */

enum kind { ADD, REPLACE, REMOVE, TEST };

struct operation {
    enum kind kind;
    const char *path; /* behind /data */
    const json_t *value;
};

static bool read_kind(const json_t *json, enum kind *ret) {
    static const char *const names[] = {"add", "replace", "remove", "test"};
    const char *name = json_string_value(json_object_get(json, "op"));
    for (size_t i = 0; name && i < N_ELEMENTS(names); i++)
        if (strcmp(names[i], name) == 0) {
            *ret = (enum kind)i;
            return true;
        }
    return false;
}

static bool read_operation(const json_t *json, struct operation *ret) {
    const char *path = json_string_value(json_object_get(json, "path"));
    if (!path || !read_kind(json, &ret->kind) || strncmp(path, "/data", 5) != 0 ||
        strlen(path) > POINTER_MAX_BYTES || strchr(path, '~'))
        return false;
    ret->path = path + 5;
    ret->value = json_object_get(json, "value");
    if (*ret->path == '\0')
        return ret->value && ret->kind != REMOVE;
    return *ret->path == '/' && (ret->value || ret->kind == REMOVE);
}

struct splicer {
    struct buf data;
    struct buf value; /* of the operation, as it goes in */
    const struct patch_limits *limits;
};

/* The place of the path's last token, and in *ret_depth the number of its tokens. */
static bool find_place(const struct splicer *s, const char *path, struct place *ret,
                       struct token *ret_token, size_t *ret_depth) {
    const char *end = s->data.data + s->data.len;
    *ret = (struct place){.value = s->data.data, .start = s->data.data, .end = end};
    for (*ret_depth = 0; *path; ++*ret_depth) {
        ret_token->name = path + 1;
        ret_token->len = strcspn(path + 1, "/");
        path += 1 + ret_token->len;
        if (!ret->value || *ret_depth == s->limits->max_data_depth ||
            *ret_depth + 1 == POINTER_MAX_TOKENS ||
            !splice_find(ret->value, ret->end, ret_token, *path == '\0', ret))
            return false;
    }
    return true;
}

static void put_between(struct splicer *s, const char *from, const char *to, const char *bytes,
                        size_t len) {
    size_t at = (size_t)(from - s->data.data), old_len = (size_t)(to - from);
    size_t behind = s->data.len - at - old_len;
    if (len > old_len)
        buf_reserve(&s->data, len - old_len);
    char *place = s->data.data + at;
    memmove(place + len, place + old_len, behind + 1); /* with the NUL */
    memcpy(place, bytes, len);
    s->data.len += len - old_len;
}

static void insert(struct splicer *s, const struct place *p, const struct token *token) {
    struct buf whole = BUF_NULL;
    buf_reserve(&whole, 2 * token->len + s->value.len + 8);
    if (p->has_before && !p->has_after)
        buf_putc(&whole, ',');
    if (p->in_object) {
        buf_put_json(&whole, token->name, token->len);
        buf_putc(&whole, ':');
    }
    buf_put(&whole, s->value.data, s->value.len);
    if (p->has_after)
        buf_putc(&whole, ',');
    put_between(s, p->start, p->start, whole.data, whole.len);
    buf_done(&whole);
}

static void take_out(struct splicer *s, const struct place *p) {
    const char *from = p->start - (p->has_before && !p->has_after);
    put_between(s, from, p->end + p->has_after, "", 0);
}

static bool print_value(struct splicer *s, const json_t *value, size_t depth) {
    size_t most = s->limits->max_data_depth;
    if (depth > most || text_depth(value, most - depth) > most - depth)
        return false;
    buf_clear(&s->value);
    canonical_print(value, &s->value);
    return s->value.len <= MAX_VALUE_BYTES;
}

static bool apply(struct splicer *s, const struct operation *op) {
    struct place p;
    struct token token = {0};
    size_t depth;
    if (!find_place(s, op->path, &p, &token, &depth))
        return false;
    if (op->kind != REMOVE && !print_value(s, op->value, depth))
        return false;
    bool inserts = op->kind == ADD && (!p.value || (depth > 0 && !p.in_object));
    if (inserts) {
        p.has_after |= p.value != NULL;
        insert(s, &p, &token);
        return true;
    }
    if (!p.value)
        return false;
    if (op->kind == REMOVE)
        take_out(s, &p);
    else if (op->kind != TEST)
        put_between(s, p.value, p.end, s->value.data, s->value.len);
    else
        return (size_t)(p.end - p.value) == s->value.len &&
               memcmp(p.value, s->value.data, s->value.len) == 0;
    return true;
}

/* ---- patches ---- */

/* How many they are; 0: some are not for here. */
static size_t read_all(const json_t *operations, struct operation ret[static MAX_OPERATIONS],
                       size_t *ret_n_tests) {
    size_t n = json_array_size(operations);
    if (n > MAX_OPERATIONS)
        return 0;
    *ret_n_tests = 0;
    for (size_t i = 0; i < n; i++) {
        if (!read_operation(json_array_get(operations, i), &ret[i]))
            return 0;
        *ret_n_tests += ret[i].kind == TEST;
    }
    return n;
}

static bool apply_all(struct splicer *s, const struct operation *operations, size_t n) {
    size_t most = s->limits->max_data_bytes;
    if (most > MAX_DATA_BYTES)
        most = MAX_DATA_BYTES;
    for (size_t i = 0; i < n; i++)
        if (!apply(s, &operations[i]) || s->data.len > most)
            return false;
    return true;
}

static json_t *without_tests(const json_t *operations, const struct operation *read,
                             size_t n_tests) {
    size_t i;
    json_t *json;
    if (n_tests == 0)
        return json_incref((json_t *)(uintptr_t)operations);
    json_t *kept = json_array();
    json_array_foreach(operations, i, json) if (read[i].kind != TEST) json_array_append(kept, json);
    return kept;
}

bool splice_apply(const char *data, size_t len, const json_t *operations,
                  const struct patch_limits *limits, struct splice_result *ret) {
    struct operation read[MAX_OPERATIONS];
    size_t n_tests, n = read_all(operations, read, &n_tests);
    if (n == 0 || len == 0 || len > MAX_DATA_BYTES || len > limits->max_data_bytes)
        return false;
    struct splicer s = {.limits = limits};
    buf_put(&s.data, data, len);
    bool is_applied = apply_all(&s, read, n);
    if (is_applied)
        *ret = (struct splice_result){.data = s.data,
                                      .operations = without_tests(operations, read, n_tests),
                                      .writes = n > n_tests};
    else
        buf_done(&s.data);
    buf_done(&s.value);
    return is_applied;
}

void splice_result_done(struct splice_result *r) {
    buf_done(&r->data);
    json_decref(r->operations);
    *r = (struct splice_result){0};
}
