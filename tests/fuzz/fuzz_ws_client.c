/* A client of ws_fanout. Input: the first line of a request, its headers, an empty line, then what
 * it says once it is in, a message a line; 0x01 to 0x03 stand for tokens that are good.
 * libwebsockets hands the request on as it does: headers by name, the query in its parts. Who comes
 * in is authenticated, has asked for what it may, and is answered; everybody else is told why. */
#include "fuzz_app.h"
#include "fuzz_lws.h"
#include "services/ws_fanout/commands.h"
#include "services/ws_fanout/events.h"
#include "services/ws_fanout/fanout.h"
#include "services/ws_fanout/protocol.h"
#include "services/ws_fanout/socket_private.h"
#include "tests/jwt_maker.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define USER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define SECRET "fuzz-0123456789-0123456789-0123456789"
#define MAX_LINES 80
#define N_TOKENS 5
#define MAX_OF_USER 2 /* connections */

enum { IS_DRAINING = 1, IS_FULL = 2, HAS_NO_LIMITS = 4, NOBODY_ANSWERS = 8 };

static struct {
    struct fanout fanout;
    struct socket socket; /* of the connection */
    bool is_closed;
    size_t n_written, n_sent; /* messages; commands and questions that wait for an answer */
    struct {
        commander_done_fn *done;
        store_read_fn *read;
        void *arg;
    } waiting[4 * MAX_LINES];
    unsigned n_answers;
    unsigned how;
} world;

/* ---- the sockets ---- */

struct socket *socket_add(struct socket_server *server, struct lws *lws, void *user) {
    (void)server, (void)lws;
    world.socket.user = user;
    return &world.socket;
}

int stream_begin(struct socket_server *server, struct lws *lws, void *user) {
    (void)server, (void)lws;
    world.socket.user = user;
    return 0;
}

bool socket_is_writable(const struct socket *s) {
    (void)s;
    return world.n_written % 8 != 7;
}

void socket_await_writable(struct socket *s) {
    must_hold(s == &world.socket);
    world.n_written++;
}

enum socket_result socket_write(struct socket *s, struct frame *f) {
    must_hold(s == &world.socket && !world.is_closed && f->len > 0);
    const char *text = (const char *)f->bytes + FRAME_HEADROOM;
    if (text[0] == '{')
        json_decref(fuzz_value((const uint8_t *)text, f->len));
    world.n_written++;
    return SOCKET_WRITTEN;
}

enum socket_result socket_write_many(struct socket *s, struct frame *const *frames, size_t n) {
    for (size_t i = 0; i < n; i++)
        socket_write(s, frames[i]);
    return SOCKET_WRITTEN;
}

void socket_close(struct socket *s, int code, const char *reason) {
    must_hold(s == &world.socket && code >= 1000 && strlen(reason) <= SOCKET_CLOSE_REASON_MAX);
    world.is_closed = true;
}

void socket_kill(struct socket *s) {
    must_hold(s == &world.socket);
    world.is_closed = true;
}

/* ---- what is behind the connections ---- */

void fanout_entered(struct fanout *f, bool is_stream) {
    (void)is_stream;
    f->n_connections++;
}

void fanout_left(struct fanout *f, bool is_stream) {
    (void)is_stream;
    f->n_connections--;
}

void fanout_send_away(struct connection *c) {
    connection_send_away(c, 5);
}

void hub_subscribe(struct hub *h, struct connection *c, const char *session_id,
                   const struct position *since, const char *id) {
    struct fault f = {0};
    (void)h, (void)since;
    must_hold(c->is_authenticated && uuid_is(session_id, strlen(session_id)));
    fault_set(&f, FAULT_NOT_FOUND, NULL, "there is no such session");
    connection_send_fault(c, id, session_id, &f);
}

void hub_unsubscribe(struct hub *h, struct connection *c, const char *session_id, const char *id) {
    (void)h, (void)id;
    must_hold(c->is_authenticated && uuid_is(session_id, strlen(session_id)));
}

void hub_leave(struct hub *h, struct connection *c) {
    (void)h, (void)c;
}

void hub_recheck(struct hub *h, struct connection *c) {
    (void)h, (void)c;
}

void hub_resume(struct hub *h, struct connection *c) {
    (void)h, (void)c;
}

void hub_dropped(struct subscription *s, struct frame *f) {
    (void)s, (void)f;
}

enum session_role hub_role(const struct connection *c, const char *session_id) {
    (void)c;
    return strcmp(session_id, ID) == 0 ? SESSION_ROLE_EDITOR : SESSION_ROLE_NONE;
}

