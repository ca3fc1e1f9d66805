/* `handoff sessions`: what PostgreSQL and Redis know of sessions, without data. */
#pragma once

#include "cli/backends.h"
#include "common/db_session.h"

extern const char sessions_usage[];

/* Each gets its own words from argv[0] on, and returns the exit code; what went wrong is on stderr.
 */
int sessions_run(int argc, char **argv);
int sessions_list(int argc, char **argv);
int sessions_show(int argc, char **argv);
int sessions_events(int argc, char **argv);
int sessions_replay(int argc, char **argv);

/* For those four. 2 for a configuration that cannot be, and told. */
MUSTCHECK int sessions_configure(struct config *ret);
/* A mistake in their words: 2. */
int sessions_refuse(const char *mistake);
/* The only word: a session's id. NULL, or what is wrong with it. */
MUSTCHECK const char *sessions_check_id(const char *const *words, size_t n_words);
/* The session's row: 0; 1 when there is none, or it cannot be read: told. */
MUSTCHECK int sessions_find(struct backends *b, const char *id, struct db_session *ret);
