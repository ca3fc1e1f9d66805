/* Where a list goes on: opaque to clients, checked when it comes back. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"

#define CURSOR_CAP 88

/* After the session created at that moment with that id. */
struct cursor {
    int64_t created_at; /* ms */
    char id[UUID_LEN + 1];
};

void cursor_print(const struct cursor *c, char ret[static CURSOR_CAP]);
bool cursor_parse(const char *text, struct cursor *ret);
