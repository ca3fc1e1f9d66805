/* Idle and expiry: what becomes of a session that nobody used for too long (contract, section 2).
 */
#include "services/state_engine/apply_private.h"

static enum session_status lapsed(const struct session *s) {
    bool pauses = s->status == SESSION_ACTIVE && s->on_idle == SESSION_IDLE_PAUSE;
    return pauses ? SESSION_PAUSED : SESSION_EXPIRED;
}

void apply_due(const struct session *s, int64_t now, struct change *ret) {
    int64_t expires_at = session_expires_at(s);
    if (expires_at == 0 || now < expires_at)
        return;
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
