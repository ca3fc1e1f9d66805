/* What is asked of session_api, when, and what is noted of the answers and the frames; see phase.h.
 */
#include "tests/bench/phase.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "tests/bench/http_client.h"
#include "tests/bench/orders.h"
#include "tests/bench/samples.h"
#include "tests/bench/watcher.h"

#define MOST_CONNECTIONS 1024
#define RING (1u << 16) /* changes whose moment of sending is remembered */
#define SECOND_NS UINT64_C(1000000000)
#define PATIENCE_NS (10 * SECOND_NS)
#define TURNS 256u /* of a session, whose moment of sending is remembered */

enum kind {
    KIND_PATCH,
    KIND_GET,
    KIND_SWITCH,
    KIND_PATH, /* any other address, without a token: GET, or POST when there is a body */
};

struct watched {
    const char *id, *writer; /* borrowed from the set-up */
    struct watcher watcher;
    bool is_black;                 /* whose turn it is */
    uint64_t version;              /* that its clock's turns have led to */
    uint64_t turn_since_ns[TURNS]; /* by version */
};

struct phase {
    struct bench *bench;
    enum kind kind;
    const json_t *ports; /* of several instances: connection after connection; NULL: port */
    uint16_t port;
    const char *path, *post_body;
    bool await_frame;  /* the next request leaves when the change arrived, too */
    bool is_own;       /* each connection has a session of its own */
    bool is_in_turn;   /* each connection gets requests: none stays silent, and is closed for it */
    bool is_contested; /* all switch the first session's turn, and then the next one */
    uint64_t interval_ns; /* of an open loop, else 0 */
    uint64_t begin_ns, measured_ns, end_ns, progress_ns;
    struct http_client *clients;
    struct http_client **idle; /* a stack */
    size_t n_clients, n_idle;
    uint64_t n_due, n_answered, n_accepted, n_changed, n_in_window, n_turns_in_window;
    uint64_t n_turns;        /* contested ones that were begun */
    uint64_t since_ns[RING]; /* by value */
    struct samples answers, refusals, changes;
    json_t *refused; /* status -> how many */
    struct buf request, body;
};

