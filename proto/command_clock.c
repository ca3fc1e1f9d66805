/* Commands for clocks: reading their members; see command.h. What a clock may be is clock.c. */
#include <string.h>

#include "proto/command.h"
#include "proto/text.h"

int command_take_clock(json_t *clock, struct command *ret, struct fault *f) {
    struct clock taken = {0};
    int r = clock_take(clock, &taken, f);
    if (r)
        return r;
    if (ret->clock)
        clock_done(ret->clock);
    else
        ret->clock = must_alloc(sizeof(*ret->clock));
    *ret->clock = taken;
    json_decref(ret->clock_request);
    ret->clock_request = json_incref(clock);
    return 0;
}

static int take_participant(const json_t *object, const char *name, enum text_need need,
                            char ret[static CLOCK_ID_MAX + 1], struct fault *f) {
    const char *id = NULL;
    int r = text_get_string(object, name, need, &id, f);
    if (r || !id)
        return r;
    size_t len = strlen(id);
    if (!clock_id_is_valid(id, len))
        return (int)fault_set(f, FAULT_INVALID_VALUE, name,
                              "%s must be 1 to %d of A-Z a-z 0-9 . _ : - and neither \".\" nor "
                              "\"..\"",
                              name, CLOCK_ID_MAX);
    memcpy(ret, id, len + 1);
    return 0;
}

int command_take_switch(const json_t *object, struct command *ret, struct fault *f) {
    int r = take_participant(object, "nextParticipantId", TEXT_OPTIONAL, ret->next_participant, f);
    return r ? r
             : take_participant(object, "currentParticipantId", TEXT_OPTIONAL,
                                ret->current_participant, f);
}

int command_take_clock_participant(const json_t *object, struct command *ret, struct fault *f) {
    return take_participant(object, "participantId", TEXT_REQUIRED, ret->clock_participant, f);
}

int command_take_adjust(const json_t *object, struct command *ret, struct fault *f) {
    const char *reason = NULL;
    int r = text_get_integer(object, "adjustMs", TEXT_REQUIRED, -CLOCK_TIME_MAX_MS,
                             CLOCK_TIME_MAX_MS, &ret->adjust_ms, f);
    if (!r)
        r = text_get_string(object, "reason", TEXT_REQUIRED, &reason, f);
    if (r)
        return r;
    size_t n = text_n_characters(reason, strlen(reason));
    if (n < 1 || n > COMMAND_REASON_MAX_CHARACTERS)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "reason",
                              "reason has %zu characters; 1 to %d", n,
                              COMMAND_REASON_MAX_CHARACTERS);
    free(ret->reason);
    ret->reason = must_strdup(reason);
    return 0;
}
