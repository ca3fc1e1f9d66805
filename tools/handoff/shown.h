/* Texts that anybody may have chosen, as a terminal gets them. */
#pragma once

#include "base/buf.h"
#include "proto/session.h"

#define SHOWN_MAX 1024 /* bytes of a text */

/* Printable, owned; "-" when there is none ("" or NULL). Line breaks and the like become spaces. */
char *shown_text(const char *text);
/* 42, or 42.3 from epoch 2 on. */
void shown_position(struct buf *out, struct position p);
/* The moment in UTC, or "-" for 0; as JSON: null. */
void shown_moment(struct buf *out, int64_t ms);
void shown_moment_json(struct buf *out, int64_t ms);
/* A text as JSON; null where it is "" or NULL. */
void shown_text_json(struct buf *out, const char *text);
/* Writes all of it, empties the buffer; false when stdout takes no more. */
MUSTCHECK bool shown_flush(struct buf *out);
