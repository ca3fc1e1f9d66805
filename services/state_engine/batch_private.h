/* What the files of a batch share; see batch.h. */
#pragma once

#include "services/state_engine/slot.h"

/* What one batch works with. */
struct batch {
    const struct batch_context *context;
    struct job **jobs;
    struct settled *settled;
    struct task *tasks; /* one a job */
    size_t n;
    struct slot *slots;
    size_t n_slots;
    int64_t now;
};

/* ---- batch_kept.c ---- */
/* `now`, as long as nothing was loaded: as it is estimated, and not before any job was sent. */
void batch_set_now(struct batch *b);
/* Slots that need no load are filled from what is kept of earlier batches. */
void batch_take_kept(struct batch *b);
/* After the jobs are settled: what the next batch need not load. */
void batch_keep(struct batch *b);
