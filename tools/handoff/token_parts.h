/* Private to token*.c. */
#pragma once

#include <stdbool.h>

#include "common/config.h"

/* Texts are borrowed from argv, NULL where not given. */
struct token_arguments {
    const char *sub, *scope, *device, *session, *issuer, *audience, *expires;
    const char *key, *kid, *secret_file;
    bool json;
};

/* The exit codes; what went wrong is on stderr. */
int token_new(const struct token_arguments *a, const struct config *config);
int token_check(const char *file, bool json, const struct config *config);
