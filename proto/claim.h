/* What a token says of itself, for clients: it is the server that verifies it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Its claim device_id: false when it has none, or one that is none. */
bool claim_device(const char *token, size_t cap, char ret[]);
