/* Sessions leave Redis: those that nobody uses go cold, tombstones go for good. What is taken in
 * one tick goes together, a round: its snapshots are published, a barrier passes, PostgreSQL notes
 * the positions, the keys go. Whatever fails on the way leaves the session as it was, to be looked
 * at again. Contract section 6, docs/decisions/0009. */
#pragma once

#include "base/cleanup.h"
#include "common/app.h"
#include "common/store_batch.h"
#include "services/state_engine/barrier.h"
#include "services/state_engine/due.h"
#include "services/state_engine/ledger.h"
#include "services/state_engine/publisher.h"

#define COOLING_MAX 256               /* sessions in a round */
#define COOLING_MAX_BYTES (32u << 20) /* of their data */

struct cooling;

struct cooling *cooling_new(struct app *app, struct store_batch *store, struct publisher *publisher,
                            struct barrier *barrier, struct ledger *ledger);
/* After barrier and ledger, which answer until they go. */
struct cooling *cooling_free(struct cooling *c);

/* A claimed session whose cooling or burial is due. */
struct cooling_ask {
    const struct session *session; /* borrowed; as it was loaded, without its data */
    struct due due;
    int64_t next; /* out, ms: where its entry is to stand now; 0: nowhere */
};
/* Takes what it can into this tick's round; publishes (the caller corks). Negative: Redis was lost.
 */
MUSTCHECK int cooling_take(struct cooling *c, struct cooling_ask *asks, size_t n, int64_t now);
/* Once a second, before the looks: ends what PostgreSQL has noted. Negative: Redis was lost. */
MUSTCHECK int cooling_tick(struct cooling *c);
/* After the looks of a tick: what was taken goes on its way. */
void cooling_go(struct cooling *c);
