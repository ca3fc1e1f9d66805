/* Clocks: what a request for one says; see clock.h. A member that is null is one that is not there,
 * and what the server computes is not read, so that a clock may be sent as it was received. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/clock.h"
#include "proto/clock_private.h"
#include "proto/text.h"

/* The path of an object in the request, such as "clock.participants.3". */
struct place {
    char path[40];
};

static const struct place whole = {"clock"};

static struct place place_of(const char *list, size_t index) {
    struct place p;
    snprintf(p.path, sizeof(p.path), "clock.%s.%zu", list, index);
    return p;
}

/* Puts the object's path before the member that the fault names. */
static int in(const struct place *p, int r, struct fault *f) {
    char path[sizeof(f->field)];
    if (!r || !f)
        return r;
    int len = snprintf(path, sizeof(path), "%s.%s", p->path, f->field);
    if (len >= (int)sizeof(path))
        path[0] = '\0';
    return (int)fault_set(f, f->code, path, "%s", f->detail);
}

static int bad_value(const struct place *p, const char *name, const char *what, struct fault *f) {
    return in(p, (int)fault_set(f, FAULT_INVALID_VALUE, name, "%s must be %s", name, what), f);
}

static bool is_given(const json_t *object, const char *name) {
    const json_t *member = json_object_get(object, name);
    return member && !json_is_null(member);
}

static int take_ms(const struct place *p, const json_t *object, const char *name, int64_t least,
                   int64_t most, int64_t *ret, struct fault *f) {
    if (!is_given(object, name))
        return 0;
    return in(p, text_get_integer(object, name, TEXT_REQUIRED, least, most, ret, f), f);
}

static int take_time(const struct place *p, const json_t *object, const char *name, int64_t *ret,
                     struct fault *f) {
    return take_ms(p, object, name, CLOCK_TIME_MIN_MS, CLOCK_TIME_MAX_MS, ret, f);
}

static int take_mode(const json_t *object, struct clock *c, struct fault *f) {
    const char *name = NULL;
    int r = in(&whole, text_get_string(object, "mode", TEXT_REQUIRED, &name, f), f);
    for (unsigned i = 0; !r && i < CLOCK_N_MODES; i++)
        if (strcmp(clock_mode_name((enum clock_mode)i), name) == 0) {
            c->mode = (enum clock_mode)i;
            return 0;
        }
    return r ? r
             : bad_value(&whole, "mode",
                         "per_participant, per_cycle, per_group, global or count_up", f);
}

static int take_on_timeout(const json_t *object, struct clock *c, struct fault *f) {
    static const struct place place = {"clock.onTimeout"};
    json_t *on_timeout = NULL;
    const char *name = NULL;
    if (!is_given(object, "onTimeout"))
        return 0;
    int r = in(&whole, text_get_object(object, "onTimeout", TEXT_REQUIRED, &on_timeout, f), f);
    if (!r)
        r = in(&place, text_get_string(on_timeout, "action", TEXT_REQUIRED, &name, f), f);
    for (unsigned i = 0; !r && i < CLOCK_N_ACTIONS; i++)
        if (strcmp(clock_action_name((enum clock_action)i), name) == 0) {
            c->action = (enum clock_action)i;
            return 0;
        }
    return r ? r : bad_value(&place, "action", "end_session, skip, auto_switch or notify", f);
}

/* ---- Warnings ---- */

static int take_warning(const json_t *value, size_t index, int64_t *ret, struct fault *f) {
    struct place p = place_of("warningsMs", index);
    double ms = json_number_value(value);
    if (!json_is_number(value) || ms != trunc(ms))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, p.path, "a warning must be an integer");
    if (ms < 1 || ms > CLOCK_TIME_MAX_MS)
        return (int)fault_set(f, FAULT_INVALID_VALUE, p.path,
                              "a warning is %.17g; 1 to %d are allowed", ms, CLOCK_TIME_MAX_MS);
    *ret = (int64_t)ms;
    return 0;
}

/* Into its place in descending order, unless it is there. */
static void add_warning(struct clock *c, int64_t ms) {
    size_t i = 0;
    while (i < c->n_warnings && c->warnings[i] > ms)
        i++;
    if (i < c->n_warnings && c->warnings[i] == ms)
        return;
    memmove(&c->warnings[i + 1], &c->warnings[i], (c->n_warnings - i) * sizeof(c->warnings[0]));
    c->warnings[i] = ms;
    c->n_warnings++;
}

static int take_warnings(const json_t *object, struct clock *c, struct fault *f) {
    json_t *list = NULL;
    if (!is_given(object, "warningsMs"))
        return 0;
    int r = in(&whole, text_get_array(object, "warningsMs", TEXT_REQUIRED, &list, f), f);
    size_t n = json_array_size(list);
    if (!r && n > CLOCK_MAX_WARNINGS)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "clock.warningsMs",
                              "warningsMs has %zu warnings; at most %d", n, CLOCK_MAX_WARNINGS);
    for (size_t i = 0; !r && i < n; i++) {
        int64_t ms = 0;
        r = take_warning(json_array_get(list, i), i, &ms, f);
        if (!r)
            add_warning(c, ms);
    }
    return r;
}

