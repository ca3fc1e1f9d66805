/* A barrier through the audit queue: everything that the broker had confirmed before it was asked
 * for is in PostgreSQL once it is answered. Contract section 6 (loss). Those who ask while one is
 * under way share the next one, so that a thousand lost sessions cost two. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "common/app.h"
#include "services/state_engine/publisher.h"

#define BARRIER_PATIENCE_MS 3000

struct barrier;

struct barrier *barrier_new(struct app *app, struct publisher *publisher);
/* Answers nobody any more. */
struct barrier *barrier_free(struct barrier *b);
DEFINE_CLEANUP(struct barrier *, barrier_free)

/* passed false: no answer within BARRIER_PATIENCE_MS, or the broker was lost. done is called
 * exactly once, later. */
typedef void barrier_fn(void *arg, bool passed);
/* It goes when it is `at` (ms, monotonic; 0: at once), or later. */
void barrier_ask(struct barrier *b, int64_t at, barrier_fn *done, void *arg);
