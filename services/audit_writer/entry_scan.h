/* The fast way from a body to an event; see entry_scan.c. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/hash.h"
#include "proto/event.h"

/* Whether the body is a state_delta in the engine's own words that leaves the session's name alone;
 * then *ret is what event_parse makes of it, and ret_checksum its checksum. False says nothing
 * about it, and leaves both anyhow. */
bool entry_scan_delta(const char *body, size_t len, struct event *ret,
                      char ret_checksum[static HASH_HEX_LEN + 1]);
