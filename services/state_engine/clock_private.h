/* Between the files of the clock's rules only; see clock.h. */
#pragma once

#include "services/state_engine/clock.h"

/* now, or when the running turn began where that is later: store time never goes back, and if it
 * did, no elapsed time were negative. */
int64_t clock_moment(const struct clock *c, int64_t now);
/* What the running turn has taken, at most the time that it has; 0 when the clock stands. */
int64_t clock_elapsed(const struct clock *c, int64_t now);

/* Whether it can begin a turn. */
bool clock_has_time(const struct clock *c, size_t who);
/* The first after `who` in rotation that has time, `who` itself last; CLOCK_NOBODY: nobody has. */
size_t clock_next(const struct clock *c, size_t who);
/* The participant's time, and that of all who share it. */
void clock_set_remaining(struct clock *c, size_t who, int64_t remaining_ms, bool has_expired);

/* Books what has run; the turn goes on from that moment. Returns what was booked. */
int64_t clock_book(struct clock *c, int64_t now);
/* Counts the turn of the active participant, which has been booked; in per_cycle its time is again
 * that of a whole turn. */
void clock_count_turn(struct clock *c);
