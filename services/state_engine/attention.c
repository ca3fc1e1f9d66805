/* The attention set's sessions; see attention.h. A look first moves the entry to the end of its
 * lease, so that another engine takes over when this one dies, and then to the next moment that
 * matters.
 */
#include "services/state_engine/attention.h"

#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "services/state_engine/attention_private.h"
#include "services/state_engine/republish.h"

#define ARM_MS 2500     /* after a save: the look, if nobody confirmed till then */
#define REARM_MS 2000   /* a session that is written to is looked at again */
#define QUIET_MS 10000  /* no write for so long: not before something is due */
#define TRUST_MS 1000   /* an armed moment nearer than this may be looked at already */
#define OVERDUE_MS 1500 /* unconfirmed for so long: published again */
#define N_CACHED 16384  /* a power of two */
#define MAX_TOGETHER PRESENCE_MAX_TOGETHER /* looks in one pipeline */
#define MAX_PER_SLOT 64                    /* looks a slot and tick */
#define MAX_ENTRIES_BYTES (4u << 20)
#define MAX_GONE 1024

static void add_metrics(struct attention *a) {
    struct app *app = a->app;
    a->n_looks = metrics_counter(app->metrics, "handoff_attention_looks_total", NULL,
                                 "Sessions looked at because they were due.");
    a->n_republished = metrics_counter(app->metrics, "handoff_republished_total", NULL,
                                       "Versions published again above the published mark.");
    a->n_dead_instances = metrics_counter(app->metrics, "handoff_dead_instances_total", NULL,
                                          "Instances of ws_fanout that were found dead.");
    for (enum due_what what = DUE_CLOCK; what < DUE_N; what++) {
        static const char *const labels[DUE_N] = {[DUE_CLOCK] = "what=\"clock\"",
                                                  [DUE_LAPSE] = "what=\"lapse\"",
                                                  [DUE_COOLING] = "what=\"cooling\"",
                                                  [DUE_BURIAL] = "what=\"burial\""};
        a->n_due[what] = metrics_counter(app->metrics, "handoff_sessions_due_total", labels[what],
                                         "Sessions whose moment was found to have come.");
    }
}

struct attention *attention_new(struct app *app, struct store_batch *store,
                                struct publisher *publisher, struct presence *presence,
                                struct cooling *cooling, const struct attention_owner *owner) {
    struct attention *a = must_alloc(sizeof(*a));
    *a = (struct attention){.app = app,
                            .store = store,
                            .publisher = publisher,
                            .presence = presence,
                            .cooling = cooling,
                            .owner = *owner};
    a->cache = must_alloc(N_CACHED * sizeof(*a->cache));
    a->gone = must_alloc(MAX_GONE * sizeof(*a->gone));
    add_metrics(a);
    return a;
}

struct attention *attention_free(struct attention *a) {
    if (!a)
        return NULL;
    free(a->cache);
    free(a->gone);
    free(a);
    return NULL;
}

void attention_forget(struct attention *a) {
    memset(a->cache, 0, N_CACHED * sizeof(*a->cache));
}

static struct armed *cached(const struct attention *a, const char *session_id) {
    return &a->cache[strtoull(session_id + 24, NULL, 16) & (N_CACHED - 1)];
}

void attention_distrust(struct attention *a, const char *session_id) {
    cached(a, session_id)->at = 0;
}

int64_t attention_arm(void *arg, const char *session_id, int64_t now) {
    struct attention *a = arg;
    struct armed *armed = cached(a, session_id);
    if (a->n_losses != store_batch_n_losses(a->store))
        attention_forget(a); /* another node's set, perhaps */
    a->n_losses = store_batch_n_losses(a->store);
    bool is_armed = strcmp(armed->session_id, session_id) == 0;
    if (is_armed && armed->at >= now + TRUST_MS)
        return 0;
    memcpy(armed->session_id, session_id, sizeof(armed->session_id));
    armed->at = now + ARM_MS;
    return armed->at;
}

/* One that does not fit is given its command again when the lease ends. */
void attention_gone(struct attention *a, const char *session_id, int64_t lease_until) {
    if (a->n_gone == MAX_GONE)
        return;
    struct store_due *due = &a->gone[a->n_gone++];
    *due = (struct store_due){.lease = lease_until};
    memcpy(due->session_id, session_id, sizeof(due->session_id));
}

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

/* The entry stays at the lease's end, for the case that nothing comes of the command; one that was
 * not taken is given in the next tick. */
static void give(struct attention *a, struct store_due *due, int64_t now) {
    bool is_given = a->owner.give(a->owner.arg, due->session_id, due->lease);
    metric_add(a->n_due[DUE_LAPSE], is_given);
    CRASH_LINK("engine.due.given", CRASH_REDIS);
    due->next = is_given ? due->lease : now;
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
        give(a, due, now);
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
        give(a, due, now);
    else if (is_quiet)
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
    struct cooling_ask asks[MAX_TOGETHER];
    size_t of[MAX_TOGETHER], n_asks = 0;
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
    struct due dues[MAX_TOGETHER] = {0};
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = judge(a, &loads[i], &due[i], now, &dues[i]);
    if (r == 0)
        r = look_at_presence(a, due, n, now);
    return r != 0 ? r : look_at_cooling(a, loads, dues, due, n, now);
}

/* Claims, loads, judges and arms again up to MAX_TOGETHER entries together. */
static int look(struct attention *a, struct store_due *due, size_t n, int64_t now) {
    int64_t ignored;
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
    r = store_batch_load(a->store, loads, n, &ignored);
    if (r == 0)
        r = look_at_loads(a, loads, due, n, now);
    for (size_t i = 0; i < n; i++)
        store_load_done(&loads[i]);
    CRASH_LINK("engine.attention.rearming", CRASH_REDIS);
    return r != 0 ? r : store_batch_rearm(a->store, due, n);
}

/* Instances first, which are few: their sessions wait for it. */
static int by_moment(const void *a, const void *b) {
    const struct store_due *one = a, *two = b;
    bool is_one = !one->session_id[0], is_two = !two->session_id[0];
    return is_one != is_two ? is_two - is_one : (one->at > two->at) - (one->at < two->at);
}

static bool may_go_on(const struct attention *a, int64_t until) {
    return timestamp_monotonic_ms() < until && publisher_has_room(a->publisher);
}

static int forget_gone(struct attention *a) {
    int r = a->n_gone > 0 ? store_batch_rearm(a->store, a->gone, a->n_gone) : 0;
    if (r == 0)
        a->n_gone = 0;
    return r;
}

int attention_tick(struct attention *a, int64_t now) {
    _cleanup_(freep) struct store_due *due = NULL;
    size_t n = 0;
    int64_t until = timestamp_monotonic_ms() + ATTENTION_LOOKS_MS;
    if (!publisher_is_ready(a->publisher))
        return 0;
    int r = cooling_tick(a->cooling);
    if (r == 0)
        r = forget_gone(a);
    if (r == 0)
        r = store_batch_due(a->store, now, MAX_PER_SLOT, &due, &n);
    if (n > 1)
        qsort(due, n, sizeof(*due), by_moment);
    size_t n_instances = 0;
    while (n_instances < n && !due[n_instances].session_id[0])
        n_instances++;
    if (r == 0 && n_instances > 0)
        r = attention_look_at_instances(a, due, n_instances, now);
    for (size_t i = n_instances; r == 0 && i < n && may_go_on(a, until); i += MAX_TOGETHER)
        r = look(a, &due[i], n - i < MAX_TOGETHER ? n - i : MAX_TOGETHER, now);
    cooling_go(a->cooling);
    return r;
}
