/* What an event says about its session's clock: its text, whether it runs, and when its time is
 * over. What happens then is the engine's. */
#include "proto/clock.h"
#include "proto/text.h"
#include "services/audit_writer/entry.h"

static int64_t ends_at(const struct clock *c) {
    if (!c->started_at || clock_is_unbounded(c))
        return 0;
    return c->started_at + c->participants[c->active].remaining_ms;
}

int change_take_clock(struct session_change *c, const json_t *object, struct fault *f) {
    const json_t *member = json_object_get(object, "clock");
    _cleanup_(buf_done) struct buf text = BUF_NULL;
    _cleanup_(clock_done) struct clock clock = {0};
    if (!member)
        return 0;
    text_print(member, &text);
    if (clock_parse(text.data, text.len, &clock) != 0)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "clock", "clock is no clock");
    c->clock_position = entry_position(c->position);
    c->clock = buf_take(&text);
    c->clock_runs = clock.started_at != 0;
    c->clock_at = ends_at(&clock);
    return 0;
}
