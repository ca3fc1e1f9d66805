/* Clocks that run, some of which run out: how late is a watcher told? */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "tests/bench/sockets.h"

struct deadlines_run; /* clocks that will run out */

struct deadlines {
    struct sockets sockets; /* the caller's to begin and end */
    uint16_t api_port, ws_port;
    json_t *tokens;            /* borrowed from the set-up: of users, each with a device */
    size_t n_created;          /* sessions, so that users have their turn */
    struct deadlines_run *run; /* owned: what is prepared */
};

/* setup: {apiPort, wsPort, tokens}. */
void deadlines_init(struct deadlines *d, const json_t *setup);

/* what: one of
 * {do: "start", n, data, clock}: n sessions with that clock, which runs;
 * {do: "prepare", n, data, leadMs, withinMs}: n whose clocks run out from leadMs from now on,
 * evenly within withinMs, each with a watcher; returns half a second before the first; {do:
 * "expire"}: returns when all of them have expired and their watchers know, or nothing came for 10
 * s. Latency is from the deadline to the watcher, by the machine's wall clock, which is Redis' too.
 * Caller owns the result. */
json_t *deadlines_run(struct deadlines *d, const json_t *what);
