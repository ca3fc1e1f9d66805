/* Whether two patches touch the same places; see patch_overlaps in patch.h. What one patch wrote is
 * sorted once, and each place of the other is looked up in it: comparing each with each would take
 * seconds for a thousand operations and a full window of deltas.
 *
 * A place is the bytes of its tokens, each with a NUL behind it, so that a place is above another
 * exactly when its bytes start the other's. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/patch.h"
#include "proto/patch_read.h"
#include "proto/pointer.h"

struct place {
    char *bytes; /* owned by the list */
    size_t len;
};

struct place_list {
    struct place *places; /* owned */
    size_t n, cap;
};

static void place_list_done(struct place_list *list) {
    for (size_t i = 0; i < list->n; i++)
        free(list->places[i].bytes);
    free(list->places);
    *list = (struct place_list){0};
}

static int compare_places(const void *a, const void *b) {
    const struct place *left = a, *right = b;
    size_t common = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->bytes, right->bytes, common);
    return order ? order : (left->len > right->len) - (left->len < right->len);
}

static bool starts_with(const struct place *p, const struct place *start) {
    return start->len <= p->len && memcmp(p->bytes, start->bytes, start->len) == 0;
}

static struct place place_of(const struct pointer *p, size_t n_tokens) {
    if (n_tokens == 0)
        return (struct place){.bytes = p->storage};
    const struct pointer_token *last = &p->tokens[n_tokens - 1];
    return (struct place){.bytes = p->storage,
                          .len = (size_t)(last->name - p->storage) + last->len + 1};
}

static bool is_element(const struct pointer_token *token) {
    if (strcmp(token->name, "-") == 0)
        return true;
    return token->len > 0 && strspn(token->name, "0123456789") == token->len;
}

/* Adding or removing an element shifts the others, so that it writes the array. Whether the parent
 * is an array is not known here: digits are taken for an index. */
static struct place place_written(const struct op *op, const struct pointer *p) {
    bool shifts = op->kind != OP_REPLACE && is_element(&p->tokens[p->n_tokens - 1]);
    return place_of(p, p->n_tokens - shifts);
}

/* Fills ret with the (at most two) places, borrowed from op; returns how many. */
static size_t places_written(const struct op *op, struct place ret[static 2]) {
    if (op->kind == OP_TEST)
        return 0;
    ret[0] = place_written(op, &op->path);
    if (op->kind != OP_MOVE)
        return 1;
    ret[1] = place_written(op, &op->from);
    return 2;
}

static size_t places_touched(const struct op *op, struct place ret[static 2]) {
    if (op->kind == OP_TEST) {
        ret[0] = place_of(&op->path, op->path.n_tokens);
        return 1;
    }
    size_t n = places_written(op, ret);
    if (op->kind == OP_COPY)
        ret[n++] = place_of(&op->from, op->from.n_tokens);
    return n;
}

static void add_place(struct place_list *list, const struct place *p) {
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        list->places = must_realloc(list->places, list->cap * sizeof(*list->places));
    }
    list->places[list->n++] = (struct place){.bytes = must_memdup(p->bytes, p->len), .len = p->len};
}

/* Sorts the places and drops each that is another's or below another: of those that start alike,
 * only the shortest stays, and it comes right before all that it would be above. */
static void sort_places(struct place_list *list) {
    if (list->n == 0)
        return;
    qsort(list->places, list->n, sizeof(*list->places), compare_places);
    size_t n_kept = 1;
    for (size_t i = 1; i < list->n; i++)
        if (starts_with(&list->places[i], &list->places[n_kept - 1]))
            free(list->places[i].bytes);
        else
            list->places[n_kept++] = list->places[i];
    list->n = n_kept;
}

static bool list_overlaps(const struct place_list *list, const struct place *p) {
    size_t low = 0, high = list->n; /* the first place that is not before p */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_places(&list->places[middle], p) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return (low < list->n && starts_with(&list->places[low], p)) ||
           (low > 0 && starts_with(p, &list->places[low - 1]));
}

static int list_writes(const json_t *operations, struct place_list *list) {
    for (size_t i = 0, n = json_array_size(operations); i < n; i++) {
        _cleanup_(op_done) struct op op = {0};
        int r = op_read(json_array_get(operations, i), &op, NULL);
        if (r)
            return r;
        struct place places[2];
        size_t n_places = places_written(&op, places);
        for (size_t j = 0; j < n_places; j++)
            add_place(list, &places[j]);
    }
    return 0;
}

bool patch_overlaps(const json_t *operations, const json_t *since) {
    _cleanup_(place_list_done) struct place_list written = {0};
    /* What cannot be read may have written anything. */
    if (list_writes(since, &written) != 0)
        return true;
    sort_places(&written);
    for (size_t i = 0, n = json_array_size(operations); i < n; i++) {
        _cleanup_(op_done) struct op op = {0};
        if (op_read(json_array_get(operations, i), &op, NULL) != 0)
            return true;
        struct place places[2];
        size_t n_places = places_touched(&op, places);
        for (size_t j = 0; j < n_places; j++)
            if (list_overlaps(&written, &places[j]))
                return true;
    }
    return false;
}
