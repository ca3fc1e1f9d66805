/* Judging and telling; see presence.h. What was confirmed, and which devices made requests, is
 * gathered and written once a second: losing it costs a double that everybody drops, or a device
 * that stays 10 s less. */
#include "services/state_engine/presence.h"

#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"

#define LEASE_MS 10000 /* not confirmed in this time: told again, by whoever looks */
#define MORE_MS 100    /* on those of a session that are beyond PRESENCE_MAX_DUE */
#define REPORT_MS 1000
#define MAX_TOLD 16384
#define MAX_TOUCHES 16384
#define TOUCH_MS 10000  /* a device's requests are noted once in this time */
#define N_TOUCHED 32768 /* a power of two */

/* Direct-mapped by a hash of both ids: another device in the same place costs one script more. */
struct touched {
    uint64_t hash;
    int64_t at;
};

struct presence {
    struct app *app;
    struct store_batch *store;
    struct publisher *publisher;
    struct store_presence_told *told; /* owned */
    size_t n_told, cap_told;
    struct store_presence_touch *touches; /* owned */
    size_t n_touches, cap_touches;
    struct touched *touched; /* owned */
    int64_t reported_at;     /* monotonic, ms */
    struct metric *n_joined, *n_left;
};

struct presence *presence_new(struct app *app, struct store_batch *store,
                              struct publisher *publisher) {
    struct presence *p = must_alloc(sizeof(*p));
    *p = (struct presence){.app = app, .store = store, .publisher = publisher};
    p->touched = must_alloc(N_TOUCHED * sizeof(*p->touched));
    p->n_joined = metrics_counter(app->metrics, "handoff_presence_told_total", "type=\"joined\"",
                                  "Devices whose coming or going was published by itself.");
    p->n_left = metrics_counter(app->metrics, "handoff_presence_told_total", "type=\"left\"",
                                "Devices whose coming or going was published by itself.");
    return p;
}

struct presence *presence_free(struct presence *p) {
    if (!p)
        return NULL;
    free(p->told);
    free(p->touches);
    free(p->touched);
    free(p);
    return NULL;
}

/* ---- telling ---- */

static void make_event(const struct store_presence *s, const struct store_presence_change *c,
                       struct event *ret) {
    event_presence(
        &(struct event_presence){
            .type = c->type,
            .session_id = s->session_id,
            .position = s->position,
            .moment = c->moment,
            .user_id = c->user_id,
            .device_id = c->device_id,
            .active_device = s->active_device,
            .name = c->name,
            .platform = c->platform,
            .n_devices = c->n_devices,
        },
        ret);
}

/* Of one device there are at most two changes, one after the other: they are confirmed together. */
static void publish(struct presence *p, const struct store_presence *s, struct delivery *d,
                    int64_t lease_until) {
    for (size_t i = 0; i < s->n_changes;) {
        const struct store_presence_change *c = &s->changes[i];
        struct event events[2];
        size_t n = 1;
        make_event(s, c, &events[0]);
        if (i + 1 < s->n_changes && strcmp(c[1].device_id, c->device_id) == 0)
            make_event(s, &c[1], &events[n++]);
        for (size_t j = 0; j < n; j++)
            metric_add(c[j].type == EVENT_DEVICE_JOINED ? p->n_joined : p->n_left, 1);
        if (d)
            d->n_open++;
        publisher_publish_presence(p->publisher, events, n, d, lease_until);
        CRASH_LINK("engine.presence.published", CRASH_BROKER);
        i += n;
    }
}

/* Once a second is enough: a Redis that is full refuses to judge every session. */
static void report(struct presence *p, const struct store_presence *s) {
    int64_t now = timestamp_monotonic_ms();
    if (p->reported_at && now - p->reported_at < REPORT_MS)
        return;
    p->reported_at = now;
    log_error(p->app->log, "presence_damaged", "The devices of a session cannot be judged.",
              LOG_TEXT("sessionId", s->session_id), LOG_TEXT("err", strerror(-s->err)),
              LOG_TEXT("hint", "Redis refused the write, or holds what Handoff did not write"));
}

