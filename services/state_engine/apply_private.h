/* What the files of the pure heart share; see apply.h. */
#pragma once

#include "proto/clock.h"
#include "services/state_engine/apply.h"

struct event *change_add_event(struct change *c);
void change_next_version(struct change *ret, int64_t now);
/* Adds this version to the list of kept snapshots, and takes the oldest off a full one. */
void change_keep_snapshot(struct change *ret);
void change_add_snapshot(struct change *ret);
/* The same, when the version is one of each so many. */
void change_add_due_snapshot(struct change *ret, uint64_t snapshot_every);

/* apply_status.c */
MUSTCHECK int apply_status(const struct session *s, const struct command *c,
                           const struct apply_context *context, int64_t now, struct change *ret,
                           struct fault *f);

/* apply_sharing.c */
MUSTCHECK int apply_participant(const struct session *s, const struct command *c, int64_t now,
                                uint64_t snapshot_every, struct change *ret, struct fault *f);
MUSTCHECK int apply_device(const struct session *s, const struct command *c, int64_t now,
                           uint64_t snapshot_every, struct change *ret, struct fault *f);

/* apply_versions.c */
/* Whether a session may have this data: 0 or FAULT_STATE_TOO_LARGE. */
MUSTCHECK int apply_check_data(const json_t *data, size_t canonical_bytes, struct fault *f);
MUSTCHECK int apply_restore(const struct command *c, int64_t now, uint64_t snapshot_every,
                            struct change *ret, struct fault *f);
void apply_snapshot(const struct command *c, int64_t now, struct change *ret);

/* apply_clock.c. ret->next is the session as it was. Negative, of all but the create: the clock is
 * corrupt. */
void apply_clock_create(const struct command *c, int64_t now, struct session *next);
/* The clock starts or stops with next's new status. */
MUSTCHECK int apply_clock_status(struct session *next, int64_t now);
MUSTCHECK int apply_clock_set(const struct command *c, int64_t now, uint64_t snapshot_every,
                              struct change *ret, struct fault *f);
MUSTCHECK int apply_switch(const struct command *c, int64_t now, uint64_t snapshot_every,
                           struct change *ret, struct fault *f);
MUSTCHECK int apply_clock_adjust(const struct command *c, int64_t now, uint64_t snapshot_every,
                                 struct change *ret, struct fault *f);
/* The session has this clock, and is looked at when it has to be. */
void apply_keep_clock(struct session *next, const struct clock *clock);
/* The session's clock, to be done; -EBADMSG: what is stored is none. */
MUSTCHECK int apply_open_clock(const struct session *s, struct clock *ret);

/* apply_due.c: the clock's deadline or warning, idle or expiry, when it is their time; else
 * nothing. -EBADMSG: the clock is corrupt. */
MUSTCHECK int apply_due(const struct session *s, int64_t now, uint64_t snapshot_every,
                        struct change *ret);
/* apply_clock_due.c: the first of what is due of the clock: a deadline, which is a version, or two
 * when it ends the session; or a warning, which is none. */
MUSTCHECK int apply_clock_due(const struct session *s, int64_t now, uint64_t snapshot_every,
                              struct change *ret);

/* apply_patch.c: ret->next is a copy of s without data, and gets it. */
MUSTCHECK int apply_patch(const struct session *s, const struct command *c, int64_t now,
                          uint64_t snapshot_every, struct change *ret, struct fault *f);
/* Whether no pointer of `operations` overlaps one written after `base`; false also when the window
 * does not reach back to it. */
bool patch_is_disjoint(const struct session *s, struct position base, const json_t *operations,
                       const struct window *window);

/* What a conflict shows of what was missed; more: the whole session. */
#define CONFLICT_MAX_DELTAS 100
#define CONFLICT_MAX_DELTAS_BYTES (64u << 10)

/* conflict.c: owned JSON text of {"currentVersion","epoch", and "deltas" (at most 100 and 64 KiB)
 * or "session"}. */
char *conflict_print(const struct session *s, enum session_role role, bool is_known, uint64_t since,
                     const struct window *window);
