/* JSON Merge Patch as JSON Patch operations; see merge.h. Session and patch are walked together
 * once. Paths are written out in full, so that many changes far down, or below long names, would
 * make a delta much longer than the patch was: past a limit the walk goes on without writing
 * operations, only to learn which ancestor holds all changes, and that one is replaced. */
#include "proto/merge.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "proto/patch.h"
#include "proto/pointer.h"
#include "proto/text.h"

#define MAX_PATH_BYTES (4 * POINTER_MAX_BYTES) /* of all operations, in all */

struct walk {
    json_t *operations; /* owned */
    size_t path_bytes;  /* in operations */
    bool too_many;
    struct buf path;       /* to the object at hand */
    size_t lowest_len;     /* how short path was since the last change found */
    bool found;            /* a change, the first one in the object at: */
    struct buf first_path; /* whose first common_len bytes lead to what holds all changes */
    size_t common_len;
};

static void walk_done(struct walk *w) {
    json_decref(w->operations);
    buf_done(&w->path);
    buf_done(&w->first_path);
}

int merge_check(const json_t *merge_patch, struct fault *f) {
    if (!json_is_object(merge_patch))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, NULL, "a merge patch must be an object");
    const char *member;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)merge_patch, member, value) {
        bool is_name = strcmp(member, "name") == 0;
        if (!is_name && strcmp(member, "data") != 0)
            return (int)fault_set(f, FAULT_PATH_NOT_WRITABLE, member,
                                  "only name and data can be written");
        if (json_is_null(value))
            return (int)fault_set(f, FAULT_INVALID_VALUE, member,
                                  "null would remove %s, which must stay", member);
        if (is_name && !json_is_string(value))
            return (int)fault_set(f, FAULT_INVALID_REQUEST, member, "name must be a string");
    }
    return 0;
}

/* RFC 7396, section 2. A new reference; what the patch leaves is shared with target. */
static json_t *merged(const json_t *target, json_t *patch) {
    if (!json_is_object(patch))
        return json_incref(patch);
    json_t *result =
        json_is_object(target) ? json_copy((json_t *)(uintptr_t)target) : json_object();
    const char *name;
    json_t *value;
    json_object_foreach(patch, name, value) {
        if (json_is_null(value))
            json_object_del(result, name);
        else
            json_object_set_new_nocheck(result, name, merged(json_object_get(target, name), value));
    }
    return result;
}

static void put_token(struct buf *path, const char *name) {
    buf_putc(path, '/');
    for (const char *c = name; *c; c++) {
        if (*c == '~')
            buf_puts(path, "~0");
        else if (*c == '/')
            buf_puts(path, "~1");
        else
            buf_putc(path, *c);
    }
}

static void pop_to(struct walk *w, size_t len) {
    w->path.len = len;
    if (len < w->lowest_len)
        w->lowest_len = len;
}

static json_t *operation(const char *op, const char *path, json_t *value) {
    json_t *json = json_object();
    json_object_set_new_nocheck(json, "op", json_string_nocheck(op));
    json_object_set_new_nocheck(json, "path", json_string_nocheck(path));
    if (value)
        json_object_set_nocheck(json, "value", value);
    return json;
}

static void note_place(struct walk *w) {
    if (!w->found) {
        w->found = true;
        buf_put(&w->first_path, w->path.data, w->path.len);
        w->common_len = w->path.len;
    } else if (w->lowest_len < w->common_len) {
        w->common_len = w->lowest_len;
    }
    w->lowest_len = w->path.len;
}

/* A change of the member `name` of the object at hand. */
static void add_change(struct walk *w, const char *op, const char *name, json_t *value) {
    note_place(w);
    if (w->too_many)
        return;
    size_t len = w->path.len;
    put_token(&w->path, name);
    w->path_bytes += w->path.len;
    if (w->path.len > POINTER_MAX_BYTES || w->path_bytes > MAX_PATH_BYTES ||
        json_array_size(w->operations) == PATCH_MAX_OPERATIONS)
        w->too_many = true;
    else
        json_array_append_new(w->operations, operation(op, w->path.data, value));
    w->path.len = len;
}

static void walk_member(struct walk *w, const json_t *target, const char *name, json_t *patch) {
    json_t *old = json_object_get(target, name);
    if (json_is_null(patch)) {
        if (old)
            add_change(w, "remove", name, NULL);
        return;
    }
    if (!json_is_object(old) || !json_is_object(patch)) {
        json_auto_t *value = merged(NULL, patch);
        if (!old)
            add_change(w, "add", name, value);
        else if (!text_equal(old, value))
            add_change(w, "replace", name, value);
        return;
    }
    size_t len = w->path.len;
    put_token(&w->path, name);
    const char *inner_name;
    json_t *inner;
    json_object_foreach(patch, inner_name, inner) walk_member(w, old, inner_name, inner);
    pop_to(w, len);
}

/* Replaces all operations behind the first n_kept by one. */
static int fold(struct walk *w, size_t n_kept, const json_t *resource, const json_t *patch,
                struct fault *f) {
    /* The path itself may be longer than a pointer may be: then a higher ancestor. */
    while (w->common_len > POINTER_MAX_BYTES)
        w->common_len =
            (size_t)((char *)memrchr(w->first_path.data, '/', w->common_len) - w->first_path.data);
    w->first_path.data[w->common_len] = '\0';
    _cleanup_(pointer_done) struct pointer at = {0};
    int r = pointer_parse(w->first_path.data, w->common_len, &at, f);
    if (r)
        return r;
    json_t *target = pointer_find((json_t *)(uintptr_t)resource, &at, at.n_tokens);
    json_auto_t *value = merged(target, pointer_find((json_t *)(uintptr_t)patch, &at, at.n_tokens));
    for (size_t n = json_array_size(w->operations); n > n_kept; n--)
        json_array_remove(w->operations, n - 1);
    json_array_append_new(w->operations, operation("replace", w->first_path.data, value));
    return 0;
}

int merge_to_operations(const json_t *resource, const json_t *merge_patch, json_t **ret_operations,
                        struct fault *f) {
    int r = merge_check(merge_patch, f);
    if (r)
        return r;
    _cleanup_(walk_done) struct walk w = {.operations = json_array()};
    json_t *name = json_object_get(merge_patch, "name");
    json_t *data = json_object_get(merge_patch, "data");
    if (name && !text_equal(name, json_object_get(resource, "name")))
        json_array_append_new(w.operations, operation("replace", "/name", name));
    size_t n_kept = json_array_size(w.operations);
    if (data)
        walk_member(&w, resource, "data", data);
    if (w.too_many)
        r = fold(&w, n_kept, resource, merge_patch, f);
    if (r == 0)
        *ret_operations = TAKE_PTR(w.operations);
    return r;
}
