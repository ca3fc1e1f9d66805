/* Who may take part in a session: its participants, and the devices that are kept out of it. What
 * is so already is no change. */
#include <string.h>

#include "services/state_engine/apply_private.h"

int apply_participant(const struct session *s, const struct command *c, int64_t now,
                      uint64_t snapshot_every, struct change *ret, struct fault *f) {
    if (strcmp(s->user_id, c->participant_id) == 0)
        return fault_set(f, FAULT_INVALID_VALUE, "participant", "the owner is no participant");
    if (session_role_of(s, c->participant_id) == c->participant_role)
        return 0;
    if (!session_set_participant(&ret->next, c->participant_id, c->participant_role))
        return fault_set(f, FAULT_INVALID_VALUE, "participant",
                         "a session has at most %d participants", SESSION_MAX_PARTICIPANTS);
    change_next_version(ret, now);
    event_participant_changed(&ret->next, c->user_id, c->device_id, c->participant_id,
                              c->participant_role, change_add_event(ret));
    change_add_due_snapshot(ret, snapshot_every);
    return 0;
}

/* The active device stays named when it is kept out: it informs, it locks nothing. */
int apply_device(const struct session *s, const struct command *c, int64_t now,
                 uint64_t snapshot_every, struct change *ret, struct fault *f) {
    if (session_device_is_removed(s, c->target_device) == c->device_removed)
        return 0;
    if (!session_set_device_removed(&ret->next, c->target_device, c->device_removed))
        return fault_set(f, FAULT_INVALID_VALUE, "device",
                         "at most %d devices are kept out of a session",
                         SESSION_MAX_REMOVED_DEVICES);
    change_next_version(ret, now);
    event_device_changed(&ret->next, c->user_id, c->device_id, c->target_device, c->device_removed,
                         change_add_event(ret));
    change_add_due_snapshot(ret, snapshot_every);
    return 0;
}
