/* Frames of a WebSocket's client, RFC 6455: just what Handoff's server sends. They are searched,
 * not parsed: who uses this runs on the cores that it measures. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/sockets.h"

#define FRAME_TEXT 0x81 /* with FIN, as all that is sent and taken */
#define FRAME_CLOSE 0x88
#define FRAME_PING 0x89
#define FRAME_PONG 0x8a

struct frame {
    unsigned first; /* the byte with FIN and the opcode */
    const char *payload;
    size_t len;
    size_t whole; /* with its header */
};

/* False while the first of the bytes has not arrived whole. */
bool frame_next(const char *bytes, size_t len, struct frame *ret);
/* NULL when it is not there. */
const char *frame_find(const struct frame *f, const char *what);
/* The number behind `"name":`, which must be there. */
uint64_t frame_number(const struct frame *f, const char *name);
/* With a mask of zeros, which leaves the bytes as they are. */
void frame_send(const struct source *s, unsigned first, const char *text, size_t len);
