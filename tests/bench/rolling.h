/* Many devices that watch, and some that write, while what they are connected to is restarted: who
 * is sent away or cut off comes back from the version that it has seen, when it was told to. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/sockets.h"
#include "tests/bench/writer.h"

#define ROLLING_SECONDS 120 /* of the histogram */
#define ROLLING_N_WRITERS 16
#define ROLLING_MAX_PORTS 4

enum member_state {
    MEMBER_AWAY,      /* until due_ns -> upgrading */
    MEMBER_UPGRADING, /* -> waiting, away */
    MEMBER_WAITING,   /* for its state, or for what it missed: -> there, away */
    MEMBER_THERE,     /* -> away */
};

struct member {
    struct source source; /* first */
    struct rolling *rolling;
    enum member_state state;
    bool was_there;
    size_t session;
    uint64_t version; /* the last one seen */
    uint64_t until_version;
    uint64_t due_ns;
    struct buf in;
};

/* Since the last mark. */
struct rolling_counts {
    uint64_t closes_1001, closes_other, cuts; /* cuts: without a close frame */
    uint64_t upgrades_refused, errors;        /* an answer other than 101; an error frame */
    uint64_t syncs;                           /* state_sync to one that had a position */
    uint64_t missing;                         /* versions that were skipped or came again */
    uint64_t deliveries;
    uint64_t writes, writes_5xx;
    uint64_t first_close_ns, last_there_ns; /* 0: none */
    uint32_t returns[ROLLING_SECONDS];      /* connections made, by second since the first close */
};

struct rolling {
    struct sockets sockets;
    uint16_t api_ports[ROLLING_MAX_PORTS], ws_ports[ROLLING_MAX_PORTS];
    size_t n_ports;
    json_t *tokens; /* the i-th member's */
    struct rolling_session {
        char id[40];
        uint64_t n_accepted, version;
    } * sessions;
    size_t n_sessions;
    struct member *members;
    size_t n_members, n_there;
    struct writer writers[ROLLING_MAX_PORTS];
    uint64_t interval_ns, next_ns; /* of writes; interval 0: none */
    uint64_t n_due, n_cut_before;  /* the writers' comebacks at the last mark */
    struct rolling_counts counts;
};

/* rolling_member.c */
void member_connect(struct member *m);
/* Asks for its connection at once when that is due. */
void member_look(struct member *m, uint64_t now);
/* Nothing of it is open any more. */
void member_done(struct member *m);

/* rolling.c: an order's result, which the caller owns. `do` is one of
 *   create {sessions, data}   each with the first member of its own as its owner
 *   join {members}            the i-th member watches session i modulo their number
 *   write {rate}              changes a second, to one session after the other; 0: no more
 *   there {}                  who is there now
 *   mark {}                   what came since the last mark, and who is there
 *   check {}                  with no writes under way: reads each session; who has not all of it?
 */
void rolling_init(struct rolling *r, json_t *setup);
json_t *rolling_run(struct rolling *r, const json_t *what);
/* What is due now. Returns when to come again. */
uint64_t rolling_turn(struct rolling *r);
void rolling_done(struct rolling *r);
