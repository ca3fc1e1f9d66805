/* A device that watches one session over handoff.v1: it checks that no version is missing, and says
 * when which change arrived. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/sockets.h"

enum watcher_what { WATCHER_DELTA, WATCHER_SWITCHED, WATCHER_EXPIRED, WATCHER_STATUS };

/* A versioned event. */
struct watcher_event {
    enum watcher_what what;
    uint64_t version;
    uint64_t value; /* of a delta: what its first operation writes */
};

struct watcher {
    struct source source; /* first */
    struct buf in;
    bool is_upgraded, is_subscribed;
    uint64_t version;
    uint64_t n_missing; /* versions that were skipped or came again */
    uint64_t n_syncs;   /* state_sync after the first: the service gave up on single events */
    void (*changed)(struct watcher *w, const struct watcher_event *event);
    void *arg;
};

/* Asks for the upgrade and the subscription; is_subscribed says when its state came. */
void watcher_open(struct watcher *w, struct sockets *all, uint16_t port, const char *session_id,
                  const char *token,
                  void (*changed)(struct watcher *w, const struct watcher_event *event), void *arg);
void watcher_close(struct watcher *w, struct sockets *all);
