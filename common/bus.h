/* RabbitMQ: one connection with one channel in the loop, kept up by itself; librabbitmq's only
 * border. Every connection declares the whole durable topology (proto/route.h) before it tells
 * anybody that it is up. A service makes one bus for publishing and one for consuming (a blocked
 * publisher must not stop deliveries). Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/uuid.h"
#include "proto/trace_context.h"

struct bus;

/* A delivery. All borrowed until the callback returns. */
struct bus_message {
    uint64_t tag; /* for bus_ack */
    bool redelivered;
    const char *routing_key;
    size_t routing_key_len;
    const char *body;
    size_t body_len;
    bool too_large; /* over 16 MiB: the body was not kept, body_len is 0 */
    /* properties; "" when absent, or longer than fits */
    char message_id[128];
    char correlation_id[128];
    char reply_to[256];
    char type[64];
    /* headers; 0 / "" when absent */
    uint64_t epoch;
    uint64_t version;
    char device_id[129];
    char command_id[UUID_LEN + 1];
    char key_hash[HASH_HEX_LEN + 1];
    char fingerprint[HASH_HEX_LEN + 1];
    bool echo;
    struct trace_context trace;
    char reason[1025];    /* of a dead letter */
    int64_t timestamp_ms; /* property, of whole seconds; 0 when absent */
    bool is_dropped;      /* the own queue was full and lost it; see bus_own_queue */
};

struct bus_publish {
    const char *exchange;
    const char *routing_key;
    const void *body;
    size_t body_len;
    bool persistent;
    int64_t expiration_ms;  /* 0: none */
    const char *message_id; /* these may be NULL */
    const char *correlation_id;
    const char *reply_to;
    const char *type;
    int64_t timestamp_ms; /* 0: none; sent in seconds as AMQP has it */
    /* headers, sent when not 0 / NULL */
    uint64_t epoch;
    uint64_t version;
    const char *device_id;
    const char *command_id, *key_hash, *fingerprint;
    bool echo;          /* a broadcast that goes to its sender too */
    const char *reason; /* of a dead letter */
    /* The session of an event that has the attributes of a CloudEvent, too; then type, message_id
     * and timestamp_ms are there. NULL: without. */
    const char *cloud_event_subject;
    bool replay;                       /* told again, on somebody's wish: header replay */
    bool mandatory;                    /* comes back (callbacks.returned) where no queue takes it */
    const struct trace_context *trace; /* sent when it is set; may be NULL */
};

enum bus_bind { BUS_BIND, BUS_UNBIND };

/* All optional (NULL). arg is options.arg. */
struct bus_callbacks {
    void (*up)(void *arg); /* connected, topology declared, queue consumed: publish from now on */
    void (*down)(void *arg,
                 const char *why); /* lost; deliveries in hand are void, confirms never come */
    /* A try to connect failed; another follows by itself. For the log and /ready. */
    void (*connect_failed)(void *arg, const char *why);
    void (*message)(void *arg, const struct bus_message *m);
    /* Confirms: every publish with seq <= `seq` when multiple, else that one. ok false: nacked. */
    void (*confirmed)(void *arg, uint64_t seq, bool multiple, bool ok);
    void (*returned)(void *arg); /* one that was mandatory, before its confirm: no queue took it */
    void (*blocked)(void *arg, bool blocked);  /* the broker's memory or disk alarm */
    void (*bound)(void *arg, uint64_t ticket); /* the broker confirmed that bus_bind */
    void (*turn)(
        void *arg); /* after all deliveries and confirms that one wake brought: act on them */
};

/* An own queue for who may make nothing but names that begin in a certain way. */
struct bus_own_queue {
    const char *prefix;    /* of its name, which is another on each connection */
    uint32_t max_messages; /* the oldest ones go first */
    /* Those that went are delivered, too, the last one at least: by another queue and an exchange,
     * named as this one and ".dropped". They are not to be acknowledged. */
    bool tells_drops;
};

struct bus_options {
    const char *url;    /* of several addresses one is taken at random, then each in turn */
    bool is_guest;      /* declares nothing but its own queue: for who may not */
    bool quorum_queues; /* the shared queues are quorum queues; else classic ones */
    const char *connection_name; /* shown in the broker's management; the app_id of what it sends */
    bool confirms;               /* publisher confirms on */
    /* What to consume, if anything: */
    const char *queue; /* a name; "" : an own exclusive auto-delete queue, bounded to 64 MiB
                          drop-head; NULL: none. ROUTE_REPLY_TO works (no_ack, no qos) */
    const struct bus_own_queue *own; /* of queue "", borrowed for bus_new; NULL: as it is */
    uint16_t prefetch;               /* 0: no limit */
    bool no_ack;
    bool counts; /* bus_n_ready is asked for */
    struct bus_callbacks callbacks;
    void *arg;
};

/* Never fails for a broker that is away: connects in the background (backoff.h) until bus_free. The
 * options are copied. -EINVAL for a url that bus_url.h does not take. */
MUSTCHECK int bus_new(struct bus **ret, uv_loop_t *loop, const struct bus_options *options);
/* Closes politely and frees, from any callback too; none comes any more. The loop must run on until
 * its handles are closed: up to 1 s for the broker's close-ok, or until a handshake under way gives
 * up. */
struct bus *bus_free(struct bus *b);
DEFINE_CLEANUP(struct bus *, bus_free)

/* From now on each connection is made with the user and password of *url, which may become another
 * text at any time, of the same addresses. Borrowed, as long as the bus lives. */
void bus_follow_url(struct bus *b, char *const *url);
bool bus_is_up(const struct bus *b);
bool bus_is_blocked(const struct bus *b);
/* How many messages waited in the queue right before it was consumed; with options.counts. */
uint64_t bus_n_ready(const struct bus *b);

/* 0 and the confirm's sequence number in *ret_seq (may be NULL; counts from 1 on each connection);
 * -ENOTCONN when down, -EAGAIN when blocked or when over 4 MiB wait for the broker, -EMSGSIZE over
 * 16 MiB, -EINVAL for a name or property over 255 bytes: nothing was sent. Never blocks. What is
 * sent within a callback leaves together when all of that wake was handled. */
MUSTCHECK int bus_publish(struct bus *b, const struct bus_publish *m, uint64_t *ret_seq);
/* Between them frames travel together (one write). Uncork sends at once, within a callback too. */
void bus_cork(struct bus *b);
void bus_uncork(struct bus *b);

/* Acknowledges. Those of one write are joined where no tag before them is open, and may stand
 * behind what was published after them. No-op when the connection that delivered the tag is gone
 * (pass bus_generation of then). */
void bus_ack(struct bus *b, uint64_t generation, uint64_t tag, bool multiple);
/* Changes with each connection. */
uint64_t bus_generation(const struct bus *b);
/* Stops deliveries for good (drain): basic.cancel; those already on their way still come, and what
 * was delivered may still be acknowledged. */
void bus_cancel(struct bus *b);

/* Binds the own queue to an exchange without waiting: callbacks.bound gets the ticket (BUS_BIND
 * only). -ENOTCONN when down, -EAGAIN when too much waits for the broker, -EINVAL without an own
 * queue. Bindings die with the connection: bind again on up. */
MUSTCHECK int bus_bind(struct bus *b, enum bus_bind what, const char *exchange,
                       const char *routing_key, uint64_t ticket);
