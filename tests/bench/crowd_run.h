/* One order of crowd_load under way: what crowd_phase.c and crowd_spread.c share. */
#pragma once

#include "tests/bench/crowd_phase.h"
#include "tests/bench/samples.h"

#define CROWD_SECOND_NS UINT64_C(1000000000)
#define CROWD_PATIENCE_NS (10 * CROWD_SECOND_NS)
#define CROWD_N_WRITERS 16

/* One order under way. */
struct crowd_run {
    struct crowd_bench *b;
    struct writer writer;
    bool is_bare;
    struct source bare; /* the wire on which bare_send takes its rounds */
    uint64_t bare_value;
    uint64_t *bare_since_ns;

    size_t window; /* of a closed loop, else 0 */
    uint64_t interval_ns, begin_ns, measured_ns, end_ns, progress_ns;
    uint64_t n_due, n_with_all, n_before, n_in_window; /* the last two: deliveries */
    bool window_began, window_ended;
    struct samples samples;
    size_t next; /* session or viewer */
    const json_t *what;
};

/* what is borrowed until the end. */
void crowd_run_begin(struct crowd_run *r, struct crowd_bench *b, const json_t *what);
void crowd_run_end(struct crowd_run *r);
void crowd_run_open_writer(struct crowd_run *r, size_t n_connections,
                           void (*answered)(struct writer *w, struct http_client *c, int status));
/* Ends the process when nothing has come for CROWD_PATIENCE_NS. */
void crowd_run_expect_progress(const struct crowd_run *r, const char *doing);
/* Writes to a session; since_ns: when that was due. */
void crowd_run_change(struct crowd_run *r, size_t session, uint64_t since_ns);
/* What the writer calls for an answer: one that is not a success ends the process. */
void crowd_run_patched(struct writer *w, struct http_client *c, int status);

const char *crowd_run_token(const struct crowd_bench *b, size_t user);
uint64_t crowd_run_seconds_ns(const json_t *what, const char *name, double otherwise);
double crowd_run_seconds_since(uint64_t begin_ns);

/* The order "spread", see crowd_phase.h. */
json_t *crowd_spread_run(struct crowd_bench *b, const json_t *what);
