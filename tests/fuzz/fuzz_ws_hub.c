/* The hub between a broker, a store and three watchers of a session. Input, lines, by their first
 * character: e an event (type version epoch device message-id echo body), T the end of the broker's
 * turn, r what the store has (version epoch flags), x that it has not (number of the error), s<who>
 * a subscription (from a version), u one that ends, b one that takes nothing for a while, p what
 * presence says, t a second, q rights that changed. Whatever comes, each watcher gets whole
 * messages of its session, and deltas in their order. */
#include <errno.h>

#include "fuzz_app.h"
#include "services/ws_fanout/fanout.h"
#include "services/ws_fanout/hub_private.h"
#include "services/ws_fanout/order.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define USER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define OTHER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8e"
#define N_WATCHERS 3
#define MAX_LINES 200
#define MAX_DELTAS 64

static struct {
    struct hub *hub;
    struct fanout fanout;
    struct connection connections[N_WATCHERS];
    struct position sent[N_WATCHERS]; /* the last delta */
    bool is_backed_up[N_WATCHERS];
    store_read_fn *read; /* what is asked of the store */
    store_window_fn *window;
    uint64_t since;
    void *read_arg;
    commander_done_fn *load; /* of the engine */
    void *load_arg;
    enum presence_answer admission;
    struct subscription *entering[4 * N_WATCHERS];
    size_t n_entering;
} world;

static size_t number_of(const struct connection *c) {
    must_hold(c >= world.connections && c < world.connections + N_WATCHERS);
    return (size_t)(c - world.connections);
}

/* ---- the watchers ---- */

void connection_send(struct connection *c, struct frame *f, struct subscription *owner) {
    size_t i = number_of(c);
    must_hold(f->len > 0 && (!owner || owner->connection == c));
    const unsigned char *text = f->bytes + FRAME_HEADROOM;
    if (memmem(text, f->len, "\"state_sync\"", 12) || memmem(text, f->len, "\"subscribed\"", 12)) {
        world.sent[i] = f->position;
        return;
    }
    struct position before = world.sent[i];
    if (!f->position.version)
        return;
    if (before.version && before.epoch == f->position.epoch)
        must_hold(f->position.version >= before.version);
    world.sent[i] = f->position;
}

void connection_send_buf(struct connection *c, struct buf *b) {
    json_decref(fuzz_reparsed(b));
    (void)number_of(c);
    buf_done(b);
}

void connection_send_fault(struct connection *c, const char *id, const char *session_id,
                           const struct fault *f) {
    (void)number_of(c), (void)id;
    must_hold(f->code && f->detail[0] && uuid_is(session_id, strlen(session_id)));
}

void connection_session_lost(struct connection *c) {
    (void)number_of(c);
}

void connection_cork(struct connection *c) {
    (void)number_of(c);
}

void connection_uncork(struct connection *c) {
    (void)number_of(c);
}

bool connection_is_backed_up(const struct connection *c) {
    return world.is_backed_up[number_of(c)];
}

/* ---- what is behind the hub ---- */

int hub_bus_new(struct hub *h) {
    (void)h;
    return 0;
}

bool hub_is_joinable(const struct room *room) {
    (void)room;
    return true;
}

void hub_bind(struct room *room) {
    room->binding = ROOM_BOUND;
}

void hub_unbind(struct room *room) {
    room->binding = ROOM_UNBOUND;
}

struct bus *bus_free(struct bus *b) {
    (void)b;
    return NULL;
}

bool bus_is_up(const struct bus *b) {
    (void)b;
    return true;
}

void presence_enter(struct presence *p, struct subscription *s) {
    (void)p;
    must_hold(world.n_entering < N_ELEMENTS(world.entering));
    world.entering[world.n_entering++] = s;
}

void presence_leave(struct presence *p, struct subscription *s) {
    size_t n = 0;
    (void)p;
    for (size_t i = 0; i < world.n_entering; i++)
        if (world.entering[i] != s)
            world.entering[n++] = world.entering[i];
    world.n_entering = n;
}

static void admit(enum presence_answer answer) {
    struct fault f = {0};
    fault_set(&f, FAULT_TOO_MANY_DEVICES, NULL, "there are too many");
    for (size_t n = world.n_entering; n > 0 && world.n_entering; n--) {
        struct subscription *s = world.entering[0];
        presence_leave(NULL, s);
        hub_admit(s, answer, answer == PRESENCE_REFUSED ? &f : NULL);
    }
}

