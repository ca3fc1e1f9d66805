/* Rooms and their table; see room.h. Buckets are chosen by a keyed multilinear hash, so that nobody
 * can make ids that meet in one. */
#include "services/ws_fanout/room.h"

#include <string.h>
#include <sys/random.h>

#include "base/buf.h"
#include "services/ws_fanout/crowd.h"

#define N_BUCKETS_FIRST 256

void rooms_init(struct rooms *t) {
    *t = (struct rooms){.n_buckets = N_BUCKETS_FIRST};
    t->buckets = must_alloc(t->n_buckets * sizeof(*t->buckets));
    if (getrandom(t->secret, sizeof(t->secret), 0) != (ssize_t)sizeof(t->secret))
        abort(); /* so few bytes are always there at once */
}

static void free_room(struct room *room) {
    while (room->n_subscriptions)
        room_remove(room->subscriptions[room->n_subscriptions - 1]);
    free(room->subscriptions);
    crowd_free(room->crowd);
    free(room);
}

void rooms_done(struct rooms *t) {
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct room *room = t->buckets[i], *next; room; room = next) {
            next = room->next;
            free_room(room);
        }
    free(t->buckets);
    *t = (struct rooms){0};
}

static struct room **bucket(const struct rooms *t, const char *session_id) {
    uint64_t sum = 0;
    for (size_t i = 0; i < N_ELEMENTS(t->secret); i++) {
        uint32_t word;
        memcpy(&word, session_id + 4 * i, sizeof(word));
        sum += (t->secret[i] | 1) * word;
    }
    return &t->buckets[(sum >> 32) & (t->n_buckets - 1)];
}

struct room *rooms_find(const struct rooms *t, const char *session_id) {
    struct room *room = *bucket(t, session_id);
    while (room && memcmp(room->session_id, session_id, UUID_LEN) != 0)
        room = room->next;
    return room;
}

static void grow(struct rooms *t) {
    struct rooms grown = *t;
    grown.n_buckets = t->n_buckets * 2;
    grown.buckets = must_alloc(grown.n_buckets * sizeof(*grown.buckets));
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct room *room = t->buckets[i], *next; room; room = next) {
            next = room->next;
            struct room **to = bucket(&grown, room->session_id);
            room->next = *to;
            *to = room;
        }
    free(t->buckets);
    *t = grown;
}

struct room *rooms_add(struct rooms *t, struct hub *h, const char *session_id) {
    if (t->n >= t->n_buckets)
        grow(t);
    struct room *room = must_alloc(sizeof(*room));
    memcpy(room->session_id, session_id, UUID_LEN);
    room->hub = h;
    struct room **at = bucket(t, session_id);
    room->next = *at;
    *at = room;
    t->n++;
    return room;
}

void rooms_remove(struct rooms *t, struct room *room) {
    struct room **at = bucket(t, room->session_id);
    while (*at != room)
        at = &(*at)->next;
    *at = room->next;
    t->n--;
    free_room(room);
}

void rooms_each(struct rooms *t, void (*visit)(struct hub *h, struct room *room), struct hub *h) {
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct room *room = t->buckets[i], *next; room; room = next) {
            next = room->next;
            visit(h, room);
        }
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
