/* What the hub does as time passes: rooms that wait for something are looked at in each tick, the
 * many others only when something may have been missed. */
#include <string.h>

#include "services/ws_fanout/crowd.h"
#include "services/ws_fanout/hub_private.h"

#define LINGER_MS 30000
#define STANDSTILL_MS 1000
#define BEHIND_MS 2000 /* events tell whole seconds: 1 to 2 s late */

void hub_note_restless(struct room *room) {
    struct hub *h = room->hub;
    if (room->restless_link)
        return;
    room->next_restless = h->restless;
    room->restless_link = &h->restless;
    if (h->restless)
        h->restless->restless_link = &room->next_restless;
    h->restless = room;
}

void hub_note_calm(struct room *room) {
    if (!room->restless_link)
        return;
    *room->restless_link = room->next_restless;
    if (room->next_restless)
        room->next_restless->restless_link = room->restless_link;
    room->restless_link = NULL;
}

static bool is_calm(const struct room *room) {
    return !room->retry_at && !room->empty_since &&
           (!room->crowd || crowd_n_waiting(room->crowd) == 0);
}

static void tick_room(struct hub *h, struct room *room) {
    if (room->crowd)
        hub_tell_crowd(room);
    if (room->retry_at && room->retry_at <= hub_now(h)) {
        room->retry_at = 0;
        hub_pump(room);
    }
    if (room->empty_since && room->binding != ROOM_BINDING && !room->is_busy && !room->is_queued &&
        hub_now(h) - room->empty_since >= LINGER_MS) {
        hub_unbind(room);
        hub_note_calm(room);
        rooms_remove(&h->rooms, room);
    } else if (is_calm(room)) {
        hub_note_calm(room);
    }
}

static void tick_rooms(struct hub *h) {
    for (struct room *room = h->restless, *next; room; room = next) {
        next = room->next_restless;
        tick_room(h, room);
    }
}

static void compare_room(struct hub *h, struct room *room) {
    (void)h;
    room->retry_at = 0;
    room->wants_compare = true;
    hub_pump(room);
}

/* Whether events were late, and now are not, or none is left: the broker may have dropped some from
 * the queue meanwhile. The newest counts, since one may be old for having been published again. */
static bool has_caught_up(struct hub *h) {
    bool is_late = h->newest_event && store_now(h->store) - h->newest_event > BEHIND_MS;
    bool was_behind = h->is_behind;
    h->is_behind = is_late;
    h->newest_event = 0;
    return was_behind && !is_late;
}

void hub_tick(struct hub *h) {
    int64_t now = hub_now(h);
    bool stood_still = now - h->last_tick > STANDSTILL_MS;
    h->last_tick = now;
    tick_rooms(h);
    if (has_caught_up(h) || stood_still)
        rooms_each(&h->rooms, compare_room, h);
}

/* Another node, or the same one started again, may lack what was seen of the last. */
static void retry_room(struct hub *h, struct room *room) {
    if (room->run_id[0] && strcmp(room->run_id, store_run_id(h->store, room->session_id)) != 0) {
        compare_room(h, room);
        return;
    }
    room->retry_at = 0;
    hub_pump(room);
}

void hub_store_up(struct hub *h) {
    rooms_each(&h->rooms, retry_room, h);
}
