/* Sessions as this engine last saw them in Redis, so that the usual command needs no load
 * (docs/decisions/0014). A copy may be out of date at any moment: what is judged on it counts only
 * when a save that compares its token has held. Bounded in bytes; who was not used for longest
 * goes. Pure but for its memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/store_batch.h"
#include "proto/session.h"

struct recent;

/* max_bytes: of all copies together; 0: none is kept. */
struct recent *recent_new(size_t max_bytes);
struct recent *recent_free(struct recent *r);
DEFINE_CLEANUP(struct recent *, recent_free)

/* Takes the copy out: *ret (owned, to be put back or done) and the token of the save that it is the
 * outcome of. False, and none is kept any more: there is none, or it was saved under another run
 * than run_id (of the session's node as it is now). While others' saves come before most of those
 * that are made on copies, one in RECENT_PROBE_EVERY is given. */
#define RECENT_PROBE_EVERY 16
bool recent_take(struct recent *r, const char *session_id, const char *run_id, struct session *ret,
                 char ret_token[static STORE_TOKEN_CAP]);
/* Keeps *s (taken; left empty), in place of what is there. One without a token, deleted, or larger
 * than a sixteenth of the bound is not kept. */
void recent_put(struct recent *r, struct session *s, const char *token);
/* All of them are forgotten once this differs from the last call's: connections to Redis that were
 * lost (store_batch_n_losses). */
void recent_check(struct recent *r, uint64_t n_losses);

/* What became of a save that was made on a copy: another engine's came before it, or not. */
void recent_note(struct recent *r, bool is_lost);
/* Whether a copy could be taken. */
void recent_count(struct recent *r, bool is_hit);
/* How often since the last call. */
void recent_counted(struct recent *r, uint64_t *ret_hits, uint64_t *ret_misses);

size_t recent_n(const struct recent *r);
size_t recent_bytes(const struct recent *r);
