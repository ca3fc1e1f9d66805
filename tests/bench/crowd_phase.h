/* What is done with a crowd: the orders of crowd_load, one after the other. A crowd stays from the
 * order that lets it join to the one that lets it leave. */
#pragma once

#include <jansson.h>

#include "tests/bench/crowd.h"
#include "tests/bench/writer.h"

struct crowd_bench {
    struct sockets sockets; /* the caller's to begin and end */
    uint16_t api_port, ws_port;
    json_t *tokens; /* one a user; each may read all sessions */
    struct crowd_session {
        char id[40];
        uint64_t version;
    } * sessions; /* the i-th is the i-th user's */
    size_t n_sessions, n_users;
    size_t text_bytes; /* of another server's events; 0: this is ours */
    struct crowd crowd;
    uint64_t n_changes; /* accepted, from the beginning on */
};

/* setup: {apiPort, wsPort, tokens: [...], textBytes?}. textBytes: another server, which hands on
 * what it is given (nchan): there is one session, a viewer has joined once it is upgraded, and a
 * change is an event of so many bytes that is posted to /pub. */
void crowd_bench_init(struct crowd_bench *b, json_t *setup);
void crowd_bench_done(struct crowd_bench *b);

/* Carries out one order and returns what came of it; caller owns that. `do` is one of
 *   create {n, data}         sessions, one for each of the first n users
 *   patch {n, times}         so many changes to each of the first n sessions
 *   join {n, own?, byMessage?, atOnce?, behind?, rate?}
 *                            n viewers, of the first session or each of its own; at most atOnce
 *                            are on their way; behind: they resume so many versions ago; rate:
 *                            changes a second to the first session meanwhile
 *   bare {n, port}           n viewers of bare_send there
 *   spread {seconds, warmUp, window? | rate?, port?}
 *                            changes to the first session (port: rounds of that bare_send), at most
 *                            window of them not yet with everybody, or so many a second
 *   idle {seconds}           nothing
 *   leave {} */
json_t *crowd_phase_run(struct crowd_bench *b, const json_t *what);
