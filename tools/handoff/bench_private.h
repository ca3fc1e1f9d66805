/* Inside of tools/handoff/bench*.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/uuid.h"
#include "clients/c/handoff.h"
#include "tools/handoff/progress.h"
#include "tools/handoff/web.h"

#define BENCH_MAX_SESSIONS 500
#define BENCH_MAX_WATCHERS 100
#define BENCH_MAX_WRITERS 200
#define BENCH_MAX_RATE 2000
#define BENCH_MAX_SECONDS 300
#define BENCH_MAX_SAMPLES 5000000u
#define BENCH_N_ERRORS 16 /* kinds that are told apart */

/* Times in microseconds. */
struct bench_samples {
    uint32_t *items; /* owned */
    size_t n, cap;
    uint64_t n_lost; /* for want of room */
};
void bench_samples_add(struct bench_samples *s, uint64_t us);
/* Sorts them. share 0 to 1; 0 without any. */
double bench_samples_ms(struct bench_samples *s, double share);

struct bench_error {
    char what[120];
    uint64_t n;
};

enum bench_phase {
    BENCH_CREATING,   /* -> CONNECTING, CLEANING */
    BENCH_CONNECTING, /* watchers follow -> WRITING, CLEANING */
    BENCH_WRITING,    /* -> SETTLING when the time is over, CLEANING */
    BENCH_SETTLING,   /* for answers and events that are on their way -> CLEANING */
    BENCH_CLEANING,   /* its sessions are deleted -> OVER */
    BENCH_OVER
};

struct bench;

struct bench_session {
    struct bench *bench;
    char id[UUID_LEN + 1]; /* "": not made, or deleted */
    size_t n_watchers;
    bool was_deleted; /* at least it was tried */
};

struct bench_watcher {
    struct bench *bench;
    struct handoff *handoff;
    char device[40];
};

/* One change, from the moment at which a writer got it. */
struct bench_change {
    struct bench *bench;
    uint64_t due_ns;
    size_t session;
    size_t n_awaited; /* watchers that have not told it */
};

struct bench_orders {
    const char *url, *ws_url, *token_file, *ca_file;
    int64_t sessions, watchers, writers, rate, seconds;
    bool json;
};

struct bench {
    struct bench_orders orders;
    char *token, *device; /* owned; device: what the token says, or NULL */
    uv_loop_t loop;
    uv_timer_t timer;
    uv_signal_t sigint, sigterm;
    struct web *web;
    enum bench_phase phase;
    uint64_t until_ms; /* uv_now, of CONNECTING and SETTLING */
    struct progress progress;
    bool was_interrupted, has_failed;
    size_t n_created;
    struct bench_session *sessions;
    struct bench_watcher *watchers;
    size_t n_follows, n_synced;
    struct bench_change *changes;
    size_t n_changes, n_due; /* in all, and those that were begun */
    uint64_t begun_ns, ended_ns;
    size_t n_answered, n_applied;
    uint64_t n_events, n_events_awaited;
    struct bench_samples answers, events;
    struct bench_error errors[BENCH_N_ERRORS];
    uint64_t n_errors;
};

/* bench.c */
void bench_note_error(struct bench *b, const char *what);
void bench_clean(struct bench *b);
/* bench_watch.c: 0, or -1: told. */
int bench_watch(struct bench *b);
void bench_unwatch(struct bench *b);
/* bench.c: all follow. */
void bench_begin(struct bench *b);
/* bench_report.c: false when stdout takes no more. */
bool bench_report(struct bench *b);
/* bench_token.c: b->token and b->device. 0, or -1: told. */
int bench_read_token(struct bench *b);
