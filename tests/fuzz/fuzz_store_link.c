/* The asynchronous reader: everything that session_api and ws_fanout ask Redis, over connections on
 * which a stranger answers. The first byte chooses one Redis or a cluster, and whether it is
 * introduced well; the second the questions. Then what each connection says, 0xff between. What is
 * behind 0xfe is said when something is asked there; a connection that has said all ends, or,
 * behind 0xfd, is silent. 0xfc first: it is refused; 0xfb first: its name is not found. Each
 * question is answered once, and a result is one. */
#include <arpa/inet.h>
#include <netdb.h>
#include <sys/ioctl.h>

#include "common/metrics.h"
#include "common/store_codes.h"
#include "common/store_link.h"
#include "common/store_presence.h"
#include "fuzz_redis.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define USER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define RUN_ID "0123456789012345678901234567890123456789"
#define MAX_TURNS 60
#define MAX_CONNECTIONS 32

enum { NEXT = 0xff, WHEN_ASKED = 0xfe, SILENT = 0xfd, REFUSED = 0xfc, UNKNOWN = 0xfb };

struct connection {
    redisContext *context;
    int peer;
    const uint8_t *at, *end; /* of the input: what it still says */
    bool is_over;
};

static struct {
    const uint8_t *at, *end; /* of the input: what the next connection says */
    struct connection connections[MAX_CONNECTIONS];
    size_t n_connections;
    bool is_introduced;
    uv_getaddrinfo_t *lookup;
    uv_getaddrinfo_cb looked_up;
    size_t n_asked, n_answered;
} world;

/* ---- what is under it ---- */

static bool is_next(uint8_t mark) {
    bool is = world.at < world.end && *world.at == mark;
    world.at += is;
    return is;
}

static void say(const struct connection *c, const void *bytes, size_t n) {
    must_hold(n == 0 || send(c->peer, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n);
}

/* Up to what waits for a question, or all. */
static void say_part(struct connection *c) {
    const uint8_t *from = c->at;
    while (c->at < c->end && *c->at != WHEN_ASKED && *c->at != SILENT)
        c->at++;
    say(c, from, (size_t)(c->at - from));
}

static void take_segment(struct connection *c) {
    const uint8_t *stop = memchr(world.at, NEXT, (size_t)(world.end - world.at));
    c->at = world.at;
    c->end = stop ? stop : world.end;
    world.at = c->end < world.end ? c->end + 1 : world.end;
}

static redisContext *refuse(void) {
    redisContext *c = redisConnectFd(open("/dev/null", O_RDWR | O_CLOEXEC));
    must_hold(c != NULL);
    c->err = REDIS_ERR_IO;
    return c;
}

redisContext *redisConnectNonBlock(const char *ip, int port) {
    static const char info[] = "run_id:" RUN_ID "\r\nmaxmemory_policy:noeviction\r\n";
    char told[256];
    must_hold(ip[0] && port >= 1 && port <= 65535);
    if (world.n_connections == MAX_CONNECTIONS)
        return NULL;
    if (is_next(REFUSED))
        return refuse();
    struct connection *c = &world.connections[world.n_connections];
    c->context = fuzz_open_context(&c->peer);
    for (size_t i = 0; i < world.n_connections; i++) /* that were closed */
        world.connections[i].is_over |= world.connections[i].context == c->context;
    world.n_connections++;
    take_segment(c);
    if (!world.is_introduced) {
        say_part(c);
        return c->context;
    }
    int len = snprintf(told, sizeof(told), "$%zu\r\n%s\r\n*2\r\n$10\r\n1770897600\r\n$1\r\n0\r\n",
                       sizeof(info) - 1, info);
    say(c, told, (size_t)len);
    world.is_introduced = false;
    return c->context;
}

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb done,
                   const char *node, const char *service, const struct addrinfo *hints) {
    (void)loop, (void)service, (void)hints;
    must_hold(node[0]);
    if (world.lookup)
        return UV_EAGAIN;
    world.lookup = request;
    world.looked_up = done;
    return 0;
}

void uv_freeaddrinfo(struct addrinfo *list) {
    (void)list;
}

static void look_up(void) {
    static struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = 1};
    static struct addrinfo found[2];
    uv_getaddrinfo_t *request = TAKE_PTR(world.lookup);
    for (size_t i = 0; i < 2; i++)
        found[i] = (struct addrinfo){.ai_family = AF_INET,
                                     .ai_addrlen = sizeof(address),
                                     .ai_addr = (struct sockaddr *)&address,
                                     .ai_next = i == 0 ? &found[1] : NULL};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool is_known = !is_next(UNKNOWN);
    world.looked_up(request, is_known ? 0 : UV_EAI_NONAME, is_known ? found : NULL);
}

