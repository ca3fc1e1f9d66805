/* What an event says about its session's clock: its text, whether it runs, and when its time is
 * over, as far as the text tells: since when the turn runs, and what was left of it then. What
 * happens at that moment is the engine's. */
#include <string.h>

#include "base/timestamp.h"
#include "proto/text.h"
#include "services/audit_writer/entry.h"

#define MAX_LEFT_MS (100LL * 366 * 24 * 3600 * 1000) /* so that its end can be a moment */

static int refuse(struct fault *f, const char *member) {
    return (int)fault_set(f, FAULT_INVALID_VALUE, member, "%s is not as clocks are", member);
}

static int take_start(const json_t *clock, int64_t *ret, struct fault *f) {
    const json_t *member = json_object_get(clock, "cycleStartedAt");
    const char *text = json_string_value(member);
    if (json_is_null(member))
        return 0;
    return text && timestamp_parse(text, strlen(text), ret) ? 0 : refuse(f, "cycleStartedAt");
}

/* What is left to the one whose turn it is; -1: its time does not end. */
static int take_left(const json_t *clock, int64_t *ret, struct fault *f) {
    size_t i;
    const json_t *participant;
    *ret = -1;
    json_array_foreach(json_object_get(clock, "participants"), i, participant) {
        if (!json_is_true(json_object_get(participant, "isActive")))
            continue;
        if (json_is_true(json_object_get(participant, "hasExpired")) ||
            json_is_null(json_object_get(participant, "timeRemainingMs")))
            return 0;
        return text_get_integer(participant, "timeRemainingMs", TEXT_REQUIRED, 0, MAX_LEFT_MS, ret,
                                f);
    }
    return 0;
}

int change_take_clock(struct session_change *c, const json_t *object, struct fault *f) {
    const json_t *clock = json_object_get(object, "clock");
    _cleanup_(buf_done) struct buf text = BUF_NULL;
    int64_t started_at = 0, left = -1;
    if (!clock)
        return 0;
    text_print(clock, &text);
    if (session_clock_span(text.data, text.len) != text.len)
        return refuse(f, "clock");
    int r = take_start(clock, &started_at, f);
    if (r || (r = take_left(clock, &left, f)))
        return r;
    c->clock_position = entry_position(c->position);
    c->clock = buf_take(&text);
    c->clock_runs = started_at != 0;
    c->clock_at = started_at && left >= 0 ? started_at + left : 0;
    return 0;
}