void commander_send(struct commander *c, struct command *command, commander_done_fn *done,
                    void *arg) {
    (void)c;
    must_hold(!world.load && strcmp(command->session_id, ID) == 0 && !world.read && !world.window);
    world.load = done;
    world.load_arg = arg;
}

bool commander_may_load(const struct commander *c) {
    (void)c;
    return world.since % 7 != 6;
}

int64_t store_now(const struct store *s) {
    (void)s;
    return 1770897600000;
}

bool store_has_time(const struct store *s) {
    (void)s;
    return world.since % 2;
}

const char *store_run_id(const struct store *s, const char *session_id) {
    (void)s, (void)session_id;
    return "run";
}

void store_read(struct store *s, const char *session_id, store_read_fn *done, void *arg) {
    (void)s;
    must_hold(!world.read && !world.window && !world.load && strcmp(session_id, ID) == 0);
    world.read = done;
    world.read_arg = arg;
}

void store_read_window(struct store *s, const char *session_id, uint64_t since, size_t limit,
                       store_window_fn *done, void *arg) {
    (void)s;
    must_hold(!world.read && !world.window && !world.load && strcmp(session_id, ID) == 0 && limit);
    world.window = done;
    world.since = since;
    world.read_arg = arg;
}

static void give_window(store_window_fn *done, const struct session *s, bool has_hole) {
    struct store_delta deltas[MAX_DELTAS];
    size_t n = 0;
    for (uint64_t v = world.since + 1; v <= s->position.version && n < MAX_DELTAS; v++)
        if (!has_hole || v % 3)
            deltas[n++] = (struct store_delta){.version = v, .event = "{}", .event_len = 2};
    done(world.read_arg, 0, s, deltas, n);
}

static void give_read(const struct session *s, bool has_hole) {
    store_read_fn *read = TAKE_PTR(world.read);
    store_window_fn *window = TAKE_PTR(world.window);
    if (read)
        read(world.read_arg, 0, s);
    else if (window)
        give_window(window, s, has_hole);
}

static void give_error(int err) {
    store_read_fn *read = TAKE_PTR(world.read);
    store_window_fn *window = TAKE_PTR(world.window);
    if (read)
        read(world.read_arg, err, NULL);
    else if (window)
        window(world.read_arg, err, NULL, NULL, 0);
}

static void give_load(enum fault_code code) {
    struct reply reply = {0};
    commander_done_fn *load = TAKE_PTR(world.load);
    if (code)
        fault_set(&reply.fault, code, NULL, "so it is");
    if (load)
        load(world.load_arg, &reply);
}

/* ---- lines ---- */

static uint64_t take_number(char **at) {
    const char *word = *at ? strsep(at, " ") : "";
    return strtoull(word, NULL, 10) & TEXT_INTEGER_MAX;
}

static void take_word(char **at, char *ret, size_t cap) {
    snprintf(ret, cap, "%s", *at ? strsep(at, " ") : "");
}

static void take_event(char *at) {
    struct bus_message m = {.routing_key = "session." ID ".delta", .timestamp_ms = 1770897600000};
    take_word(&at, m.type, sizeof(m.type));
    m.version = take_number(&at);
    m.epoch = take_number(&at);
    take_word(&at, m.device_id, sizeof(m.device_id));
    take_word(&at, m.message_id, sizeof(m.message_id));
    m.echo = take_number(&at) & 1;
    m.routing_key_len = strlen(m.routing_key);
    m.body = at && *at ? at : "{}";
    m.body_len = strlen(m.body);
    hub_take_message(world.hub, &m);
}

static void take_session(char *at) {
    struct session s = {.id = ID, .user_id = USER, .status = SESSION_ACTIVE, .type = "t"};
    s.position.version = take_number(&at) % 1000 + 1;
    s.position.epoch = take_number(&at) % 4 + 1;
    const char *flags = at ? at : "";
    s.name = must_strdup("n");
    s.data_text = must_strdup("{}");
    s.data_len = 2;
    s.deleted = strchr(flags, 'd');
    if (strchr(flags, 'o'))
        must_hold(session_set_participant(&s, OTHER, SESSION_ROLE_VIEWER));
    if (strchr(flags, 'k'))
        must_hold(session_set_device_removed(&s, "tv", true));
    strcpy(s.run_id, strchr(flags, 'n') ? "new" : "run");
    give_read(&s, strchr(flags, 'h'));
    session_done(&s);
}

