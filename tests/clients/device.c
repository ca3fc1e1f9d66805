/* A device for the end-to-end tests, built on the client for C as an app is: told by lines on stdin
 * what to do, it says by lines of JSON on stdout what happens.
 *
 * usage: device own|uv URL DEVICE|- STORE|- CA|- [FRAME_BYTES [MAX_UNSENT]]
 *
 * token T            what is answered when a token is asked for (until then nothing is)
 * deny               it is answered that there is none
 * open S, follow S [VERSION EPOCH], close S, show S, reconnect, quit
 * patch S TAG OPS, reject S TAG OPS, append S TAG N, count S TAG
 * status S TAG STATUS, switch S TAG, broadcast S TAG JSON, heartbeat S TAG */
#include <handoff.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define MAX_LINE (1 << 20)
#define MAX_SESSIONS 70

static struct {
    struct handoff *handoff;
    struct handoff_store *store;
    struct handoff_session *sessions[MAX_SESSIONS];
    char *token;
    bool was_asked, is_over;
    char line[MAX_LINE];
    size_t len;
} app;

/* ---- what happens ---- */

static void say(json_t *what) {
    char *text = json_dumps(what, JSON_COMPACT | JSON_ENCODE_ANY);
    puts(text);
    fflush(stdout);
    free(text);
    json_decref(what);
}

static json_t *event_of(const char *event, const struct handoff_session *s) {
    json_t *what = json_pack("{s:s}", "event", event);
    if (s)
        json_object_set_new(what, "session", json_string(handoff_session_id(s)));
    return what;
}

static void put_error(json_t *what, const struct handoff_error *e) {
    json_object_set_new(what, "code", json_string(e->code));
    json_object_set_new(what, "reason", json_string(e->reason));
}

static void put_position(json_t *what, struct handoff_position at) {
    json_object_set_new(what, "epoch", json_integer(at.epoch));
    json_object_set_new(what, "version", json_integer(at.version));
}

static void on_token(struct handoff *h, void *user) {
    (void)user;
    app.was_asked = !app.token;
    say(event_of("token", NULL));
    if (app.token)
        handoff_set_token(h, app.token);
}

static void on_state(struct handoff *h, void *user, enum handoff_state state,
                     const struct handoff_error *why) {
    static const char *const names[] = {"connecting", "open", "waiting", "stopped"};
    json_t *what = event_of("state", NULL);
    (void)h, (void)user;
    json_object_set_new(what, "state", json_string(names[state]));
    if (why)
        put_error(what, why);
    say(what);
}

static void on_error(struct handoff *h, void *user, const struct handoff_error *error) {
    json_t *what = event_of("error", NULL);
    (void)h, (void)user;
    put_error(what, error);
    say(what);
}

static void on_sync(struct handoff_session *s, void *user, const struct handoff_sync *sync) {
    static const char *const names[] = {"connecting", "synced", "offline", "closed"};
    json_t *what = event_of("sync", s);
    (void)user;
    json_object_set_new(what, "state", json_string(names[sync->state]));
    json_object_set_new(what, "unsent", json_integer((json_int_t)sync->unsent));
    say(what);
}

static void on_change(struct handoff_session *s, void *user, enum handoff_source source,
                      const struct handoff_event *event) {
    static const char *const names[] = {"local", "remote", "rollback", "sync"};
    json_t *what = event_of("change", s);
    (void)user;
    json_object_set_new(what, "source", json_string(names[source]));
    json_object_set_new(what, "data", handoff_session_data_json(s));
    json_object_set_new(what, "status", json_string(handoff_session_status(s)));
    put_position(what, handoff_session_position(s));
    if (event)
        json_object_set_new(what, "type", json_string(event->type));
    say(what);
}

static void on_conflict(struct handoff_session *s, void *user, const struct handoff_conflict *c) {
    json_t *what = event_of("conflict", s);
    (void)user;
    put_error(what, c->error);
    json_object_set_new(what, "operations", json_loads(c->operations, 0, NULL));
    json_object_set_new(what, "resolved", json_boolean(c->resolved));
    say(what);
}

static json_t *names_of(const char *const *names, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(names[i]));
    return list;
}

static void on_devices(struct handoff_session *s, void *user, const struct handoff_devices *d) {
    json_t *what = event_of("devices", s);
    (void)user;
    json_object_set_new(what, "joined", names_of(d->joined, d->n_joined));
    json_object_set_new(what, "left", names_of(d->left, d->n_left));
    if (d->name)
        json_object_set_new(what, "name", json_string(d->name));
    say(what);
}

