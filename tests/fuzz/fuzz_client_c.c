/* The client for C against a server that is free to say anything: lines of the input are frames,
 * or, where they begin with '!', something that happens. The first ones may begin with '=': what is
 * stored from before, a key, a tab and a text. Whatever comes, the client holds together,
 * what it keeps and what it sends stays within its bounds, and each command is answered once. */
#include <errno.h>

#include "base/timestamp.h"
#include "clients/c/src/hand.h"
#include "fuzz_json.h"

#define SESSION "0197a1b2-0000-7000-8000-000000000001"
#define FOLLOWED "0197a1b2-0000-7000-8000-000000000002"
#define MAX_UNSENT 4
#define MAX_LINES 400 /* so that an input takes no longer than it says something new */

static struct {
    void *user;
    bool is_connected;
    size_t n_sent; /* in this turn */
    size_t n_asked, n_answered;
    const char *stored; /* of the input; NULL: what is stored cannot be had */
    bool stores_nothing;
} world;

/* ---- the store ---- */

static int store_load(void *user, const char *session_id,
                      void (*each)(void *arg, const char *key, const char *text), void *arg) {
    (void)user;
    if (strcmp(session_id, SESSION) != 0)
        return 0;
    for (const char *at = world.stored; *at == '=';) {
        char *line = must_memdup(at + 1, strcspn(at + 1, "\n"));
        char *text = strchr(line, '\t');
        if (text)
            *text++ = '\0';
        each(arg, line, text ? text : "");
        at += 1 + strcspn(at + 1, "\n");
        at += *at == '\n';
        free(line);
    }
    return world.stores_nothing ? -EIO : 0;
}

static int store_put(void *user, const char *session_id, const char *key, const char *text) {
    (void)user;
    json_decref(fuzz_value((const uint8_t *)text, strlen(text)));
    must_hold(session_id[0] && key[0]);
    return world.stores_nothing ? -ENOSPC : 0;
}

static int store_remove(void *user, const char *session_id, const char *key) {
    (void)user;
    must_hold(session_id[0] && key[0]);
    return world.stores_nothing ? -EIO : 0;
}

static const struct handoff_store store = {
    .load = store_load, .put = store_put, .remove = store_remove};

/* ---- the transport ---- */

int transport_new(struct transport **ret, const struct transport_options *options) {
    world.user = options->user;
    *ret = (struct transport *)&world;
    return 0;
}

struct transport *transport_free(struct transport *t) {
    (void)t;
    return NULL;
}

int transport_connect(struct transport *t, const char *device_id) {
    (void)t, (void)device_id;
    world.is_connected = true;
    return 0;
}

void transport_send(struct transport *t, const char *text, size_t len) {
    (void)t;
    json_t *message = fuzz_value((const uint8_t *)text, len);
    must_hold(message != NULL);
    json_decref(message);
    world.n_sent++;
}

void transport_drop(struct transport *t) {
    (void)t;
    world.is_connected = false;
}

void transport_alarm(struct transport *t, int64_t at_ms) {
    (void)t;
    must_hold(at_ms > 0);
}

int transport_run(struct transport *t, int timeout_ms) {
    (void)t, (void)timeout_ms;
    return 0;
}

void transport_wake(struct transport *t) {
    (void)t;
}

/* ---- the app ---- */

static void on_token(struct handoff *h, void *user) {
    (void)user;
    handoff_set_token(h, "a.token.of-the-test");
}

static void on_answer(struct handoff_session *s, void *user, const struct handoff_error *error,
                      const struct handoff_ack *ack) {
    (void)s, (void)user;
    must_hold((error == NULL) != (ack == NULL));
    must_hold(!error || error->code[0]);
    world.n_answered++;
}

/* What an app does: it looks. */
static void on_change(struct handoff_session *s, void *user, enum handoff_source source,
                      const struct handoff_event *event) {
    (void)user, (void)source;
    json_t *data = handoff_session_data_json(s);
    must_hold(data != NULL);
    json_decref(data);
    must_hold(!event || event->type);
    must_hold(handoff_session_resource(s) && handoff_session_confirmed_data(s));
}

static void on_devices(struct handoff_session *s, void *user, const struct handoff_devices *d) {
    (void)s, (void)user;
    for (size_t i = 0; i < d->n_joined; i++)
        must_hold(d->joined[i] != NULL);
    for (size_t i = 0; i < d->n_left; i++)
        must_hold(d->left[i] != NULL);
}

static void on_lost(struct handoff_session *s, void *user, const struct handoff_error *error) {
    (void)user;
    must_hold(error->code[0]);
    handoff_session_close(s);
}

static void on_broadcast(struct handoff_session *s, void *user, const char *message,
                         const char *device_id) {
    (void)s, (void)user, (void)device_id;
    must_hold(message != NULL);
}

static const struct handoff_events events = {.size = sizeof(events),
                                             .change = on_change,
                                             .devices = on_devices,
                                             .broadcast = on_broadcast,
                                             .lost = on_lost};

