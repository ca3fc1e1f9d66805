/* Clocks: names, what a clock has to be, and printing it; see clock.h. What a request says is read
 * in clock_take.c, what was stored in clock_parse.c. */
#include "proto/clock.h"

#include <inttypes.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/clock_private.h"

void clock_done(struct clock *c) {
    if (!c)
        return;
    free(c->participants);
    *c = (struct clock){.active = CLOCK_NOBODY};
}

void clock_copy(const struct clock *from, struct clock *ret) {
    *ret = *from;
    ret->participants = NULL;
    if (from->n_participants == 0)
        return;
    size_t size = from->n_participants * sizeof(*from->participants);
    ret->participants = must_malloc(size);
    memcpy(ret->participants, from->participants, size);
}

static const char *const mode_names[CLOCK_N_MODES] = {"per_participant", "per_cycle", "per_group",
                                                      "global", "count_up"};
static const char *const action_names[CLOCK_N_ACTIONS] = {"end_session", "skip", "auto_switch",
                                                          "notify"};

const char *clock_mode_name(enum clock_mode mode) {
    return mode_names[mode];
}

const char *clock_action_name(enum clock_action action) {
    return action_names[action];
}

static bool is_id_character(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == ':' || c == '-';
}

bool clock_id_is_valid(const char *id, size_t len) {
    if (len < 1 || len > CLOCK_ID_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_id_character(id[i]))
            return false;
    return !(id[0] == '.' && (len == 1 || (len == 2 && id[1] == '.')));
}

size_t clock_find(const struct clock *c, const char *participant_id) {
    for (size_t i = 0; i < c->n_participants; i++)
        if (strcmp(c->participants[i].id, participant_id) == 0)
            return i;
    return CLOCK_NOBODY;
}

/* ---- What a clock has to be ---- */

typedef int compare_fn(const void *a, const void *b);

static const struct clock_participant *at(const void *place) {
    return *(const struct clock_participant *const *)place;
}

/* Equal ones by rotation, so that what is found does not depend on how qsort goes about it. */
static int by_place(const void *a, const void *b) {
    return at(a) < at(b) ? -1 : at(a) > at(b);
}

static int by_id(const void *a, const void *b) {
    int order = strcmp(at(a)->id, at(b)->id);
    return order ? order : by_place(a, b);
}

static int by_group(const void *a, const void *b) {
    int order = strcmp(at(a)->group, at(b)->group);
    return order ? order : by_place(a, b);
}

/* The participants in that order; owned. */
static const struct clock_participant **sorted(const struct clock *c, compare_fn *compare) {
    const struct clock_participant **list = must_malloc(c->n_participants * sizeof(*list));
    for (size_t i = 0; i < c->n_participants; i++)
        list[i] = &c->participants[i];
    qsort(list, c->n_participants, sizeof(*list), compare);
    return list;
}

size_t clock_double(const struct clock *c) {
    _cleanup_(freep) const struct clock_participant **list = sorted(c, by_id);
    for (size_t i = 1; i < c->n_participants; i++)
        if (strcmp(list[i - 1]->id, list[i]->id) == 0)
            return (size_t)(list[i] - c->participants);
    return CLOCK_NOBODY;
}

size_t clock_disagreement(const struct clock *c, clock_differs_fn *differs) {
    if (c->mode != CLOCK_PER_GROUP && c->mode != CLOCK_GLOBAL)
        return CLOCK_NOBODY;
    bool all = c->mode == CLOCK_GLOBAL;
    _cleanup_(freep) const struct clock_participant **list = sorted(c, all ? by_place : by_group);
    for (size_t i = 1; i < c->n_participants; i++) {
        bool share = all || strcmp(list[i - 1]->group, list[i]->group) == 0;
        if (share && differs(list[i - 1], list[i]))
            return (size_t)(list[i] - c->participants);
    }
    return CLOCK_NOBODY;
}

