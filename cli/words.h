/* The words of a command line: options of a table, and what is none. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define WORDS_MAX 8

enum words_type {
    WORDS_FLAG,   /* bool: true when given */
    WORDS_TEXT,   /* const char *: borrowed from argv */
    WORDS_NUMBER, /* int64_t: least to most */
};

struct words_option {
    const char *name; /* "--limit" */
    enum words_type type;
    void *ret; /* untouched where the option is not given */
    int64_t least, most;
};

struct words {
    const char *items[WORDS_MAX]; /* that are no options; borrowed from argv */
    size_t n;
    char mistake[160]; /* "" */
};

/* argv[0] is passed over. --name VALUE and --name=VALUE are the same; after -- all are words.
 * False: ret->mistake says what is wrong. */
MUSTCHECK bool words_parse(struct words *ret, int argc, char **argv,
                           const struct words_option *options, size_t n_options);
/* Tells a mistake on stderr. The exit code: 2. */
int words_refuse(const char *command, const char *mistake);
