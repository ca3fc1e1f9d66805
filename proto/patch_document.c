/* Copy on write and accounting; see patch_document.h. A container is the document's own when
 * nothing else refers to it and all above it are own: copying one adds a reference to each of its
 * children, so that the count alone tells. */
#include "proto/patch_document.h"

#include <string.h>

#include "proto/canonical.h"

/* What a step takes at the most, freeing included, as measured on a small server with documents
 * made to be slow: zeros, tiny members. The sum may reach EFFORT_MAX_NS, which leaves room for the
 * rest of a request in the 50 ms that one may take, and for 4 MiB of such copies. */
#define EFFORT_MAX_NS UINT64_C(35000000)
#define NS_A_MEMBER_COPIED 400
#define NS_AN_ELEMENT_COPIED 30
#define NS_A_NODE_WALKED 8
#define NS_A_VALUE_MEASURED 6
#define NS_A_BYTE_MEASURED 3
#define ELEMENTS_SHIFTED_A_NS 1

void document_init(struct document *d, json_t *resource, size_t data_bytes,
                   const struct patch_limits *limits) {
    *d =
        (struct document){.root = json_copy(resource), .data_bytes = data_bytes, .limits = *limits};
}

void document_done(struct document *d) {
    json_decref(d->root);
    d->root = NULL;
}

size_t document_measure(struct document *d, const json_t *value) {
    size_t n_values = 0;
    size_t bytes = canonical_measure(value, &n_values);
    d->effort_ns += n_values * NS_A_VALUE_MEASURED + bytes * NS_A_BYTE_MEASURED;
    return bytes;
}

size_t document_measure_copied(struct document *d, const json_t *value) {
    size_t bytes = document_measure(d, value);
    d->work_bytes += bytes;
    return bytes;
}

size_t document_measure_compared(struct document *d, const json_t *value) {
    uint64_t before_ns = d->effort_ns;
    size_t bytes = document_measure_copied(d, value);
    d->effort_ns += d->effort_ns - before_ns;
    return bytes;
}

int document_check_cost(const struct document *d, struct fault *f) {
    if (d->work_bytes > PATCH_MAX_WORK_BYTES)
        return (int)fault_set(f, FAULT_PATCH_FAILED, NULL,
                              "the patch copies and compares over %u bytes", PATCH_MAX_WORK_BYTES);
    if (d->effort_ns > EFFORT_MAX_NS)
        return (int)fault_set(f, FAULT_PATCH_FAILED, NULL,
                              "the patch takes too long; send it in parts");
    return 0;
}

static int not_there(const struct pointer *p, size_t n_tokens, struct fault *f) {
    if (n_tokens == p->n_tokens)
        return (int)fault_set(f, FAULT_PATCH_FAILED, NULL, "nothing is at this path");
    return (int)fault_set(f, FAULT_PATCH_FAILED, NULL,
                          "there is no object or array to hold this path's part %zu", n_tokens + 1);
}

static json_t *own_copy(struct document *d, json_t *container) {
    if (json_is_object(container))
        d->effort_ns += json_object_size(container) * NS_A_MEMBER_COPIED;
    else
        d->effort_ns += json_array_size(container) * NS_AN_ELEMENT_COPIED;
    return json_copy(container);
}

/* The child of a container that is the document's own, made its own too; NULL when there is none.
 */
static json_t *own_child(struct document *d, json_t *parent, const struct pointer_token *token) {
    size_t index = 0;
    bool in_object = json_is_object(parent);
    if (!in_object && (!json_is_array(parent) || !pointer_index(token, &index)))
        return NULL;
    json_t *child = in_object ? json_object_getn(parent, token->name, token->len)
                              : json_array_get(parent, index);
    if ((!json_is_object(child) && !json_is_array(child)) || child->refcount == 1)
        return child;
    json_t *copy = own_copy(d, child);
    if (in_object)
        json_object_setn_new_nocheck(parent, token->name, token->len, copy);
    else
        json_array_set_new(parent, index, copy);
    return copy;
}

/* The own container that holds the pointer's last token. */
static int own_parent(struct document *d, const struct pointer *p, json_t **ret, struct fault *f) {
    json_t *at = d->root;
    for (size_t i = 0; i + 1 < p->n_tokens; i++) {
        at = own_child(d, at, &p->tokens[i]);
        if (!at)
            return not_there(p, i, f);
    }
    if (!json_is_object(at) && !json_is_array(at))
        return not_there(p, p->n_tokens - 1, f);
    *ret = at;
    return 0;
}

static bool is_in_data(const struct pointer *p) {
    return p->n_tokens > 1; /* of what can be written only /data has something below it */
}

static bool is_data(const struct pointer *p) {
    return p->n_tokens == 1 && strcmp(p->tokens[0].name, "data") == 0;
}

/* What a value adds to its container beside itself: a name, a colon, a comma. */
static size_t frame_bytes(const json_t *container, const struct pointer_token *token,
                          size_t n_others) {
    size_t name =
        json_is_object(container) ? canonical_string_size(token->name, token->len) + 1 : 0;
    return name + (n_others > 0);
}

static void count_shift(struct document *d, const json_t *array, size_t index) {
    d->effort_ns += (json_array_size(array) - index) / ELEMENTS_SHIFTED_A_NS;
}

