/* The attention set; see attention.h. A look first moves the entry to the end of its lease, so that
 * another engine takes over when this one dies, and takes it away only when nothing is left to do.
 */
#include "services/state_engine/attention.h"

#include <errno.h>
#include <string.h>

#include "base/timestamp.h"
#include "services/state_engine/republish.h"

#define ARM_MS 2500     /* after a save: the look, if nobody confirmed till then */
#define REARM_MS 2000   /* a session that is written to is looked at again */
#define LEASE_MS 10000  /* a look's engine is dead when its entry comes up again */
#define QUIET_MS 10000  /* no write for so long: the entry goes */
#define TRUST_MS 1000   /* an armed moment nearer than this may be looked at already */
#define OVERDUE_MS 1500 /* unconfirmed for so long: published again */
#define N_CACHED 16384  /* a power of two */
#define MAX_TOGETHER 64 /* looks in one pipeline */
#define MAX_PER_SLOT 64 /* looks a slot and tick */
#define LOOKS_MS 250    /* a tick; what is left is due in the next */
#define MAX_ENTRIES_BYTES (4u << 20)

struct armed {
    char session_id[UUID_LEN + 1];
    int64_t at;
};

struct attention {
    struct app *app;
    struct store_batch *store;
    struct publisher *publisher;
    struct armed *cache; /* direct-mapped by the id's last digits, which are random */
    struct metric *n_looks, *n_republished;
};

struct attention *attention_new(struct app *app, struct store_batch *store,
                                struct publisher *publisher) {
    struct attention *a = must_alloc(sizeof(*a));
    *a = (struct attention){.app = app, .store = store, .publisher = publisher};
    a->cache = must_alloc(N_CACHED * sizeof(*a->cache));
    a->n_looks = metrics_counter(app->metrics, "handoff_attention_looks_total", NULL,
                                 "Sessions looked at because they were due.");
    a->n_republished = metrics_counter(app->metrics, "handoff_republished_total", NULL,
                                       "Versions published again above the published mark.");
    return a;
}

struct attention *attention_free(struct attention *a) {
    if (!a)
        return NULL;
    free(a->cache);
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
    bool is_armed = strcmp(armed->session_id, session_id) == 0;
    if (is_armed && armed->at >= now + TRUST_MS)
        return 0;
    memcpy(armed->session_id, session_id, sizeof(armed->session_id));
    armed->at = now + ARM_MS;
    return armed->at;
}

/* Negative: Redis was lost. */
static int publish_again(struct attention *a, const struct session *s,
                         const struct store_entry *entry) {
    struct event events[CHANGE_MAX_EVENTS];
    size_t n = 0;
    int r = republish_entry(a->store, s, entry, events, &n);
    if (r != 0 && !store_batch_is_connected(a->store))
        return r;
    if (r != 0) {
        log_error(a->app->log, "entry_damaged", "An entry of the delta window cannot be published.",
                  LOG_TEXT("sessionId", s->id), LOG_NUMBER("version", (int64_t)entry->version),
                  LOG_TEXT("hint", "the stored stream was written by something else than Handoff"));
        return 0;
    }
    publisher_publish(a->publisher, events, n, NULL);
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

/* What a claimed session needs; *ret: when to look again, 0: not. */
static int judge(struct attention *a, const struct store_load *load, int64_t now, int64_t *ret) {
    const struct session *s = &load->session;
    *ret = now + REARM_MS;
    if (load->err == 0 && s->published < s->position.version)
        return publish_overdue(a, s, now);
    if (load->err != 0 || s->updated_at < now - QUIET_MS)
        *ret = 0;
    return 0;
}

static size_t keep_claimed(struct store_due *due, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (due[i].is_claimed)
            due[kept++] = due[i];
    return kept;
}

/* Claims, loads and arms again n entries together: three round trips for all of them. */
static int look(struct attention *a, struct store_due *due, size_t n, int64_t now) {
    int64_t lease = now + LEASE_MS, ignored;
    int r = store_batch_claim_due(a->store, due, n, lease);
    n = r == 0 ? keep_claimed(due, n) : 0;
    if (n == 0)
        return r;
    metric_add(a->n_looks, (double)n);
    _cleanup_(freep) struct store_load *loads = must_alloc(n * sizeof(*loads));
    for (size_t i = 0; i < n; i++)
        memcpy(loads[i].session_id, due[i].session_id, sizeof(loads[i].session_id));
    r = store_batch_load(a->store, loads, n, &ignored);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = judge(a, &loads[i], now, &due[i].next);
    for (size_t i = 0; i < n; i++)
        store_load_done(&loads[i]);
    return r != 0 ? r : store_batch_rearm(a->store, due, n, lease);
}

static int by_moment(const void *a, const void *b) {
    int64_t at_a = ((const struct store_due *)a)->at, at_b = ((const struct store_due *)b)->at;
    return (at_a > at_b) - (at_a < at_b);
}

static bool may_go_on(const struct attention *a, int64_t until) {
    return timestamp_monotonic_ms() < until && publisher_has_room(a->publisher);
}

int attention_tick(struct attention *a, int64_t now) {
    _cleanup_(freep) struct store_due *due = NULL;
    size_t n = 0;
    int64_t until = timestamp_monotonic_ms() + LOOKS_MS;
    if (!publisher_is_ready(a->publisher))
        return 0;
    int r = store_batch_due(a->store, now, MAX_PER_SLOT, &due, &n);
    if (n > 1)
        qsort(due, n, sizeof(*due), by_moment);
    for (size_t i = 0; r == 0 && i < n && may_go_on(a, until); i += MAX_TOGETHER)
        r = look(a, &due[i], n - i < MAX_TOGETHER ? n - i : MAX_TOGETHER, now);
    return r;
}
