/* Request headers with a grammar of their own. Pure. */
#pragma once

#include <stdbool.h>

#include "proto/command.h"
#include "proto/fault.h"

/* Which of the media types ("image/png") Accept takes best (RFC 9110, 12.5.1): of each the most
 * specific range decides, by its q; among equals the first type. NULL or blank: the first. -1: none
 * of them. */
int headers_accept(const char *accept, const char *const *types, size_t n);
/* Whether application/json is acceptable. */
bool headers_accept_json(const char *accept);

/* If-Match into c: `*`, or a list of at most COMMAND_MAX_IF_MATCH entity tags. A tag that no
 * session can have matches nothing. FAULT_INVALID_REQUEST for a weak tag and for what is no list of
 * tags. */
MUSTCHECK int headers_if_match(const char *value, struct command *c, struct fault *f);
/* Whether If-None-Match says that the client has this position (weak comparison). What cannot be
 * read matches nothing. */
bool headers_if_none_match(const char *value, struct position position);
/* The same for an entity tag as it is sent, with its quotes. */
bool headers_if_none_match_tag(const char *value, const char *tag);

/* 1 to 128 printable characters, quoted or bare. FAULT_INVALID_REQUEST. */
MUSTCHECK int headers_idempotency_key(const char *value, char ret[static COMMAND_KEY_MAX + 1],
                                      struct fault *f);

/* Whether Prefer has return=representation (RFC 7240). */
bool headers_prefer_representation(const char *prefer);

enum media_type {
    MEDIA_OTHER,
    MEDIA_JSON,
    MEDIA_JSON_PATCH,
    MEDIA_MERGE_PATCH,
};
/* A charset other than UTF-8 makes it MEDIA_OTHER. */
enum media_type headers_media_type(const char *content_type);
