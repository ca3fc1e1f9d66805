/* What was asked for on the command line. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

enum verb { VERB_HELP, VERB_VERSION, VERB_LIST, VERB_SHOW, VERB_REPLAY, VERB_DROP };

struct arguments {
    enum verb verb;
    const char *id;    /* NULL: not given; these are borrowed from argv */
    const char *queue; /* NULL: all */
    bool all, json, yes;
};

/* NULL, or what is wrong with it (a literal). */
MUSTCHECK const char *arguments_parse(int argc, char **argv, struct arguments *ret);
