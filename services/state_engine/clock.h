/* The rules of clocks: clock + command or deadline + now -> clock after it + what is to be told.
 * Pure: no timers, no I/O. Contract: clocks. now: store time (ms), never before the last change; a
 * `now` before the running turn began counts as its beginning, so that no elapsed time is negative.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "proto/clock.h"
#include "proto/fault.h"

/* ---- status ---- */

/* pending -> active: the first participant's turn; paused -> active: the turn goes on. Nothing when
 * nobody has time left. */
void clock_start(struct clock *c, int64_t now);
/* Books what has run, and stops: paused, and every final status. */
void clock_stop(struct clock *c, int64_t now);
bool clock_runs(const struct clock *c);

/* ---- commands ---- */

struct clock_switched {
    size_t from, to; /* indexes; to: CLOCK_NOBODY when nobody is left */
    int64_t elapsed_ms;
};
/* Ends the turn and begins the next. next, current: participant ids, NULL: not given.
 * FAULT_INVALID_TRANSITION: it does not run; FAULT_NOT_ACTIVE_PARTICIPANT: the turn is not
 * current's; FAULT_INVALID_VALUE: there is no such participant, or it has no time left. */
MUSTCHECK int clock_switch(struct clock *c, const char *next, const char *current, int64_t now,
                           struct clock_switched *ret, struct fault *f);

/* Gives time (or takes it: adjust_ms < 0); what has run is booked before, and the turn goes on.
 * FAULT_NOT_FOUND: no such participant; FAULT_INVALID_VALUE: the result is below 0 or above the
 * bound. */
MUSTCHECK int clock_adjust(struct clock *c, const char *participant_id, int64_t adjust_ms,
                           int64_t now, struct fault *f);

/* ---- time ---- */

/* When something happens by itself: the deadline, or a warning before it; 0: never. A warning
 * counts while it lies after `told`: everything up to there was told. */
int64_t clock_next_at(const struct clock *c, int64_t told);
/* When the running time is over; 0: never. */
int64_t clock_deadline(const struct clock *c);

/* The warning that is due at now and was not told at `told`, the nearest to the deadline: its
 * remaining ms, or 0. None from the deadline on. */
int64_t clock_warning(const struct clock *c, int64_t told, int64_t now);

struct clock_expired {
    size_t participant; /* whose time it was */
    size_t next;        /* whose turn it is now; CLOCK_NOBODY: nobody's */
    bool ends;          /* the session ends */
    size_t winner; /* with `ends` and two sides: a participant of the other; else CLOCK_NOBODY */
};
/* Acts on the deadline, if it is not after now: books the time as of the deadline; the next turn
 * begins then, too. False: it is not time. Late or in time makes no difference to the clock. */
bool clock_expire(struct clock *c, int64_t now, struct clock_expired *ret);
