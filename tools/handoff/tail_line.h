/* An event as a line for people and for cut(1). */
#pragma once

#include "base/buf.h"
#include "clients/c/handoff.h"

/* time, type, version, device, what changed: separated by tabs, without a line's end. Nothing of
 * what a client chose can end the line or steer a terminal. */
void tail_line(const struct handoff_event *event, struct buf *out);
