/* What was asked of `handoff tail`, and who does it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Texts are borrowed from argv, NULL where not given. */
struct tail_arguments {
    bool json;
    char **words; /* ids of sessions, or patterns */
    size_t n_words;
    /* of sessions */
    const char *url, *token_file, *device, *ca_file;
    bool has_since;
    int64_t since_epoch, since_version;
    /* of patterns; 0 where not given */
    const char *queue_prefix;
    int64_t buffer;
};

/* Whether it can match a routing key of session_updates: words of a topic pattern, `session` first.
 * NULL, or what is wrong with it. */
const char *tail_check_pattern(const char *pattern);

/* tail.c: sessions, by the client for C; events_tail.c: patterns, by the broker. Each runs until
 * SIGINT or SIGTERM, or until nothing is left to follow. The exit code; what went wrong is on
 * stderr. */
int tail_follow(const struct tail_arguments *a);
int tail_hear(const struct tail_arguments *a);
