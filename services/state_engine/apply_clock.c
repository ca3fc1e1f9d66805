/* What commands and changes of status do to a session's clock. The rules are clock.c's; here the
 * clock is taken out of the session, and put back with what is told of it. */
#include <errno.h>

#include "services/state_engine/apply_private.h"
#include "services/state_engine/clock.h"

/* ---- in the session ---- */

int apply_open_clock(const struct session *s, struct clock *ret) {
    return clock_parse(s->clock_text, s->clock_len, ret);
}

void apply_keep_clock(struct session *next, const struct clock *clock) {
    session_set_clock(next, clock);
    next->clock_at = clock_next_at(clock, next->clock_told);
}

/* ---- create, status ---- */

void apply_clock_create(const struct command *c, int64_t now, struct session *next) {
    _cleanup_(clock_done) struct clock clock = {0};
    if (!c->clock)
        return;
    clock_copy(c->clock, &clock);
    if (next->status == SESSION_ACTIVE)
        clock_start(&clock, now);
    apply_keep_clock(next, &clock);
}

int apply_clock_status(struct session *next, int64_t now) {
    _cleanup_(clock_done) struct clock clock = {0};
    int r = next->clock_text ? apply_open_clock(next, &clock) : 0;
    if (r != 0 || !next->clock_text)
        return r;
    if (next->status == SESSION_ACTIVE)
        clock_start(&clock, now);
    else
        clock_stop(&clock, now);
    apply_keep_clock(next, &clock);
    return 0;
}

/* ---- commands ---- */

int apply_clock_set(const struct command *c, int64_t now, uint64_t snapshot_every,
                    struct change *ret, struct fault *f) {
    struct session *next = &ret->next;
    if (next->status != SESSION_PENDING)
        return fault_set(f, FAULT_INVALID_TRANSITION, NULL,
                         "a clock is set while the session is pending, and it is %s",
                         session_status_name(next->status));
    apply_keep_clock(next, c->clock);
    change_next_version(ret, now);
    event_clock_set(next, c->user_id, c->device_id, change_add_event(ret));
    change_add_due_snapshot(ret, snapshot_every);
    return 0;
}

static const char *text_or_null(const char *text) {
    return text[0] ? text : NULL;
}

static const char *name_of(const struct clock *clock, size_t participant) {
    return participant == CLOCK_NOBODY ? NULL : clock->participants[participant].id;
}

int apply_switch(const struct command *c, int64_t now, uint64_t snapshot_every, struct change *ret,
                 struct fault *f) {
    _cleanup_(clock_done) struct clock clock = {0};
    struct clock_switched switched;
    struct session *next = &ret->next;
    if (!next->clock_text || next->status != SESSION_ACTIVE)
        return fault_set(f, FAULT_INVALID_TRANSITION, NULL, "no clock runs in the session");
    int r = apply_open_clock(next, &clock);
    if (r == 0)
        r = clock_switch(&clock, text_or_null(c->next_participant),
                         text_or_null(c->current_participant), now, &switched, f);
    if (r != 0)
        return r;
    apply_keep_clock(next, &clock);
    change_next_version(ret, now);
    event_clock_switched(next, c->user_id, c->device_id, name_of(&clock, switched.from),
                         name_of(&clock, switched.to), switched.elapsed_ms, change_add_event(ret));
    change_add_due_snapshot(ret, snapshot_every);
    return 0;
}

int apply_clock_adjust(const struct command *c, int64_t now, uint64_t snapshot_every,
                       struct change *ret, struct fault *f) {
    _cleanup_(clock_done) struct clock clock = {0};
    struct session *next = &ret->next;
    if (!next->clock_text)
        return fault_set(f, FAULT_NOT_FOUND, NULL, "the session has no clock");
    int r = apply_open_clock(next, &clock);
    if (r == 0)
        r = clock_adjust(&clock, c->clock_participant, c->adjust_ms, now, f);
    if (r != 0)
        return r;
    if (next->status == SESSION_ACTIVE)
        clock_start(&clock, now); /* one whose time was over has some again */
    apply_keep_clock(next, &clock);
    change_next_version(ret, now);
    event_clock_adjusted(next, c->user_id, c->device_id, c->clock_participant, c->adjust_ms,
                         c->reason, change_add_event(ret));
    change_add_due_snapshot(ret, snapshot_every);
    return 0;
}
