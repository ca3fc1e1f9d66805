/* Changes of status: transitions, takeovers, and the device that they let into the session. */
#include <string.h>

#include "common/store_presence.h"
#include "services/state_engine/apply_private.h"

/* Its first connection would tell it, but is not there (yet). */
static void add_device_joined(struct change *ret, const struct command *c,
                              const struct apply_device *device, int64_t now) {
    ret->joins = true;
    ret->joined_at = now > device->last_moment ? now : device->last_moment + 1;
    event_presence(&(struct event_presence){.type = EVENT_DEVICE_JOINED,
                                            .session_id = ret->next.id,
                                            .position = ret->next.position,
                                            .moment = ret->joined_at,
                                            .user_id = c->user_id,
                                            .device_id = c->device_id,
                                            .active_device = ret->next.active_device,
                                            .name = device->name,
                                            .platform = device->platform,
                                            .n_devices = device->n_joined + 1},
                   change_add_event(ret));
}

static int check_device(const struct apply_device *device, struct fault *f) {
    if (device->has_joined || device->is_counted ||
        device->n_of_user < PRESENCE_MAX_DEVICES_PER_USER)
        return 0;
    return fault_set(f, FAULT_TOO_MANY_DEVICES, "deviceId",
                     "%d devices of this user are in the session", PRESENCE_MAX_DEVICES_PER_USER);
}

static void activate(struct session *next, const struct command *c) {
    memcpy(next->active_device, c->device_id, sizeof(next->active_device));
    memcpy(next->last_active_device, c->device_id, sizeof(next->last_active_device));
}

int apply_status(const struct session *s, const struct command *c,
                 const struct apply_context *context, int64_t now, struct change *ret,
                 struct fault *f) {
    static const struct apply_device stranger = {.name = "", .platform = ""};
    const struct apply_device *device = context->device ? context->device : &stranger;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): check_writable refused what is absent */
    bool is_takeover = s->status == SESSION_ACTIVE && c->status == SESSION_ACTIVE &&
                       strcmp(s->active_device, c->device_id) != 0;
    if (s->status == c->status && !is_takeover)
        return 0;
    if (c->status == SESSION_EXPIRED || (!is_takeover && !session_may_become(s->status, c->status)))
        return fault_set(f, FAULT_INVALID_TRANSITION, "status",
                         "a session that is %s cannot become %s", session_status_name(s->status),
                         session_status_name(c->status));
    int r = c->status == SESSION_ACTIVE ? check_device(device, f) : 0;
    if (r != 0)
        return r;
    struct session *next = &ret->next;
    next->status = c->status;
    if (c->status == SESSION_ACTIVE)
        activate(next, c);
    else if (c->status == SESSION_PAUSED)
        next->active_device[0] = '\0';
    if (session_is_final(c->status))
        next->completed_at = now;
    r = is_takeover ? 0 : apply_clock_status(next, now);
    if (r != 0)
        return r;
    change_next_version(ret, now);
    event_status_changed(next, c->user_id, c->device_id, s->status,
                         is_takeover ? "takeover" : "request", change_add_event(ret));
    if (c->status == SESSION_ACTIVE && !device->has_joined)
        add_device_joined(ret, c, device, now);
    change_add_snapshot(ret);
    return 0;
}