/* ---- Participants ---- */

static int take_id(const struct place *p, const json_t *object, const char *name, char *ret,
                   struct fault *f) {
    const char *id = NULL;
    int r = in(p, text_get_string(object, name, TEXT_REQUIRED, &id, f), f);
    if (r)
        return r;
    size_t len = strlen(id);
    if (!clock_id_is_valid(id, len))
        return bad_value(p, name, "1 to 128 of A-Z a-z 0-9 . _ : - and neither \".\" nor \"..\"",
                         f);
    memcpy(ret, id, len + 1);
    return 0;
}

static int take_participant(const json_t *object, size_t index, struct clock *c, struct fault *f) {
    struct place p = place_of("participants", index);
    struct clock_participant *participant = &c->participants[index];
    if (!json_is_object(object))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, p.path, "a participant must be an object");
    int r = take_id(&p, object, "participantId", participant->id, f);
    if (!r && is_given(object, "groupId"))
        r = take_id(&p, object, "groupId", participant->group, f);
    participant->total_ms = c->total_ms;
    return r ? r : take_time(&p, object, "totalTimeMs", &participant->total_ms, f);
}

static int take_participants(const json_t *object, struct clock *c, struct fault *f) {
    json_t *list = NULL;
    int r = in(&whole, text_get_array(object, "participants", TEXT_REQUIRED, &list, f), f);
    size_t n = json_array_size(list);
    if (!r && (n < 1 || n > CLOCK_MAX_PARTICIPANTS))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "clock.participants",
                              "there are %zu participants; 1 to %d", n, CLOCK_MAX_PARTICIPANTS);
    if (r)
        return r;
    c->participants = must_alloc(n * sizeof(*c->participants));
    c->n_participants = n;
    for (size_t i = 0; !r && i < n; i++)
        r = take_participant(json_array_get(list, i), i, c, f);
    return r;
}

/* ---- The whole ---- */

static int check_ids(const struct clock *c, struct fault *f) {
    size_t i = clock_double(c);
    if (i == CLOCK_NOBODY)
        return 0;
    struct place p = place_of("participants", i);
    return in(&p,
              (int)fault_set(f, FAULT_INVALID_VALUE, "participantId",
                             "participantId %.64s is there more than once", c->participants[i].id),
              f);
}

/* The clock's own totalTimeMs is named where a participant has none: it is what all fall back to.
 */
static int check_needs(const struct clock *c, struct fault *f) {
    size_t who;
    const char *name = clock_missing(c, &who);
    if (!name)
        return 0;
    bool of_clock = who == CLOCK_NOBODY || strcmp(name, "totalTimeMs") == 0;
    struct place p = of_clock ? whole : place_of("participants", who);
    return in(&p,
              (int)fault_set(f, FAULT_INVALID_VALUE, name, "mode %s needs %s",
                             clock_mode_name(c->mode), name),
              f);
}

static bool totals_differ(const struct clock_participant *a, const struct clock_participant *b) {
    return a->total_ms != b->total_ms;
}

static int check_shared(const struct clock *c, struct fault *f) {
    size_t i = clock_disagreement(c, totals_differ);
    if (i == CLOCK_NOBODY)
        return 0;
    struct place p = place_of("participants", i);
    return bad_value(&p, "totalTimeMs", "the same for all who share the time", f);
}

static int64_t first_time(const struct clock *c, const struct clock_participant *p) {
    return c->mode == CLOCK_PER_CYCLE  ? c->cycle_ms
           : c->mode == CLOCK_COUNT_UP ? c->max_ms
                                       : p->total_ms;
}

static int take(const json_t *object, struct clock *c, struct fault *f) {
    int r;
    if (!json_is_object(object))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "clock", "clock must be an object");
    if ((r = take_mode(object, c, f)) ||
        (r = take_time(&whole, object, "totalTimeMs", &c->total_ms, f)) ||
        (r = take_ms(&whole, object, "incrementMs", 0, CLOCK_INCREMENT_MAX_MS, &c->increment_ms,
                     f)) ||
        (r = take_time(&whole, object, "timePerCycleMs", &c->cycle_ms, f)) ||
        (r = take_time(&whole, object, "maxTimeMs", &c->max_ms, f)) ||
        (r = take_on_timeout(object, c, f)) || (r = take_warnings(object, c, f)) ||
        (r = take_participants(object, c, f)) || (r = check_ids(c, f)) || (r = check_needs(c, f)) ||
        (r = check_shared(c, f)))
        return r;
    for (size_t i = 0; i < c->n_participants; i++)
        c->participants[i].remaining_ms = first_time(c, &c->participants[i]);
    return 0;
}

int clock_take(const json_t *object, struct clock *ret, struct fault *f) {
    *ret = (struct clock){.active = CLOCK_NOBODY};
    int r = take(object, ret, f);
    if (r)
        clock_done(ret);
    return r;
}
