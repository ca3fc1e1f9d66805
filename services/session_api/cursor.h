/* Where a list goes on: opaque to clients, checked when it comes back. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"
#include "proto/session.h"

#define CURSOR_PLAIN_CAP 208
#define CURSOR_CAP ((CURSOR_PLAIN_CAP * 8 + 5) / 6 + 1)

/* After the session created at that moment with that id. */
struct cursor {
    int64_t created_at; /* ms */
    char id[UUID_LEN + 1];
};

void cursor_print(const struct cursor *c, char ret[static CURSOR_CAP]);
bool cursor_parse(const char *text, struct cursor *ret);

/* After that version's snapshot. */
void cursor_print_position(struct position p, char ret[static CURSOR_CAP]);
bool cursor_parse_position(const char *text, struct position *ret);

#define CURSOR_MESSAGE_ID_MAX 127

/* After that event. */
struct event_cursor {
    struct position position;
    int64_t moment;                             /* ms */
    char message_id[CURSOR_MESSAGE_ID_MAX + 1]; /* printable */
};
void cursor_print_event(const struct event_cursor *c, char ret[static CURSOR_CAP]);
bool cursor_parse_event(const char *text, struct event_cursor *ret);
