/* Clocks: reading what clock_print wrote; see clock.h. The text is in exactly that form, which
 * costs a tenth of a tree of 1000 participants, and the clock in it is one that the rules can work
 * on. */
#include <errno.h>
#include <string.h>

#include "proto/clock.h"
#include "proto/clock_private.h"
#include "proto/reader.h"

static bool is_time(int64_t ms) {
    return ms >= CLOCK_TIME_MIN_MS && ms <= CLOCK_TIME_MAX_MS;
}

/* mark, then a number up to most. */
static bool read_number(struct reader *r, const char *mark, int64_t most, int64_t *ret) {
    uint64_t number;
    if (!reader_skip(r, mark) || !reader_number(r, &number) || number > (uint64_t)most)
        return false;
    *ret = (int64_t)number;
    return true;
}

static bool read_count(struct reader *r, const char *mark, uint64_t *ret) {
    return reader_skip(r, mark) && reader_number(r, ret);
}

/* mark, then null (0) or a time that can be given. */
static bool read_time(struct reader *r, const char *mark, int64_t *ret) {
    if (!reader_skip(r, mark))
        return false;
    *ret = 0;
    return reader_skip(r, "null") || (read_number(r, "", CLOCK_TIME_MAX_MS, ret) && is_time(*ret));
}

static bool read_bool(struct reader *r, const char *mark, bool *ret) {
    if (!reader_skip(r, mark))
        return false;
    *ret = reader_skip(r, "true");
    return *ret || reader_skip(r, "false");
}

static bool read_id(struct reader *r, const char *mark, char ret[static CLOCK_ID_MAX + 1]) {
    const char *id;
    size_t len;
    if (!reader_skip(r, mark) || !reader_skip(r, "\"") || !reader_quoted(r, &id, &len) ||
        !clock_id_is_valid(id, len))
        return false;
    memcpy(ret, id, len);
    ret[len] = '\0';
    return true;
}

static bool read_id_or_null(struct reader *r, const char *mark, char ret[static CLOCK_ID_MAX + 1]) {
    ret[0] = '\0';
    return reader_skip(r, mark) && (reader_skip(r, "null") || read_id(r, "", ret));
}

/* mark, then one of the names; an index of them. */
static bool read_name(struct reader *r, const char *mark, const char *(*name_of)(unsigned),
                      unsigned n_names, unsigned *ret) {
    const char *name;
    size_t len;
    if (!reader_skip(r, mark) || !reader_quoted(r, &name, &len))
        return false;
    for (*ret = 0; *ret < n_names; ++*ret)
        if (strlen(name_of(*ret)) == len && memcmp(name_of(*ret), name, len) == 0)
            return true;
    return false;
}

static const char *mode_name(unsigned i) {
    return clock_mode_name((enum clock_mode)i);
}

static const char *action_name(unsigned i) {
    return clock_action_name((enum clock_action)i);
}

static bool read_warnings(struct reader *r, struct clock *c) {
    if (!reader_skip(r, ",\"warningsMs\":["))
        return false;
    while (!reader_skip(r, "]")) {
        int64_t ms, most = c->n_warnings ? c->warnings[c->n_warnings - 1] - 1 : CLOCK_TIME_MAX_MS;
        if (c->n_warnings == CLOCK_MAX_WARNINGS ||
            !read_number(r, c->n_warnings ? "," : "", most, &ms) || ms < 1)
            return false;
        c->warnings[c->n_warnings++] = ms;
    }
    return true;
}

static bool read_settings(struct reader *r, struct clock *c) {
    unsigned mode, action;
    if (!read_name(r, "{\"mode\":\"", mode_name, CLOCK_N_MODES, &mode) ||
        !read_time(r, ",\"totalTimeMs\":", &c->total_ms) ||
        !read_number(r, ",\"incrementMs\":", CLOCK_INCREMENT_MAX_MS, &c->increment_ms) ||
        !read_time(r, ",\"timePerCycleMs\":", &c->cycle_ms) ||
        !read_time(r, ",\"maxTimeMs\":", &c->max_ms) ||
        !read_name(r, ",\"onTimeout\":{\"action\":\"", action_name, CLOCK_N_ACTIONS, &action) ||
        !reader_skip(r, "}"))
        return false;
    c->mode = (enum clock_mode)mode;
    c->action = (enum clock_action)action;
    return read_warnings(r, c);
}

