/* A session's clock: the struct, its JSON, and what a request for one may say. What happens to it
 * is in services/state_engine/clock.h. Contract: clocks. All durations are whole milliseconds, all
 * moments milliseconds since 1970 (store time). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "proto/fault.h"

#define CLOCK_MAX_PARTICIPANTS 1000
#define CLOCK_ID_MAX 128 /* A-Z a-z 0-9 . _ : -, not . or .. */
#define CLOCK_TIME_MIN_MS 1000
#define CLOCK_TIME_MAX_MS 86400000
#define CLOCK_INCREMENT_MAX_MS 60000
#define CLOCK_MAX_WARNINGS 16 /* each 1 to CLOCK_TIME_MAX_MS */
#define CLOCK_NOBODY SIZE_MAX

enum clock_mode {
    CLOCK_PER_PARTICIPANT,
    CLOCK_PER_CYCLE,
    CLOCK_PER_GROUP,
    CLOCK_GLOBAL,
    CLOCK_COUNT_UP,
    CLOCK_N_MODES
};

enum clock_action {
    CLOCK_END_SESSION,
    CLOCK_SKIP,
    CLOCK_AUTO_SWITCH,
    CLOCK_NOTIFY,
    CLOCK_N_ACTIONS
};

struct clock_participant {
    char id[CLOCK_ID_MAX + 1];
    char group[CLOCK_ID_MAX + 1]; /* "": none */
    int64_t total_ms;             /* 0: none of its own */
    int64_t used_ms;              /* booked: without what runs now */
    int64_t remaining_ms;         /* booked; of count_up without a maximum 0, shown as null */
    uint64_t n_cycles;
    bool has_expired;
};

struct clock {
    enum clock_mode mode;
    int64_t total_ms;     /* 0: none */
    int64_t increment_ms; /* 0: none */
    int64_t cycle_ms;     /* timePerCycleMs; 0: none */
    int64_t max_ms;       /* maxTimeMs; 0: none */
    enum clock_action action;
    int64_t warnings[CLOCK_MAX_WARNINGS]; /* before the deadline, descending, each once */
    size_t n_warnings;
    struct clock_participant *participants; /* owned; in rotation order */
    size_t n_participants;
    size_t active;      /* index, CLOCK_NOBODY: none */
    int64_t started_at; /* cycleStartedAt: since when the active one's time runs; 0: it stands */
    uint64_t n_cycles;
};

void clock_done(struct clock *c); /* what is left has no participants and nobody active */
void clock_copy(const struct clock *from, struct clock *ret);

const char *clock_mode_name(enum clock_mode mode); /* "per_participant" */
const char *clock_action_name(enum clock_action action);
bool clock_id_is_valid(const char *id, size_t len);
/* The participant's index, or CLOCK_NOBODY. */
size_t clock_find(const struct clock *c, const char *participant_id);
/* count_up without a maximum: there is no time that could remain. */
static inline bool clock_is_unbounded(const struct clock *c) {
    return c->mode == CLOCK_COUNT_UP && c->max_ms == 0;
}

/* The `clock` of POST /sessions and PUT …/clock, as a new clock that stands. FAULT_INVALID_REQUEST
 * (wrong shape), FAULT_INVALID_VALUE (out of range, or what the mode needs is missing), naming the
 * member, such as clock.participants.3.participantId. onTimeout is end_session unless said;
 * a participant's totalTimeMs is the clock's unless said; a null member is one not given; unknown
 * members are ignored, and so is what the server computes. On failure *ret is empty. */
MUSTCHECK int clock_take(const json_t *object, struct clock *ret, struct fault *f);

/* As it is stored and shown: one text, members in the contract's order. */
void clock_print(const struct clock *c, struct buf *out);
/* Reads what clock_print wrote, byte for byte in that form. -EBADMSG: anything else, and a clock
 * that cannot be; *ret is untouched then. */
MUSTCHECK int clock_parse(const char *text, size_t len, struct clock *ret);
