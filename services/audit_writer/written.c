/* See written.h. A table in which each session has one place, which the last one keeps: what is
 * lost by it costs a question, so ids that meet in one place do no harm. */
#include "services/audit_writer/written.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "services/audit_writer/entry.h"

#define N_PLACES 32768 /* a power of two */

struct place {
    char session_id[UUID_LEN + 1]; /* "": free */
    struct position position;
};

struct written {
    struct place places[N_PLACES];
};

struct written *written_new(void) {
    return must_alloc(sizeof(struct written));
}

struct written *written_free(struct written *w) {
    free(w);
    return NULL;
}

void written_forget(struct written *w) {
    memset(w->places, 0, sizeof(w->places));
}

/* An id ends with what is random in it. */
static size_t place_of(const char *session_id) {
    return strtoull(session_id + UUID_LEN - 8, NULL, 16) % N_PLACES;
}

void written_note(struct written *w, const char *session_id, struct position p) {
    struct place *place = &w->places[place_of(session_id)];
    bool is_its = strcmp(place->session_id, session_id) == 0;
    if (is_its && entry_position(p) <= entry_position(place->position))
        return;
    memcpy(place->session_id, session_id, UUID_LEN + 1);
    place->position = p;
}

bool written_has(const struct written *w, const char *session_id, struct position p) {
    if (!w)
        return false;
    const struct place *place = &w->places[place_of(session_id)];
    return position_equal(place->position, p) && strcmp(place->session_id, session_id) == 0;
}
