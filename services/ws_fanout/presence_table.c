/* The table of devices; see presence_table.h. */
#include "services/ws_fanout/presence_table.h"

#include <string.h>

#include "base/buf.h"

struct key {
    const char *session_id, *device_id;
};

static void free_device(struct table_node *node) {
    free(node);
}

void presence_table_done(struct table *t) {
    table_done(t, free_device);
}

/* Session ids are all of one length, so that the two run together unambiguously. */
static uint64_t hash_of(const struct table *t, const struct key *key) {
    char both[UUID_LEN + SESSION_DEVICE_MAX + 1];
    memcpy(both, key->session_id, UUID_LEN);
    strcpy(both + UUID_LEN, key->device_id);
    return table_hash(t, both, strlen(both));
}

static bool is_device(const struct table_node *node, const void *key) {
    const struct presence_device *d = (const struct presence_device *)node;
    const struct key *wanted = key;
    return memcmp(d->session_id, wanted->session_id, UUID_LEN) == 0 &&
           strcmp(d->device_id, wanted->device_id) == 0;
}

struct presence_device *presence_table_find(const struct table *t, const char *session_id,
                                            const char *device_id) {
    struct key key = {session_id, device_id};
    return (struct presence_device *)table_find(t, hash_of(t, &key), is_device, &key);
}

struct presence_device *presence_table_add(struct table *t, const char *session_id,
                                           const char *device_id) {
    size_t len = strlen(device_id);
    struct presence_device *d = must_alloc(sizeof(*d) + len + 1);
    memcpy(d->session_id, session_id, UUID_LEN);
    memcpy(d->device_id, device_id, len);
    table_add(t, &d->node, hash_of(t, &(struct key){session_id, device_id}));
    return d;
}

void presence_table_remove(struct table *t, struct presence_device *d) {
    table_remove(t, &d->node);
    free(d);
}

struct visit {
    void (*device)(struct presence *p, struct presence_device *d);
    struct presence *presence;
};

static void visit_device(void *arg, struct table_node *node) {
    const struct visit *visit = arg;
    visit->device(visit->presence, (struct presence_device *)node);
}

void presence_table_each(struct table *t,
                         void (*visit)(struct presence *p, struct presence_device *d),
                         struct presence *p) {
    struct visit all = {visit, p};
    table_each(t, visit_device, &all);
}
