/* What the files of the pure heart share; see apply.h. */
#pragma once

#include "services/state_engine/apply.h"

struct event *change_add_event(struct change *c);
void change_next_version(struct change *ret, int64_t now);
/* Adds this version to the list of kept snapshots, and takes the oldest off a full one. */
void change_keep_snapshot(struct change *ret);
void change_add_snapshot(struct change *ret);
/* The same, when the version is one of each so many. */
void change_add_due_snapshot(struct change *ret, uint64_t snapshot_every);

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

/* apply_due.c: idle or expiry, when it is their time; else nothing. */
void apply_due(const struct session *s, int64_t now, struct change *ret);

/* apply_patch.c */
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
