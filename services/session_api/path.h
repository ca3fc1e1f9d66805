/* Which resource a request's path names, and what may be done with it. Pure. */
#pragma once

#include <stdbool.h>

#include "base/uuid.h"
#include "proto/session.h"

enum method {
    METHOD_GET = 1,
    METHOD_HEAD = 2,
    METHOD_POST = 4,
    METHOD_PATCH = 8,
    METHOD_DELETE = 16,
    METHOD_OPTIONS = 32,
    METHOD_OTHER = 64,
    METHOD_PUT = 128,
};

enum resource {
    RESOURCE_NONE,
    RESOURCE_SESSIONS,
    RESOURCE_SESSION,
    RESOURCE_HEARTBEAT,
    RESOURCE_DELTAS,
    RESOURCE_BROADCAST,
    RESOURCE_HISTORY,
    RESOURCE_SNAPSHOTS,
    RESOURCE_SNAPSHOT,
    RESOURCE_RESTORE,
    RESOURCE_DEVICES,
    RESOURCE_DEVICE,
    RESOURCE_PARTICIPANTS,
    RESOURCE_PARTICIPANT,
    RESOURCE_HANDOFF_CODES,
    RESOURCE_HANDOFF_CODE,
    RESOURCE_HANDOFF,
    RESOURCE_SWITCH,
    RESOURCE_CLOCK,
    RESOURCE_CLOCK_PARTICIPANT,
    RESOURCE_TOKEN,
    RESOURCE_KEYS,
    RESOURCE_TIME,
    RESOURCE_HEALTH,
    RESOURCE_READY,
    RESOURCE_CONSOLE, /* /, /console and all below it */
    RESOURCE_DOCS,    /* /docs and all below it */
    RESOURCE_N,
};

enum method path_method(const char *name);
const char *path_method_name(enum method method); /* "other" for METHOD_OTHER */

#define PATH_PARAMETER_CAP (SESSION_DEVICE_MAX + 1)

/* RESOURCE_NONE for what is none, also where an id is no UUID in lower case, a version no number
 * from 1 to 2^53 - 1, a device, a clock's participant or a handoff code none. ret_session_id is set
 * for the resources of one session, ret_parameter for those of one of its parts: the path's last
 * segment. In the id of a device or a clock's participant %3A is read as ":", which clients may or
 * may not escape; nothing else of a path is unescaped. */
enum resource path_parse(const char *path, char ret_session_id[static UUID_LEN + 1],
                         char ret_parameter[static PATH_PARAMETER_CAP]);
const char *path_pattern(enum resource resource); /* "/sessions/{id}", for metrics */
unsigned path_methods(enum resource resource);    /* enum method bits, OPTIONS too */
const char *path_allow(enum resource resource);   /* the same as Allow has it */
bool path_needs_token(enum resource resource);
