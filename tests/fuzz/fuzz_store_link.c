/* The asynchronous reader: everything that session_api and ws_fanout ask Redis, over a connection
 * on which a stranger answers. The first byte chooses one Redis or a cluster, and whether it is
 * introduced well; the second the questions. Then what each connection says, 0xff between. Each
 * question is answered once, and a result is one. */
#include <arpa/inet.h>
#include <netdb.h>

#include "common/store_codes.h"
#include "common/store_link.h"
#include "common/store_presence.h"
#include "fuzz_redis.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define USER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define RUN_ID "0123456789012345678901234567890123456789"
#define MAX_TURNS 40

static struct {
    const uint8_t *at, *end; /* of the input: what the next connection says */
    bool is_introduced;
    uv_getaddrinfo_t *lookup;
    uv_getaddrinfo_cb looked_up;
    size_t n_asked, n_answered;
} world;

/* ---- what is under it ---- */

redisContext *redisConnectNonBlock(const char *ip, int port) {
    static const char info[] = "run_id:" RUN_ID "\r\nmaxmemory_policy:noeviction\r\n";
    must_hold(ip[0] && port >= 1 && port <= 65535);
    const uint8_t *from = world.at;
    const uint8_t *stop = from < world.end ? memchr(from, 0xff, (size_t)(world.end - from)) : NULL;
    stop = stop ? stop : world.end;
    world.at = stop < world.end ? stop + 1 : world.end;
    struct buf said = BUF_NULL;
    buf_puts(&said, "");
    if (world.is_introduced)
        buf_printf(&said, "$%zu\r\n%s\r\n*2\r\n$10\r\n1770897600\r\n$1\r\n0\r\n", sizeof(info) - 1,
                   info);
    world.is_introduced = false;
    buf_put(&said, from, (size_t)(stop - from));
    redisContext *c = fuzz_context(said.data, said.len);
    buf_done(&said);
    return c;
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
    static struct addrinfo found = {.ai_family = AF_INET, .ai_addrlen = sizeof(address)};
    uv_getaddrinfo_t *request = TAKE_PTR(world.lookup);
    found.ai_addr = (struct sockaddr *)&address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    world.looked_up(request, 0, &found);
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

static void turn(uv_loop_t *loop) {
    if (world.lookup)
        look_up();
    uv_run(loop, UV_RUN_NOWAIT);
    fuzz_drain_peers();
}

static void run(const char *url, unsigned which) {
    uv_loop_t loop;
    struct store *s = NULL;
    must_hold(uv_loop_init(&loop) == 0 && store_new(&s, &loop, url, NULL, NULL) == 0);
    for (int i = 0; i < 8 && !store_is_up(s); i++)
        turn(&loop);
    ask(s, which);
    for (int i = 0; i < MAX_TURNS && world.n_answered < world.n_asked; i++)
        turn(&loop);
    ask(s, which + 1);
    (void)store_now(s);
    store_free(s);
    must_hold(world.n_answered == world.n_asked);
    while (world.lookup || uv_run(&loop, UV_RUN_NOWAIT))
        if (world.lookup)
            look_up();
    must_hold(uv_loop_close(&loop) == 0);
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