const char *clock_missing(const struct clock *c, size_t *ret_who) {
    *ret_who = CLOCK_NOBODY;
    if (c->mode == CLOCK_PER_CYCLE)
        return c->cycle_ms ? NULL : "timePerCycleMs";
    if (c->mode == CLOCK_COUNT_UP)
        return NULL;
    for (size_t i = 0; i < c->n_participants; i++) {
        const struct clock_participant *p = &c->participants[i];
        *ret_who = i;
        if (c->mode == CLOCK_PER_GROUP && !p->group[0])
            return "groupId";
        if (!p->total_ms)
            return "totalTimeMs";
    }
    return NULL;
}

/* ---- Printing ---- */

/* ids need no escape: there is nothing in them that JSON would escape. */
static void put_id(const char *id, struct buf *out) {
    if (!id[0]) {
        buf_puts(out, "null");
        return;
    }
    buf_putc(out, '"');
    buf_puts(out, id);
    buf_putc(out, '"');
}

static void put_ms_or_null(int64_t ms, bool is_null, struct buf *out) {
    if (is_null)
        buf_puts(out, "null");
    else
        buf_put_i64(out, ms);
}

static void put_time(const char *mark, int64_t ms, struct buf *out) {
    buf_puts(out, mark);
    put_ms_or_null(ms, ms == 0, out);
}

static void put_participant(const struct clock *c, size_t i, struct buf *out) {
    const struct clock_participant *p = &c->participants[i];
    buf_puts(out, "{\"participantId\":");
    put_id(p->id, out);
    buf_puts(out, ",\"groupId\":");
    put_id(p->group, out);
    put_time(",\"totalTimeMs\":", p->total_ms, out);
    buf_puts(out, ",\"timeUsedMs\":");
    buf_put_i64(out, p->used_ms);
    buf_puts(out, ",\"timeRemainingMs\":");
    put_ms_or_null(p->remaining_ms, clock_is_unbounded(c), out);
    buf_puts(out, ",\"cycleCount\":");
    buf_put_u64(out, p->n_cycles);
    buf_puts(out, i == c->active ? ",\"isActive\":true" : ",\"isActive\":false");
    buf_puts(out, p->has_expired ? ",\"hasExpired\":true}" : ",\"hasExpired\":false}");
}

static void put_settings(const struct clock *c, struct buf *out) {
    buf_puts(out, "{\"mode\":\"");
    buf_puts(out, mode_names[c->mode]);
    put_time("\",\"totalTimeMs\":", c->total_ms, out);
    buf_puts(out, ",\"incrementMs\":");
    buf_put_i64(out, c->increment_ms);
    put_time(",\"timePerCycleMs\":", c->cycle_ms, out);
    put_time(",\"maxTimeMs\":", c->max_ms, out);
    buf_puts(out, ",\"onTimeout\":{\"action\":\"");
    buf_puts(out, action_names[c->action]);
    buf_puts(out, "\"},\"warningsMs\":[");
    for (size_t i = 0; i < c->n_warnings; i++) {
        if (i > 0)
            buf_putc(out, ',');
        buf_put_i64(out, c->warnings[i]);
    }
    buf_putc(out, ']');
}

void clock_print(const struct clock *c, struct buf *out) {
    put_settings(c, out);
    buf_puts(out, ",\"participants\":[");
    for (size_t i = 0; i < c->n_participants; i++) {
        if (i > 0)
            buf_putc(out, ',');
        put_participant(c, i, out);
    }
    buf_puts(out, "],\"activeParticipantId\":");
    put_id(c->active == CLOCK_NOBODY ? "" : c->participants[c->active].id, out);
    buf_puts(out, ",\"cycleStartedAt\":");
    if (c->started_at) {
        char moment[TIMESTAMP_LEN + 1];
        timestamp_print(c->started_at, moment);
        buf_printf(out, "\"%s\"", moment);
    } else {
        buf_puts(out, "null");
    }
    buf_puts(out, ",\"cycleCount\":");
    buf_put_u64(out, c->n_cycles);
    buf_putc(out, '}');
}