void presence_describe(struct presence *p, const struct connection *c) {
    (void)p;
    must_hold(c->is_authenticated);
}

static void wait_for(commander_done_fn *done, store_read_fn *read, void *arg) {
    must_hold(world.n_sent < N_ELEMENTS(world.waiting));
    world.waiting[world.n_sent].done = done;
    world.waiting[world.n_sent].read = read;
    world.waiting[world.n_sent++].arg = arg;
}

void commander_send(struct commander *commander, struct command *command, commander_done_fn *done,
                    void *arg) {
    struct buf out = BUF_NULL;
    (void)commander;
    memcpy(command->id, ID, sizeof(command->id));
    must_hold(uuid_is(command->user_id, UUID_LEN) && uuid_is(command->session_id, UUID_LEN));
    command_print(command, &out);
    json_decref(fuzz_reparsed(&out));
    buf_done(&out);
    wait_for(done, NULL, arg);
}

int commander_publish(struct commander *commander, const struct bus_publish *m) {
    (void)commander, (void)m;
    return world.n_answers % 3 == 2 ? -EAGAIN : 0;
}

int64_t store_now(const struct store *s) {
    (void)s;
    return 1770897600000;
}

void store_read_meta(struct store *s, const char *session_id, store_read_fn *done, void *arg) {
    (void)s;
    must_hold(uuid_is(session_id, strlen(session_id)));
    wait_for(NULL, done, arg);
}

static void give_reply(commander_done_fn *done, void *arg, unsigned n) {
    static const enum fault_code codes[] = {FAULT_NONE, FAULT_VERSION_CONFLICT, FAULT_TIMEOUT,
                                            FAULT_NONE};
    struct reply reply = {.position = {n, 1}};
    strcpy(reply.id, ID);
    if (codes[n % 4])
        fault_set(&reply.fault, codes[n % 4], NULL, "so it is");
    done(arg, &reply);
    reply_done(&reply);
}

static void give_session(store_read_fn *read, void *arg, unsigned n) {
    static const int errors[] = {0, -ENOENT, 0, -ENOTCONN, -ESTALE};
    struct session s = {.position = {4, 1}, .id = ID, .user_id = USER, .status = SESSION_ACTIVE};
    int err = errors[n % N_ELEMENTS(errors)];
    read(arg, err, err ? NULL : &s);
}

/* Also what is asked on the way. */
static void answer_all(void) {
    while (world.n_sent) {
        size_t i = --world.n_sent;
        void *arg = world.waiting[i].arg;
        if (world.waiting[i].done)
            give_reply(world.waiting[i].done, arg, world.n_answers++);
        else
            give_session(world.waiting[i].read, arg, world.n_answers++);
    }
}

/* ---- the client ---- */

static void check_in(const struct connection *c) {
    must_hold(uuid_is(c->id, strlen(c->id)) && c->fanout == &world.fanout);
    must_hold(!c->is_authenticated || uuid_is(c->principal.user_id, UUID_LEN));
    must_hold(!c->device_id[0] || session_device_is_valid(c->device_id, strlen(c->device_id)));
    must_hold(!c->is_authenticated || c->events || c->device_id[0]);
    must_hold(!c->query_device[0] ||
              session_device_is_valid(c->query_device, strlen(c->query_device)));
    must_hold(c->query_since.version <= TEXT_INTEGER_MAX);
    must_hold(!c->events || (c->is_authenticated && uuid_is(c->events->session_id, UUID_LEN) &&
                             c->events->since.epoch >= 1));
}

static void talk(struct connection *c, char *at) {
    connection_opened(c, &world.socket);
    for (int i = 0; at && i < MAX_LINES && !world.is_closed; i++) {
        char *line = strsep(&at, "\n");
        if (!c->events)
            connection_message(c, line, strlen(line));
        check_in(c);
        if (i % 4 == 3 && !(world.how & NOBODY_ANSWERS))
            answer_all();
        if (c->busy_since && !world.is_closed)
            connection_writable(c);
        connection_check(c, (int64_t)uv_now(c->fanout->app->loop) + i, 1800000000000);
        must_hold(connection_deadline(c, 0, 0) >= 0);
    }
}

static void knock(struct socket_server *server, char *said) {
    struct lws *lws = (struct lws *)&world;
    const char *upgrade = fuzz_header("Upgrade");
    int r =
        upgrade ? socket_confirm_upgrade(server, lws, upgrade) : socket_plain_request(server, lws);
    struct connection *c = world.socket.user;
    must_hold((r == 0) == (c != NULL) && (r == 0) == !fuzz_request.has_answer);
    must_hold(c || world.fanout.n_connections == 0);
    if (!c)
        return;
    check_in(c);
    talk(c, said);
    connection_closed(c);
    answer_all();
}

