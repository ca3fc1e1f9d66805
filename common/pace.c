/* When commands leave; see pace.h. */
#include "common/pace.h"

#include "base/cleanup.h"

void pace_wait(struct pace *p, uint64_t now_ns) {
    if (!p->since_ns)
        p->since_ns = now_ns;
}

bool pace_holds(const struct pace *p, uint64_t now_ns) {
    if (now_ns - p->since_ns >= PACE_HOLD_NS)
        return false;
    for (size_t i = 0; i < N_ELEMENTS(p->on_way); i++)
        if (!p->on_way[i])
            return false;
    return true;
}

uint64_t pace_sent(struct pace *p) {
    uint64_t *place = &p->on_way[0];
    for (size_t i = 1; i < N_ELEMENTS(p->on_way); i++)
        if (p->on_way[i] < *place) /* a free one, or the oldest */
            place = &p->on_way[i];
    *place = ++p->n_sent;
    p->since_ns = 0;
    return p->n_sent;
}

void pace_dropped(struct pace *p) {
    p->since_ns = 0;
}

void pace_answered(struct pace *p, uint64_t number) {
    for (size_t i = 0; i < N_ELEMENTS(p->on_way); i++)
        if (p->on_way[i] == number)
            p->on_way[i] = 0;
}
