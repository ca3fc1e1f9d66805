/* The verbs of `handoff dead-letters`, on RabbitMQ. */
#pragma once

#include "cli/arguments.h"
#include "common/config.h"

/* The exit code; what went wrong is on stderr. */
int dead_letters_run(const struct arguments *a, const struct config *config);
