/* Handoff for C: sessions on this device, in sync with all others, over one WebSocket. README.md
 * beside this file begins with an example. C17 and C++.
 *
 * Threads. A struct handoff and all that belongs to it are used by one thread, the one that calls
 * handoff_run or runs the libuv loop; only handoff_wake may be called by others. Two of them have
 * nothing in common, and may live in two threads.
 *
 * Callbacks come from handoff_run (or the loop), and, where it is said, from within a call of this
 * header. They may call all of it but handoff_free and handoff_run. What they are given is borrowed
 * until they return.
 *
 * Texts are UTF-8, copied where they are taken. What is returned as const char * is borrowed until
 * the next call or callback about the same session.
 *
 * Memory. When the machine has none left the process ends with a message, but within what jansson
 * allocates by itself. What a server can make this side hold is bounded: see max_frame_bytes. */
#ifndef HANDOFF_H
#define HANDOFF_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HANDOFF_API __attribute__((visibility("default")))

struct handoff;         /* this device's way to Handoff: one connection, up to 64 sessions */
struct handoff_session; /* a session on this device */

/* ---- errors ---- */

/* What was refused. `code` is a code of docs/PROTOCOL.md, or one of this side's own:
 * connection_lost (nobody knows what became of it), no_token, not_ready (the session was not told
 * yet), outbox_full, key_expired, store_failed, frame_too_large, closed. Decide by code; reason is
 * for people. Functions that take one write it on failure only, and take NULL. */
struct handoff_error {
    char code[40];
    char reason[256];
    bool temporary;         /* may the same succeed later? */
    int64_t retry_after_ms; /* 0: not told */
};

/* ---- the connection ---- */

enum handoff_state {
    HANDOFF_CONNECTING,
    HANDOFF_OPEN,
    HANDOFF_WAITING, /* to try again */
    HANDOFF_STOPPED  /* it will not try by itself: the token is not good, or there is none */
};

/* Where commands that have no answer yet are kept, so that the end of the process loses none. All
 * are called by the library's thread and return 0, or a negative errno, which keeps nobody from
 * working (`error` tells). text is JSON. */
struct handoff_store {
    void *user;
    /* Calls each for every command of the session, in the order in which they were first put. */
    int (*load)(void *user, const char *session_id,
                void (*each)(void *arg, const char *key, const char *text), void *arg);
    /* Again for one that is there: its text is replaced, its place stays. It is durable when put
     * returns. */
    int (*put)(void *user, const char *session_id, const char *key, const char *text);
    int (*remove)(void *user, const char *session_id, const char *key);
};

struct handoff_options {
    size_t size; /* sizeof(struct handoff_options) */
    /* ws://host:port or wss://host (http and https are the same), with a path when Handoff has one
     * before /ws. */
    const char *url;
    /* This installation of the app: 1 to 128 of A-Z a-z 0-9 . _ : -, and stays the same. NULL: the
     * token's claim device_id. */
    const char *device_id;
    const char *device_name; /* what it calls itself; NULL: nothing */
    const char *device_platform;
    /* A token is needed: for each connection, and before one expires. Answer with handoff_set_token
     * or handoff_no_token, at once or later. */
    void (*token)(struct handoff *h, void *user);
    /* why: of WAITING and STOPPED; else NULL. May be NULL, as all that follow. */
    void (*state)(struct handoff *h, void *user, enum handoff_state state,
                  const struct handoff_error *why);
    /* What happened beside all answers: store_failed. */
    void (*error)(struct handoff *h, void *user, const struct handoff_error *error);
    void *user;                        /* given to all three */
    const struct handoff_store *store; /* borrowed until handoff_free; NULL: nothing is kept */
    /* A uv_loop_t * that carries the connection; NULL: handoff_run does. */
    void *uv_loop;
    const char *ca_file; /* PEM; who may have signed the server's certificate; NULL: the system's */
    size_t max_frame_bytes; /* of what the server sends in one piece, and so of a session's data; 0:
                             * 1 MiB */
    size_t max_unsent;      /* commands of a session without an answer; 0: 1000 */
    bool keep_lws_log;      /* else libwebsockets' log, which is one for the process, is silenced */
};

/* NULL and *error (invalid_value, internal) when an option is wrong. Connects with the first
 * session. */
HANDOFF_API struct handoff *handoff_new(const struct handoff_options *options,
                                        struct handoff_error *error);
/* Closes all sessions; what had no answer stays in the store. NULL does nothing. With a uv_loop:
 * some handles close within its next turns; run it until they have before it is closed. */
HANDOFF_API void handoff_free(struct handoff *h);

/* One turn: waits at most timeout_ms (0: not at all; below: without an end) for something to
 * happen, and handles it. 0, or -1 when libwebsockets gave up. Not with a uv_loop. */
HANDOFF_API int handoff_run(struct handoff *h, int timeout_ms);
/* handoff_run returns soon. The one call for other threads. */
HANDOFF_API void handoff_wake(struct handoff *h);