static json_t *take_from(struct document *d, json_t *parent, const struct pointer_token *token) {
    size_t index = 0;
    json_t *value = NULL;
    if (json_is_object(parent)) {
        value = json_incref(json_object_getn(parent, token->name, token->len));
        if (value)
            json_object_deln(parent, token->name, token->len);
    } else if (pointer_index(token, &index)) {
        value = json_incref(json_array_get(parent, index));
        if (value) {
            count_shift(d, parent, index);
            json_array_remove(parent, index);
        }
    }
    return value;
}

int document_take(struct document *d, const struct pointer *from, bool measure, json_t **ret,
                  size_t *ret_bytes, struct fault *f) {
    json_t *parent = NULL;
    int r = own_parent(d, from, &parent, f);
    if (r)
        return r;
    const struct pointer_token *token = &from->tokens[from->n_tokens - 1];
    json_t *value = take_from(d, parent, token);
    if (!value)
        return not_there(from, from->n_tokens, f);
    size_t bytes = 0;
    if (measure)
        bytes = is_data(from) ? d->data_bytes : document_measure(d, value);
    if (is_in_data(from)) {
        size_t n_others = json_object_size(parent) + json_array_size(parent);
        d->data_bytes -= bytes + frame_bytes(parent, token, n_others);
    } else if (is_data(from)) {
        d->data_bytes = 0;
    }
    *ret = value;
    *ret_bytes = bytes;
    return 0;
}

/* Whether the value has no more levels, as far as the patch may still cost something. */
static bool has_levels(struct document *d, const json_t *value, size_t most) {
    d->effort_ns += NS_A_NODE_WALKED;
    if (!json_is_object(value) && !json_is_array(value))
        return true;
    if (most == 0)
        return false;
    for (size_t i = 0, n = json_array_size(value); i < n && d->effort_ns <= EFFORT_MAX_NS; i++)
        if (!has_levels(d, json_array_get(value, i), most - 1))
            return false;
    json_t *borrowed = (json_t *)(uintptr_t)value; /* jansson iterates over non-const only */
    for (void *i = json_object_iter(borrowed); i && d->effort_ns <= EFFORT_MAX_NS;
         i = json_object_iter_next(borrowed, i))
        if (!has_levels(d, json_object_iter_value(i), most - 1))
            return false;
    return true;
}

static int check_depth(struct document *d, const struct pointer *at, const json_t *value,
                       struct fault *f) {
    size_t n_above = at->n_tokens - 1;
    size_t most = d->limits.max_data_depth;
    if (has_levels(d, value, most > n_above ? most - n_above : 0))
        return 0;
    return (int)fault_set(f, FAULT_STATE_TOO_LARGE, "data",
                          "data would have over %zu levels of nesting", most);
}

static int put_in_object(struct document *d, json_t *object, const struct pointer *at,
                         const struct placement *p, struct fault *f) {
    const struct pointer_token *token = &at->tokens[at->n_tokens - 1];
    json_t *old = json_object_getn(object, token->name, token->len);
    if (!old && p->must_exist)
        return not_there(at, at->n_tokens, f);
    if (is_data(at))
        d->data_bytes = p->bytes;
    else if (is_in_data(at) && old)
        d->data_bytes += p->bytes - document_measure(d, old);
    else if (is_in_data(at))
        d->data_bytes += p->bytes + frame_bytes(object, token, json_object_size(object));
    json_object_setn_nocheck(object, token->name, token->len, p->value);
    return 0;
}

static int put_in_array(struct document *d, json_t *array, const struct pointer *at,
                        const struct placement *p, struct fault *f) {
    const struct pointer_token *token = &at->tokens[at->n_tokens - 1];
    size_t n = json_array_size(array);
    size_t index = n; /* "-" */
    if (strcmp(token->name, "-") != 0 && !pointer_index(token, &index))
        return (int)fault_set(f, FAULT_PATCH_FAILED, NULL, "this is no index of an array");
    if (index > n || (p->must_exist && index == n))
        return (int)fault_set(f, FAULT_PATCH_FAILED, NULL, "the array has %zu elements", n);
    if (p->must_exist) {
        d->data_bytes += p->bytes - document_measure(d, json_array_get(array, index));
        json_array_set(array, index, p->value);
        return 0;
    }
    d->data_bytes += p->bytes + frame_bytes(array, token, n);
    count_shift(d, array, index);
    json_array_insert(array, index, p->value);
    return 0;
}

int document_put(struct document *d, const struct pointer *at, const struct placement *p,
                 struct fault *f) {
    size_t bytes_before = d->data_bytes;
    json_t *parent = NULL;
    int r = own_parent(d, at, &parent, f);
    if (r == 0 && p->check_depth)
        r = check_depth(d, at, p->value, f);
    if (r)
        return r;
    r = json_is_object(parent) ? put_in_object(d, parent, at, p, f)
                               : put_in_array(d, parent, at, p, f);
    if (r)
        return r;
    /* What was over the limit before, because the limit was larger once, may still shrink. */
    if (d->data_bytes > d->limits.max_data_bytes && d->data_bytes > bytes_before)
        return (int)fault_set(f, FAULT_STATE_TOO_LARGE, "data",
                              "data would have %zu bytes; %zu are allowed", d->data_bytes,
                              d->limits.max_data_bytes);
    return 0;
}
