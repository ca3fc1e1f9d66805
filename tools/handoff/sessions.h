/* `handoff sessions`: what PostgreSQL and Redis know of sessions, without data. */
#pragma once

#include "common/db_session.h"
#include "tools/handoff/backends.h"

extern const char sessions_usage[];

int sessions_run(int argc, char **argv);

/* Verbs, as arguments_run_verb runs them. */
int sessions_list(int argc, char **argv);
int sessions_show(int argc, char **argv);
int sessions_events(int argc, char **argv);
int sessions_replay(int argc, char **argv);

/* The only word: a session's id. NULL, or what is wrong with it. */
MUSTCHECK const char *sessions_check_id(char *const *words, size_t n_words);
/* The session's row: 0; 1 when there is none, or it cannot be read: told. */
MUSTCHECK int sessions_find(struct backends *b, const char *id, struct db_session *ret);
