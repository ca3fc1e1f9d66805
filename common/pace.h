/* When commands that wait for a message of their own leave: Nagle's rule with an end. While
 * messages are on their way that nobody answered yet, what comes is gathered for the next one,
 * since a message costs the broker and the engine more than a command in it; but nothing waits
 * longer than PACE_HOLD_NS. Without any on its way all leave at once. Pure: moments come from the
 * caller, ns of one monotonic clock. Decision 0013. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACE_HOLD_NS 1000000u
#define PACE_MAX_ON_WAY 2

struct pace {
    uint64_t on_way[PACE_MAX_ON_WAY]; /* messages' numbers; 0: a free place */
    uint64_t n_sent;
    uint64_t since_ns; /* when the first of those that wait came; 0: nobody waits */
};

/* A command came, and waits. */
void pace_wait(struct pace *p, uint64_t now_ns);
/* Whether those that wait go on waiting. */
bool pace_holds(const struct pace *p, uint64_t now_ns);
/* All that waited left in one message: returns its number, for pace_answered. The oldest of those
 * on their way is not counted any more when there are too many: what it waits for may take long. */
uint64_t pace_sent(struct pace *p);
/* All that waited were given up. */
void pace_dropped(struct pace *p);
/* A reply to any of the message's commands came, or none will. Again: nothing. */
void pace_answered(struct pace *p, uint64_t number);
