/* Which resource a request's path names, and what may be done with it. Pure. */
#pragma once

#include <stdbool.h>

#include "base/uuid.h"

enum method {
    METHOD_GET = 1,
    METHOD_HEAD = 2,
    METHOD_POST = 4,
    METHOD_PATCH = 8,
    METHOD_DELETE = 16,
    METHOD_OPTIONS = 32,
    METHOD_OTHER = 64,
};

enum resource {
    RESOURCE_NONE,
    RESOURCE_SESSIONS,
    RESOURCE_SESSION,
    RESOURCE_HEARTBEAT,
    RESOURCE_DELTAS,
    RESOURCE_BROADCAST,
    RESOURCE_TIME,
    RESOURCE_HEALTH,
    RESOURCE_READY,
    RESOURCE_N,
};

enum method path_method(const char *name);
const char *path_method_name(enum method method); /* "other" for METHOD_OTHER */

/* RESOURCE_NONE for what is none, also where the id is no UUID in lower case. ret_session_id is set
 * for the resources of one session. */
enum resource path_parse(const char *path, char ret_session_id[static UUID_LEN + 1]);
const char *path_pattern(enum resource resource); /* "/sessions/{id}", for metrics */
unsigned path_methods(enum resource resource);    /* enum method bits, OPTIONS too */
const char *path_allow(enum resource resource);   /* the same as Allow has it */
bool path_needs_token(enum resource resource);
