/* What happens to a session by itself: a clock's deadline or warning, and idle and expiry: what
 * becomes of one that nobody used for too long (contract, section 2). */
#include "services/state_engine/apply_private.h"

static enum session_status lapsed(const struct session *s) {
    bool pauses = s->status == SESSION_ACTIVE && s->on_idle == SESSION_IDLE_PAUSE;
    return pauses ? SESSION_PAUSED : SESSION_EXPIRED;
}

static void lapse(const struct session *s, int64_t now, struct change *ret) {
    struct session *next = &ret->next;
    next->status = lapsed(s);
    if (next->status == SESSION_PAUSED)
        next->active_device[0] = '\0';
    else
        next->completed_at = now;
    change_next_version(ret, now);
    event_status_changed(next, s->user_id, "", s->status, "idle", change_add_event(ret));
    change_add_snapshot(ret);
}

int apply_due(const struct session *s, int64_t now, uint64_t snapshot_every, struct change *ret) {
    if (s->clock_at && now >= s->clock_at)
        return apply_clock_due(s, now, snapshot_every, ret);
    int64_t expires_at = session_expires_at(s);
    if (expires_at && now >= expires_at)
        lapse(s, now, ret);
    return 0;
}
