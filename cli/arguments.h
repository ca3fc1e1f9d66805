/* Reading a command line: what every command has in common. A command's own struct is filled by a
 * list of what it takes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/config.h"

/* An option: a flag, or one with a value. */
struct argument {
    const char *name;   /* "--json" */
    bool *flag;         /* is set when it is given; NULL: it takes a value */
    const char **value; /* is set to what follows it, borrowed from argv; NULL before */
};

/* argv[0] is the command's name. Options may stand anywhere, each with a value once, until "--";
 * the words that are none ("-" is a word) are moved to argv[1] and on, *ret_n_words of them. False:
 * the mistake was told on stderr; the exit code is 2. */
MUSTCHECK bool arguments_read(int argc, char **argv, const struct argument *options, size_t n,
                              size_t *ret_n_words);
/* Tells a mistake on stderr, and where help is. 2, the exit code. */
int arguments_mistake(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Which of the names the word is, or n. */
size_t arguments_find(const char *word, const char *const *names, size_t n);

/* config_load of the process's environment, mistakes told on stderr: false, and the exit code is 2.
 */
MUSTCHECK bool arguments_load_config(enum config_service service, struct config *ret);
/* "90s", "15m", "1h", "7d" in seconds, from 1 to most; false for anything else. */
MUSTCHECK bool arguments_seconds(const char *text, int64_t most, int64_t *ret);
