/* A clock's moment has come: its deadline, or a warning before it. One at a time: what passed as
 * well is due at once again. */
#include "services/state_engine/apply_private.h"
#include "services/state_engine/clock.h"

/* No version: what is noted of it is in meta alone. */
static void warn(const struct session *s, const struct clock *clock, int64_t remaining_ms,
                 int64_t now, struct change *ret) {
    struct session *next = &ret->next;
    ret->saves = ret->tells_clock = true;
    ret->told_before = s->clock_told;
    next->clock_told = now;
    next->clock_at = clock_next_at(clock, now);
    event_clock_warning(next, clock->participants[clock->active].id, remaining_ms, now,
                        change_add_event(ret));
}

/* Two versions in one save: the deadline is told, and then that the session has ended by it. */
static void end_session(enum session_status from, int64_t now, struct change *ret) {
    struct session *next = &ret->next;
    next->status = SESSION_EXPIRED;
    next->completed_at = now;
    change_next_version(ret, now);
    event_status_changed(next, next->user_id, "", from, "clock", change_add_event(ret));
    change_add_snapshot(ret);
}

static void tell_expired(const struct clock *clock, const struct clock_expired *expired,
                         struct change *ret) {
    const struct clock_participant *whose = &clock->participants[expired->participant];
    bool is_group = clock->mode == CLOCK_PER_GROUP;
    const char *winner =
        expired->winner == CLOCK_NOBODY ? NULL : clock_side(clock, expired->winner);
    event_clock_expired(&ret->next, is_group ? NULL : whose->id, is_group ? whose->group : NULL,
                        expired->ends ? CLOCK_END_SESSION : clock->action, winner,
                        change_add_event(ret));
}

int apply_clock_due(const struct session *s, int64_t now, uint64_t snapshot_every,
                    struct change *ret) {
    _cleanup_(clock_done) struct clock clock = {0};
    struct clock_expired expired;
    int r = apply_open_clock(s, &clock);
    if (r != 0)
        return r;
    int64_t deadline = clock_deadline(&clock);
    if (!clock_expire(&clock, now, &expired)) {
        int64_t remaining_ms = clock_warning(&clock, s->clock_told, now);
        if (remaining_ms)
            warn(s, &clock, remaining_ms, now, ret);
        return 0;
    }
    ret->deadline = deadline;
    apply_keep_clock(&ret->next, &clock);
    change_next_version(ret, now);
    tell_expired(&clock, &expired, ret);
    if (expired.ends)
        end_session(s->status, now, ret);
    else
        change_add_due_snapshot(ret, snapshot_every);
    return 0;
}
