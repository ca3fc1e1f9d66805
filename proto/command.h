/* A command asks the engine for a change; a reply says what became of it. Bodies of the exchange
 * session_commands and of its answers: {"commands":[…]}, {"replies":[…]}. Contract section 5. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/clock.h"
#include "proto/fault.h"
#include "proto/session.h"
#include "proto/trace_context.h"

#define COMMAND_KEY_MAX 128
#define COMMAND_MAX_IF_MATCH 16
#define COMMAND_MAX_PER_MESSAGE 64
#define COMMAND_REASON_MAX_CHARACTERS 255
/* How long one may be under way: so long it is found again by its id. */
#define COMMAND_LIFETIME_MS 15000

enum command_kind {
    COMMAND_CREATE,
    COMMAND_PATCH,
    COMMAND_STATUS,
    COMMAND_DELETE,
    COMMAND_HEARTBEAT,
    COMMAND_LOAD,         /* make the session hot, or answer not_found */
    COMMAND_RESTORE,      /* data becomes that of an earlier version, which the sender rebuilt */
    COMMAND_SNAPSHOT,     /* keeps the state of this version */
    COMMAND_PARTICIPANT,  /* gives a user a role, or takes it */
    COMMAND_DEVICE,       /* keeps a device out, or lets it in again */
    COMMAND_PRESENCE,     /* devices came or went: tell what is due now (store_presence.h) */
    COMMAND_SWITCH,       /* ends the clock's turn, and begins the next */
    COMMAND_CLOCK_SET,    /* gives the session a clock, or another one */
    COMMAND_CLOCK_ADJUST, /* gives a participant of the clock time, or takes it */
    COMMAND_N_KINDS,      /* those on the wire */
    /* The engine's own: idle or expiry, if it is their time. No message says it, and no answer. */
    COMMAND_DUE = COMMAND_N_KINDS
};

/* Bits of what the verified token allows; "scope" on the wire: ["read","write","admin"]. */
enum command_right { COMMAND_READ = 1, COMMAND_WRITE = 2, COMMAND_ADMIN = 4 };

enum command_patch_format { COMMAND_PATCH_OPERATIONS, COMMAND_PATCH_MERGE };

/* The role in which a session shows itself to who has these rights: an admin without a role reads
 * as a viewer; SESSION_ROLE_NONE: it is as good as not there. */
enum session_role command_role(const struct session *s, const char *user_id, unsigned rights);

struct command {
    char id[UUID_LEN + 1];
    enum command_kind kind;
    char session_id[UUID_LEN + 1]; /* a create's too: chosen by the sender */
    char user_id[UUID_LEN + 1];
    char device_id[SESSION_DEVICE_MAX + 1]; /* "" where none is needed (load) */
    unsigned rights;                        /* enum command_right */
    char key[COMMAND_KEY_MAX + 1];          /* idempotency key, "" without */
    int64_t deadline;                       /* ms, store time: not begun after it */
    int64_t sent_at; /* ms, store time, never later than it was; 0: unknown. What was saved before
                        cannot be this command's doing */

    /* The base. If-Match is judged first (412), then base_version (409). */
    bool if_match_any;
    struct position if_match[COMMAND_MAX_IF_MATCH];
    size_t n_if_match;
    bool has_base;
    struct position base; /* epoch 1 unless said */

    bool wants_session;         /* the reply carries the session (create and status always do) */
    struct trace_context trace; /* what it belongs to; not part of what is asked for */

    /* create */
    char *name; /* owned */
    char type[SESSION_TYPE_MAX + 1];
    enum session_status status; /* also: the target of COMMAND_STATUS */
    json_t *data;               /* owned reference; NULL: {} */
    uint32_t ttl_seconds;       /* 0: default */
    enum session_on_idle on_idle;

    /* patch */
    enum command_patch_format format;
    json_t *patch;                   /* owned reference: operations array, or merge patch object */
    bool disjoint;                   /* merge: "disjoint" */
    char checksum[HASH_HEX_LEN + 1]; /* "" without; of a restore: that of the version restored */

    /* restore: `data` is what the version had */
    struct position restored;

    /* snapshot */
    char *label; /* owned, or NULL */

    /* participant */
    char participant_id[UUID_LEN + 1];
    enum session_role participant_role; /* SESSION_ROLE_NONE: taken */

    /* device: which one; device_id is who asks */
    char target_device[SESSION_DEVICE_MAX + 1];
    bool device_removed;

    /* clock_set and create */
    struct clock *clock;   /* owned, NULL: none */
    json_t *clock_request; /* owned reference: what it was taken from, which goes on the wire */

    /* switch: participants of the clock; "" where it was not said */
    char next_participant[CLOCK_ID_MAX + 1];
    char current_participant[CLOCK_ID_MAX + 1];

    /* clock_adjust */
    char clock_participant[CLOCK_ID_MAX + 1];
    int64_t adjust_ms;
    char *reason; /* owned: 1 to COMMAND_REASON_MAX_CHARACTERS */
};

