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

#ifdef HANDOFF_CRASH_POINTS
/* name: a literal, <service>.<step>. */
bool crash_point(const char *name);
#define CRASH_POINT(name) crash_point(name)
#else
#define CRASH_POINT(name) false
#endif
