/* The engine's daily round: takes commands from the broker, settles them in batches, replies,
 * publishes, acknowledges. */
#pragma once

#include "base/cleanup.h"
#include "common/app.h"

struct worker;

MUSTCHECK int worker_new(struct worker **ret, struct app *app);
/* Takes no more commands; app_drained when those in hand are settled and confirmed. */
void worker_drain(struct worker *w);
void worker_free(struct worker *w);
