/* Private to the library: the two structs behind handoff.h, and what its parts ask of each other.
 * wire.c has the connection, ask.c what is asked over it, held.c, held_take.c and held_command.c a
 * session. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "clients/c/handoff.h"
#include "clients/c/src/delay.h"
#include "clients/c/src/problem.h"
#include "clients/c/src/replica.h"
#include "clients/c/src/transport.h"
#include "clients/c/src/unsent.h"

#define HAND_MAX_SESSIONS 64
#define HAND_MAX_MESSAGES 64 /* broadcasts and heartbeats without an answer */
#define HAND_ANSWER_MS 10000 /* an answer has to come within */
#define HAND_DEVICE_MAX 128

enum asked_kind { ASKED_AUTH, ASKED_SUBSCRIBE, ASKED_COMMAND, ASKED_MESSAGE };

/* What was asked over the connection and has no answer yet. */
struct asked {
    struct asked *next;
    enum asked_kind kind;
    uint64_t id;
    int64_t until_ms;
    struct handoff_session *session; /* NULL: of none, or it was closed since */
    handoff_answer *answer;          /* of a message */
    void *user;
};

struct handoff {
    struct handoff_options options; /* its texts are not: */
    struct endpoint address;
    char *device_name, *device_platform, *ca_file; /* owned, or NULL */
    char device_id[HAND_DEVICE_MAX + 1];           /* "": not known yet */
    struct handoff_store store;                    /* load NULL: none */
    struct transport *transport;

    enum handoff_state state;
    bool has_begun;   /* with the first session */
    bool is_linked;   /* a connection is there, or on its way */
    bool wants_token; /* it was asked for */
    bool is_probing;  /* what was sent has to bring a sign of life */
    char *token;      /* owned: not used yet */
    struct delay delay;
    int64_t open_at_ms;    /* 0: not; all moments are of timestamp_monotonic_ms */
    int64_t connect_at_ms; /* with the token that came */
    int64_t silent_at_ms;
    struct handoff_error refusal; /* what the server said to the token; code "": nothing */
    unsigned n_refusals;          /* in a row */
    int64_t offset_ms;            /* the server's clock less this device's */
    size_t max_message_bytes;

    struct asked *asked;
    uint64_t last_id;
    struct handoff_session *sessions;
};

struct handoff_session {
    struct handoff_session *next;
    struct handoff *hand;
    char id[UUID_LEN + 1];
    struct handoff_events events;
    void *user;

    struct replica replica;
    struct unsent unsent;
    json_t *view; /* owned: with this device's unanswered changes; NULL: not told yet */
    char *data_text, *resource_text,
        *confirmed_text; /* owned, made when asked for; NULL: not yet */
    bool is_synced;
    bool is_closed;      /* by its user: freed after this turn */
    bool is_lost;        /* it is not there (any more) */
    bool wants_whole;    /* the next subscription asks for the session, whatever is here */
    bool wants_again;    /* one more subscription, after the one that is asked for */
    struct delay resync; /* of whole sessions that were in vain */
    unsigned n_resyncs;
    int64_t subscribe_at_ms; /* 0: not */
    int64_t pump_at_ms;
    struct handoff_sync told; /* by `state` */
};

/* A moment from now: the alarm goes then. */
void hand_at(struct handoff *h, int64_t *ret_at_ms, int64_t delay_ms);
void hand_tell_error(struct handoff *h, const struct handoff_error *error);
/* What is due is done. */
void hand_alarm(struct handoff *h);
/* The last thing in each turn: closed sessions go, the next alarm is set. */
void hand_turn_end(struct handoff *h);
/* The device that the token is for, unless it is known. */
void hand_learn_device(struct handoff *h, const char *token);

/* ---- wire.c ---- */

extern const struct transport_events wire_events;
void wire_open(struct handoff *h);
void wire_begin(struct handoff *h); /* unless it has */
void wire_hello(struct handoff *h, const json_t *hello);
void wire_auth_refused(struct handoff *h, const struct handoff_error *error);
void wire_refresh(struct handoff *h);
void wire_give_up(struct handoff *h, const char *why);
void wire_due(struct handoff *h, int64_t now_ms);

/* ---- ask.c ---- */

/* Sends message (taken) with an id of its own. */
struct asked *ask_send(struct handoff *h, enum asked_kind kind, struct handoff_session *s,
                       json_t *message);
/* Sends it without waiting for an answer. */
void ask_tell(struct handoff *h, json_t *message);
bool ask_waits(const struct handoff *h, enum asked_kind kind, const struct handoff_session *s);
size_t ask_count(const struct handoff *h, enum asked_kind kind);
/* The frame of an id. False: nobody asked. */
bool ask_answered(struct handoff *h, const json_t *frame);
void ask_lost(struct handoff *h); /* all of them */
void ask_forget(struct handoff *h, const struct handoff_session *s);
void ask_due(struct handoff *h, int64_t now_ms);
int64_t ask_next_ms(const struct handoff *h); /* 0: none */
void ask_done(struct handoff *h);

/* ---- held*.c ---- */

struct handoff_session *held_new(struct handoff *h, const char *id,
                                 const struct handoff_events *events, void *user);
void held_free(struct handoff_session *s);
void held_load(struct handoff_session *s); /* what the store has */
void held_link_changed(struct handoff_session *s);
void held_subscribe(struct handoff_session *s);
void held_subscribe_refused(struct handoff_session *s, const struct handoff_error *error);
void held_take(struct handoff_session *s, const json_t *frame, const char *text);
void held_acked(struct handoff_session *s, const json_t *ack);
void held_refused(struct handoff_session *s, const struct handoff_error *error,
                  const json_t *problem);
void held_due(struct handoff_session *s, int64_t now_ms);
void held_lose(struct handoff_session *s, const struct handoff_error *error);
void held_replace(struct handoff_session *s, json_t *session);
void held_start_over(struct handoff_session *s);
/* Makes the view anew, and tells. */
void held_render(struct handoff_session *s, enum handoff_source source,
                 const struct handoff_event *event);
void held_tell_state(struct handoff_session *s);
bool held_is_open(const struct handoff_session *s); /* for its user and the server */

extern const struct unsent_calls held_calls;
/* session with p's operations: a new reference, NULL when it does not fit. */
json_t *held_with(const struct handoff_session *s, json_t *session, size_t *data_bytes,
                  struct pending *p);
/* What p's function makes of data now; NULL: nothing. */
json_t *held_redo(const struct pending *p, const json_t *data);
/* A patch on what this device knows now; operations are taken. */
json_t *held_patch_command(const struct handoff_session *s, const char *key, json_t *operations);
