/* The events of clocks; see event.h. The clock itself is spliced in as the session carries it. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/event_private.h"

void event_put_clock(const struct session *s, struct buf *out) {
    if (!s->clock_text)
        return;
    buf_puts(out, ",\"clock\":");
    buf_put(out, s->clock_text, s->clock_len);
}

static void put_text(struct buf *out, const char *name, const char *text) {
    buf_printf(out, ",\"%s\":", name);
    buf_puts_json(out, text);
}

static void put_ms(struct buf *out, const char *name, int64_t ms) {
    buf_printf(out, ",\"%s\":%" PRId64, name, ms);
}

static void end_with_clock(const struct session *s, struct event *e, struct buf *out) {
    event_put_clock(s, out);
    event_end(e, out);
}

void event_clock_set(const struct session *s, const char *user_id, const char *device_id,
                     struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_CLOCK_SET, s, user_id, device_id);
    end_with_clock(s, ret, &out);
}

void event_clock_switched(const struct session *s, const char *user_id, const char *device_id,
                          const char *from, const char *to, int64_t elapsed_ms, struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_CLOCK_SWITCHED, s, user_id, device_id);
    put_text(&out, "from", from);
    put_text(&out, "to", to);
    put_ms(&out, "elapsedMs", elapsed_ms);
    end_with_clock(s, ret, &out);
}

void event_clock_adjusted(const struct session *s, const char *user_id, const char *device_id,
                          const char *participant, int64_t adjust_ms, const char *reason,
                          struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_CLOCK_ADJUSTED, s, user_id, device_id);
    put_text(&out, "participantId", participant);
    put_ms(&out, "adjustMs", adjust_ms);
    put_text(&out, "reason", reason);
    end_with_clock(s, ret, &out);
}

void event_clock_expired(const struct session *s, const char *participant, const char *group,
                         enum clock_action action, const char *winner, struct event *ret) {
    struct buf out = BUF_NULL;
    event_begin(ret, &out, EVENT_CLOCK_EXPIRED, s, s->user_id, "");
    if (participant)
        put_text(&out, "participantId", participant);
    if (group)
        put_text(&out, "groupId", group);
    put_text(&out, "action", clock_action_name(action));
    if (winner)
        put_text(&out, "winner", winner);
    end_with_clock(s, ret, &out);
}

static void name_warning(struct event *e, const char *participant, int64_t remaining_ms) {
    char name[2 * UUID_LEN + CLOCK_ID_MAX + 128];
    int len =
        snprintf(name, sizeof(name), "%s:%" PRIu64 ":%" PRIu64 ":warning\n%s\n%" PRId64,
                 e->session_id, e->position.epoch, e->position.version, participant, remaining_ms);
    char message_id[UUID_LEN + 1];
    event_derive_id(name, (size_t)len, message_id);
    event_set_message_id(e, message_id);
}

void event_clock_warning(const struct session *s, const char *participant, int64_t remaining_ms,
                         int64_t now, struct event *ret) {
    struct buf out = BUF_NULL;
    struct event_envelope envelope = {EVENT_CLOCK_WARNING, s->id, s->position, now, s->user_id, ""};
    event_begin_envelope(ret, &out, &envelope);
    name_warning(ret, participant, remaining_ms);
    put_text(&out, "participantId", participant);
    put_ms(&out, "remainingMs", remaining_ms);
    event_end(ret, &out);
}
