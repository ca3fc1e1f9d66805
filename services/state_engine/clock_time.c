/* The rules of clocks: what time does by itself, the warnings and the deadline; see clock.h. */
#include <string.h>

#include "services/state_engine/clock.h"
#include "services/state_engine/clock_private.h"

int64_t clock_deadline(const struct clock *c) {
    if (!clock_runs(c) || clock_is_unbounded(c))
        return 0;
    return c->started_at + c->participants[c->active].remaining_ms;
}

/* ---- Warnings ---- */

/* Up to where nothing is to be told any more. A warning that lies before the turn, or at its very
 * beginning, is none. */
static int64_t warned_until(const struct clock *c, int64_t told) {
    return told > c->started_at ? told : c->started_at;
}

int64_t clock_next_at(const struct clock *c, int64_t told) {
    int64_t deadline = clock_deadline(c);
    for (size_t i = 0; deadline && i < c->n_warnings; i++)
        if (deadline - c->warnings[i] > warned_until(c, told))
            return deadline - c->warnings[i];
    return deadline;
}

int64_t clock_warning(const struct clock *c, int64_t told, int64_t now) {
    int64_t deadline = clock_deadline(c);
    if (deadline <= now)
        return 0;
    for (size_t i = c->n_warnings; i-- > 0;) {
        int64_t moment = deadline - c->warnings[i];
        if (moment <= now)
            return moment > warned_until(c, told) ? c->warnings[i] : 0;
    }
    return 0;
}

/* ---- The deadline ---- */

static bool all_have_groups(const struct clock *c) {
    for (size_t i = 0; i < c->n_participants; i++)
        if (!c->participants[i].group[0])
            return false;
    return true;
}

static const char *side_of(const struct clock *c, size_t who, bool are_groups) {
    const struct clock_participant *p = &c->participants[who];
    return are_groups ? p->group : p->id;
}

const char *clock_side(const struct clock *c, size_t who) {
    return side_of(c, who, all_have_groups(c));
}

/* One of the other side that has time, when there are two. */
static size_t find_winner(const struct clock *c, size_t loser) {
    bool groups = all_have_groups(c);
    const char *other = NULL;
    size_t winner = CLOCK_NOBODY;
    for (size_t i = 0; i < c->n_participants; i++) {
        const char *side = side_of(c, i, groups);
        if (strcmp(side, side_of(c, loser, groups)) == 0)
            continue;
        if (other && strcmp(side, other) != 0)
            return CLOCK_NOBODY;
        other = side;
        if (winner == CLOCK_NOBODY && clock_has_time(c, i))
            winner = i;
    }
    return winner;
}

/* The turn is over: whose is the next? Where a turn's time is given anew, one that ran out of it is
 * out of the rotation with skip only. */
static size_t end_turn(struct clock *c, size_t who) {
    clock_count_turn(c);
    if (c->mode != CLOCK_PER_CYCLE || c->action != CLOCK_AUTO_SWITCH)
        clock_set_remaining(c, who, 0, true);
    return c->action == CLOCK_END_SESSION ? CLOCK_NOBODY : clock_next(c, who);
}

bool clock_expire(struct clock *c, int64_t now, struct clock_expired *ret) {
    int64_t deadline = clock_deadline(c);
    if (deadline == 0 || deadline > now)
        return false;
    size_t who = c->active;
    *ret = (struct clock_expired){.participant = who, .next = who, .winner = CLOCK_NOBODY};
    clock_book(c, deadline);
    if (c->action == CLOCK_NOTIFY) {
        clock_set_remaining(c, who, 0, true);
        c->started_at = 0;
        return true;
    }
    c->active = ret->next = end_turn(c, who);
    c->started_at = ret->next == CLOCK_NOBODY ? 0 : deadline;
    ret->ends = ret->next == CLOCK_NOBODY;
    if (ret->ends)
        ret->winner = find_winner(c, who);
    return true;
}