static json_t *count(void *user, json_t *data) {
    (void)user;
    if (json_is_object(data))
        json_object_set_new(data, "count",
                            json_integer(json_integer_value(json_object_get(data, "count")) + 1));
    return data;
}

static struct handoff_session *find(struct handoff *h, const char *id) {
    struct handoff_session *s = h->sessions;
    while (s && (strcmp(s->id, id) != 0 || s->is_closed))
        s = s->next;
    return s;
}

static void ask(struct handoff *h, char what) {
    struct handoff_session *s = find(h, SESSION);
    int r = -1;
    if (!s)
        handoff_open(h, SESSION, &events, NULL, NULL);
    else if (what == 'p')
        r = handoff_session_patch(s, "[{\"op\":\"add\",\"path\":\"/data/a\",\"value\":[1]}]",
                                  HANDOFF_REBASE, on_answer, NULL, NULL);
    else if (what == 'c')
        r = handoff_session_change(s, count, on_answer, NULL, NULL);
    else if (what == 's')
        r = handoff_session_set_status(s, "paused", on_answer, NULL, NULL);
    else if (what == 'h')
        r = handoff_session_heartbeat(s, on_answer, NULL, NULL);
    else if (what == 'w')
        r = handoff_session_switch(s, "white", "black", on_answer, NULL, NULL);
    else if (what == 'b')
        r = handoff_session_broadcast(s, "{\"a\":1}", true, on_answer, NULL, NULL);
    else if (what == 'x')
        handoff_session_close(s);
    /* One that has nothing to do was answered already. */
    world.n_asked += r == 0;
}

/* ---- what happens ---- */

static void make_due(struct handoff *h) {
    for (struct handoff_session *s = h->sessions; s; s = s->next) {
        s->subscribe_at_ms = s->subscribe_at_ms ? 1 : 0;
        s->pump_at_ms = s->pump_at_ms ? 1 : 0;
    }
    h->open_at_ms = h->open_at_ms ? 1 : 0;
    h->connect_at_ms = h->connect_at_ms ? 1 : 0;
}

static void happen(struct handoff *h, const char *what, size_t len) {
    if (*what == '!' && len > 1) {
        char code[8] = {0};
        memcpy(code, what + 1, len - 1 < 4 ? len - 1 : 4);
        if (what[1] >= '0' && what[1] <= '9' && world.is_connected) {
            world.is_connected = false;
            wire_events.closed(h, atoi(code), len > 5 ? what + 5 : "");
        } else if (what[1] == 'o' && world.is_connected && !h->asked) {
            wire_events.opened(h);
        } else if (what[1] == 't') {
            make_due(h);
            wire_events.alarm(h);
        } else if (what[1] == 'q') {
            h->silent_at_ms = h->silent_at_ms ? 1 : 0;
            wire_events.alarm(h);
        } else if (what[1] == 'r') {
            handoff_reconnect(h);
        } else {
            ask(h, what[1]);
        }
    } else if (world.is_connected) {
        wire_events.message(h, what, len);
    }
}

static void check(struct handoff *h) {
    size_t n_pending = 0, n_asked = 0;
    for (struct handoff_session *s = h->sessions; s; s = s->next) {
        for (struct pending *p = s->unsent.first; p; p = p->next)
            n_pending++;
        must_hold(s->unsent.n_bytes <= UNSENT_MAX_BYTES);
        must_hold(!s->view || json_is_object(s->view));
    }
    for (struct asked *a = h->asked; a; a = a->next)
        n_asked++;
    must_hold(n_pending <= 4 * MAX_UNSENT); /* those that were closed go at the end of a turn */
    must_hold(n_asked <= HAND_MAX_MESSAGES + 4 * HAND_MAX_SESSIONS);
    must_hold(world.n_answered <= world.n_asked + 1);
    /* What a frame or a moment makes it say: for each session a few things, and a few of its own.
     */
    must_hold(world.n_sent <= 32);
    world.n_sent = 0;
}

static struct handoff *begin(const char *stored) {
    const struct handoff_options options = {.size = sizeof(options),
                                            .url = "ws://127.0.0.1:1",
                                            .device_id = "phone",
                                            .token = on_token,
                                            .store = &store,
                                            .max_unsent = MAX_UNSENT};
    memset(&world, 0, sizeof(world));
    world.stores_nothing = *stored == '%';
    world.stored = stored + world.stores_nothing;
    struct handoff *h = handoff_new(&options, NULL);
    const struct handoff_position since = {1, 1};
    handoff_open(h, SESSION, &events, NULL, NULL);
    handoff_follow(h, FOLLOWED, &since, &events, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        make_due(h);
        wire_events.alarm(h);
    }
    wire_events.opened(h);
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *at = text, *end = text + size;
    struct handoff *h = begin(text);
    for (int n = 0; at < end && n < MAX_LINES; n++) {
        char *next = memchr(at, '\n', (size_t)(end - at));
        next = next ? next : end;
        *next = '\0';
        happen(h, at, (size_t)(next - at));
        check(h);
        at = next + 1;
    }
    handoff_free(h);
    must_hold(world.n_answered == world.n_asked);
    free(text);
    return 0;
}
