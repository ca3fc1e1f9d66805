/* Clocks under rules: small scripts that are played on a clock, and what it is then as a line of
 * text. Every clock on the way must be one that can be stored. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/state_engine/clock.h"

#define NOON 1770897600000 /* what the moments of scripts count from */

/* a and c are one group, b the other. Each time is another, so that none is taken for another. */
static inline struct clock fixture_clock(enum clock_mode mode, enum clock_action action) {
    static const char *const ids[] = {"a", "b", "c"};
    static const char *const groups[] = {"red", "blue", "red"};
    struct clock c = {.mode = mode,
                      .action = action,
                      .total_ms = 10000,
                      .increment_ms = 2000,
                      .cycle_ms = 5000,
                      .max_ms = 8000,
                      .active = CLOCK_NOBODY};
    c.n_participants = N_ELEMENTS(ids);
    c.participants = must_alloc(c.n_participants * sizeof(*c.participants));
    for (size_t i = 0; i < c.n_participants; i++) {
        struct clock_participant *p = &c.participants[i];
        snprintf(p->id, sizeof(p->id), "%s", ids[i]);
        snprintf(p->group, sizeof(p->group), "%s", groups[i]);
        p->total_ms = c.total_ms;
        p->remaining_ms = mode == CLOCK_PER_CYCLE  ? c.cycle_ms
                          : mode == CLOCK_COUNT_UP ? c.max_ms
                                                   : c.total_ms;
    }
    return c;
}

/* Only its first n. */
static inline struct clock fixture_of(enum clock_mode mode, enum clock_action action, size_t n) {
    struct clock c = fixture_clock(mode, action);
    c.n_participants = n;
    return c;
}

/* "b@4000 a:4000/8000*1 b:0/10000*0 c:0/0*1!": the active one, since when (-: it stands), then each
 * with used/remaining*turns and ! for expired. */
static inline void fixture_describe(const struct clock *c, struct buf *out) {
    buf_printf(out, "%s@", c->active == CLOCK_NOBODY ? "-" : c->participants[c->active].id);
    if (c->started_at)
        buf_put_i64(out, c->started_at - NOON);
    else
        buf_putc(out, '-');
    for (size_t i = 0; i < c->n_participants; i++) {
        const struct clock_participant *p = &c->participants[i];
        buf_printf(out, " %s:%" PRId64 "/%" PRId64 "*%" PRIu64 "%s", p->id, p->used_ms,
                   p->remaining_ms, p->n_cycles, p->has_expired ? "!" : "");
    }
}

static inline char *fixture_text(const struct clock *c) {
    struct buf text = BUF_NULL;
    clock_print(c, &text);
    return buf_take(&text);
}

/* What is stored of it is read back as the same, and its turns are those of its participants. */
static inline void fixture_check(const struct clock *c) {
    _cleanup_(freep) char *text = fixture_text(c);
    struct clock again;
    uint64_t n_cycles = 0;
    if (clock_parse(text, strlen(text), &again) != 0)
        fail_msg("cannot be: %s", text);
    _cleanup_(freep) char *same = fixture_text(&again);
    assert_string_equal(same, text);
    clock_done(&again);
    for (size_t i = 0; i < c->n_participants; i++)
        n_cycles += c->participants[i].n_cycles;
    assert_int_equal(c->n_cycles, n_cycles);
}

/* ---- Scripts ---- */

struct fixture_script {
    struct clock *c;
    int64_t now;
    struct buf said; /* what the steps answered */
};

static inline void fixture_answer(struct fixture_script *s, int r, const struct fault *f,
                                  const char *before) {
    if (!r)
        return;
    _cleanup_(freep) char *after = fixture_text(s->c);
    assert_int_equal(r, f->code);
    assert_string_equal(after, before); /* what is refused changes nothing */
    buf_printf(&s->said, " %s", fault_wire_code(f->code));
}

static inline void fixture_switch(struct fixture_script *s, const char *next, const char *current) {
    _cleanup_(freep) char *before = fixture_text(s->c);
    struct clock_switched done;
    struct fault f = {0};
    int r = clock_switch(s->c, next, current, s->now, &done, &f);
    fixture_answer(s, r, &f, before);
    if (!r)
        buf_printf(&s->said, " %s>%s:%" PRId64, s->c->participants[done.from].id,
                   s->c->participants[done.to].id, done.elapsed_ms);
}

static inline void fixture_adjust(struct fixture_script *s, const char *what) {
    _cleanup_(freep) char *before = fixture_text(s->c);
    struct fault f = {0};
    const char *colon = strchr(what, ':');
    char id[CLOCK_ID_MAX + 1];
    snprintf(id, sizeof(id), "%.*s", (int)(colon - what), what);
    int r = clock_adjust(s->c, id, strtoll(colon + 1, NULL, 10), s->now, &f);
    fixture_answer(s, r, &f, before);
}

static inline void fixture_expire(struct fixture_script *s) {
    struct clock_expired done;
    if (!clock_expire(s->c, s->now, &done)) {
        buf_puts(&s->said, " early");
        return;
    }
    assert_int_equal(done.ends, done.next == CLOCK_NOBODY);
    assert_int_equal(done.next, s->c->active);
    buf_printf(&s->said, " %s>%s", s->c->participants[done.participant].id,
               done.ends ? "end" : s->c->participants[done.next].id);
    if (done.winner != CLOCK_NOBODY)
        buf_printf(&s->said, " %s wins", clock_side(s->c, done.winner));
}

static inline void fixture_step(struct fixture_script *s, const char *step) {
    const char *arg = strchr(step, '=');
    if (step[0] == '@')
        s->now = NOON + strtoll(step + 1, NULL, 10);
    else if (strcmp(step, "start") == 0)
        clock_start(s->c, s->now);
    else if (strcmp(step, "stop") == 0)
        clock_stop(s->c, s->now);
    else if (strcmp(step, "switch") == 0)
        fixture_switch(s, NULL, NULL);
    else if (strncmp(step, "to=", 3) == 0)
        fixture_switch(s, arg + 1, NULL);
    else if (strncmp(step, "of=", 3) == 0)
        fixture_switch(s, NULL, arg + 1);
    else if (strncmp(step, "adjust=", 7) == 0)
        fixture_adjust(s, arg + 1);
    else if (strcmp(step, "expire") == 0)
        fixture_expire(s);
    else
        fail_msg("no such step: %s", step);
    fixture_check(s->c);
}

/* Plays steps separated by spaces: "@4000 switch to=c of=a adjust=b:-500 start stop expire".
 * Returns the clock's line and, after " |", what was answered; owned. */
static inline char *fixture_play(struct clock *c, const char *script) {
    struct fixture_script s = {.c = c, .now = NOON, .said = BUF_NULL};
    struct buf line = BUF_NULL;
    char *rest = must_strdup(script), *at = rest, *step;
    while ((step = strsep(&at, " ")))
        fixture_step(&s, step);
    fixture_describe(c, &line);
    if (s.said.len) {
        buf_puts(&line, " |");
        buf_puts(&line, s.said.data);
    }
    buf_done(&s.said);
    free(rest);
    return buf_take(&line);
}

/* Plays it on a clock that is taken over, and ended. */
static inline void fixture_expect(struct clock c, const char *script, const char *expected) {
    _cleanup_(freep) char *line = fixture_play(&c, script);
    if (strcmp(line, expected) != 0)
        fail_msg("%s, %s: %s\n  is       %s\n  expected %s", clock_mode_name(c.mode),
                 clock_action_name(c.action), script, line, expected);
    clock_done(&c);
}
