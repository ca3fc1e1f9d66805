/* The names on the broker; see route.h. */
#include "proto/route.h"

#include <stdio.h>
#include <string.h>

#define SESSION_PREFIX "session."
#define SESSION_PREFIX_LEN (sizeof(SESSION_PREFIX) - 1)

void route_event_key(const char *session_id, enum event_type type, char ret[static ROUTE_KEY_CAP]) {
    const char *kind = event_kind(type);
    memcpy(ret, SESSION_PREFIX, SESSION_PREFIX_LEN);
    ret += SESSION_PREFIX_LEN;
    memcpy(ret, session_id, UUID_LEN);
    ret[UUID_LEN] = '.';
    strcpy(ret + UUID_LEN + 1, kind);
}

void route_session_binding(const char *session_id, char ret[static ROUTE_KEY_CAP]) {
    snprintf(ret, ROUTE_KEY_CAP, SESSION_PREFIX "%.*s.*", UUID_LEN, session_id);
}

void route_kind_binding(enum event_type type, char ret[static ROUTE_KEY_CAP]) {
    snprintf(ret, ROUTE_KEY_CAP, SESSION_PREFIX "*.%s", event_kind(type));
}

static bool is_kind(const char *kind, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((kind[i] < 'a' || kind[i] > 'z') && kind[i] != '_')
            return false;
    return len > 0;
}

bool route_parse_key(const char *key, size_t len, char ret_session_id[static UUID_LEN + 1],
                     const char **ret_kind, size_t *ret_kind_len) {
    const size_t kind_at = SESSION_PREFIX_LEN + UUID_LEN + 1;
    if (len <= kind_at || len >= ROUTE_KEY_CAP ||
        memcmp(key, SESSION_PREFIX, SESSION_PREFIX_LEN) != 0 || key[kind_at - 1] != '.')
        return false;
    if (!uuid_is(key + SESSION_PREFIX_LEN, UUID_LEN) || !is_kind(key + kind_at, len - kind_at))
        return false;
    memcpy(ret_session_id, key + SESSION_PREFIX_LEN, UUID_LEN);
    ret_session_id[UUID_LEN] = '\0';
    *ret_kind = key + kind_at;
    *ret_kind_len = len - kind_at;
    return true;
}

bool route_is_reply_to(const char *name, size_t len) {
    static const char prefix[] = ROUTE_REPLY_TO ".";
    const size_t prefix_len = sizeof(prefix) - 1;
    if (len <= prefix_len || len > 255 || memcmp(name, prefix, prefix_len) != 0)
        return false;
    for (size_t i = prefix_len; i < len; i++)
        if (name[i] <= ' ' || name[i] > '~')
            return false;
    return true;
}
