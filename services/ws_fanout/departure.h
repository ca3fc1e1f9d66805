/* Connections that are sent away little by little, the oldest first: all of an instance that is
 * about to end, or those that it has when it is to share them with others. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct connection;

struct departure {
    bool is_on;
    uint64_t last;             /* connection.serial: who came later stays */
    int64_t n;                 /* they were so many */
    int64_t spread_ms, end_ms; /* end: loop time */
};

/* Of those in the list (the newest is its head) that are not closing yet. spread_ms: over how long,
 * at least 1; now: loop time, ms. */
void departure_begin(struct departure *d, const struct connection *list, int64_t spread_ms,
                     int64_t now);
/* Those who have still to go. */
int64_t departure_n_left(const struct departure *d, const struct connection *list);
/* send_away closes each one whose turn it is, and may free it. Returns how many are left; with the
 * last one it is over. Before end_ms nobody goes whose command is being answered; not at all, until
 * it can, who is not open or a stream whose answer has not begun. */
int64_t departure_step(struct departure *d, struct connection *list, int64_t now,
                       void (*send_away)(struct connection *c));
