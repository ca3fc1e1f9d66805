/* Inside of bus.c and bus_io.c. */
#pragma once

#include <uv.h>

#include "base/buf.h"
#include "common/backoff.h"
#include "common/bus.h"
#include "common/bus_acks.h"
#include "common/bus_connect.h"
#include "common/bus_frames.h"

enum bus_state {
    BUS_WAITING,    /* for the timer, which connects */
    BUS_CONNECTING, /* the thread pool has `link` and `why`, until its work is done */
    BUS_UP,         /* link, poll; the timer ticks */
    BUS_CLOSING,    /* freed while up: link, poll; until close-ok, or the timer */
    BUS_GONE        /* freed; handles and perhaps the thread pool's work still end */
};

struct bus {
    uv_loop_t *loop;
    struct bus_target target;
    char *const *url; /* borrowed; NULL: the target's stays */
    struct bus_callbacks callbacks;
    void *arg;

    enum bus_state state;
    unsigned n_holders; /* open handles below and work under way: the last one frees */
    uv_timer_t timer;
    uv_idle_t again; /* runs while frames are left that the socket will not wake us for */
    uv_work_t work;
    atomic_bool abandoned;
    struct backoff backoff;
    size_t address; /* of the target: connected to, or tried last */
    size_t n_tried; /* addresses that failed since a connection that lasted */

    struct bus_link link;
    uv_poll_t *poll; /* owned by the loop once closed */
    int poll_events;
    uint64_t generation;
    uint64_t up_since_ms, heard_ms, sent_ms; /* uv_now */
    bool blocked;
    bool cancelled;
    bool failed; /* why is set; lost as soon as the loop runs */
    char why[BUS_WHY_CAP];

    struct bus_inbound inbound;
    bool has_news;     /* for callbacks.turn */
    uint64_t *tickets; /* of binds and unbinds under way, in order; 0: unbind */
    size_t first_ticket, n_tickets, tickets_cap;

    struct bus_acks acks; /* they become frames right before those are written */
    struct buf out;       /* frames; those before n_written are with the kernel */
    size_t n_written;
    uint64_t n_published;
    unsigned n_corks;
    bool is_in_turn;
};

/* bus_io.c */
/* Begins to watch b->link, just opened. */
MUSTCHECK int bus_io_start(struct bus *b);
/* Lets go of the connection and everything that belonged to it. */
void bus_io_stop(struct bus *b);
size_t bus_io_n_waiting(const struct bus *b);
/* Writes what the socket takes; the rest follows when it can. */
void bus_io_flush(struct bus *b);
/* Puts the acknowledgement of every tag up to that one. */
void bus_io_ack_all(struct bus *b, uint64_t tag);
/* After something was put into b->out or b->acks. */
void bus_io_put(struct bus *b);
void bus_io_close_politely(struct bus *b);
/* Reads and hands on what has come. */
void bus_io_drain(struct bus *b);

/* bus.c */
void bus_lose(struct bus *b, const char *why);
/* The same, but not now: for within bus_publish and its like, whose callers expect no callbacks. */
void bus_lose_later(struct bus *b, const char *why);
/* Ends whatever is left after bus_free. */
void bus_finish(struct bus *b);
