/* Messages to all devices of a session, which change nothing and are kept nowhere: judged by what
 * Redis holds and published at once, by whichever service a device talks to. Contract sections 3
 * and 5. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "common/commander.h"
#include "proto/fault.h"
#include "proto/session.h"

struct broadcast { /* all borrowed */
    const char *user_id, *device_id;
    unsigned rights; /* COMMAND_… */
    const json_t *message;
    bool echo;        /* to the sender too */
    bool cloud_event; /* with the attributes of a CloudEvent */
    const struct trace_context *trace;
};

/* Publishes to the session's devices; s: the session's meta, data is not looked at. now: ms.
 * FAULT_NOT_FOUND, FAULT_DEVICE_REMOVED, FAULT_FORBIDDEN, FAULT_SESSION_ENDED; FAULT_UNAVAILABLE
 * while the broker takes nothing: nothing was sent. What was sent is not confirmed. */
MUSTCHECK int broadcast_publish(struct commander *c, const struct session *s, int64_t now,
                                const struct broadcast *b, struct fault *f);
