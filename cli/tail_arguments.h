/* What was asked of `handoff tail`, and who does it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Texts are borrowed from argv. */
struct tail_arguments {
    const char *url, *token_file, *device, *ca_file; /* the last two: NULL where not given */
    bool json, has_since;
    int64_t since_epoch, since_version;
    char **sessions;
    size_t n_sessions;
};

/* tail.c: runs until SIGINT or SIGTERM, or until nothing is left to follow. The exit code; what
 * went wrong is on stderr. */
int tail_follow(const struct tail_arguments *a);
