/* See expected.h. */
#include "services/audit_writer/expected.h"

#include <stdlib.h>
#include <string.h>

#include "services/audit_writer/array.h"
#include "services/audit_writer/statements.h"

struct told {
    const struct entry *entry;
    bool is_version; /* the row of its position, and not only one that carries it */
};

static int compare_numbers(uint64_t a, uint64_t b) {
    return (a > b) - (a < b);
}

/* By session and position; the row of a position before those that carry it. */
static int compare(const void *a, const void *b) {
    const struct told *x = a, *y = b;
    const struct event *e = &x->entry->event, *f = &y->entry->event;
    int r = strcmp(e->session_id, f->session_id);
    if (!r)
        r = compare_numbers(e->position.epoch, f->position.epoch);
    if (!r)
        r = compare_numbers(e->position.version, f->position.version);
    return r ? r : y->is_version - x->is_version;
}

static size_t sort(struct entry *const *entries, size_t n, struct told *ret) {
    size_t n_told = 0;
    for (size_t i = 0; i < n; i++)
        if (entry_is_row(entries[i]))
            ret[n_told++] = (struct told){entries[i], entry_is_version(entries[i])};
    qsort(ret, n_told, sizeof(*ret), compare);
    return n_told;
}

void expected_put(struct batch_statement *s, const char *session_id, struct position p) {
    array_put_uuid(&s->parameters[0], session_id);
    array_put_integer(&s->parameters[1], (int32_t)p.epoch);
    array_put_integer(&s->parameters[2], (int32_t)p.version);
    s->n_parameters = 3;
    s->n_rows++;
}

/* The version that must be there for this event to follow; 0: none. last: of that session and epoch
 * the newest that is in the range itself, or was asked for. */
static uint64_t needed(const struct told *t, uint64_t last) {
    const struct event *e = &t->entry->event;
    uint64_t version = e->position.version;
    if (e->type == EVENT_SESSION_REBUILT) /* an epoch begins with it */
        return 0;
    if (t->is_version)
        version--;
    return version > last ? version : 0;
}

void expected_build(struct entry *const *entries, size_t n, const struct written *known,
                    struct batch_statement *ret) {
    *ret = (struct batch_statement){.sql = statement_find_missing};
    _cleanup_(freep) struct told *told = must_alloc(n * sizeof(*told));
    size_t n_told = sort(entries, n, told);
    uint64_t last = 0;
    for (size_t i = 0; i < n_told; i++) {
        const struct event *e = &told[i].entry->event;
        const struct event *before = i ? &told[i - 1].entry->event : NULL;
        if (!before || strcmp(before->session_id, e->session_id) != 0 ||
            before->position.epoch != e->position.epoch)
            last = 0;
        uint64_t version = needed(&told[i], last);
        struct position p = {version, e->position.epoch};
        if (version && !written_has(known, e->session_id, p))
            expected_put(ret, e->session_id, p);
        last = e->position.version;
    }
}
