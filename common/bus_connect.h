/* Connecting for bus.c: where to, and a handshake that blocks, for a thread of its own. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/bus.h"
#include "common/bus_frames.h"
#include "common/bus_url.h"

#define BUS_WHY_CAP 320

struct amqp_connection_state_t_;

/* What does not change with each connection; read by both threads. */
struct bus_target {
    struct bus_url url; /* owned */
    bool quorum;        /* the shared queues' type; else classic */
    bool is_guest;
    char *connection_name; /* owned */
    char *queue;           /* owned; as bus_options.queue */
    char *own_prefix;      /* owned; NULL: the broker names the own queue */
    uint32_t own_max_messages;
    bool own_tells_drops;
    uint16_t prefetch;
    bool no_ack;
    bool counts;
    bool confirms;
};

/* One connection, ready: channel open, topology declared, queue consumed. */
struct bus_link {
    struct amqp_connection_state_t_ *conn; /* owned */
    size_t frame_max;
    uint64_t heartbeat_ms;
    char queue[BUS_SHORT_TEXT_CAP]; /* consumed: the own one's name */
    char consumer_tag[BUS_SHORT_TEXT_CAP];
    uint64_t n_ready;
};

/* -EINVAL for a url that is none. */
MUSTCHECK int bus_target_init(struct bus_target *ret, const struct bus_options *options);
void bus_target_done(struct bus_target *t);

/* Any thread; tries that one of the target's addresses; blocks, at most about 10 s (and name
 * resolution's time). Negative errno, and the reason in ret_why. Gives up early once *abandoned is
 * set. */
MUSTCHECK int bus_link_open(struct bus_link *ret, const struct bus_target *t,
                            const struct bus_address *address, const atomic_bool *abandoned,
                            char ret_why[static BUS_WHY_CAP]);
/* Never blocks; takes a link without a connection. */
void bus_link_close(struct bus_link *l);
/* The reason in a close method of channel or connection. */
void bus_close_reason(uint32_t method_id, const void *decoded, char ret_why[static BUS_WHY_CAP]);

/* The calls that make up bus_link_open. */
struct bus_handshake {
    struct amqp_connection_state_t_ *conn;
    int64_t deadline_ms;
    const atomic_bool *abandoned;
    char *why; /* BUS_WHY_CAP: set by whatever fails */
};
/* Socket and login. */
MUSTCHECK bool bus_handshake_begin(struct bus_handshake *h, const struct bus_target *t,
                                   const struct bus_address *address);
/* Before each call: sets its timeout; false when the time is over or nobody waits any more. What
 * the last call returned is void. */
MUSTCHECK bool bus_handshake_next(struct bus_handshake *h);
/* After it: whether it went well. */
MUSTCHECK bool bus_handshake_ok(struct bus_handshake *h, const char *step);

/* bus_topology.c: what proto/route.h names; and the own queue: exclusive, auto-delete, bounded. */
MUSTCHECK bool bus_declare_topology(struct bus_handshake *h, bool quorum);
MUSTCHECK bool bus_declare_own_queue(struct bus_handshake *h, const struct bus_target *t,
                                     char ret_name[static BUS_SHORT_TEXT_CAP]);
