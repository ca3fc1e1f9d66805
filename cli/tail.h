/* `handoff tail`: what happens in sessions, as it happens. */
#pragma once

#include "cli/arguments.h"

/* Runs until SIGINT or SIGTERM, or until nothing is left to follow. The exit code; what went wrong
 * is on stderr. */
int tail_run(const struct arguments *a);
