/* Broadcasts; see broadcast.h. The engine has no part in them: it would only stand in their way. */
#include "common/broadcast.h"

#include "common/bus.h"
#include "proto/event.h"
#include "proto/route.h"

static int judge(const struct session *s, const struct broadcast *b, struct fault *f) {
    enum session_role role = command_role(s, b->user_id, b->rights);
    if (s->deleted || role == SESSION_ROLE_NONE)
        return (int)fault_set(f, FAULT_NOT_FOUND, NULL, "there is no such session");
    if (session_device_is_removed(s, b->device_id))
        return (int)fault_set(f, FAULT_DEVICE_REMOVED, NULL,
                              "the device is kept out of this session");
    if (!(b->rights & COMMAND_WRITE))
        return (int)fault_set(f, FAULT_FORBIDDEN, NULL, "the token's scope has no sessions:write");
    if (role < SESSION_ROLE_EDITOR)
        return (int)fault_set(f, FAULT_FORBIDDEN, NULL, "a %s may not broadcast",
                              session_role_name(role));
    if (session_is_final(s->status))
        return (int)fault_set(f, FAULT_SESSION_ENDED, NULL, "the session is %s",
                              session_status_name(s->status));
    return 0;
}

static int publish(struct commander *c, const struct event *e, const struct broadcast *b) {
    char key[ROUTE_KEY_CAP];
    route_event_key(e->session_id, e->type, key);
    struct bus_publish message = {.exchange = ROUTE_UPDATES_EXCHANGE,
                                  .routing_key = key,
                                  .body = e->body,
                                  .body_len = e->body_len,
                                  .message_id = e->message_id,
                                  .type = event_type_name(e->type),
                                  .timestamp_ms = e->timestamp,
                                  .epoch = e->position.epoch,
                                  .version = e->position.version,
                                  .device_id = e->device_id,
                                  .echo = b->echo,
                                  .cloud_event_subject = b->cloud_event ? e->session_id : NULL,
                                  .trace = b->trace};
    return commander_publish(c, &message);
}

int broadcast_publish(struct commander *c, const struct session *s, int64_t now,
                      const struct broadcast *b, struct fault *f) {
    int r = judge(s, b, f);
    if (r)
        return r;
    struct event event = {0};
    struct event_broadcast what = {.session_id = s->id,
                                   .position = s->position,
                                   .moment = now,
                                   .user_id = b->user_id,
                                   .device_id = b->device_id,
                                   .message = b->message};
    event_broadcast(&what, &event);
    if (publish(c, &event, b) < 0)
        r = (int)fault_set(f, FAULT_UNAVAILABLE, NULL,
                           "the broker does not take messages now; nothing was sent");
    event_done(&event);
    return r;
}