static void take_error(char *at) {
    static const int errors[] = {-ENOENT, -ESTALE, -EBADMSG, -ENOTCONN, -ETIMEDOUT};
    static const enum fault_code codes[] = {FAULT_NONE, FAULT_NOT_FOUND, FAULT_UNAVAILABLE};
    uint64_t n = take_number(&at);
    if (world.load)
        give_load(codes[n % N_ELEMENTS(codes)]);
    else
        give_error(errors[n % N_ELEMENTS(errors)]);
}

static void subscribe(struct connection *c, char *at) {
    struct position since = {take_number(&at), 1};
    uint64_t epoch = take_number(&at);
    since.epoch = epoch ? epoch : 1;
    hub_subscribe(world.hub, c, ID, since.version ? &since : NULL, at ? at : "");
}

static void toggle(struct connection *c) {
    size_t i = number_of(c);
    world.is_backed_up[i] = !world.is_backed_up[i];
    if (!world.is_backed_up[i]) {
        hub_resume(world.hub, c);
        return;
    }
    for (size_t k = c->n_subscriptions; k-- > 0;) {
        struct frame *f = frame_new("{}", 2);
        hub_dropped(c->subscriptions[k], f);
        frame_unref(f);
    }
}

static void pass_second(uv_loop_t *loop) {
    loop->time += 1000;
    hub_tick(world.hub);
}

static void take_line(uv_loop_t *loop, char *line) {
    struct connection *c = &world.connections[line[0] ? (unsigned char)line[1] % N_WATCHERS : 0];
    char *rest = line[0] && line[1] ? line + 2 : line + strlen(line);
    switch (line[0]) {
    case 'e':
        take_event(rest);
        break;
    case 'T':
        hub_end_turn(world.hub);
        break;
    case 'r':
        take_session(rest);
        break;
    case 'x':
        take_error(rest);
        break;
    case 's':
        subscribe(c, rest);
        break;
    case 'u':
        hub_unsubscribe(world.hub, c, ID, "");
        break;
    case 'b':
        toggle(c);
        break;
    case 'p':
        admit(number_of(c) % 3);
        break;
    case 't':
        pass_second(loop);
        break;
    case 'q':
        hub_recheck(world.hub, c);
        break;
    default:
        break;
    }
}

static void init_watchers(void) {
    static const char *const users[] = {USER, USER, OTHER}, *const devices[] = {"phone", "tv",
                                                                                "pc"};
    for (size_t i = 0; i < N_WATCHERS; i++) {
        struct connection *c = &world.connections[i];
        c->fanout = &world.fanout;
        c->is_authenticated = true;
        c->principal.rights = COMMAND_READ | COMMAND_WRITE;
        strcpy(c->principal.user_id, users[i]);
        strcpy(c->device_id, devices[i]);
        outbox_init(&c->outbox, 1 << 16, &world.fanout.waiting);
        hub_subscribe(world.hub, c, ID, NULL, "");
    }
}

static void end(void) {
    give_error(-ECANCELED);
    give_load(FAULT_UNAVAILABLE);
    hub_stop(world.hub);
    for (size_t i = 0; i < N_WATCHERS; i++) {
        hub_leave(world.hub, &world.connections[i]);
        must_hold(world.connections[i].n_subscriptions == 0);
        outbox_done(&world.connections[i].outbox);
    }
    give_error(-ECANCELED);
    give_load(FAULT_UNAVAILABLE);
    hub_free(world.hub);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct config config = {.fanout_binding = (char[]){"session"}, .max_subscriptions = 4};
    uv_loop_t loop;
    struct app app;
    memset(&world, 0, sizeof(world));
    fuzz_app_init(&app, &config, &loop);
    const struct hub_options options = {.app = &app};
    world.fanout.app = &app;
    must_hold(hub_new(&world.hub, &options) == 0);
    init_watchers();
    char *text = fuzz_text(data, size), *at = text;
    for (int i = 0; at && i < MAX_LINES; i++)
        take_line(&loop, strsep(&at, "\n"));
    end();
    fuzz_app_done(&app);
    free(text);
    return 0;
}