static uint64_t next_random(struct bench *b) {
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

/* ---- Requests ---- */

static void put_patch(struct phase *p, const struct watched *w, uint64_t value) {
    buf_clear(&p->body);
    buf_puts(&p->body,
             "{\"operations\":[{\"op\":\"replace\",\"path\":\"/data/progress\",\"value\":");
    buf_put_u64(&p->body, value);
    buf_puts(&p->body, "}]}");
    buf_printf(&p->request,
               "PATCH /sessions/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
               w->id, w->writer, p->body.len, p->body.data);
}

static void put_switch(struct phase *p, struct watched *w, uint64_t since_ns) {
    w->turn_since_ns[(w->version + 1) % TURNS] = since_ns;
    buf_clear(&p->body);
    buf_printf(&p->body, "{\"currentParticipantId\":\"%s\"}", w->is_black ? "black" : "white");
    buf_printf(
        &p->request,
        "POST /sessions/%s/switch HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        w->id, w->writer, p->body.len, p->body.data);
}

static void put_path(struct phase *p) {
    buf_printf(&p->request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", p->post_body ? "POST" : "GET",
               p->path);
    if (p->post_body)
        buf_printf(&p->request, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                   strlen(p->post_body));
    buf_printf(&p->request, "\r\n%s", p->post_body ? p->post_body : "");
}

static struct watched *session_for(struct phase *p, const struct http_client *c) {
    struct bench *b = p->bench;
    if (p->is_contested)
        return &b->sessions[0];
    return &b->sessions[p->is_own ? c->tag : next_random(b) % b->n_sessions];
}

static struct http_client *take_idle(struct phase *p) {
    struct http_client *longest = p->idle[0];
    p->n_idle--;
    if (!p->is_in_turn)
        return p->idle[p->n_idle];
    memmove(p->idle, p->idle + 1, p->n_idle * sizeof(struct http_client *));
    return longest;
}

static void send_next(struct phase *p, uint64_t since_ns) {
    struct bench *b = p->bench;
    struct http_client *c = take_idle(p);
    struct watched *w = session_for(p, c);
    buf_clear(&p->request);
    if (p->kind == KIND_SWITCH) {
        put_switch(p, w, since_ns);
    } else if (p->kind == KIND_PATCH) {
        uint64_t value = b->next_value++;
        p->since_ns[value % RING] = since_ns;
        put_patch(p, w, value);
    } else if (p->kind == KIND_GET) {
        buf_printf(
            &p->request,
            "GET /sessions/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n",
            w->id, w->writer);
    } else {
        put_path(p);
    }
    p->n_due++;
    http_client_send(c, &p->request, since_ns);
}

static uint64_t next_due_ns(const struct phase *p) {
    return p->begin_ns + p->n_due * p->interval_ns;
}

/* Of a turn that is contested one request has been accepted when all are answered. */
static bool turn_is_over(struct phase *p) {
    if (p->n_idle < p->n_clients)
        return false;
    if (p->n_accepted != p->n_turns)
        die("%llu of %llu turns were switched", (unsigned long long)p->n_accepted,
            (unsigned long long)p->n_turns);
    return true;
}

/* Sends what is due, as far as connections are free: in an open loop what finds none is sent later,
 * and its latency still counts from when it was due. */
static void pump(struct phase *p) {
    uint64_t now = now_ns();
    if (p->is_contested && !turn_is_over(p))
        return;
    p->n_turns += now < p->end_ns;
    while (p->n_idle) {
        uint64_t due = p->interval_ns ? next_due_ns(p) : now;
        if (due >= p->end_ns || due > now || (p->await_frame && p->n_changed < p->n_accepted))
            return;
        send_next(p, due);
    }
}

/* ---- Answers and frames ---- */

static void count_refused(struct phase *p, int status) {
    char name[16];
    snprintf(name, sizeof(name), "%d", status);
    json_int_t n = json_integer_value(json_object_get(p->refused, name));
    json_object_set_new(p->refused, name, json_integer(n + 1));
}

static void count_accepted(struct phase *p, const struct http_client *c, bool is_in_window) {
    p->n_accepted++;
    if (!p->is_own && !p->is_contested)
        return;
    struct watched *w = session_for(p, c);
    w->version++;
    w->is_black ^= p->kind == KIND_SWITCH;
    p->n_turns_in_window += is_in_window;
}

static void on_answer(struct http_client *c, int status) {
    struct phase *p = c->arg;
    uint64_t now = now_ns();
    bool is_in_window = now >= p->measured_ns && now < p->end_ns;
    p->progress_ns = now;
    p->n_answered++;
    p->idle[p->n_idle++] = c;
    p->n_in_window += is_in_window;
    if (status != 200)
        count_refused(p, status);
    else if (p->kind == KIND_PATCH || p->kind == KIND_SWITCH)
        count_accepted(p, c, is_in_window);
    if (c->since_ns >= p->measured_ns)
        samples_add(status == 200 ? &p->answers : &p->refusals, now - c->since_ns);
    pump(p);
}

static uint64_t since_of(const struct bench *b, const struct watcher *w,
                         const struct watcher_event *event) {
    const struct watched *of =
        (const struct watched *)((const char *)w - offsetof(struct watched, watcher));
    if (event->what == WATCHER_SWITCHED)
        return of->turn_since_ns[event->version % TURNS];
    if (event->what != WATCHER_DELTA || event->value >= b->next_value ||
        b->next_value - event->value > RING)
        die("a change to version %llu that nobody asked for", (unsigned long long)event->version);
    return b->phase->since_ns[event->value % RING];
}

static void on_change(struct watcher *w, const struct watcher_event *event) {
    struct bench *b = w->arg;
    struct phase *p = b->phase;
    if (!p)
        die("a change after its phase");
    uint64_t now = now_ns(), since = since_of(b, w, event);
    p->progress_ns = now;
    p->n_changed++;
    if (since >= p->measured_ns)
        samples_add(&p->changes, now - since);
    pump(p);
}

/* ---- A phase ---- */

static enum kind kind_of(const json_t *what) {
    const char *kind = json_string_value(json_object_get(what, "kind"));
    if (kind && strcmp(kind, "patch") == 0)
        return KIND_PATCH;
    if (kind && strcmp(kind, "switch") == 0)
        return KIND_SWITCH;
    if (kind && strcmp(kind, "get") == 0)
        return KIND_GET;
    return KIND_PATH;
}

static void read_order(struct phase *p, const json_t *what) {
    double rate = order_number(what, "rate", 0);
    p->kind = kind_of(what);
    p->port = (uint16_t)order_number(what, "port", p->bench->api_port);
    p->ports = json_object_get(what, "ports");
    p->path = json_string_value(json_object_get(what, "path"));
    p->post_body = json_string_value(json_object_get(what, "post"));
    p->await_frame = json_is_true(json_object_get(what, "awaitFrame"));
    p->is_own = json_is_true(json_object_get(what, "own"));
    p->is_in_turn = json_is_true(json_object_get(what, "inTurn"));
    p->is_contested = json_is_true(json_object_get(what, "contested"));
    p->interval_ns = rate > 0 ? (uint64_t)((double)SECOND_NS / rate) : 0;
    p->n_clients = (size_t)order_number(what, "connections", 64);
    if (p->n_clients == 0 || p->n_clients > MOST_CONNECTIONS ||
        (p->kind == KIND_PATH && !p->path) || (p->is_own && p->n_clients > p->bench->n_sessions))
        die("an order that makes no sense");
}

static uint16_t port_of(const struct phase *p, size_t client) {
    size_t n = json_array_size(p->ports);
    return n ? (uint16_t)json_integer_value(json_array_get(p->ports, client % n)) : p->port;
}

static void connect_clients(struct phase *p) {
    p->clients = must_alloc(p->n_clients * sizeof(*p->clients));
    p->idle = must_alloc(p->n_clients * sizeof(struct http_client *));
    for (size_t i = 0; i < p->n_clients; i++) {
        http_client_open(&p->clients[i], &p->bench->sockets, port_of(p, i), on_answer, p);
        p->clients[i].tag = i;
        p->idle[p->n_idle++] = &p->clients[i];
    }
}

static void free_phase(struct phase *p) {
    for (size_t i = 0; i < p->n_clients; i++)
        http_client_close(&p->clients[i]);
    free(p->clients);
    free(p->idle);
    samples_done(&p->answers);
    samples_done(&p->refusals);
    samples_done(&p->changes);
    buf_done(&p->request);
    buf_done(&p->body);
    free(p);
}

static uint64_t until_ns(const struct phase *p, uint64_t now) {
    uint64_t due = p->interval_ns && p->n_idle ? next_due_ns(p) : p->end_ns;
    return now < p->end_ns && due < p->end_ns ? due
           : now < p->end_ns                  ? p->end_ns
                                              : p->progress_ns + PATIENCE_NS;
}

static void run(struct phase *p, double warm_up, double seconds) {
    p->begin_ns = p->progress_ns = now_ns();
    p->measured_ns = p->begin_ns + (uint64_t)(warm_up * (double)SECOND_NS);
    p->end_ns = p->measured_ns + (uint64_t)(seconds * (double)SECOND_NS);
    for (;;) {
        pump(p);
        uint64_t now = now_ns();
        bool is_complete = p->n_idle == p->n_clients && p->n_changed >= p->n_accepted;
        if (now >= p->end_ns && (is_complete || now >= p->progress_ns + PATIENCE_NS))
            return;
        sockets_wait(&p->bench->sockets, until_ns(p, now));
    }
}

static uint64_t sum_of_syncs(const struct bench *b) {
    uint64_t sum = 0;
    for (size_t i = 0; i < b->n_sessions; i++)
        sum += b->sessions[i].watcher.n_syncs;
    return sum;
}

static uint64_t sum_of_missing(const struct bench *b) {
    uint64_t sum = 0;
    for (size_t i = 0; i < b->n_sessions; i++)
        sum += b->sessions[i].watcher.n_missing;
    return sum;
}

static json_t *summary(struct phase *p, double seconds) {
    return json_pack(
        "{sI sI sI so sf sf so so so sI sI sI}", "requests", (json_int_t)p->n_due, "answered",
        (json_int_t)p->n_answered, "accepted", (json_int_t)p->n_accepted, "refused",
        json_incref(p->refused), "throughput", (double)p->n_in_window / seconds, "turns",
        (double)p->n_turns_in_window / seconds, "latency", samples_summary(&p->answers), "refusals",
        samples_summary(&p->refusals), "delivery", samples_summary(&p->changes), "delivered",
        (json_int_t)p->n_changed, "missing", (json_int_t)sum_of_missing(p->bench), "stateSyncs",
        (json_int_t)sum_of_syncs(p->bench));
}

json_t *phase_run(struct bench *b, const json_t *what) {
    struct phase *p = must_alloc(sizeof(*p));
    double seconds = order_number(what, "seconds", 5);
    p->bench = b;
    p->refused = json_object();
    read_order(p, what);
    connect_clients(p);
    b->phase = p;
    run(p, order_number(what, "warmUp", 0.5), seconds);
    json_t *result = summary(p, seconds);
    b->phase = NULL;
    json_decref(p->refused);
    free_phase(p);
    return result;
}

/* ---- The set-up ---- */

static const char *text(const json_t *object, const char *name) {
    const char *value = json_string_value(json_object_get(object, name));
    if (!value)
        die("the set-up has no %s", name);
    return value;
}

static bool all_subscribed(const struct bench *b) {
    for (size_t i = 0; i < b->n_sessions; i++) {
        if (!b->sessions[i].watcher.is_subscribed)
            return false;
    }
    return true;
}

void bench_init(struct bench *b, const json_t *setup) {
    const json_t *sessions = json_object_get(setup, "sessions");
    b->api_port = (uint16_t)order_number(setup, "apiPort", 0);
    b->ws_port = (uint16_t)order_number(setup, "wsPort", 0);
    b->n_sessions = json_array_size(sessions);
    b->random = UINT64_C(0x9e3779b97f4a7c15);
    b->next_value = 1;
    if (b->n_sessions == 0)
        die("the set-up has no sessions");
    b->sessions = must_alloc(b->n_sessions * sizeof(*b->sessions));
    for (size_t i = 0; i < b->n_sessions; i++) {
        const json_t *session = json_array_get(sessions, i);
        struct watched *w = &b->sessions[i];
        w->id = text(session, "id");
        w->writer = text(session, "writer");
        watcher_open(&w->watcher, &b->sockets,
                     (uint16_t)order_number(session, "wsPort", b->ws_port), w->id,
                     text(session, "watcher"), on_change, b);
    }
    uint64_t deadline = now_ns() + PATIENCE_NS;
    while (!all_subscribed(b)) {
        if (now_ns() > deadline)
            die("the watchers are not subscribed");
        sockets_wait(&b->sockets, deadline);
    }
    for (size_t i = 0; i < b->n_sessions; i++)
        b->sessions[i].version = b->sessions[i].watcher.version;
}

void bench_done(struct bench *b) {
    for (size_t i = 0; i < b->n_sessions; i++)
        watcher_close(&b->sessions[i].watcher, &b->sockets);
    free(b->sessions);
}
