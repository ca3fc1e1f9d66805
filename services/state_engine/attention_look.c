/* A look at sessions that are due: claimed together, judged, armed again. Those whose clock has
 * come are given their command before all else: their moment is a promise. */
#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "services/state_engine/attention_private.h"
#include "services/state_engine/republish.h"

#define REARM_MS 2000   /* a session that is written to is looked at again */
#define QUIET_MS 10000  /* no write for so long: not before something is due */
#define OVERDUE_MS 1500 /* unconfirmed for so long: published again */
#define REFUSED_MS 50   /* a command that there was no room for: given again */
#define MAX_ENTRIES_BYTES (4u << 20)

/* Negative: Redis was lost. */
static int publish_again(struct attention *a, const struct session *s,
                         const struct store_entry *entry) {
    struct event events[CHANGE_MAX_EVENTS];
    size_t n = 0;
    int r = republish_entry(a->store, s, entry, events, &n);
    if (r != 0 && !store_batch_is_connected(a->store))
        return r;
    if (r == -ENOTCONN)
        return 0; /* the session's node is away: the next look */
    if (r != 0) {
        log_error(a->app->log, "entry_damaged", "An entry of the delta window cannot be published.",
                  LOG_TEXT("sessionId", s->id), LOG_NUMBER("version", (int64_t)entry->version),
                  LOG_KNOWN("commandId", entry->command_id), LOG_TRACE(&entry->trace),
                  LOG_TEXT("hint", "the stored stream was written by something else than Handoff"));
        return 0;
    }
    publisher_publish(a->publisher, events, n, NULL);
    CRASH_LINK("engine.attention.republished", CRASH_BROKER);
    metric_add(a->n_republished, 1);
    return 0;
}

/* Publishes what is above the mark and was saved too long ago to be still on its way. */
static int publish_overdue(struct attention *a, const struct session *s, int64_t now) {
    struct store_load load = {.wants_deltas = true, .deltas_since = s->published};
    memcpy(load.session_id, s->id, sizeof(load.session_id));
    int64_t ignored;
    int r = store_batch_load(a->store, &load, 1, &ignored);
    size_t n_bytes = 0;
    for (size_t i = 0; r == 0 && load.err == 0 && i < load.n_entries; i++) {
        n_bytes += load.entries[i].event_len;
        if (load.entries[i].time > now - OVERDUE_MS || n_bytes > MAX_ENTRIES_BYTES)
            break;
        r = publish_again(a, &load.session, &load.entries[i]);
    }
    store_load_done(&load);
    return r;
}

/* The next look is not later than that (0: never). */
static void look_sooner(struct store_due *due, int64_t at) {
    if (at && (!due->next || at < due->next))
        due->next = at;
}

/* The entry stays at the lease's end, for the case that nothing comes of the command. */
static void give(struct attention *a, struct store_due *due, enum due_what what, int64_t now) {
    bool is_given = a->owner.give(a->owner.arg, due->session_id, what, due->lease);
    metric_add(a->n_due[what], is_given);
    CRASH_LINK("engine.due.given", CRASH_REDIS);
    due->next = is_given ? due->lease : now + REFUSED_MS;
}

/* What a claimed session needs, and when to look again; *ret: what is due now. One that Redis has
 * not, or cannot be believed about, is the command's to find. */
static int judge(struct attention *a, const struct store_load *load, struct store_due *due,
                 int64_t now, struct due *ret) {
    const struct session *s = &load->session;
    int r = 0;
    if (load->err == -ENOTCONN) { /* its node is away, or will be another */
        due->next = now + REARM_MS;
        return 0;
    }
    if (load->err != 0) {
        give(a, due, DUE_LAPSE, now);
        return 0;
    }
    bool is_published = s->published >= s->position.version;
    if (!is_published)
        r = publish_overdue(a, s, now);
    bool is_quiet = is_published && s->updated_at < now - QUIET_MS;
    struct due next = due_next(s, false, now, a->app->config->cold_after_ms);
    if (next.when > now) {
        due->next = next.when;
        next.what = DUE_NOTHING;
    }
    if (next.what == DUE_LAPSE || strcmp(s->run_id, store_batch_run_id(a->store, s->id)) != 0)
        give(a, due, DUE_LAPSE, now);
    else if (is_quiet && next.what != DUE_CLOCK)
        *ret = next;
    if (!is_quiet)
        look_sooner(due, now + REARM_MS);
    return r;
}

size_t attention_keep_claimed(struct store_due *due, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (due[i].is_claimed)
            due[kept++] = due[i];
    return kept;
}

/* ---- clocks ---- */

/* Those of the n whose clock has come are given their command, and leave the list: the command's
 * save arms them for the rest. Returns how many are left. */