static void on_broadcast(struct handoff_session *s, void *user, const char *message,
                         const char *device_id) {
    json_t *what = event_of("broadcast", s);
    (void)user;
    json_object_set_new(what, "message", json_loads(message, JSON_DECODE_ANY, NULL));
    json_object_set_new(what, "device", device_id ? json_string(device_id) : json_null());
    say(what);
}

static void on_lost(struct handoff_session *s, void *user, const struct handoff_error *error) {
    json_t *what = event_of("lost", s);
    (void)user;
    put_error(what, error);
    say(what);
}

static void on_event(struct handoff_session *s, void *user, const struct handoff_event *event) {
    json_t *what = event_of("event", s);
    (void)user;
    json_object_set_new(what, "type", json_string(event->type));
    put_position(what, event->position);
    say(what);
}

static const struct handoff_events events = {sizeof(events), on_sync,    on_change,
                                             on_conflict,    on_devices, on_broadcast,
                                             NULL,           on_lost,    on_event};

/* tag: taken. */
static void on_answer(struct handoff_session *s, void *tag, const struct handoff_error *error,
                      const struct handoff_ack *ack) {
    json_t *what = event_of("answer", s);
    json_object_set_new(what, "tag", json_string(tag));
    if (error)
        put_error(what, error);
    else
        put_position(what, ack->position);
    if (ack)
        json_object_set_new(what, "replayed", json_boolean(ack->replayed));
    say(what);
    free(tag);
}

/* ---- what is to be done ---- */

static struct handoff_session **find(const char *id) {
    struct handoff_session **empty = NULL;
    for (size_t i = 0; i < MAX_SESSIONS; i++) {
        struct handoff_session **at = &app.sessions[i];
        if (*at && strcmp(handoff_session_id(*at), id) == 0)
            return at;
        if (!*at && !empty)
            empty = at;
    }
    if (!empty)
        abort(); /* a connection carries no more */
    return empty;
}

static void say_refused(const char *tag, const struct handoff_error *error) {
    json_t *what = event_of("refused", NULL);
    json_object_set_new(what, "tag", json_string(tag));
    put_error(what, error);
    say(what);
}

/* A tag is its answer's user, and its function's: "append:5". */
static json_t *change(void *tag, json_t *data) {
    const char *n = strchr(tag, ':');
    if (n) {
        json_array_append_new(json_object_get(data, "list"), json_integer(atoi(n + 1)));
    } else {
        json_int_t count = json_integer_value(json_object_get(data, "count"));
        json_object_set_new(data, "count", json_integer(count + 1));
    }
    return data;
}

static void show(struct handoff_session *s) {
    json_t *what = event_of("show", s);
    struct handoff_sync sync = handoff_session_sync(s);
    const char *resource = handoff_session_resource(s), *role = handoff_session_role(s);
    const char *confirmed = handoff_session_confirmed_data(s);
    json_object_set_new(what, "unsent", json_integer((json_int_t)sync.unsent));
    put_position(what, handoff_session_position(s));
    if (resource)
        json_object_set_new(what, "resource", json_loads(resource, 0, NULL));
    if (confirmed)
        json_object_set_new(what, "confirmed", json_loads(confirmed, JSON_DECODE_ANY, NULL));
    if (role)
        json_object_set_new(what, "role", json_string(role));
    json_object_set_new(what, "device", json_string(handoff_device_id(app.handoff)));
    say(what);
}

static int command(struct handoff_session *s, const char *verb, char *tag, const char *rest,
                   struct handoff_error *e) {
    if (strcmp(verb, "patch") == 0)
        return handoff_session_patch(s, rest, HANDOFF_REBASE, on_answer, tag, e);
    if (strcmp(verb, "reject") == 0)
        return handoff_session_patch(s, rest, HANDOFF_REJECT, on_answer, tag, e);
    if (strcmp(verb, "count") == 0 || strcmp(verb, "append") == 0)
        return handoff_session_change(s, change, on_answer, tag, e);
    if (strcmp(verb, "status") == 0)
        return handoff_session_set_status(s, rest, on_answer, tag, e);
    if (strcmp(verb, "switch") == 0)
        return handoff_session_switch(s, NULL, NULL, on_answer, tag, e);
    if (strcmp(verb, "broadcast") == 0)
        return handoff_session_broadcast(s, rest, false, on_answer, tag, e);
    if (strcmp(verb, "heartbeat") == 0)
        return handoff_session_heartbeat(s, on_answer, tag, e);
    abort();
}

