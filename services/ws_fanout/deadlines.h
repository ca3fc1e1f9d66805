/* When each connection is to be looked at: close together in memory, so that the many that rest
 * cost a tick sixteen bytes each, and no look. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct connection;

struct deadlines {
    struct deadline *list; /* owned */
    size_t n, cap;
    int64_t wall_offset; /* the wall clock's minus the loop's, ms, at the last run */
};

void deadlines_done(struct deadlines *d);
/* Adds a connection, to be looked at in the next run; it knows its place. */
void deadlines_add(struct deadlines *d, struct connection *c);
void deadlines_remove(struct deadlines *d, struct connection *c);
/* Something that its deadline hangs on has changed: it is looked at in the next run. */
void deadlines_look_at(struct deadlines *d, const struct connection *c);
/* Looks at those whose deadline has come, which may end them. now: loop time; wall: Unix; both ms.
 * When the wall clock was set all are looked at. */
void deadlines_run(struct deadlines *d, int64_t now, int64_t wall);
