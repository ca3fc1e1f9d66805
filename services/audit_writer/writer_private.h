/* What writer.c (deliveries, connections), write.c (transactions), contents.c (what is there
 * already), bury.c (dead letters) and barrier.c share. */
#pragma once

#include "common/app.h"
#include "common/backoff.h"
#include "common/bus.h"
#include "common/db.h"
#include "services/audit_writer/batch.h"
#include "services/audit_writer/entry.h"
#include "services/audit_writer/gaps.h"
#include "services/audit_writer/purge.h"
#include "services/audit_writer/schema.h"
#include "services/audit_writer/written.h"

/* One batch at a time goes through these; deliveries wait meanwhile. */
enum writer_state {
    WRITER_COLLECTING, /* no batch; -> WRITING when full, old enough, or draining */
    WRITER_WRITING, /* a transaction is under way; -> WRITING (the next range), BURYING, RESTING */
    WRITER_BURYING, /* dead letters are under way; -> COLLECTING, RESTING */
    WRITER_RESTING, /* something failed; the retry timer or the database -> WRITING, BURYING */
};

struct writer {
    struct app *app;
    struct db *db;
    struct schema *schema;
    struct gaps *gaps;
    struct purge *purge;
    struct bus *consumer; /* NULL until the schema was ready once */
    struct bus *publisher;
    struct health_dependency *rabbitmq, *postgresql;
    bool db_ready; /* connected, schema up to date */
    bool draining;
    bool closed; /* writer_stop: callbacks do nothing any more */
    unsigned n_open;
    uv_timer_t age;   /* of the oldest that waits */
    uv_timer_t retry; /* RESTING */
    struct backoff backoff;
    unsigned n_refusals; /* by a server that is there, one after another */
    char *trouble;       /* what was logged last; NULL: all is well */

    struct written *written; /* of the connection that is up */

    struct entry *first, **last; /* wait, in order of delivery */
    size_t n_waiting;
    size_t n_waiting_bytes;
    size_t n_waiting_barriers; /* with one, the batch begins at once */

    enum writer_state state;
    struct entry **batch; /* max_batch pointers, n_batch of them owned */
    size_t n_batch;
    size_t from, to;  /* the range under way: before `from` all is committed or has a reason */
    int64_t began_at; /* monotonic ms */
    size_t n_sent, n_inserted; /* rows of session_events in the transaction under way */
    char sqlstate[8];          /* its first refusal; "" none */
    char refusal[ENTRY_REASON_CAP];

    struct metric *barriers, *rows, *batches, *batch_seconds, *lag_seconds, *pending, *dead,
        *failures, *refused, *two_contents;
};

/* write.c */
/* Takes a batch out of what waits and writes it. */
void writer_begin(struct writer *w);
/* Goes on with the batch where it stands. */
void writer_resume(struct writer *w);
/* Tries again later. what: for the log, once per kind of trouble. */
void writer_rest(struct writer *w, const char *what);
/* 2, 4, 8, 16 s, and then 32 s: after so many refusals before this one. */
uint64_t writer_refusal_wait_ms(unsigned n_refusals);

/* The range is where it belongs: goes on with the next one. */
void writer_range_done(struct writer *w);
MUSTCHECK int writer_send(struct writer *w, const struct batch_statement *s, db_done_fn *done);

/* contents.c */
/* The range is committed, and some of its events were there before: those with another content
 * become dead letters. writer_range_done or writer_rest follows. */
void writer_compare(struct writer *w);

/* bury.c */
/* Publishes the entries with a reason; writer_finish follows when the broker has confirmed them. */
void writer_bury(struct writer *w);
void writer_on_confirmed(void *arg, uint64_t seq, bool multiple, bool ok);
void writer_on_publisher_lost(struct writer *w);

/* barrier.c */
/* Everything of the batch is where it belongs: answers its barriers. */
void writer_answer_barriers(struct writer *w);

/* writer.c */
/* Everything of the batch is where it belongs: acknowledges, and goes on. */
void writer_finish(struct writer *w);
void writer_count_pending(struct writer *w);
