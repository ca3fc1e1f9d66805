/* What the files of a task share; see slot.h. */
#pragma once

#include "services/state_engine/slot.h"

/* ---- task.c: how a job that saves nothing is settled ---- */
void task_settle_refused(struct task *task, const struct job *j, const struct fault *f);
void task_settle_unchanged(struct task *task, const struct job *j);

/* ---- task_again.c ---- */
/* The command was saved before: its version's answer. */
void task_settle_found(struct task *task, const struct job *j, const struct store_entry *entry,
                       const struct batch_context *context);
/* A snapshot's command that came again: what the window's entry is for the other kinds; or NULL. */
const struct store_idem *task_find_taken_snapshot(const struct task *task, const struct job *j);
void task_settle_snapshot_again(struct task *task, const struct job *j,
                                const struct store_idem *idem, const struct batch_context *context);
/* A session that was rebuilt has no window from before, but remembers what it saw; or NULL. */
const struct store_idem *task_find_seen(const struct task *task, struct job *j);
void task_settle_seen(struct task *task, const struct job *j, const struct store_idem *idem);
/* Whether the key settles the job: it was used before. */
bool task_settle_by_key(struct task *task, const struct job *j,
                        const struct batch_context *context);
void task_remember_key(struct task *task, const struct job *j, int64_t now);