void command_done(struct command *c);
/* Of a kind on the wire. */
const char *command_kind_name(enum command_kind kind);
/* {"id":…,"kind":…,…}: one command; only the members that its kind has. */
void command_print(const struct command *c, struct buf *out);
/* Takes one object of `commands`. FAULT_INVALID_REQUEST / FAULT_INVALID_VALUE name the member.
 * Unknown members are ignored, an unknown kind is refused. The patch is checked by its owner, not
 * here. On failure *ret is done already. */
MUSTCHECK int command_parse(const json_t *object, struct command *ret, struct fault *f);
/* Reads a patch as command_print writes it, to the same command that command_parse makes of it.
 * Where the text goes on in another way, be it wrong or not: false, with *r and *ret as they were.
 */
struct reader;
MUSTCHECK bool command_read_quickly(struct reader *r, struct command *ret);

/* The members of a create (name, type, status, data, ttlSeconds, onIdle, clock) and of a patch
 * (baseVersion, epoch, operations, merge, checksum) from an object that has them: a command, and as
 * well the body of POST /sessions, of PATCH as application/json, and a WebSocket `patch`. The
 * faults are those of command_parse; what is absent gets its default. On failure *ret may be filled
 * in part: command_done. */
MUSTCHECK int command_take_create(const json_t *object, struct command *ret, struct fault *f);
MUSTCHECK int command_take_patch(const json_t *object, struct command *ret, struct fault *f);
/* A status that can be asked for: active, paused, completed, cancelled (field "status"). */
MUSTCHECK int command_take_status(const char *status, struct command *ret, struct fault *f);
/* A snapshot's label: 1 to SESSION_LABEL_MAX_CHARACTERS, or absent. */
MUSTCHECK int command_take_label(const json_t *object, struct command *ret, struct fault *f);
/* {role}: editor or viewer. */
MUSTCHECK int command_take_role(const json_t *object, struct command *ret, struct fault *f);
/* {baseVersion, epoch}, both optional, epoch only beside the other. */
MUSTCHECK int command_take_base(const json_t *object, struct command *ret, struct fault *f);
/* Clocks (command_clock.c). clock: the faults of clock_take. {nextParticipantId,
 * currentParticipantId}, both optional; {adjustMs, reason}. */
MUSTCHECK int command_take_clock(json_t *clock, struct command *ret, struct fault *f);
MUSTCHECK int command_take_switch(const json_t *object, struct command *ret, struct fault *f);
MUSTCHECK int command_take_adjust(const json_t *object, struct command *ret, struct fault *f);
/* {participantId}: whose time a clock_adjust changes. */
MUSTCHECK int command_take_clock_participant(const json_t *object, struct command *ret,
                                             struct fault *f);
/* 1 to COMMAND_KEY_MAX printable ASCII characters. */
bool command_key_is_valid(const char *key, size_t len);

/* What a repeat under the same key must equal: SHA-256 over the canonical form of the request with
 * its base (kind, session unless a create, patch, status, base, checksum, …; not id, deadline,
 * rights). */
void command_fingerprint(const struct command *c, char ret_hex[static HASH_HEX_LEN + 1]);
/* SHA-256 over a command's id: under which it is remembered where its key is not, or has none. */
void command_hash_id(const char *id, char ret_hex[static HASH_HEX_LEN + 1]);
/* SHA-256 over user id, LF and key: the field in …:idem and the tail of user:{…}:idem:<hash>. Of a
 * command without a key: command_hash_id. */
void command_key_hash(const struct command *c, char ret_hex[static HASH_HEX_LEN + 1]);

struct reply {
    char id[UUID_LEN + 1]; /* the command's */
    char session_id[UUID_LEN +
                    1]; /* the session's; a replayed create's may differ from the command's */
    struct fault fault; /* .code FAULT_NONE: it took effect (or nothing had to be done) */

    /* Took effect: */
    struct position position;
    uint64_t base_version; /* the version before (a patch) */
    char checksum[HASH_HEX_LEN + 1];
    int64_t last_modified;
    int64_t expires_at; /* 0: never */
    bool rebased;
    bool replayed;
    char *session; /* owned JSON text of the resource for the caller's role, or NULL */

    /* Refused with a conflict: JSON text of an object {"currentVersion","epoch","deltas"|"session"}
     * whose members go into the problem body; owned, or NULL. */
    char *conflict;
};

void reply_done(struct reply *r);
void reply_print(const struct reply *r, struct buf *out);
/* Takes one object of `replies`; FAULT_INVALID_REQUEST when it is none. */
MUSTCHECK int reply_parse(const json_t *object, struct reply *ret, struct fault *f);

struct reader;
/* Reads one that took effect exactly as reply_print writes it, and goes beyond it; the session's
 * text is taken as it stands. false: it is another, or none; the reader stays where it was, *ret is
 * untouched, and reply_parse says more. Free with reply_done. */
MUSTCHECK bool reply_read(struct reader *r, struct reply *ret);
