/* A session's commands that have no answer yet: kept in the store before they leave, sent one after
 * the other, again after a lost connection with the same keys, taken out when they are answered. So
 * each takes effect once, in order, or its answer says why not. No connection and no clock of its
 * own: its user calls. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "clients/c/handoff.h"
#include "clients/c/src/delay.h"

/* The server remembers a key for 24 h: an older command could take effect a second time. */
#define UNSENT_KEY_LIFETIME_MS (INT64_C(23) * 3600 * 1000)
#define UNSENT_MAX_BYTES (8u << 20) /* of a session's commands */

struct pending {
    struct pending *next;
    json_t *command; /* owned: the message without its id; {type, sessionId, key, …} */
    char key[UUID_LEN + 1];
    size_t n_bytes;
    int64_t created_at_ms; /* of the device's clock */
    bool is_sent;          /* it may have taken effect. Then it is only ever sent again as it was */
    int64_t done_at;       /* the version that it made, as soon as that is known; 0 until then */
    bool is_shown;         /* told by its event already, so that the copy has it */
    bool rejects;          /* HANDOFF_REJECT */
    unsigned n_rebases;    /* in a row */
    handoff_change *change; /* makes the operations anew on other data, or NULL */
    handoff_answer *answer; /* or NULL */
    void *user;             /* of both */
};

struct unsent_calls {
    /* -1 and *error: it did not leave. Its outcome comes by unsent_acked or unsent_refused. */
    int (*send)(void *user, struct pending *p, struct handoff_error *error);
    /* A command that was not sent is to leave: what it carries may be made anew. True: there is
     * nothing left to do, and *ret is the position. */
    bool (*prepare)(void *user, struct pending *p, struct handoff_position *ret);
    /* It took effect: true when the copy shows it already, so that the pending one can go. */
    bool (*done)(void *user, struct pending *p, struct handoff_position at);
    /* Refused for good, by problem (NULL: by this side); true: it was made anew, and is to be sent
     * again. False: it was taken out of the list. */
    bool (*refused)(void *user, struct pending *p, const struct handoff_error *error,
                    const json_t *problem);
    void (*answer)(void *user, struct pending *p, const struct handoff_error *error,
                   const struct handoff_ack *ack);
    void (*keep)(void *user, const struct pending *p);
    void (*forget)(void *user, const struct pending *p);
    void (*changed)(void *user);
    /* unsent_pump is to be called after so long. */
    void (*later)(void *user, int64_t delay_ms);
};

struct unsent {
    const struct unsent_calls *calls;
    void *user;
    struct pending *first; /* in order; those at the front may be done, and wait for their event */
    struct pending *in_flight;
    bool is_open, is_pumping, waits;
    struct delay delay;
    size_t max_items, n_bytes;
};

void unsent_init(struct unsent *u, const struct unsent_calls *calls, void *user, size_t max_items);
/* Answers `closed` for all that wait; the store keeps them. Not from within one of the calls. */
void unsent_done(struct unsent *u);

/* Takes command. -1 and *error: outbox_full. Does not send: unsent_pump does. */
int unsent_add(struct unsent *u, json_t *command, struct pending **ret,
               struct handoff_error *error);
/* One that the store had (unsent_pending_text made its text), behind those restored before and
 * ahead of all others. False when it cannot be read, is known, or is one too many. */
bool unsent_restore(struct unsent *u, const char *key, const char *text);
char *unsent_pending_text(const struct pending *p); /* caller frees */

/* Replaces its command; takes it. */
void unsent_set_command(struct unsent *u, struct pending *p, json_t *command);
/* Takes it out of the list; the caller has it then. */
void unsent_take_out(struct unsent *u, struct pending *p);
/* NULL does nothing. */
void unsent_free(struct pending *p);

size_t unsent_count(const struct unsent *u); /* without an answer */
/* Whether commands may leave now; then they do. */
void unsent_set_open(struct unsent *u, bool is_open);
/* Sends the next one, when its turn has come. */
void unsent_pump(struct unsent *u);
/* The wait that `later` asked for is over. */
void unsent_wake(struct unsent *u);
/* The outcome of the one in flight. */
void unsent_acked(struct unsent *u, const struct handoff_ack *ack);
void unsent_refused(struct unsent *u, const struct handoff_error *error, const json_t *problem);
/* Those that are done at this version or before it go: their event was taken. */
void unsent_settle(struct unsent *u, int64_t version);
/* Nothing is sent any more: all that wait are answered with error and forgotten. */
void unsent_fail(struct unsent *u, const struct handoff_error *error);
