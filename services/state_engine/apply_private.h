/* What the files of the pure heart share; see apply.h. */
#pragma once

#include "services/state_engine/apply.h"

struct event *change_add_event(struct change *c);
void change_next_version(struct change *ret, int64_t now);
void change_add_snapshot(struct change *ret);

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
