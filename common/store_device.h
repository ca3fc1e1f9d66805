/* The record of a device in session:{<id>}:devices: "<user> <state> <connections> <first seen>
 * <last seen> <moment of the last join or leave> <ever connected> <when it leaves> <join owed>
 * <leave owed> <lease> <bytes of the name> <name><platform>". presence.lua writes it, too; nobody
 * else. Private to store*.c. */
#pragma once

#include "common/store_presence.h"
#include "common/store_private.h"

enum store_device_state {
    STORE_DEVICE_NEW,    /* 'n': arrived, nobody was told; -> joined, left */
    STORE_DEVICE_JOINED, /* 'j' -> left */
    STORE_DEVICE_LEFT,   /* 'l': gone, somebody has to be told; -> new, no record */
};

struct store_device_record {
    char user_id[UUID_LEN + 1];
    enum store_device_state state;
    uint64_t n_connections; /* instances that have connections of it */
    uint64_t first_seen, last_seen, moment;
    bool has_connected;
    uint64_t leaves_at;                    /* while it has no connection */
    uint64_t owed_join, owed_leave, lease; /* moments to be told, 0 for none; until when leased */
    char name[SESSION_DEVICE_NAME_MAX_BYTES + 1], platform[SESSION_DEVICE_PLATFORM_MAX_BYTES + 1];
};

/* -EBADMSG: it is none. */
MUSTCHECK int store_device_parse(const char *text, size_t len, struct store_device_record *ret);
void store_device_print(const struct store_device_record *d, struct buf *out);
/* Makes it one that joined by a request at `moment` and was told. Returns when it has to be looked
 * at, 0 for never. */
uint64_t store_device_join(struct store_device_record *d, const char *user_id, uint64_t moment);

/* presence.lua's keys with their number, the operation and the moment: what follows is the
 * operation's own. */
void store_put_presence(struct store_command *c, const char *session_id, const char *operation,
                        int64_t now);
