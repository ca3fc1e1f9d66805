/* One measurement: requests at a fixed number of connections (closed loop) or at a fixed rate (open
 * loop, latency counted from the moment the request was due), beside watchers that stay connected
 * from phase to phase. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "tests/bench/sockets.h"

struct watched; /* a session with its writer's token and its watcher */

struct bench {
    struct sockets sockets; /* the caller's to begin and end */
    uint16_t api_port, ws_port;
    struct watched *sessions;
    size_t n_sessions;
    uint64_t random;     /* xorshift: the same order of sessions in every run */
    uint64_t next_value; /* each PATCH writes another, so that its frame can be told */
    struct phase *phase; /* the one that runs, NULL between phases */
};

/* setup: {apiPort, wsPort, sessions: [{id, writer, watcher, wsPort?}]}, writer and watcher tokens.
 * Returns when all watchers are subscribed. */
void bench_init(struct bench *b, const json_t *setup);
void bench_done(struct bench *b);

/* what: {kind: "patch" | "get" | "switch" | "path", seconds, warmUp, connections?, rate?,
 * awaitFrame?, own?, contested?, port?, ports?, path?, post?}. post: the body of POSTs to the path.
 * Sessions that are switched have a clock of white and black, of which white began. own: each
 * connection has a session to itself; contested: all connections switch the same turn of the first
 * session at once, of which one has to take effect, and then the next turn. ports: of several
 * session_api, which the connections are shared out among. Returns when every request is answered
 * and every change arrived (or 10 s passed without one). Caller owns the result. */
json_t *phase_run(struct bench *b, const json_t *what);
