/* The attention set may have forgotten a session (a loss of Redis' memory, an operator): once a
 * minute PostgreSQL is asked what is overdue, and what has no entry gets one; each second while
 * Redis remembers for less than a day. Contract section 6. */
#pragma once

#include "base/cleanup.h"
#include "common/app.h"
#include "common/store_batch.h"
#include "services/state_engine/ledger.h"

struct backstop;

struct backstop *backstop_new(struct app *app, struct store_batch *store, struct ledger *ledger);
/* After the ledger, which answers until it goes. */
struct backstop *backstop_free(struct backstop *b);
/* Once a second. Negative: Redis was lost. */
MUSTCHECK int backstop_tick(struct backstop *b, int64_t now);
