/* See due.h. */
#include "services/state_engine/due.h"

static int64_t cools_at(const struct session *s, int64_t cold_after_ms) {
    int64_t used_at = s->touched_at > s->updated_at ? s->touched_at : s->updated_at;
    return used_at + cold_after_ms;
}

struct due due_next(const struct session *s, bool has_devices, int64_t now, int64_t cold_after_ms) {
    if (s->deleted)
        return (struct due){DUE_BURIAL, s->updated_at + DUE_TOMBSTONE_MS};
    if (session_clock_runs(s))
        return (struct due){s->clock_at ? DUE_CLOCK : DUE_NOTHING, s->clock_at};
    int64_t expires_at = session_expires_at(s), cold_at = cools_at(s, cold_after_ms);
    if (expires_at && (has_devices || expires_at <= now + DUE_SOON_MS || expires_at <= cold_at))
        return (struct due){DUE_LAPSE, expires_at};
    return has_devices ? (struct due){DUE_NOTHING, 0} : (struct due){DUE_COOLING, cold_at};
}
