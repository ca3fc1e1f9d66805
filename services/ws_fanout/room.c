/* Rooms and their table; see room.h. */
#include "services/ws_fanout/room.h"

#include <string.h>

#include "base/buf.h"
#include "services/ws_fanout/crowd.h"

static void free_room(struct table_node *node) {
    struct room *room = (struct room *)node;
    while (room->n_subscriptions)
        room_remove(room->subscriptions[room->n_subscriptions - 1]);
    free(room->subscriptions);
    crowd_free(room->crowd);
    free(room);
}

void rooms_done(struct table *t) {
    table_done(t, free_room);
}

static bool is_room_of(const struct table_node *node, const void *session_id) {
    return memcmp(((const struct room *)node)->session_id, session_id, UUID_LEN) == 0;
}

struct room *rooms_find(const struct table *t, const char *session_id) {
    uint64_t hash = table_hash(t, session_id, UUID_LEN);
    return (struct room *)table_find(t, hash, is_room_of, session_id);
}

struct room *rooms_add(struct table *t, struct hub *h, const char *session_id) {
    struct room *room = must_alloc(sizeof(*room));
    memcpy(room->session_id, session_id, UUID_LEN);
    room->hub = h;
    table_add(t, &room->node, table_hash(t, session_id, UUID_LEN));
    return room;
}

void rooms_remove(struct table *t, struct room *room) {
    table_remove(t, &room->node);
    free_room(&room->node);
}

struct visit {
    void (*room)(struct hub *h, struct room *room);
    struct hub *hub;
};

static void visit_room(void *arg, struct table_node *node) {
    const struct visit *visit = arg;
    visit->room(visit->hub, (struct room *)node);
}

void rooms_each(struct table *t, void (*visit)(struct hub *h, struct room *room), struct hub *h) {
    struct visit all = {visit, h};
    table_each(t, visit_room, &all);
}

struct subscription *room_add(struct room *room, struct connection *c) {
    if (room->n_subscriptions == room->cap) {
        room->cap = room->cap ? room->cap * 2 : 2;
        room->subscriptions =
            must_realloc(room->subscriptions, room->cap * sizeof(*room->subscriptions));
    }
    struct subscription *s = must_alloc(sizeof(*s));
    s->connection = c;
    s->room = room;
    s->index = room->n_subscriptions;
    room->subscriptions[room->n_subscriptions++] = s;
    return s;
}

void room_remove(struct subscription *s) {
    struct room *room = s->room;
    struct subscription *last = room->subscriptions[--room->n_subscriptions];
    room->subscriptions[s->index] = last;
    last->index = s->index;
    free(s->id);
    free(s);
}
