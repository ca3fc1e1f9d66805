/* The rules of clocks: whose time runs, starting and stopping, switch and adjust; see clock.h. What
 * time does by itself is in clock_time.c. Decision 0012 has the rules as tables. */
#include "services/state_engine/clock.h"

#include <inttypes.h>
#include <string.h>

#include "services/state_engine/clock_private.h"

/* ---- Whose time runs ---- */

int64_t clock_moment(const struct clock *c, int64_t now) {
    return now > c->started_at ? now : c->started_at;
}

int64_t clock_elapsed(const struct clock *c, int64_t now) {
    if (!clock_runs(c))
        return 0;
    int64_t elapsed = clock_moment(c, now) - c->started_at;
    int64_t most = c->participants[c->active].remaining_ms;
    return clock_is_unbounded(c) || elapsed < most ? elapsed : most;
}

bool clock_has_time(const struct clock *c, size_t who) {
    return clock_is_unbounded(c) || c->participants[who].remaining_ms > 0;
}

size_t clock_next(const struct clock *c, size_t who) {
    for (size_t i = 1; i <= c->n_participants; i++) {
        size_t next = (who + i) % c->n_participants;
        if (clock_has_time(c, next))
            return next;
    }
    return CLOCK_NOBODY;
}

static bool is_one_group(const struct clock *c, size_t a, size_t b) {
    return strcmp(c->participants[a].group, c->participants[b].group) == 0;
}

static bool share_time(const struct clock *c, size_t a, size_t b) {
    return a == b || c->mode == CLOCK_GLOBAL ||
           (c->mode == CLOCK_PER_GROUP && is_one_group(c, a, b));
}

void clock_set_remaining(struct clock *c, size_t who, int64_t remaining_ms, bool has_expired) {
    for (size_t i = 0; i < c->n_participants; i++)
        if (share_time(c, who, i)) {
            c->participants[i].remaining_ms = remaining_ms;
            c->participants[i].has_expired = has_expired;
        }
}

/* ---- Turns ---- */

int64_t clock_book(struct clock *c, int64_t now) {
    if (!clock_runs(c))
        return 0;
    struct clock_participant *p = &c->participants[c->active];
    int64_t elapsed = clock_elapsed(c, now);
    p->used_ms += elapsed;
    if (!clock_is_unbounded(c))
        clock_set_remaining(c, c->active, p->remaining_ms - elapsed, p->has_expired);
    c->started_at = clock_moment(c, now);
    return elapsed;
}

void clock_count_turn(struct clock *c) {
    c->participants[c->active].n_cycles++;
    c->n_cycles++;
    if (c->mode == CLOCK_PER_CYCLE)
        clock_set_remaining(c, c->active, c->cycle_ms, false);
}

/* To the time that ran, unless it goes on running for the group. What goes beyond the
 * bound of a time is not given. */
static void add_increment(struct clock *c, size_t to) {
    const struct clock_participant *p = &c->participants[c->active];
    bool goes_on = c->mode == CLOCK_PER_GROUP && is_one_group(c, c->active, to);
    if (c->mode == CLOCK_PER_CYCLE || c->mode == CLOCK_COUNT_UP || p->has_expired || goes_on)
        return;
    int64_t sum = p->remaining_ms + c->increment_ms;
    clock_set_remaining(c, c->active, sum < CLOCK_TIME_MAX_MS ? sum : CLOCK_TIME_MAX_MS, false);
}

/* ---- Status ---- */

void clock_start(struct clock *c, int64_t now) {
    if (clock_runs(c))
        return;
    if (c->active == CLOCK_NOBODY)
        c->active = clock_next(c, c->n_participants - 1);
    if (c->active != CLOCK_NOBODY && !c->participants[c->active].has_expired)
        c->started_at = now;
}

void clock_stop(struct clock *c, int64_t now) {
    clock_book(c, now);
    c->started_at = 0;
}

bool clock_runs(const struct clock *c) {
    return c->started_at != 0;
}

/* ---- Commands ---- */

/* A turn whose time is over stands (notify), and can be ended. */
static int check_turn(const struct clock *c, const char *current, struct fault *f) {
    if (c->active == CLOCK_NOBODY || (!clock_runs(c) && !c->participants[c->active].has_expired))
        return (int)fault_set(f, FAULT_INVALID_TRANSITION, NULL, "the clock does not run");
    const char *active = c->participants[c->active].id;
    if (current && strcmp(current, active) != 0)
        return (int)fault_set(f, FAULT_NOT_ACTIVE_PARTICIPANT, "currentParticipantId",
                              "it is the turn of %s", active);
    return 0;
}

/* In per_cycle the turn's end gives the active one its next turn's time. */
static bool will_have_time(const struct clock *c, size_t who) {
    return clock_has_time(c, who) || (c->mode == CLOCK_PER_CYCLE && who == c->active);
}

static int find_next(const struct clock *c, const char *next, size_t *ret, struct fault *f) {
    size_t to = next ? clock_find(c, next) : clock_next(c, c->active);
    if (!next && to == CLOCK_NOBODY && will_have_time(c, c->active))
        to = c->active;
    if (!next && to == CLOCK_NOBODY)
        return (int)fault_set(f, FAULT_INVALID_TRANSITION, NULL, "nobody has time left");
    if (to == CLOCK_NOBODY)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "nextParticipantId",
                              "there is no participant %s", next);
    if (!will_have_time(c, to))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "nextParticipantId", "%s has no time left",
                              next);
    *ret = to;
    return 0;
}

int clock_switch(struct clock *c, const char *next, const char *current, int64_t now,
                 struct clock_switched *ret, struct fault *f) {
    size_t to = CLOCK_NOBODY;
    int r = check_turn(c, current, f);
    if (!r)
        r = find_next(c, next, &to, f);
    if (r)
        return r;
    now = clock_moment(c, now);
    *ret = (struct clock_switched){c->active, to, clock_book(c, now)};
    add_increment(c, to);
    clock_count_turn(c);
    c->active = to;
    c->started_at = now;
    return 0;
}

int clock_adjust(struct clock *c, const char *participant_id, int64_t adjust_ms, int64_t now,
                 struct fault *f) {
    size_t who = clock_find(c, participant_id);
    if (who == CLOCK_NOBODY)
        return (int)fault_set(f, FAULT_NOT_FOUND, NULL, "there is no participant %s",
                              participant_id);
    if (clock_is_unbounded(c))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "adjustMs",
                              "without maxTimeMs there is no time to give or take");
    const struct clock_participant *p = &c->participants[who];
    bool runs = clock_runs(c) && share_time(c, c->active, who);
    int64_t left = p->remaining_ms - (runs ? clock_elapsed(c, now) : 0);
    if (adjust_ms < -left || adjust_ms > CLOCK_TIME_MAX_MS - left)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "adjustMs",
                              "%" PRId64 " ms are left; afterwards 0 to %d are allowed", left,
                              CLOCK_TIME_MAX_MS);
    clock_book(c, now);
    left += adjust_ms;
    clock_set_remaining(c, who, left, p->has_expired && left == 0);
    return 0;
}
