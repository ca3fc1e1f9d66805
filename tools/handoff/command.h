/* A command of `handoff`: a row of the table in main.c. */
#pragma once

#include <stddef.h>

struct command {
    const char *name; /* NULL ends the table */
    /* First, up to an empty line, how it is written: a line for each verb, what goes on in the next
     * line is indented. Completion is made of these lines, so they have every option:
     * "handoff dead-letters list [--queue QUEUE] [--json]". Then what it does, for --help. */
    const char *usage;
    /* argv[0] is its name; argv is its own to put in order. The exit code: 0 all of it was done, 1
     * not, 2 a mistake in the command or the configuration. What went wrong is on stderr. */
    int (*run)(int argc, char **argv);
    unsigned config; /* enum config_service: whose variables --help shows; 0: none */
};

extern const struct command commands[];
