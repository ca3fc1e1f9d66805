/* Many sessions of many users, which nobody watches: created, changed and read over REST. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/sockets.h"

struct session_of { /* the i-th is the (i modulo users)-th user's */
    char id[37];
};

struct sessions_bench {
    struct sockets sockets; /* the caller's to begin and end */
    uint16_t api_port;
    json_t *tokens; /* one a user */
    struct session_of *sessions;
    size_t n_sessions, cap;
    uint64_t random;     /* xorshift: the same order of sessions in every run */
    uint64_t next_value; /* that a change writes: another each time */
};

/* setup: {apiPort, tokens: [...]} */
void sessions_bench_init(struct sessions_bench *b, const json_t *setup);
void sessions_bench_done(struct sessions_bench *b);

/* Carries out one order and returns what came of it; caller owns that. `do` is one of
 *   create {n, data, connections?}
 *                            more sessions, until there are n
 *   patch {n, times}         so many changes to each of the first n, one round after the other
 *   ids {n}                  those of the first n
 *   load {kind, n?, seconds, warmUp, connections}
 *                            kind "patch" or "get" of sessions picked at random among the first n
 *                            (all); the next request of a connection leaves when its answer is
 * there Each create and each change has to be accepted, else the process ends. */
json_t *sessions_bench_run(struct sessions_bench *b, const json_t *what);
