/* Watchers: devices that follow the sessions over WebSockets, and tell when each change arrives. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "proto/text.h"
#include "tools/handoff/bench_private.h"

static void give_token(struct handoff *h, void *user) {
    const struct bench_watcher *w = user;
    handoff_set_token(h, w->bench->token);
}

static void on_state(struct handoff *h, void *user, enum handoff_state state,
                     const struct handoff_error *why) {
    struct bench_watcher *w = user;
    (void)h;
    if ((state == HANDOFF_WAITING || state == HANDOFF_STOPPED) && w->bench->phase < BENCH_CLEANING)
        bench_note_error(w->bench, why->code);
    if (state == HANDOFF_STOPPED && w->bench->phase == BENCH_CONNECTING) {
        fprintf(stderr, "handoff: %s: %s: %s\n", w->bench->orders.ws_url, why->code, why->reason);
        w->bench->has_failed = true;
        bench_clean(w->bench);
    }
}

static void on_lost(struct handoff_session *s, void *user, const struct handoff_error *error) {
    struct bench_session *session = user;
    (void)s;
    if (session->bench->phase < BENCH_CLEANING)
        bench_note_error(session->bench, error->code);
}

/* Which change it tells: the value that it writes. */
static size_t number_of(const struct handoff_event *event) {
    json_auto_t *parsed = NULL;
    if (text_parse(event->json, strlen(event->json), &parsed, NULL))
        return SIZE_MAX;
    const json_t *operations = json_object_get(parsed, "operations");
    const json_t *value = json_object_get(json_array_get(operations, 0), "value");
    double number = json_number_value(value);
    return json_is_number(value) && number >= 0 && number <= TEXT_INTEGER_MAX ? (size_t)number
                                                                              : SIZE_MAX;
}

static void on_event(struct handoff_session *s, void *user, const struct handoff_event *event) {
    struct bench_session *session = user;
    struct bench *b = session->bench;
    uint64_t now = uv_hrtime();
    (void)s;
    if (strcmp(event->type, "state_sync") == 0 && b->phase == BENCH_CONNECTING) {
        if (++b->n_synced == b->n_follows)
            bench_begin(b);
        return;
    }
    size_t n = strcmp(event->type, "state_delta") == 0 ? number_of(event) : SIZE_MAX;
    if (n >= b->n_due || !b->changes[n].n_awaited)
        return;
    b->changes[n].n_awaited--;
    b->n_events++;
    bench_samples_add(&b->events, (now - b->changes[n].due_ns) / 1000);
}

static int connect_watcher(struct bench *b, size_t i) {
    struct bench_watcher *w = &b->watchers[i];
    struct handoff_error error;
    w->bench = b;
    snprintf(w->device, sizeof(w->device), "handoff-bench-%zu", i);
    const struct handoff_options options = {.size = sizeof(options),
                                            .url = b->orders.ws_url,
                                            .device_id = b->device ? NULL : w->device,
                                            .device_platform = "handoff bench",
                                            .ca_file = b->orders.ca_file,
                                            .token = give_token,
                                            .state = on_state,
                                            .user = w,
                                            .uv_loop = &b->loop};
    w->handoff = handoff_new(&options, &error);
    if (!w->handoff)
        fprintf(stderr, "handoff: --ws-url: %s\n", error.reason);
    return w->handoff ? 0 : -1;
}

/* Each session has a watcher, and each watcher a session: as evenly as it goes. */
int bench_watch(struct bench *b) {
    const struct handoff_events events = {
        .size = sizeof(events), .lost = on_lost, .event = on_event};
    size_t n_sessions = (size_t)b->orders.sessions, n_watchers = (size_t)b->orders.watchers;
    struct handoff_error error;
    if (!n_sessions || !n_watchers)
        return -1; /* there is one of each: bench.c */
    b->n_follows = n_sessions > n_watchers ? n_sessions : n_watchers;
    for (size_t i = 0; i < n_watchers; i++)
        if (connect_watcher(b, i))
            return -1;
    for (size_t i = 0; i < b->n_follows; i++) {
        struct bench_session *s = &b->sessions[i % n_sessions];
        if (!handoff_follow(b->watchers[i % n_watchers].handoff, s->id, NULL, &events, s, &error)) {
            fprintf(stderr, "handoff: %s\n", error.reason);
            return -1;
        }
        s->n_watchers++;
    }
    return 0;
}

void bench_unwatch(struct bench *b) {
    for (size_t i = 0; b->watchers && i < (size_t)b->orders.watchers; i++) {
        handoff_free(b->watchers[i].handoff);
        b->watchers[i].handoff = NULL;
    }
}