static size_t give_clocks(struct attention *a, struct store_load *loads, struct store_due *due,
                          size_t n, int64_t now) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const struct session *s = &loads[i].session;
        bool is_due = loads[i].err == 0 && !s->deleted && s->clock_at && s->clock_at <= now;
        if (is_due)
            give(a, &due[i], DUE_CLOCK, now);
        if (is_due && due[i].next == due[i].lease)
            continue;
        struct store_load load = loads[i];
        loads[i] = loads[kept];
        loads[kept] = load;
        due[kept++] = due[i];
    }
    return kept;
}

/* ---- presence ---- */

/* Of a session that presence could not look at the entry stays: its lease ends. */
static int look_at_presence(struct attention *a, struct store_due *due, size_t n, int64_t now) {
    struct store_presence sessions[PRESENCE_MAX_TOGETHER] = {0};
    for (size_t i = 0; i < n; i++)
        memcpy(sessions[i].session_id, due[i].session_id, sizeof(sessions[i].session_id));
    int r = presence_judge(a->presence, sessions, n, NULL, now);
    for (size_t i = 0; i < n; i++) {
        bool is_open = sessions[i].err != 0 && sessions[i].err != -ENOENT;
        look_sooner(&due[i], is_open ? now + ATTENTION_LEASE_MS : sessions[i].next);
        store_presence_done(&sessions[i]);
    }
    return r;
}

/* ---- sessions ---- */

/* Those of the loads that are due to leave Redis. After presence: who has to be told about somebody
 * stays. */
static int look_at_cooling(struct attention *a, const struct store_load *loads,
                           const struct due *dues, struct store_due *due, size_t n, int64_t now) {
    struct cooling_ask asks[ATTENTION_MAX_TOGETHER];
    size_t of[ATTENTION_MAX_TOGETHER], n_asks = 0;
    for (size_t i = 0; i < n; i++) {
        if (dues[i].what == DUE_NOTHING)
            continue;
        metric_add(a->n_due[dues[i].what], 1);
        asks[n_asks] = (struct cooling_ask){.session = &loads[i].session, .due = dues[i]};
        of[n_asks++] = i;
    }
    int r = n_asks > 0 ? cooling_take(a->cooling, asks, n_asks, now) : 0;
    for (size_t k = 0; r == 0 && k < n_asks; k++) {
        look_sooner(&due[of[k]], asks[k].next);
    }
    return r;
}

/* What has become of n claimed entries. */
static int look_at_loads(struct attention *a, struct store_load *loads, struct store_due *due,
                         size_t n, int64_t now) {
    struct due dues[ATTENTION_MAX_TOGETHER] = {0};
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = judge(a, &loads[i], &due[i], now, &dues[i]);
    for (size_t i = 0; r == 0 && i < n; i += PRESENCE_MAX_TOGETHER)
        r = look_at_presence(a, due + i,
                             n - i < PRESENCE_MAX_TOGETHER ? n - i : PRESENCE_MAX_TOGETHER, now);
    return r != 0 ? r : look_at_cooling(a, loads, dues, due, n, now);
}

/* What is due soon again is on the schedule at once. */
static int rearm(struct attention *a, const struct store_due *due, size_t n, int64_t now) {
    int r = n > 0 ? store_batch_rearm(a->store, due, n) : 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (due[i].next && due[i].next < now + SCHEDULE_AHEAD_MS)
            (void)schedule_add(&a->schedule, due[i].session_id, due[i].set, due[i].next);
    return r;
}

int attention_look(struct attention *a, struct store_due *due, size_t n, int64_t now) {
    int r = store_batch_claim_due(a->store, due, n, now + ATTENTION_LEASE_MS);
    n = r == 0 ? attention_keep_claimed(due, n) : 0;
    if (n > 0)
        CRASH_LINK("engine.attention.claimed", CRASH_REDIS);
    if (n == 0)
        return r;
    metric_add(a->n_looks, (double)n);
    _cleanup_(freep) struct store_load *loads = must_alloc(n * sizeof(*loads));
    for (size_t i = 0; i < n; i++)
        memcpy(loads[i].session_id, due[i].session_id, sizeof(loads[i].session_id));
    r = store_batch_load(a->store, loads, n, &now);
    size_t n_left = r == 0 ? give_clocks(a, loads, due, n, now) : 0;
    if (n_left > 0)
        r = look_at_loads(a, loads, due, n_left, now);
    for (size_t i = 0; i < n; i++)
        store_load_done(&loads[i]);
    CRASH_LINK("engine.attention.rearming", CRASH_REDIS);
    return r != 0 ? r : rearm(a, due, n_left, now);
}
