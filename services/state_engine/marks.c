/* Runs of confirmed versions; see marks.h. The list stays short (it is emptied by the next save, at
 * most a second later), so that a look through it is enough. */
#include "services/state_engine/marks.h"

#include <string.h>

#include "base/buf.h"

void marks_done(struct marks *m) {
    free(m->items);
    *m = (struct marks){0};
}

static bool continues(const struct store_mark *run, const char *session_id, struct position p) {
    return run->published.epoch == p.epoch && run->published.version + 1 == p.version &&
           memcmp(run->session_id, session_id, UUID_LEN) == 0;
}

static bool precedes(const struct store_mark *run, const char *session_id, struct position p) {
    return run->published.epoch == p.epoch && run->first == p.version + 1 &&
           memcmp(run->session_id, session_id, UUID_LEN) == 0;
}

void marks_add(struct marks *m, const char *session_id, struct position confirmed) {
    for (size_t i = m->n; i-- > 0;) {
        struct store_mark *run = &m->items[i];
        if (continues(run, session_id, confirmed))
            run->published = confirmed;
        else if (precedes(run, session_id, confirmed))
            run->first = confirmed.version;
        else
            continue;
        m->is_urgent |= run->published.version - run->first >= MARKS_URGENT_RUN;
        return;
    }
    if (!m->items)
        m->items = must_alloc(MARKS_MAX * sizeof(*m->items));
    if (m->n == MARKS_MAX)
        memmove(m->items, m->items + 1, --m->n * sizeof(*m->items));
    struct store_mark *run = &m->items[m->n++];
    *run = (struct store_mark){.first = confirmed.version, .published = confirmed};
    memcpy(run->session_id, session_id, UUID_LEN + 1);
    m->is_urgent |= m->n >= MARKS_URGENT;
}

void marks_drop_settled(struct marks *m) {
    size_t kept = 0;
    for (size_t i = 0; i < m->n; i++)
        if (!m->items[i].settled)
            m->items[kept++] = m->items[i];
    m->n = kept;
    m->is_urgent = false;
}
