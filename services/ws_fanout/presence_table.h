/* The devices of this instance's subscriptions, found by session and device; what is done with them
 * is presence.c's. table_init makes an empty table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/table.h"
#include "proto/session.h"

struct presence;
struct subscription;

enum presence_noted { PRESENCE_NOT_NOTED, PRESENCE_PERHAPS_NOTED, PRESENCE_NOTED };

struct presence_device {
    struct table_node node; /* first */
    struct presence *owner;
    struct subscription *first;   /* all of them, who spoke last first: `of_device` links */
    struct subscription *waiting; /* of those the ones to be admitted: `turn` links */
    struct presence_device *next_queued;
    uint32_t n;    /* subscriptions */
    uint32_t life; /* of the instance when it was noted */
    enum presence_noted noted;
    bool is_busy;    /* an operation is under way, or its subscriptions are being told */
    bool is_queued;  /* waits for an operation */
    bool is_parked;  /* the last one failed: not before somebody enters, or some time has passed */
    bool is_renamed; /* Redis has to be told the name or the platform */
    bool asked_as_admin;
    char asker[UUID_LEN + 1]; /* whose role the arrival was judged by */
    char session_id[UUID_LEN + 1];
    char device_id[]; /* as long as it is */
};

/* Frees what is left. */
void presence_table_done(struct table *t);
struct presence_device *presence_table_find(const struct table *t, const char *session_id,
                                            const char *device_id);
struct presence_device *presence_table_add(struct table *t, const char *session_id,
                                           const char *device_id);
/* Removes and frees. */
void presence_table_remove(struct table *t, struct presence_device *d);
/* Calls visit for each; visit may remove the one that it is given. */
void presence_table_each(struct table *t,
                         void (*visit)(struct presence *p, struct presence_device *d),
                         struct presence *p);
