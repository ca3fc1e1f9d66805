/* Reading a command line: what every command has in common. A command's own struct is filled by a
 * table of what it takes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/config.h"

/* An option: of the three places one is set, where it goes; untouched unless it is given. */
struct argument {
    const char *name;    /* "--json" */
    bool *flag;          /* becomes true */
    const char **text;   /* a value that is not empty, borrowed from argv */
    int64_t *number;     /* from least to most */
    int64_t least, most; /* of a number */
};

/* argv[0] is the command, as mistakes name it ("sessions list"). Options stand anywhere before
 * "--", as --name VALUE or --name=VALUE, those with values once; VALUE begins with -- only behind
 * an equals sign, so that a forgotten one does not swallow the next option. The words that are no
 * options ("-" is a word) are moved to argv[1] and on, *ret_n_words of them. False: the mistake was
 * told on stderr; the exit code is 2. */
MUSTCHECK bool arguments_read(int argc, char **argv, const struct argument *options, size_t n,
                              size_t *ret_n_words);
/* Tells a mistake on stderr, and where help is. 2, the exit code. */
int arguments_mistake(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What a command does, by the word behind its name. */
struct verb {
    const char *name;
    int (*run)(int argc, char **argv); /* as a command's; argv[0] is "sessions list" */
};
/* The exit code of the verb, or 2. */
MUSTCHECK int arguments_run_verb(int argc, char **argv, const struct verb *verbs, size_t n);

/* config_load of the process's environment, mistakes told on stderr: false, and the exit code is 2.
 */
MUSTCHECK bool arguments_load_config(enum config_service service, struct config *ret);
/* "90s", "15m", "1h", "7d" in seconds, from 1 to most; false for anything else. */
MUSTCHECK bool arguments_seconds(const char *text, int64_t most, int64_t *ret);