HANDOFF_API void handoff_set_token(struct handoff *h, const char *token);
HANDOFF_API void handoff_no_token(struct handoff *h, const char *reason);
/* Tries at once, also when it had stopped: after a new sign-in, or when the network is back. */
HANDOFF_API void handoff_reconnect(struct handoff *h);
HANDOFF_API enum handoff_state handoff_get_state(const struct handoff *h);
/* "" while it is not known: it is the token's, and there was none. */
HANDOFF_API const char *handoff_device_id(const struct handoff *h);
/* The server's time now, ms since 1970: what clocks are reckoned with. */
HANDOFF_API int64_t handoff_now_ms(const struct handoff *h);
/* Commands of all sessions that have no answer yet. */
HANDOFF_API size_t handoff_unsent(const struct handoff *h);

/* ---- what sessions tell ---- */

/* A version is of an epoch: another begins when a session had to be put together again after a
 * loss. epoch 0: none. */
struct handoff_position {
    int64_t epoch;
    int64_t version;
};

enum handoff_sync_state {
    HANDOFF_SYNC_CONNECTING, /* not heard from the server yet, or not again */
    HANDOFF_SYNCED,
    HANDOFF_OFFLINE,
    HANDOFF_CLOSED
};

struct handoff_sync {
    enum handoff_sync_state state;
    size_t unsent; /* commands of this device that have no answer yet */
};

/* As docs/PROTOCOL.md (Events) describes it. */
struct handoff_event {
    const char *type;
    struct handoff_position position;
    const char *timestamp; /* NULL where the server told none; so the others */
    const char *user_id;
    const char *device_id; /* NULL: the server */
    const char *json;      /* all of it */
};

enum handoff_source {
    HANDOFF_LOCAL,    /* this device, not answered yet */
    HANDOFF_REMOTE,   /* an event; this device's own come too */
    HANDOFF_ROLLBACK, /* a change of this device was taken back, or is made anew */
    HANDOFF_SYNC      /* a whole session from the server */
};

struct handoff_conflict {
    const struct handoff_error *error;
    const char *operations; /* this device's change, as JSON */
    bool resolved;          /* it is made anew on what there is now; else it is taken back */
};

struct handoff_devices {
    const char *const *joined;
    size_t n_joined;
    const char *const *left;
    size_t n_left;
    const char *name; /* of one device: what it calls itself; NULL: not told */
    const char *platform;
};

/* Each may be NULL. */
struct handoff_events {
    size_t size; /* sizeof(struct handoff_events) */
    void (*state)(struct handoff_session *s, void *user, const struct handoff_sync *sync);
    /* Something of the session changed; event: by which one, or NULL. LOCAL comes from within
     * handoff_session_patch and _change. */
    void (*change)(struct handoff_session *s, void *user, enum handoff_source source,
                   const struct handoff_event *event);
    /* Another device changed the same, or the change was refused. */
    void (*conflict)(struct handoff_session *s, void *user,
                     const struct handoff_conflict *conflict);
    void (*devices)(struct handoff_session *s, void *user, const struct handoff_devices *devices);
    /* message: JSON; device_id: NULL for a backend's. */
    void (*broadcast)(struct handoff_session *s, void *user, const char *message,
                      const char *device_id);
    /* A clock is about to run out. */
    void (*warning)(struct handoff_session *s, void *user, const char *participant_id,
                    int64_t remaining_ms);
    /* The session is not there (any more) for this device: not_found, device_removed, forbidden.
     * The last callback of it; it still has to be closed. */
    void (*lost)(struct handoff_session *s, void *user, const struct handoff_error *error);
    /* Every event as it came, and state_sync, before what the others tell of it. */
    void (*event)(struct handoff_session *s, void *user, const struct handoff_event *event);
};

/* NULL and *error: invalid_value (no lower-case UUID, or opened already), too_many_sessions. It is
 * told when `state` says HANDOFF_SYNCED, or `lost`. What the store has of it is sent first. */
HANDOFF_API struct handoff_session *handoff_open(struct handoff *h, const char *session_id,
                                                 const struct handoff_events *events, void *user,
                                                 struct handoff_error *error);
/* Listens only: no copy is kept, no command can be sent, all that is called is state, event and
 * lost. Versioned events come once each, in order, without a gap: from the one after `since` on
 * (NULL: from now on, after a state_sync). Where what was missed cannot be told there is a
 * state_sync with its reason. */
HANDOFF_API struct handoff_session *handoff_follow(struct handoff *h, const char *session_id,
                                                   const struct handoff_position *since,
                                                   const struct handoff_events *events, void *user,
                                                   struct handoff_error *error);
/* Nothing is told any more, but to those who wait for an answer: `closed`. What was not answered
 * stays in the store. The session is not to be used afterwards. NULL does nothing. */
HANDOFF_API void handoff_session_close(struct handoff_session *s);

/* ---- what there is ---- */

/* Everything below is as this device shows it: with its own changes that have no answer yet. Before
 * the session was told, and for one that is followed, texts are NULL. */