/* ---- answers ---- */

static void on_session(void *arg, int err, const struct session *s) {
    (void)arg;
    world.n_answered++;
    must_hold((err == 0) == (s != NULL));
    must_hold(!s || (s->position.version >= 1 && strcmp(s->id, ID) == 0));
}

static void on_window(void *arg, int err, const struct session *s, const struct store_delta *deltas,
                      size_t n) {
    on_session(arg, err, s);
    for (size_t i = 0; i < n; i++)
        must_hold(deltas[i].event != NULL);
    must_hold(n <= 50);
}

static void on_outbox(void *arg, int err, const struct store_outboxed *entries, size_t n) {
    (void)arg;
    world.n_answered++;
    must_hold(err == 0 || n == 0);
    for (size_t i = 0; i < n; i++)
        must_hold(strlen(entries[i].key_hash) <= HASH_HEX_LEN);
}

static void on_past(void *arg, int err, const struct store_past *past) {
    (void)arg;
    world.n_answered++;
    must_hold((err == 0) == (past != NULL));
}

static void on_key(void *arg, int err, bool is_there) {
    (void)arg;
    world.n_answered++;
    must_hold(!err || !is_there);
}

static void on_arrived(void *arg, int err, enum store_admission admission) {
    (void)arg;
    world.n_answered++;
    must_hold(err || admission <= STORE_TOO_MANY_WATCHERS);
}

static void on_departed(void *arg, int err) {
    (void)arg;
    world.n_answered++;
    must_hold(err <= 0);
}

static void on_devices(void *arg, int err, const struct store_device *devices, size_t n) {
    (void)arg;
    world.n_answered++;
    must_hold(err == 0 || n == 0);
    for (size_t i = 0; i < n; i++)
        must_hold(session_device_is_valid(devices[i].device_id, strlen(devices[i].device_id)) &&
                  uuid_is(devices[i].user_id, strlen(devices[i].user_id)));
}

static void on_code(void *arg, int err, const struct store_code *code) {
    (void)arg;
    world.n_answered++;
    must_hold((err == 0) == (code != NULL));
    must_hold(!code || uuid_is(code->session_id, UUID_LEN));
}

static void on_issued(void *arg, int err, int64_t moment) {
    (void)arg, (void)moment, (void)err;
    world.n_answered++;
}

static void on_tried(void *arg, int err, const struct store_try *t) {
    (void)arg;
    world.n_answered++;
    must_hold((err == 0) == (t != NULL));
}

static void on_token(void *arg, int err, const struct store_token *token) {
    (void)arg;
    world.n_answered++;
    must_hold((err == 0) == (token != NULL));
}

/* ---- questions ---- */

static void ask_session(struct store *s) {
    store_read(s, ID, on_session, NULL);
    store_read_meta(s, ID, on_session, NULL);
    world.n_asked += 2;
}

static void ask_window(struct store *s) {
    store_read_window(s, ID, 1, 50, on_window, NULL);
    store_read_outbox(s, ID, 1, 50, on_outbox, NULL);
    world.n_asked += 2;
}

static void ask_past(struct store *s) {
    store_read_past(s, ID, 1, 3, on_past, NULL);
    store_has_key(s, ID, HASH, on_key, NULL);
    world.n_asked += 2;
}

static void ask_presence(struct store *s) {
    const struct store_arrival a = {ID, USER, "phone", false, "i:1", "name", "ios"};
    store_arrive(s, &a, on_arrived, NULL);
    store_depart(s, ID, "phone", "i:1", on_departed, NULL);
    store_depart(s, ID, "laptop", "i:1", NULL, NULL);
    world.n_asked += 2;
}

static void ask_instance(struct store *s) {
    store_renew_instance(s, "i:1", true, on_key, NULL);
    store_renew_instance(s, "i:1", false, on_key, NULL);
    store_read_devices(s, ID, on_devices, NULL);
    world.n_asked += 3;
}

static void ask_codes(struct store *s) {
    const struct store_code_claim claim = {"", HASH, USER, "phone"};
    store_find_code(s, HASH, on_code, NULL);
    store_claim_code(s, HASH, &claim, on_code, NULL);
    store_release_code(s, ID, HASH);
    world.n_asked += 2;
}

static void ask_issue(struct store *s) {
    struct store_code code = {.session_id = ID, .owner_id = USER, .role = SESSION_ROLE_EDITOR};
    strcpy(code.device_id, "phone");
    store_issue_code(s, HASH, &code, 60000, on_issued, NULL);
    world.n_asked++;
}

