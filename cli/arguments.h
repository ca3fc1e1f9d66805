/* What was asked for on the command line. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

enum verb { VERB_HELP, VERB_VERSION, VERB_LIST, VERB_SHOW, VERB_REPLAY, VERB_DROP, VERB_TAIL };

struct arguments {
    enum verb verb;
    const char *id;    /* NULL: not given; these are borrowed from argv */
    const char *queue; /* NULL: all */
    bool all, json, yes;
    /* Of tail. */
    const char *url, *token_file, *device, *ca_file; /* the last two: NULL where not given */
    bool has_since;
    int64_t since_epoch, since_version;
    char **sessions; /* borrowed from argv, which is put in order */
    size_t n_sessions;
};

/* NULL, or what is wrong with it (a literal). */
MUSTCHECK const char *arguments_parse(int argc, char **argv, struct arguments *ret);
