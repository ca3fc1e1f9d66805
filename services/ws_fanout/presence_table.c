/* The table of devices; see presence_table.h. The hash is SipHash-2-4: ids are of any length, and
 * nobody without the key can make two that meet. */
#include "services/ws_fanout/presence_table.h"

#include <string.h>
#include <sys/random.h>

#include "base/buf.h"

#define N_BUCKETS_FIRST 256

static uint64_t turn(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

static void mix(uint64_t v[static 4]) {
    v[0] += v[1], v[2] += v[3];
    v[1] = turn(v[1], 13) ^ v[0], v[3] = turn(v[3], 16) ^ v[2];
    v[0] = turn(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = turn(v[1], 17) ^ v[2], v[3] = turn(v[3], 21) ^ v[0];
    v[2] = turn(v[2], 32);
}

static uint64_t siphash(const uint64_t key[static 2], const char *data, size_t len) {
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                     key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
    uint64_t word = 0;
    for (size_t i = 0; i <= len / 8; i++) {
        size_t rest = len - 8 * i < 8 ? len - 8 * i : 8;
        word = rest < 8 ? (uint64_t)len << 56 : 0;
        memcpy(&word, data + 8 * i, rest);
        v[3] ^= word;
        mix(v);
        mix(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void presence_table_init(struct presence_table *t) {
    *t = (struct presence_table){.n_buckets = N_BUCKETS_FIRST};
    t->buckets = must_alloc(t->n_buckets * sizeof(*t->buckets));
    if (getrandom(t->secret, sizeof(t->secret), 0) != (ssize_t)sizeof(t->secret))
        abort(); /* so few bytes are always there at once */
}

void presence_table_done(struct presence_table *t) {
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct presence_device *d = t->buckets[i], *next; d; d = next) {
            next = d->next;
            free(d);
        }
    free(t->buckets);
    *t = (struct presence_table){0};
}

/* Session ids are all of one length, so that the two run together unambiguously. */
static struct presence_device **bucket(const struct presence_table *t, const char *session_id,
                                       const char *device_id) {
    char both[UUID_LEN + SESSION_DEVICE_MAX + 1];
    memcpy(both, session_id, UUID_LEN);
    strcpy(both + UUID_LEN, device_id);
    return &t->buckets[siphash(t->secret, both, strlen(both)) & (t->n_buckets - 1)];
}

struct presence_device *presence_table_find(const struct presence_table *t, const char *session_id,
                                            const char *device_id) {
    struct presence_device *d = *bucket(t, session_id, device_id);
    while (d && (memcmp(d->session_id, session_id, UUID_LEN) != 0 ||
                 strcmp(d->device_id, device_id) != 0))
        d = d->next;
    return d;
}

static void grow(struct presence_table *t) {
    struct presence_table grown = *t;
    grown.n_buckets = t->n_buckets * 2;
    grown.buckets = must_alloc(grown.n_buckets * sizeof(*grown.buckets));
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct presence_device *d = t->buckets[i], *next; d; d = next) {
            next = d->next;
            struct presence_device **to = bucket(&grown, d->session_id, d->device_id);
            d->next = *to;
            *to = d;
        }
    free(t->buckets);
    *t = grown;
}

struct presence_device *presence_table_add(struct presence_table *t, const char *session_id,
                                           const char *device_id) {
    if (t->n >= t->n_buckets)
        grow(t);
    size_t len = strlen(device_id);
    struct presence_device *d = must_alloc(sizeof(*d) + len + 1);
    memcpy(d->session_id, session_id, UUID_LEN);
    memcpy(d->device_id, device_id, len);
    struct presence_device **at = bucket(t, session_id, device_id);
    d->next = *at;
    *at = d;
    t->n++;
    return d;
}

void presence_table_remove(struct presence_table *t, struct presence_device *d) {
    struct presence_device **at = bucket(t, d->session_id, d->device_id);
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    t->n--;
    free(d);
}

void presence_table_each(struct presence_table *t,
                         void (*visit)(struct presence *p, struct presence_device *d),
                         struct presence *p) {
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct presence_device *d = t->buckets[i], *next; d; d = next) {
            next = d->next;
            visit(p, d);
        }
}