static void open_session(struct handoff_session **at, const char *verb, const char *id,
                         const char *rest) {
    struct handoff_error e = {0};
    struct handoff_position since = {0};
    long long version = 0, epoch = 0;
    if (rest && sscanf(rest, "%lld %lld", &version, &epoch) == 2)
        since = (struct handoff_position){epoch, version};
    *at = strcmp(verb, "open") == 0
              ? handoff_open(app.handoff, id, &events, NULL, &e)
              : handoff_follow(app.handoff, id, rest ? &since : NULL, &events, NULL, &e);
    if (!*at)
        say_refused(verb, &e);
}

static void on_session(const char *verb, char *line) {
    struct handoff_error e = {0};
    char *id = strsep(&line, " ");
    struct handoff_session **at = find(id), *s = *at;
    if (strcmp(verb, "open") == 0 || strcmp(verb, "follow") == 0) {
        open_session(at, verb, id, line);
    } else if (strcmp(verb, "close") == 0) {
        *at = NULL;
        handoff_session_close(s);
    } else if (strcmp(verb, "show") == 0) {
        show(s);
    } else {
        char *tag = strdup(strsep(&line, " "));
        if (command(s, verb, tag, line, &e) != 0) {
            say_refused(tag, &e);
            free(tag);
        }
    }
}

static void on_line(char *line) {
    const char *verb = strsep(&line, " ");
    if (strcmp(verb, "quit") == 0) {
        app.is_over = true;
    } else if (strcmp(verb, "token") == 0) {
        free(app.token);
        app.token = strdup(line);
        if (app.was_asked)
            handoff_set_token(app.handoff, app.token);
        app.was_asked = false;
    } else if (strcmp(verb, "deny") == 0) {
        handoff_no_token(app.handoff, "signed out");
    } else if (strcmp(verb, "reconnect") == 0) {
        handoff_reconnect(app.handoff);
    } else {
        on_session(verb, line);
    }
}

/* ---- the loop ---- */

static void read_lines(void) {
    ssize_t n = read(STDIN_FILENO, app.line + app.len, sizeof(app.line) - app.len);
    if (n <= 0) {
        app.is_over = true;
        return;
    }
    app.len += (size_t)n;
    char *begin = app.line, *end;
    while (!app.is_over && (end = memchr(begin, '\n', app.len - (size_t)(begin - app.line)))) {
        *end = '\0';
        on_line(begin);
        begin = end + 1;
    }
    app.len -= (size_t)(begin - app.line);
    memmove(app.line, begin, app.len);
}

static void run_own(void) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!app.is_over && handoff_run(app.handoff, 5) == 0)
        if (poll(&in, 1, 0) == 1)
            read_lines();
}

static void on_readable(uv_poll_t *poll, int status, int what) {
    (void)status, (void)what;
    read_lines();
    if (app.is_over)
        uv_stop(poll->loop);
}

static void run_uv(uv_loop_t *loop) {
    uv_poll_t in;
    uv_poll_init(loop, &in, STDIN_FILENO);
    uv_poll_start(&in, UV_READABLE, on_readable);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&in, NULL);
    handoff_free(app.handoff);
    uv_run(loop, UV_RUN_DEFAULT); /* until all handles have closed */
    if (uv_loop_close(loop) != 0)
        abort();
}

static const char *or_null(const char *argument) {
    return strcmp(argument, "-") == 0 ? NULL : argument;
}

int main(int argc, char **argv) {
    struct handoff_error e = {0};
    uv_loop_t loop;
    if (argc < 6)
        return 2;
    bool is_uv = strcmp(argv[1], "uv") == 0;
    uv_loop_init(&loop);
    app.store = or_null(argv[4]) ? handoff_file_store_new(argv[4]) : NULL;
    struct handoff_options options = {.size = sizeof(options),
                                      .url = argv[2],
                                      .device_id = or_null(argv[3]),
                                      .device_name = "a device of the tests",
                                      .token = on_token,
                                      .state = on_state,
                                      .error = on_error,
                                      .store = app.store,
                                      .ca_file = or_null(argv[5]),
                                      .max_frame_bytes = argc > 6 ? (size_t)atol(argv[6]) : 0,
                                      .max_unsent = argc > 7 ? (size_t)atol(argv[7]) : 0,
                                      .uv_loop = is_uv ? &loop : NULL};
    app.handoff = handoff_new(&options, &e);
    if (!app.handoff) {
        say_refused("new", &e);
        return 1;
    }
    if (is_uv) {
        run_uv(&loop);
    } else {
        run_own();
        handoff_free(app.handoff);
        uv_loop_close(&loop);
    }
    handoff_file_store_free(app.store);
    free(app.token);
    return 0;
}