static bool read_remaining(struct reader *r, const struct clock *c, int64_t *ret) {
    return clock_is_unbounded(c) ? reader_skip(r, ",\"timeRemainingMs\":null")
                                 : read_number(r, ",\"timeRemainingMs\":", CLOCK_TIME_MAX_MS, ret);
}

/* One who is active where another was already is refused; so is one whose time is over but not 0.
 */
static bool read_participant(struct reader *r, struct clock *c) {
    struct clock_participant *p = &c->participants[c->n_participants];
    bool is_active;
    *p = (struct clock_participant){0};
    if (!read_id(r, "{\"participantId\":", p->id) ||
        !read_id_or_null(r, ",\"groupId\":", p->group) ||
        !read_time(r, ",\"totalTimeMs\":", &p->total_ms) ||
        !read_number(r, ",\"timeUsedMs\":", TEXT_INTEGER_MAX, &p->used_ms) ||
        !read_remaining(r, c, &p->remaining_ms) ||
        !read_count(r, ",\"cycleCount\":", &p->n_cycles) ||
        !read_bool(r, ",\"isActive\":", &is_active) ||
        !read_bool(r, ",\"hasExpired\":", &p->has_expired) || !reader_skip(r, "}"))
        return false;
    if (p->has_expired && (p->remaining_ms || clock_is_unbounded(c)))
        return false;
    if (is_active && c->active != CLOCK_NOBODY)
        return false;
    if (is_active)
        c->active = c->n_participants;
    c->n_participants++;
    return true;
}

static bool read_participants(struct reader *r, struct clock *c) {
    size_t room = 0;
    if (!reader_skip(r, ",\"participants\":["))
        return false;
    do {
        if (c->n_participants == CLOCK_MAX_PARTICIPANTS)
            return false;
        if (c->n_participants == room) {
            room = room ? 2 * room : 4;
            c->participants = must_realloc(c->participants, room * sizeof(*c->participants));
        }
        if (!read_participant(r, c))
            return false;
    } while (reader_skip(r, ","));
    return reader_skip(r, "]");
}

/* Whose time is over is not running any more. */
static bool read_turn(struct reader *r, struct clock *c) {
    char active[CLOCK_ID_MAX + 1];
    const struct clock_participant *p =
        c->active == CLOCK_NOBODY ? NULL : &c->participants[c->active];
    if (!read_id_or_null(r, ",\"activeParticipantId\":", active) ||
        strcmp(active, p ? p->id : "") != 0 || !reader_skip(r, ",\"cycleStartedAt\":"))
        return false;
    if (!reader_skip(r, "null") &&
        (!p || p->has_expired || !reader_skip(r, "\"") || !reader_moment(r, &c->started_at) ||
         c->started_at < 1 || !reader_skip(r, "\"")))
        return false;
    return read_count(r, ",\"cycleCount\":", &c->n_cycles) && reader_skip(r, "}") && !r->left;
}

static bool shared_differ(const struct clock_participant *a, const struct clock_participant *b) {
    return a->total_ms != b->total_ms || a->remaining_ms != b->remaining_ms ||
           a->has_expired != b->has_expired;
}

static bool is_sound(const struct clock *c) {
    size_t who;
    return clock_double(c) == CLOCK_NOBODY && !clock_missing(c, &who) &&
           clock_disagreement(c, shared_differ) == CLOCK_NOBODY;
}

int clock_parse(const char *text, size_t len, struct clock *ret) {
    struct reader r = {text, len};
    struct clock c = {.active = CLOCK_NOBODY};
    if (!read_settings(&r, &c) || !read_participants(&r, &c) || !read_turn(&r, &c) ||
        !is_sound(&c)) {
        clock_done(&c);
        return -EBADMSG;
    }
    *ret = c;
    return 0;
}