HANDOFF_API const char *handoff_session_data(struct handoff_session *s); /* JSON, compact */
/* A new reference, the caller's own copy: integers as such, up to 2^53. */
HANDOFF_API json_t *handoff_session_data_json(struct handoff_session *s);
/* The whole resource (docs/PROTOCOL.md, The session), as JSON. */
HANDOFF_API const char *handoff_session_resource(struct handoff_session *s);
HANDOFF_API const char *handoff_session_name(const struct handoff_session *s);
HANDOFF_API const char *handoff_session_status(const struct handoff_session *s);
HANDOFF_API const char *handoff_session_role(const struct handoff_session *s);
/* NULL: none. */
HANDOFF_API const char *handoff_session_active_device_id(const struct handoff_session *s);
HANDOFF_API const char *handoff_session_id(const struct handoff_session *s);
HANDOFF_API struct handoff_sync handoff_session_sync(const struct handoff_session *s);
HANDOFF_API void *handoff_session_user(const struct handoff_session *s);
HANDOFF_API struct handoff *handoff_session_handoff(const struct handoff_session *s);

/* As the server told it last. */
HANDOFF_API struct handoff_position handoff_session_position(const struct handoff_session *s);
HANDOFF_API const char *handoff_session_confirmed_data(struct handoff_session *s);
HANDOFF_API const char *handoff_session_checksum(const struct handoff_session *s);

/* ---- commands ---- */

struct handoff_ack {
    struct handoff_position position;
    const char *checksum; /* NULL where the command has none */
    bool rebased;         /* what others changed meanwhile was merged */
    bool replayed;        /* it had taken effect before, under the same key */
};

/* Called once for each command that was taken: when it took effect (error NULL) or will not (ack
 * NULL). After handoff_session_close with `closed`, from within. */
typedef void handoff_answer(struct handoff_session *s, void *user,
                            const struct handoff_error *error, const struct handoff_ack *ack);

enum handoff_on_conflict {
    HANDOFF_REBASE, /* when others changed the same: make the change anew on what there is now */
    HANDOFF_REJECT  /* or take it back */
};

/* All return 0, or -1 and *error, and then answer is not called. answer may be NULL. */

/* Changes `data` and `name`: at once here (data tells), then at the server. operations: an array of
 * RFC 6902 operations as JSON, whose pointers begin with /data or /name. Errors: those of a PATCH
 * (patch_failed, invalid_json …), not_ready, outbox_full, body_too_large (over 64 KiB: a frame has
 * no more). Without operations nothing is to do: answer is called from within. */
HANDOFF_API int handoff_session_patch(struct handoff_session *s, const char *operations,
                                      enum handoff_on_conflict on_conflict, handoff_answer *answer,
                                      void *user, struct handoff_error *error);

/* What `data` is to be: a new reference, which may be `data` itself (taken; the function's own),
 * changed. NULL: nothing can be done with it; the change is taken back. Called at once, and again
 * each time that what it was made on changes, until it is answered: it depends on `data` and user
 * alone and calls nothing of this header. */
typedef json_t *handoff_change(void *user, json_t *data);

/* The same as a function, which is called again after a conflict with what there is then: a counter
 * counts right on many devices. user is given to both. */
HANDOFF_API int handoff_session_change(struct handoff_session *s, handoff_change *change,
                                       handoff_answer *answer, void *user,
                                       struct handoff_error *error);

/* "paused"; "active" (on this device: goes on, or takes it over); "completed", "cancelled". */
HANDOFF_API int handoff_session_set_status(struct handoff_session *s, const char *status,
                                           handoff_answer *answer, void *user,
                                           struct handoff_error *error);
/* Ends a turn of the clock: that of current_participant (NULL: whose it is as far as this device
 * knows), for that of next_participant (NULL: the next one). */
HANDOFF_API int handoff_session_switch(struct handoff_session *s, const char *current_participant,
                                       const char *next_participant, handoff_answer *answer,
                                       void *user, struct handoff_error *error);

/* These two are neither kept nor sent again: connection_lost when there is no connection, or it
 * went. */

/* To all devices that are connected now (echo: this one, too). message: JSON, at most 60 KiB. */
HANDOFF_API int handoff_session_broadcast(struct handoff_session *s, const char *message, bool echo,
                                          handoff_answer *answer, void *user,
                                          struct handoff_error *error);
/* In use, though nothing changes: the session does not lapse. */
HANDOFF_API int handoff_session_heartbeat(struct handoff_session *s, handoff_answer *answer,
                                          void *user, struct handoff_error *error);

/* ---- a store in files ---- */

/* Keeps commands in a folder, which is made: a file for each session, locked by who has it open. A
 * second process with the same folder gets -EWOULDBLOCK for that session and works without. NULL,
 * and errno, when there can be no such folder. */
HANDOFF_API struct handoff_store *handoff_file_store_new(const char *folder);
/* After handoff_free. NULL does nothing. */
HANDOFF_API void handoff_file_store_free(struct handoff_store *store);

#ifdef __cplusplus
}
#endif

#endif
