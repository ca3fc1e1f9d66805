/* The rules of clocks: clock + command or deadline + now -> clock after it + what is to be told.
 * Pure: no timers, no I/O. Contract: clocks; decision 0012 has the rules as tables. now: store time
 * (ms), never before the last change; a `now` before the running turn began counts as its
 * beginning, so that no elapsed time is negative.
 *
 * What is overdue comes first: before a status or a command, the caller lets clock_expire act until
 * it has nothing to do at `now`. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "proto/clock.h"
#include "proto/fault.h"

/* ---- status ---- */

/* pending -> active: the first participant's turn; paused -> active: the turn goes on. Nothing when
 * it runs, when nobody has time left, and when the time of the turn is over and was told (notify).
 * After clock_adjust in an active session it lets a turn go on that was given time again. */
void clock_start(struct clock *c, int64_t now);
/* Books what has run, and stops: paused, and every final status. The turn is not ended: it stays
 * the active participant's, and is not counted. */
void clock_stop(struct clock *c, int64_t now);
bool clock_runs(const struct clock *c);

/* ---- commands ---- */

struct clock_switched {
    size_t from, to; /* indexes; may be the same */
    int64_t elapsed_ms;
};
/* Ends the turn and begins the next; of an active session: whether it is, the caller has looked.
 * next, current: participant ids, NULL: not given. A turn whose time is over (notify) can be ended
 * though it stands. FAULT_INVALID_TRANSITION: it does not run, or next is not given and nobody has
 * time left; FAULT_NOT_ACTIVE_PARTICIPANT: the turn is not current's; FAULT_INVALID_VALUE: there is
 * no participant next, or it has no time left. On failure nothing has changed. */
MUSTCHECK int clock_switch(struct clock *c, const char *next, const char *current, int64_t now,
                           struct clock_switched *ret, struct fault *f);

/* Gives time (or takes it: adjust_ms < 0); what has run is booked before, and a running turn goes
 * on. Of a turn that stands because its time was over, clock_start lets it go on. Time that is
 * shared is adjusted for all who share it. FAULT_NOT_FOUND: no such participant;
 * FAULT_INVALID_VALUE: less than 0 or more than CLOCK_TIME_MAX_MS would remain, or nobody has a
 * time (count_up without a maximum). On failure nothing has changed. */
MUSTCHECK int clock_adjust(struct clock *c, const char *participant_id, int64_t adjust_ms,
                           int64_t now, struct fault *f);

/* ---- time ---- */

/* When something happens by itself: the deadline, or a warning before it; 0: never. A warning
 * counts while it lies after `told` (everything up to there was told) and after the beginning of
 * the turn. */
int64_t clock_next_at(const struct clock *c, int64_t told);
/* When the running time is over; 0: never. */
int64_t clock_deadline(const struct clock *c);

/* The warning that is due at now and was not told at `told`, the nearest to the deadline: its
 * remaining ms, or 0. None from the deadline on. */
int64_t clock_warning(const struct clock *c, int64_t told, int64_t now);

struct clock_expired {
    size_t participant; /* whose time it was */
    size_t next;        /* whose turn it is now; CLOCK_NOBODY: nobody's (`ends`) */
    bool ends;          /* the session ends */
    size_t winner;      /* with `ends` and two sides: one of the other, if it has time left; else
                           CLOCK_NOBODY. What to tell of it is its clock_side */
};
/* Acts on the deadline, if it is not after now: books the time as of the deadline; the next turn
 * begins then, too, so that its deadline may have passed as well. False: it is not time. Late or in
 * time makes no difference to the clock. */
bool clock_expire(struct clock *c, int64_t now, struct clock_expired *ret);
/* The id of the side that the participant is on: its group's where everybody has one, else its own.
 */
const char *clock_side(const struct clock *c, size_t who);