static void ask_limits(struct store *s) {
    store_take_token(s, STORE_BUCKET_USER, USER, 10, 20, on_token, NULL);
    store_try_code(s, "192.0.2.1", on_tried, NULL);
    store_untry_code(s, "192.0.2.1", 5);
    world.n_asked += 2;
}

static void ask(struct store *s, unsigned which) {
    static void (*const questions[])(struct store * s) = {ask_session,  ask_window,   ask_past,
                                                          ask_presence, ask_instance, ask_codes,
                                                          ask_issue,    ask_limits};
    questions[which % N_ELEMENTS(questions)](s);
}

/* ---- the loop ---- */

static const struct store_link *link_of(const struct store *s, const struct connection *c) {
    for (size_t i = 0; i < s->n_links; i++)
        if (s->links[i]->context == c->context)
            return s->links[i];
    return NULL;
}

static void end(struct connection *c) {
    c->is_over = true;
    if (c->at == c->end)
        must_hold(shutdown(c->peer, SHUT_WR) == 0);
}

static bool is_heard(const struct connection *c) {
    int n_unread = 0;
    must_hold(ioctl(c->context->fd, FIONREAD, &n_unread) == 0);
    return n_unread == 0;
}

/* Returns whether anything was said. */
static bool answer(const struct store *s) {
    bool has_said = false;
    for (size_t i = 0; i < world.n_connections; i++) {
        struct connection *c = &world.connections[i];
        const struct store_link *l = c->is_over ? NULL : link_of(s, c);
        if (!l || !l->waiting.first)
            continue;
        has_said = true;
        if (!is_heard(c))
            continue;
        if (c->at == c->end || *c->at == SILENT) {
            end(c);
            continue;
        }
        c->at += *c->at == WHEN_ASKED;
        say_part(c);
    }
    return has_said;
}

/* As if a quarter of a second had passed, or as long as it takes until it is tried again. */
static void pass_time(struct store *s) {
    for (size_t i = 0; i < s->n_links; i++) {
        struct store_link *l = s->links[i];
        uv_timer_t *timer = uv_is_active((uv_handle_t *)&l->retry)  ? &l->retry
                            : uv_is_active((uv_handle_t *)&l->tick) ? &l->tick
                                                                    : NULL;
        if (timer == &l->retry)
            uv_timer_stop(timer);
        if (timer)
            timer->timer_cb(timer);
    }
}

/* Of what hangs in the loop alone the time does not matter. */
static void turn(uv_loop_t *loop, struct store *s) {
    if (world.lookup)
        look_up();
    else if (!answer(s))
        pass_time(s);
    uv_run(loop, UV_RUN_NOWAIT);
    fuzz_drain_peers();
}

static void ask_and_wait(uv_loop_t *loop, struct store *s, unsigned which) {
    for (int i = 0; i < 8 && !store_is_up(s); i++)
        turn(loop, s);
    ask(s, which);
    for (int i = 0; i < MAX_TURNS && world.n_answered < world.n_asked; i++)
        turn(loop, s);
}

static void on_up(void *arg) {
    const struct store *const *s = arg;
    must_hold(store_is_up(*s));
}

static void on_down(void *arg, const char *why) {
    (void)arg;
    must_hold(why[0]);
}

static void run(const char *url, unsigned which) {
    static const struct store_callbacks callbacks = {on_up, on_down};
    uv_loop_t loop;
    struct store *s = NULL;
    struct metrics *metrics = metrics_new();
    must_hold(uv_loop_init(&loop) == 0 && store_new(&s, &loop, url, &callbacks, &s) == 0);
    store_measure(s, metrics_answers(metrics, "redis"));
    ask_and_wait(&loop, s, which);
    ask_and_wait(&loop, s, which >> 4);
    for (int i = 0; i < 4; i++)
        turn(&loop, s);
    ask(s, which + 1);
    (void)store_now(s);
    store_free(s);
    must_hold(world.n_answered == world.n_asked);
    while (world.lookup || uv_run(&loop, UV_RUN_NOWAIT))
        if (world.lookup)
            look_up();
    must_hold(uv_loop_close(&loop) == 0);
    metrics_free(metrics);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > 60000 || !fuzz_is_modest(data + 2, size - 2))
        return 0;
    memset(&world, 0, sizeof(world));
    world.at = data + 2;
    world.end = data + size;
    bool is_cluster = data[0] & 1;
    world.is_introduced = !is_cluster && !(data[0] & 2);
    run(is_cluster    ? "redis+cluster://h:1,i:2"
        : data[0] & 2 ? "redis://:p@h:1/1"
                      : "redis://h:1",
        data[1]);
    fuzz_close_peers();
    return 0;
}
