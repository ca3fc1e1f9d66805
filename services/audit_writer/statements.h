/* The statements that write a batch. Their parameters are arrays, a column each (array.h). */
#pragma once

/* Each event once, whatever is delivered again. */
extern const char statement_insert_events[];
/* Of given events those whose row has another payload: their numbers. */
extern const char statement_compare_events[];
/* Of given versions those that have no row, and become one of session_gaps by it: what has one
 * already is not answered again. */
extern const char statement_find_missing[];
/* The newest version up to each given one that has a row, in its epoch; those that have come leave
 * session_gaps. */
extern const char statement_find_before[];
/* Of session_gaps what is still looked for and known for $4 ms, after the row ($1, $2, $3); up to
 * $5. */
extern const char statement_read_gaps[];
/* Given versions are lost: the numbers, from 1, of those that nobody had marked so before. */
extern const char statement_mark_lost[];
extern const char statement_insert_snapshots[];
/* The newest position wins; a device's other columns are of the newest moment. */
extern const char statement_upsert_participants[];
extern const char statement_upsert_devices[];
/* The newest of each group of columns wins, whatever the order of the events. */
extern const char statement_upsert_sessions[];
/* One step of session_purge, of the session that was deleted first; $1: ms that it has to be ago.
 * No row: there is none. */
extern const char statement_purge_step[];
/* The partitions of this month and the next two. No parameters. */
extern const char statement_make_partitions[];
