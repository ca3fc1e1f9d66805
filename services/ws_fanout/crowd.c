/* Changes are kept sorted by device, so that a device has one of them; a frame begins where the
 * last one ended, so that all have their turn. */
#include "services/ws_fanout/crowd.h"

#include <string.h>

#include "services/ws_fanout/protocol.h"

#define SEEN_FIRST 8
#define SEEN_MAX 256

struct change {
    char *device_id; /* owned */
    bool joined;
};

struct crowd {
    uint64_t n_devices;
    struct change *changes; /* sorted */
    size_t n, cap;
    char *told_up_to; /* owned; the last device of the last frame that was full, or NULL */
    uint64_t *seen;   /* ring of message ids' hashes */
    size_t n_seen, seen_cap, seen_next;
};

struct crowd *crowd_new(void) {
    return must_alloc(sizeof(struct crowd));
}

void crowd_clear(struct crowd *c) {
    for (size_t i = 0; i < c->n; i++)
        free(c->changes[i].device_id);
    free(c->changes);
    c->changes = NULL;
    c->n = c->cap = 0;
}

struct crowd *crowd_free(struct crowd *c) {
    if (!c)
        return NULL;
    crowd_clear(c);
    free(c->told_up_to);
    free(c->seen);
    free(c);
    return NULL;
}

/* ---- doubles ---- */

/* FNV-1a; message ids are the engine's, nobody chooses them. */
static uint64_t hash_of(const char *text) {
    uint64_t hash = 0xcbf29ce484222325;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
    return hash;
}

static void remember(struct crowd *c, uint64_t hash) {
    if (c->n_seen == c->seen_cap && c->seen_cap < SEEN_MAX) {
        c->seen_cap = c->seen_cap ? c->seen_cap * 2 : SEEN_FIRST;
        c->seen = must_realloc(c->seen, c->seen_cap * sizeof(*c->seen));
        c->seen_next = c->n_seen;
    }
    c->seen[c->seen_next] = hash;
    c->seen_next = (c->seen_next + 1) % c->seen_cap;
    if (c->n_seen < c->seen_cap)
        c->n_seen++;
}

bool crowd_is_double(struct crowd *c, const char *message_id) {
    uint64_t hash = hash_of(message_id);
    if (!*message_id)
        return false;
    for (size_t i = 0; i < c->n_seen; i++)
        if (c->seen[i] == hash)
            return true;
    remember(c, hash);
    return false;
}

/* ---- gathering ---- */

void crowd_set_n_devices(struct crowd *c, uint64_t n_devices) {
    c->n_devices = n_devices;
}

bool crowd_gathers(const struct crowd *c) {
    return c->n || c->n_devices > CROWD_MIN_DEVICES;
}

size_t crowd_n_waiting(const struct crowd *c) {
    return c->n;
}

/* The first change whose device is not before that one. */
static size_t find(const struct crowd *c, const char *device_id) {
    size_t low = 0, high = c->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(c->changes[middle].device_id, device_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void cut(struct crowd *c, size_t at, size_t n) {
    for (size_t i = at; i < at + n; i++)
        free(c->changes[i].device_id);
    c->n -= n;
    if (at < c->n)
        memmove(c->changes + at, c->changes + at + n, (c->n - at) * sizeof(*c->changes));
}

void crowd_add(struct crowd *c, const char *device_id, bool joined) {
    size_t at = find(c, device_id);
    if (at < c->n && strcmp(c->changes[at].device_id, device_id) == 0) {
        if (c->changes[at].joined != joined)
            cut(c, at, 1);
        return;
    }
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->changes = must_realloc(c->changes, c->cap * sizeof(*c->changes));
    }
    if (at < c->n)
        memmove(c->changes + at + 1, c->changes + at, (c->n - at) * sizeof(*c->changes));
    c->changes[at] = (struct change){must_strdup(device_id), joined};
    c->n++;
}

/* ---- telling ---- */

/* [*ret_from, + the answer) of the changes go into the next frame. */
static size_t choose(const struct crowd *c, size_t *ret_from) {
    size_t from = c->told_up_to ? find(c, c->told_up_to) : 0;
    if (from == c->n)
        from = 0;
    *ret_from = from;
    return c->n - from < CROWD_MAX_IDS ? c->n - from : CROWD_MAX_IDS;
}

static void print(const struct change *changes, size_t n, const char *session_id, struct buf *out) {
    const char **ids = must_alloc(n * sizeof(*ids)); /* joined from the front, left from the back */
    size_t n_joined = 0, n_left = 0;
    for (size_t i = 0; i < n; i++)
        if (changes[i].joined)
            ids[n_joined++] = changes[i].device_id;
        else
            ids[n - ++n_left] = changes[i].device_id;
    protocol_print_presence(session_id, ids, n_joined, ids + n_joined, n_left, out);
    free(ids);
}

bool crowd_print(struct crowd *c, const char *session_id, struct buf *out) {
    size_t from, n = choose(c, &from);
    if (!n)
        return false;
    print(c->changes + from, n, session_id, out);
    free(c->told_up_to);
    c->told_up_to = n < c->n ? must_strdup(c->changes[from + n - 1].device_id) : NULL;
    cut(c, from, n);
    if (!c->n)
        crowd_clear(c);
    return true;
}
