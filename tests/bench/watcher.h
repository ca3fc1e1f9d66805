/* A device that watches one session over handoff.v1: it checks that no version is missing, and says
 * when which change arrived. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/sockets.h"

struct watcher {
    struct source source; /* first */
    struct buf in;
    bool is_upgraded, is_subscribed;
    uint64_t version;
    uint64_t n_deltas;
    uint64_t n_missing; /* versions that were skipped or came again */
    uint64_t n_syncs;   /* state_sync after the first: the service gave up on single events */
    /* value: what the delta's first operation writes. */
    void (*changed)(struct watcher *w, uint64_t value);
    void *arg;
};

/* Asks for the upgrade and the subscription; is_subscribed says when its state came. */
void watcher_open(struct watcher *w, struct sockets *all, uint16_t port, const char *session_id,
                  const char *token, void (*changed)(struct watcher *w, uint64_t value), void *arg);
void watcher_close(struct watcher *w, struct sockets *all);
