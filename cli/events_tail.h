/* `handoff tail 'session.*.status'`: events as the broker has them, by a routing pattern. */
#pragma once

#include <stdbool.h>

/* Whether these words of `handoff tail` ask for it: a pattern, where a session's id would stand. */
bool events_tail_is_meant(int argc, char **argv);
/* Runs until SIGINT or SIGTERM. The exit code; what went wrong is on stderr. */
int events_tail_run(int argc, char **argv);
/* Whether it can match a routing key of session_updates: words of a topic pattern, `session` first.
 * NULL, or what is wrong with it. */
const char *events_tail_check_pattern(const char *pattern);
