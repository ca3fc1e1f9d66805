/* Places where a test makes the process die, stand still, or fail at what it does next. Only in
 * builds with HANDOFF_CRASH_POINTS (those with sanitizers); elsewhere they are nothing at all.
 *
 * CRASH_POINT=<name>=<die|pause|fail> in the environment chooses one, which acts the first time
 * that it is reached: die is SIGKILL, pause stops everything for CRASH_POINT_PAUSE_MS, and fail
 * makes CRASH_POINT true, for whoever asks to behave as after an I/O error. Each says so on stderr
 * first. */
#pragma once

#include <stdbool.h>

#define CRASH_POINT_PAUSE_MS 20000

/* What a link leads to: the variable that has its URL. */
#define CRASH_REDIS "HANDOFF_REDIS_URL"
#define CRASH_BROKER "HANDOFF_AMQP_URL"
#define CRASH_DATABASE "HANDOFF_DATABASE_URL"

#ifdef HANDOFF_CRASH_POINTS
/* name: a literal, <service>.<step>. */
bool crash_point(const char *name);
/* The same; to fail there shuts down this process' connections to that server first, which is what
 * its next read or write on them finds. */
bool crash_point_cut(const char *name, const char *url_variable);
#define CRASH_POINT(name) crash_point(name)
#define CRASH_POINT_CUT(name, to) crash_point_cut(name, to)
/* Where what comes next on the connection fails by itself. */
#define CRASH_LINK(name, to) ((void)crash_point_cut(name, to))
#else
#define CRASH_POINT(name) false
#define CRASH_POINT_CUT(name, to) false
#define CRASH_LINK(name, to) ((void)0)
#endif
