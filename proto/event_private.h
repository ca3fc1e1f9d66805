/* What event.c and event_clock.c share: the envelope of a body that is being printed. */
#pragma once

#include "proto/event.h"

struct event_envelope {
    enum event_type type;
    const char *session_id;
    struct position position;
    int64_t moment;
    const char *user_id, *device_id;
};

/* Fills *e and opens the body; what the type adds follows, each member with its comma before it. A
 * versioned event is named, others are for the caller to name. */
void event_begin_envelope(struct event *e, struct buf *out, const struct event_envelope *given);
/* The same of the session as it is after its last change. */
void event_begin(struct event *e, struct buf *out, enum event_type type, const struct session *s,
                 const char *user_id, const char *device_id);
void event_set_message_id(struct event *e, const char *message_id);
void event_put_null_or_text(struct buf *out, const char *text);
/* ,"clock":{…}: nothing for a session without one. */
void event_put_clock(const struct session *s, struct buf *out);
/* Closes the body and hands it to *e. */
void event_end(struct event *e, struct buf *out);
