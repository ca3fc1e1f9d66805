/* What was asked of `handoff dead-letters`, and who does it. */
#pragma once

#include <stdbool.h>

#include "common/config.h"

enum dead_letters_verb { VERB_LIST, VERB_SHOW, VERB_REPLAY, VERB_DROP, N_VERBS };

/* Texts are borrowed from argv. */
struct dead_letters_arguments {
    enum dead_letters_verb verb;
    const char *id;    /* NULL: not given */
    const char *queue; /* NULL: all */
    bool all, json, yes, wants_progress;
};

/* dead_letters.c: the exit code; what went wrong is on stderr. */
int dead_letters_act(const struct dead_letters_arguments *a, const struct config *config);
