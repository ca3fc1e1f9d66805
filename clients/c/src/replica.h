/* A copy of a session as the server tells it, event by event (docs/PROTOCOL.md, Events). Pure: no
 * connection, no time. Or only the place in the sequence of events, of who follows a session. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "clients/c/handoff.h"
#include "proto/fault.h"

enum replica_taken {
    REPLICA_APPLIED,
    REPLICA_OLD,  /* seen already, or no version of its own */
    REPLICA_GAP,  /* something before it is missing, or it is of another epoch */
    REPLICA_DRIFT /* the checksum differs: the copy cannot be trusted */
};

struct replica {
    size_t max_data_bytes;
    bool follows;      /* has a position, no session */
    json_t *session;   /* owned, NULL: nothing was told yet. Never changed, only replaced */
    size_t data_bytes; /* canonical */
    struct handoff_position position; /* epoch 0: it has to be asked for as a whole */
};

void replica_done(struct replica *r);

/* A whole session (a reference is taken), which may be older than what is here (an answer that was
 * long on its way): false then, and when it is none. */
bool replica_replace(struct replica *r, json_t *session);
enum replica_taken replica_take(struct replica *r, const json_t *event);
/* The copy is shown still, but what comes is only taken after a whole session. */
void replica_distrust(struct replica *r);

bool replica_is_versioned(const char *type);

/* session with the operations of one command: a new reference, or NULL and *f. *data_bytes goes
 * along. */
json_t *replica_apply(json_t *session, size_t *data_bytes, const json_t *operations,
                      size_t max_data_bytes, struct fault *f);
