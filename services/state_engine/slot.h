/* The parts of a batch: a slot is one session with what was loaded of it; a task is one job's way
 * through the batch. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "services/state_engine/batch.h"

struct slot {
    struct store_load load;
    const char **key_hashes;      /* owned: what load.key_hashes points to */
    struct store_joiner *joiners; /* owned: what load.joiners points to */
    bool is_behind;               /* to be loaded once more, with its window */
    int64_t look_from; /* what was saved since is looked through for commands; 0: for none */

    bool is_stale; /* saved under another run: not to be believed */
    bool is_kept;  /* a copy that was not loaded: only a save that holds proves what it says */
    bool is_open;  /* ... and a job could not be settled by it: it and those behind it are loaded */

    uint64_t loaded_version;
    const struct session *current; /* NULL: there is none; moves on as jobs are applied */
    struct window_entry *entries;  /* owned: loaded ones, then this batch's */
    size_t n_entries, cap_entries;
    const char **saved; /* owned: ids of the commands that this batch saves */
    size_t n_saved;
    bool is_late;     /* its clock is due: what depends on it waits */
    bool arms;        /* a save has something to publish: to be looked at soon */
    int64_t clock_at; /* ... and not later than that (ms; 0: whenever) */
    bool is_lost;     /* a save did not hold: the rest of the batch's jobs start again */
};

struct task {
    struct slot *slot;
    bool looks;         /* for the command's id: it may have taken effect */
    bool claim_failed;  /* Redis refused to note a create's key */
    bool claim_is_away; /* its node is */
    bool claim_differs; /* a create's key was claimed by another request */
    bool asks_key;      /* a create's key may have been used, and Redis have forgotten it */
    bool saves;
    bool moves_token; /* its save leaves another token than it found */
    struct position expected;
    const struct session *before;      /* what it was applied to; or NULL */
    const struct store_joiner *joiner; /* whose device joins with the change; or NULL */
    struct change change;
    struct buf extra;        /* JSON array of the unversioned events saved beside the version */
    struct settled *settled; /* the batch's answer for it; borrowed */
    enum store_save_result result;
    bool is_unreplicated;
    char text[128];
    char token[STORE_TOKEN_CAP]; /* of its save */
};

/* Notes what a job needs loaded. n_most: the jobs there may be. */
void slot_add_job(struct slot *slot, struct job *j, size_t n_most);
/* Whether another engine may have done the command, as its session was loaded. `saver`: this one;
 * now: ms. Then its window is wanted. */
bool slot_may_hide(struct slot *slot, const struct job *j, const char *saver, int64_t now);
/* Its window after this version is wanted. */
void slot_want_window(struct slot *slot, uint64_t since);
/* It is loaded once more: what happened meanwhile may be the job's doing. */
void slot_look_for(struct slot *slot, struct job *j, size_t n_most);
/* Whether more of the window than was loaded has to be looked through. */
bool slot_is_short(const struct slot *slot);
/* Whether the job may be judged on a kept copy at all, and then on this one. */
bool slot_may_use_kept(const struct job *j);
bool slot_is_settled_by(const struct session *kept, const struct job *j, const char *saver,
                        int64_t now);
/* After the load from the node of this run: the state that the first job sees. */
void slot_ready(struct slot *slot, const char *run_id);
/* Forgets what was loaded, keeps what is wanted. */
void slot_unload(struct slot *slot);
void slot_done(struct slot *slot);
/* A change of this batch: what the next job of the session builds on. Borrowed. */
void slot_apply(struct slot *slot, const struct change *change);
/* It is to be looked at soon, not later than when this clock has to be. */
void slot_arm(struct slot *slot, const struct session *s);
/* A command that this batch saves (borrowed), and whether one is. */
void slot_note_command(struct slot *slot, const char *command_id);
bool slot_saves_command(const struct slot *slot, const char *command_id);
/* What is remembered of a key (found may be false); NULL when nothing was loaded. */
struct store_idem *slot_find_key(struct slot *slot, const char *key_hash);
/* What was loaded of the device that a command makes active; NULL when it makes none so. */
struct store_joiner *slot_find_joiner(struct slot *slot, const struct command *c);
/* A change of this batch lets it join. */
void slot_note_joined(struct slot *slot, struct store_joiner *joiner);
/* The window's entry that a command left, NULL without. */
const struct store_entry *slot_find_command(const struct slot *slot, const char *command_id);

/* Judges the job on its slot's current session: task->saves and change, or task->settled. */
void task_run(struct task *task, struct job *j, int64_t now, const struct batch_context *context);
/* Whether the window as loaded holds every version that a command may have left. */
bool slot_window_is_whole(const struct slot *slot, uint64_t since);
/* After a save: accepted, refused, later or again (and then the slot is lost). */
void task_settle_saved(struct task *task, struct job *j, int64_t now);
void task_done(struct task *task);
