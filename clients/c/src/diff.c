/* Differences; see diff.h. */
#include "clients/c/src/diff.h"

#include <string.h>

#include "base/buf.h"
#include "proto/patch.h"
#include "proto/text.h"

struct diff {
    struct buf path;
    json_t *operations;
};

static void diff_into(struct diff *d, const json_t *a, const json_t *b);

static bool is_full(const struct diff *d) {
    return json_array_size(d->operations) > PATCH_MAX_OPERATIONS;
}

static void put(struct diff *d, const char *op, const json_t *value) {
    if (is_full(d))
        return;
    json_t *operation = json_object();
    json_object_set_new(operation, "op", json_string(op));
    json_object_set_new(operation, "path", json_string(d->path.data));
    if (value)
        json_object_set_new(operation, "value", json_incref((json_t *)(uintptr_t)value));
    json_array_append_new(d->operations, operation);
}

static void pop(struct diff *d, size_t len) {
    d->path.len = len;
    d->path.data[len] = '\0';
}

/* As RFC 6901 escapes it. Returns what pop takes. */
static size_t push_name(struct diff *d, const char *name) {
    size_t len = d->path.len;
    buf_putc(&d->path, '/');
    for (; *name; name++) {
        if (*name == '~')
            buf_puts(&d->path, "~0");
        else if (*name == '/')
            buf_puts(&d->path, "~1");
        else
            buf_putc(&d->path, *name);
    }
    return len;
}

static void put_at(struct diff *d, const char *op, size_t index, const json_t *value) {
    size_t len = d->path.len;
    buf_printf(&d->path, "/%zu", index);
    put(d, op, value);
    pop(d, len);
}

static void put_at_end(struct diff *d, const json_t *value) {
    size_t len = d->path.len;
    buf_puts(&d->path, "/-");
    put(d, "add", value);
    pop(d, len);
}

static void diff_elements(struct diff *d, const json_t *a, const json_t *b) {
    size_t n_a = json_array_size(a), n_b = json_array_size(b), common = n_a < n_b ? n_a : n_b;
    for (size_t i = 0; i < common && !is_full(d); i++) {
        size_t len = d->path.len;
        buf_printf(&d->path, "/%zu", i);
        diff_into(d, json_array_get(a, i), json_array_get(b, i));
        pop(d, len);
    }
    for (size_t i = n_a; i > common; i--)
        put_at(d, "remove", i - 1, NULL);
    for (size_t i = common; i < n_b; i++)
        put_at_end(d, json_array_get(b, i));
}

/* One piece was put in or taken out; false: more than that happened. */
static bool diff_cut(struct diff *d, const json_t *a, const json_t *b) {
    size_t n_a = json_array_size(a), n_b = json_array_size(b), common = n_a < n_b ? n_a : n_b;
    size_t head = 0, tail = 0;
    while (head < common && text_equal(json_array_get(a, head), json_array_get(b, head)))
        head++;
    while (tail < common - head &&
           text_equal(json_array_get(a, n_a - 1 - tail), json_array_get(b, n_b - 1 - tail)))
        tail++;
    if (n_a == n_b || head + tail < common)
        return false;
    for (size_t i = n_a - tail; i > head; i--)
        put_at(d, "remove", i - 1, NULL);
    for (size_t i = head; i < n_b - tail; i++) {
        if (tail)
            put_at(d, "add", i, json_array_get(b, i));
        else
            put_at_end(d, json_array_get(b, i));
    }
    return true;
}

static void diff_members(struct diff *d, const json_t *a, const json_t *b) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)a, name, value) {
        if (!json_object_get(b, name)) {
            size_t len = push_name(d, name);
            put(d, "remove", NULL);
            pop(d, len);
        }
    }
    json_object_foreach((json_t *)(uintptr_t)b, name, value) {
        const json_t *old = json_object_get(a, name);
        size_t len = push_name(d, name);
        if (old)
            diff_into(d, old, value);
        else
            put(d, "add", value);
        pop(d, len);
    }
}

static void diff_into(struct diff *d, const json_t *a, const json_t *b) {
    if (is_full(d) || text_equal(a, b))
        return;
    if (json_is_array(a) && json_is_array(b)) {
        if (!diff_cut(d, a, b))
            diff_elements(d, a, b);
    } else if (json_is_object(a) && json_is_object(b)) {
        diff_members(d, a, b);
    } else {
        put(d, "replace", b);
    }
}

json_t *diff_values(const json_t *before, const json_t *after, const char *path) {
    struct diff d = {.operations = json_array()};
    buf_puts(&d.path, path);
    diff_into(&d, before, after);
    if (is_full(&d)) {
        json_array_clear(d.operations);
        put(&d, "replace", after);
    }
    buf_done(&d.path);
    return d.operations;
}