/* PRESENCE_MAX_DUE devices a second would be a minute and a half for the largest session. */
static int judge_more(struct presence *p, struct store_presence *s, struct delivery *d, int64_t now,
                      int64_t until) {
    int64_t lease_until = now + LEASE_MS;
    int r = 0;
    while (r == 0 && s->err == 0 && s->next && s->next <= now && timestamp_monotonic_ms() < until &&
           publisher_has_room(p->publisher)) {
        struct store_presence more = {0};
        memcpy(more.session_id, s->session_id, sizeof(more.session_id));
        r = store_batch_presence(p->store, &more, 1, now, lease_until);
        if (r == 0)
            publish(p, &more, d, lease_until);
        s->next = more.next;
        s->err = more.err;
        store_presence_done(&more);
    }
    return r;
}

int presence_judge(struct presence *p, struct store_presence *sessions, size_t n,
                   struct delivery *const *deliveries, int64_t now) {
    int64_t lease_until = now + LEASE_MS;
    int r = presence_flush(p, now);
    if (r == 0)
        r = store_batch_presence(p->store, sessions, n, now, lease_until);
    if (CRASH_POINT_CUT("engine.presence.judged", CRASH_REDIS))
        r = -EIO;
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (sessions[i].err == -EIO || sessions[i].err == -EBADMSG)
            report(p, &sessions[i]);
        publish(p, &sessions[i], deliveries ? deliveries[i] : NULL, lease_until);
    }
    int64_t until = timestamp_monotonic_ms() + MORE_MS;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = judge_more(p, &sessions[i], deliveries ? deliveries[i] : NULL, now, until);
    return r;
}

/* ---- notes ---- */

/* One that does not fit is told again when its lease ends. */
void presence_told(struct presence *p, const char *session_id, const char *device_id,
                   int64_t lease_until) {
    if (p->n_told == MAX_TOLD)
        return;
    if (p->n_told == p->cap_told) {
        p->cap_told = p->cap_told ? 2 * p->cap_told : 64;
        p->told = must_realloc(p->told, p->cap_told * sizeof(*p->told));
    }
    struct store_presence_told *told = &p->told[p->n_told++];
    *told = (struct store_presence_told){.lease_until = lease_until};
    memcpy(told->session_id, session_id, sizeof(told->session_id));
    memcpy(told->device_id, device_id, strlen(device_id) + 1);
}

static uint64_t hash_of(const char *session_id, const char *device_id) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *c = session_id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    for (const char *c = device_id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return hash;
}

static bool was_touched(struct presence *p, const char *session_id, const char *device_id,
                        int64_t now) {
    uint64_t hash = hash_of(session_id, device_id);
    struct touched *t = &p->touched[(hash >> 32) & (N_TOUCHED - 1)];
    bool was = t->hash == hash && now - t->at < TOUCH_MS;
    if (!was)
        *t = (struct touched){hash, now};
    return was;
}

/* One that does not fit is noted by the device's next request. */
void presence_touch(struct presence *p, const char *session_id, const char *device_id,
                    int64_t now) {
    if (!*device_id || p->n_touches == MAX_TOUCHES || was_touched(p, session_id, device_id, now))
        return;
    if (p->n_touches == p->cap_touches) {
        p->cap_touches = p->cap_touches ? 2 * p->cap_touches : 64;
        p->touches = must_realloc(p->touches, p->cap_touches * sizeof(*p->touches));
    }
    struct store_presence_touch *touch = &p->touches[p->n_touches++];
    memcpy(touch->session_id, session_id, sizeof(touch->session_id));
    memcpy(touch->device_id, device_id, strlen(device_id) + 1);
}

int presence_flush(struct presence *p, int64_t now) {
    int r = 0;
    if (p->n_told > 0)
        CRASH_LINK("engine.presence.noting", CRASH_REDIS);
    if (p->n_told > 0)
        r = store_batch_presence_told(p->store, p->told, p->n_told, now);
    if (p->n_told > 0)
        CRASH_LINK("engine.presence.noted", CRASH_REDIS);
    if (r == 0)
        p->n_told = 0;
    if (r == 0 && p->n_touches > 0)
        r = store_batch_presence_touch(p->store, p->touches, p->n_touches, now);
    if (r == 0)
        p->n_touches = 0;
    return r;
}