/* ---- the input ---- */

/* Of a user with a device, without, for one session, to read only, and too late. */
static char *make_token(unsigned which) {
    static const char *const claims[] = {
        ",\"device_id\":\"phone\",\"scope\":\"sessions:read sessions:write\"", "",
        ",\"device_id\":\"tv\"", ",\"device_id\":\"phone\",\"scope\":\"sessions:read\"", ""};
    struct buf token = BUF_NULL, payload = BUF_NULL;
    buf_printf(&payload, "{\"sub\":\"" USER "\",\"exp\":%s%s%s}", which == 4 ? "5" : "4000000000",
               claims[which], which == 2 ? ",\"session\":\"" ID "\"" : "");
    jwt_put_input(&token, "{\"alg\":\"HS256\"}", payload.data, payload.len);
    jwt_sign_hmac(&token, EVP_sha256(), SECRET);
    buf_done(&payload);
    return buf_take(&token);
}

static char *with_tokens(const uint8_t *data, size_t size) {
    static char *tokens[N_TOKENS];
    struct buf out = BUF_NULL;
    for (unsigned i = 0; i < N_TOKENS; i++)
        tokens[i] = tokens[i] ? tokens[i] : make_token(i);
    buf_reserve(&out, 1);
    for (size_t i = 0; i < size; i++)
        if (data[i] >= 1 && data[i] <= N_TOKENS)
            buf_puts(&out, tokens[data[i] - 1]);
        else if (data[i])
            buf_putc(&out, (char)data[i]);
    buf_puts(&out, "");
    return buf_take(&out);
}

static struct auth *make_auth(void) {
    struct config c = {.service = CONFIG_WS_FANOUT};
    struct auth *auth = NULL;
    char *error = NULL;
    c.jwt_algorithms = (char[]){"HS256"};
    c.jwt_secret = (char[]){SECRET};
    c.jwt_session_claim = (char[]){"session"};
    c.jwt_secret_previous = c.jwt_issuer = c.jwt_audience = c.jwt_keys = c.jwks_url =
        c.session_token_key = c.session_token_public_keys = (char[]){""};
    must_hold(auth_new(&auth, &c, &error) == 0);
    return auth;
}

static void begin(struct app *app, struct auth *auth) {
    struct metrics *m = app->metrics;
    struct metric *any = metrics_counter(m, "handoff_fuzz_total", NULL, "Anything.");
    struct fanout *f = &world.fanout;
    f->app = app;
    f->auth = auth;
    f->waiting.max_bytes = 1 << 20;
    f->outbox_bytes_metric = f->dropped_metric = f->messages_metric = f->refused_metric =
        f->rate_limited_metric = any;
    table_init(&f->users);
    f->is_draining = world.how & IS_DRAINING;
    for (int i = 0; world.how & IS_FULL && i < MAX_OF_USER; i++)
        must_hold(users_enter(&f->users, USER, MAX_OF_USER));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct auth *auth;
    if (size < 1)
        return 0;
    bool has_limits = !(data[0] & HAS_NO_LIMITS);
    const struct config config = {.allowed_origins = (char[]){"https://a.example"},
                                  .max_connections = 4,
                                  .ws_connections_per_user = MAX_OF_USER,
                                  .ws_messages_per_second = has_limits ? 20 : 0,
                                  .ws_bytes_per_second = has_limits ? 1 << 12 : 0,
                                  .max_outbox_bytes = 1 << 16,
                                  .ping_after_ms = 30000,
                                  .max_message_bytes = 1 << 16,
                                  .auth_timeout_ms = 5000,
                                  .stuck_timeout_ms = 5000};
    static struct socket_server server;
    uv_loop_t loop;
    struct app app;
    if (!auth)
        auth = make_auth();
    memset(&world, 0, sizeof(world));
    memset(&fuzz_request, 0, sizeof(fuzz_request));
    world.how = data[0];
    fuzz_app_init(&app, &config, &loop);
    begin(&app, auth);
    server.options.callbacks.accept = connection_accept;
    server.options.callbacks.request = events_request;
    server.options.callbacks.closed = connection_closed;
    server.options.arg = &world.fanout;
    char *text = with_tokens(data + 1, size - 1);
    knock(&server, fuzz_take_request(text));
    must_hold(world.fanout.n_connections == 0 && world.n_sent == 0);
    users_done(&world.fanout.users);
    deadlines_done(&world.fanout.deadlines);
    fuzz_app_done(&app);
    free(text);
    return 0;
}
