/* What the files of presence share: presence.c (subscriptions), presence_device.c (a device's
 * operations), presence_instance.c (the instance's life, nudges). */
#pragma once

#include "common/store_presence.h"
#include "services/ws_fanout/connection.h"
#include "services/ws_fanout/hub.h"
#include "services/ws_fanout/presence.h"
#include "services/ws_fanout/presence_table.h"
#include "services/ws_fanout/room.h"

struct presence_nudge {
    char session_id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
};

struct presence {
    const struct app *app;
    struct store *store;
    struct commander *commander;
    struct table table;
    struct presence_device *first_queued, *last_queued; /* wait for their operation */
    struct subscription *admitted, **admitted_end;      /* to be told in the loop's next turn */
    size_t n_under_way;
    size_t n_departing; /* devices of the table without a subscription */
    bool has_parked;
    bool is_stopped;

    char instance[STORE_INSTANCE_MAX + 1];
    char last_instance[STORE_INSTANCE_MAX + 1]; /* of the life before */
    uint32_t life;                              /* each has another name for the instance */
    bool is_renewing;
    bool was_renewed;    /* in this life: engines see it */
    bool is_doubtful;    /* in this life Redis did not say what became of an operation */
    uint64_t n_renewals; /* of the store's nodes, when this life began */
    int64_t renewed_at, unparked_at; /* loop time, ms */

    struct presence_nudge *nudges; /* owned */
    size_t n_nudges, cap_nudges;
    int64_t nudged_at;
    uv_timer_t nudging;
    uv_timer_t soon; /* tells those that are `admitted` */
    unsigned n_handles;

    struct metric *devices_metric, *departing_metric, *refused_metric, *lives_metric;
};

/* ---- presence.c ---- */
int64_t presence_now(const struct presence *p); /* loop time, ms */
void presence_tell_sizes(const struct presence *p);
/* Takes it off the list in which it waits for hub_admit, if any. */
void presence_end_waiting(struct presence *p, struct subscription *s);
/* It is its device's no longer. */
void presence_part(struct presence *p, struct subscription *s);

/* ---- presence_device.c ---- */
/* Does what is missing between the device's subscriptions and what Redis knows; may free d. */
void presence_pump(struct presence *p, struct presence_device *d);
/* Devices that wait for their operation have their turn. */
void presence_go_on(struct presence *p);
/* They go on waiting; who waits for them is told that the store is unavailable. */
void presence_refuse_queued(struct presence *p);

/* ---- presence_instance.c ---- */
/* The device has arrived and its device_joined is due. */
void presence_nudge(struct presence *p, const struct presence_device *d);
void presence_begin_life(struct presence *p);
void presence_renew(struct presence *p);
/* Whether Redis may hold something else under this life's name than what it was told. */
bool presence_life_is_doubtful(const struct presence *p);
/* Another life: everything that is held arrives again, so many at a time. */
void presence_end_life(struct presence *p);
