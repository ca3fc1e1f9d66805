/* What an event costs the broker: events in bursts to the topic exchange, with confirms, as the
 * engine sends them; ws_fanout's queue and the durable audit queue with acknowledgements behind it.
 * One thing is varied at a time by NAME=NUMBER, see tests/bench/README.md; prints CPU µs of the
 * broker for each event. usage: amqp_events URL BROKER_PID [NAME=NUMBER...] */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "common/bus.h"
#include "proto/route.h"
#include "tests/bench/samples.h"
#include "tests/bench/sockets.h"

#define SESSION "01890a5d-ac96-774b-bcce-%012" PRId64
#define COMMAND "01890a5d-ac96-774b-bcce-b302099a8058"
#define HASH "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define MAX_BODY 1048576

enum knob {
    EVENTS,     /* how many */
    BURST,      /* that many leave in one write */
    WINDOW,     /* at most that many are not confirmed */
    BODY,       /* bytes */
    PERSISTENT, /* 0: transient */
    HEADERS,    /* 0: none, 1: contract 5, 2: and commandId, 3: and keyHash, fingerprint */
    TEXTS,      /* message_id, type, timestamp; 0: without */
    AUDIT,      /* 0: nobody has the audit queue */
    ACKS,       /* one acknowledgement for so many; 0: one for each wake */
    PREFETCH,   /* of the audit queue's consumer */
    FANOUT,     /* 0: without ws_fanout's queue */
    SESSIONS,   /* in turn: each has a routing key of its own */
    DIRECT,     /* 1: to the audit queue by the default exchange, past the topics */
    QUORUM,     /* 1: the audit queue is a quorum queue */
    N_KNOBS
};

static const char *const names[N_KNOBS] = {"events",  "burst",    "window", "body",  "persistent",
                                           "headers", "texts",    "audit",  "acks",  "prefetch",
                                           "fanout",  "sessions", "direct", "quorum"};
static int64_t knobs[N_KNOBS] = {50000, 16, 64, 330, 1, 3, 1, 1, 0, 512, 1, 200, 0, 0};

struct cpu {
    double user_us, system_us;
};

struct bench {
    uv_loop_t loop;
    uv_timer_t settle;
    struct bus *publisher, *fanout, *audit;
    int broker_pid;
    unsigned n_up, n_wanted;
    int64_t n_sent, n_confirmed, n_at_fanout, n_at_audit;
    uint64_t unacked, last_tag, n_turns;
    uint64_t started_ns, burst_ns;
    struct cpu cpu;
    struct samples confirms; /* from a burst to its last confirm, with one burst at a time */
    char *body;
    bool is_done;
};

static struct cpu cpu_of(int pid) {
    char path[64], line[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f || !fgets(line, sizeof(line), f))
        die("process %d is not there", pid);
    fclose(f);
    uint64_t user, system;
    const char *rest = strrchr(line, ')');
    if (!rest ||
        sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user,
               &system) != 2)
        die("%s is not understood", path);
    double tick_us = 1e6 / (double)sysconf(_SC_CLK_TCK);
    return (struct cpu){(double)user * tick_us, (double)system * tick_us};
}

static void publish_one(struct bench *b) {
    char id[128], key[ROUTE_KEY_CAP];
    int64_t session = b->n_sent % knobs[SESSIONS];
    snprintf(id, sizeof(id), SESSION ":1:%" PRId64, session, b->n_sent + 1);
    snprintf(key, sizeof(key), "session." SESSION ".update", session);
    struct bus_publish m = {.exchange = knobs[DIRECT] ? "" : ROUTE_UPDATES_EXCHANGE,
                            .routing_key = knobs[DIRECT] ? ROUTE_AUDIT_QUEUE : key,
                            .body = b->body,
                            .body_len = (size_t)knobs[BODY],
                            .persistent = knobs[PERSISTENT] != 0};
    if (knobs[TEXTS]) {
        m.message_id = id;
        m.type = "state_delta";
        m.timestamp_ms = INT64_C(1700000000000);
    }
    if (knobs[HEADERS] > 0) {
        m.epoch = 1;
        m.version = (uint64_t)b->n_sent + 1;
        m.device_id = "bench-device-1";
    }
    if (knobs[HEADERS] > 1)
        m.command_id = COMMAND;
    if (knobs[HEADERS] > 2)
        m.key_hash = m.fingerprint = HASH;
    if (bus_publish(b->publisher, &m, NULL) != 0)
        die("RabbitMQ takes nothing");
    b->n_sent++;
}

static void pump(struct bench *b) {
    while (b->n_sent < knobs[EVENTS] &&
           b->n_sent - b->n_confirmed + knobs[BURST] <= knobs[WINDOW]) {
        b->burst_ns = now_ns();
        bus_cork(b->publisher);
        for (int64_t i = 0; i < knobs[BURST] && b->n_sent < knobs[EVENTS]; i++)
            publish_one(b);
        bus_uncork(b->publisher);
    }
}

static void report(struct bench *b) {
    double s = (double)(now_ns() - b->started_ns) / 1e9, n = (double)knobs[EVENTS];
    json_auto_t *summary = samples_summary(&b->confirms);
    struct cpu now = cpu_of(b->broker_pid);
    double user_us = now.user_us - b->cpu.user_us, system_us = now.system_us - b->cpu.system_us;
    json_auto_t *all = json_pack(
        "{s:f,s:f,s:f,s:f,s:O}", "broker_us", (user_us + system_us) / n, "of_it_system_us",
        system_us / n, "events_per_s", n / s, "audit_per_wake",
        (double)b->n_at_audit / (double)(b->n_turns + !b->n_turns), "confirm_us", summary);
    json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(5));
    putchar('\n');
}

static void stop(struct bench *b) {
    b->is_done = true;
    report(b);
    b->publisher = bus_free(b->publisher);
    b->fanout = bus_free(b->fanout);
    b->audit = bus_free(b->audit);
    uv_close((uv_handle_t *)&b->settle, NULL);
}

static void maybe_stop(struct bench *b) {
    if (!b->is_done && b->n_confirmed == knobs[EVENTS] &&
        (!knobs[FANOUT] || knobs[DIRECT] || b->n_at_fanout == knobs[EVENTS]) &&
        (!knobs[AUDIT] || b->n_at_audit == knobs[EVENTS]))
        stop(b);
}

static void on_confirmed(void *arg, uint64_t seq, bool multiple, bool ok) {
    struct bench *b = arg;
    if (!ok)
        die("RabbitMQ refuses");
    b->n_confirmed = multiple ? (int64_t)seq : b->n_confirmed + 1;
}

static void on_publisher_turn(void *arg) {
    struct bench *b = arg;
    if (b->n_confirmed == b->n_sent)
        samples_add(&b->confirms, now_ns() - b->burst_ns);
    pump(b);
    maybe_stop(b);
}

static void on_event(void *arg, const struct bus_message *m) {
    (void)m;
    struct bench *b = arg;
    b->n_at_fanout++;
}

static void acknowledge(struct bench *b) {
    if (b->unacked)
        bus_ack(b->audit, bus_generation(b->audit), b->last_tag, true);
    b->unacked = 0;
}

static void on_audited(void *arg, const struct bus_message *m) {
    struct bench *b = arg;
    b->n_at_audit++;
    b->last_tag = m->tag;
    if (++b->unacked == (uint64_t)knobs[ACKS])
        acknowledge(b);
}

static void on_audit_turn(void *arg) {
    struct bench *b = arg;
    b->n_turns++;
    if (!knobs[ACKS] || b->n_at_audit == knobs[EVENTS])
        acknowledge(b);
    maybe_stop(b);
}

static void on_fanout_turn(void *arg) {
    maybe_stop(arg);
}

static void on_settled(uv_timer_t *timer) {
    struct bench *b = timer->data;
    b->cpu = cpu_of(b->broker_pid);
    b->started_ns = now_ns();
    pump(b);
}

static void on_bound(void *arg, uint64_t ticket) {
    (void)ticket;
    struct bench *b = arg;
    if (++b->n_up == b->n_wanted) /* the logins' own work is over by then */
        uv_timer_start(&b->settle, on_settled, 300, 0);
}

static void on_up(void *arg) {
    on_bound(arg, 0);
}

static void on_fanout_up(void *arg) {
    struct bench *b = arg;
    if (bus_bind(b->fanout, BUS_BIND, ROUTE_UPDATES_EXCHANGE, ROUTE_ALL_SESSIONS, 1) != 0)
        die("the queue cannot be bound");
}

static void on_down(void *arg, const char *why) {
    (void)arg;
    die("RabbitMQ is lost: %s", why);
}

static void open_bus(struct bench *b, struct bus **ret, struct bus_options options) {
    options.arg = b;
    options.quorum_queues = knobs[QUORUM] != 0;
    options.connection_name = "state_engine publish";
    options.callbacks.down = options.callbacks.connect_failed = on_down;
    b->n_wanted++;
    if (bus_new(ret, &b->loop, &options) != 0)
        die("the address is wrong");
}

static void open_all(struct bench *b, const char *url) {
    open_bus(b, &b->publisher,
             (struct bus_options){
                 .url = url,
                 .confirms = true,
                 .callbacks = {.up = on_up, .confirmed = on_confirmed, .turn = on_publisher_turn}});
    if (knobs[FANOUT])
        open_bus(b, &b->fanout,
                 (struct bus_options){.url = url,
                                      .queue = "",
                                      .no_ack = true,
                                      .callbacks = {.up = on_fanout_up,
                                                    .bound = on_bound,
                                                    .message = on_event,
                                                    .turn = on_fanout_turn}});
    if (knobs[AUDIT])
        open_bus(b, &b->audit,
                 (struct bus_options){
                     .url = url,
                     .queue = ROUTE_AUDIT_QUEUE,
                     .prefetch = (uint16_t)knobs[PREFETCH],
                     .callbacks = {.up = on_up, .message = on_audited, .turn = on_audit_turn}});
}

static void read_knob(const char *argument) {
    for (int i = 0; i < N_KNOBS; i++) {
        size_t len = strlen(names[i]);
        if (strncmp(argument, names[i], len) == 0 && argument[len] == '=') {
            knobs[i] = strtoll(argument + len + 1, NULL, 10);
            return;
        }
    }
    die("nothing is called like %s", argument);
}

int main(int n_arguments, char **arguments) {
    if (n_arguments < 3)
        die("usage: amqp_events URL BROKER_PID [NAME=NUMBER...]");
    struct bench b = {.broker_pid = atoi(arguments[2])};
    for (int i = 3; i < n_arguments; i++)
        read_knob(arguments[i]);
    if (knobs[BODY] < 0 || knobs[BODY] > MAX_BODY || knobs[BURST] < 1 || knobs[EVENTS] < 1 ||
        knobs[SESSIONS] < 1)
        die("a number is out of its range");
    if (knobs[WINDOW] < knobs[BURST])
        knobs[WINDOW] = knobs[BURST];
    b.body = must_alloc(MAX_BODY);
    memset(b.body, 'x', MAX_BODY);
    uv_loop_init(&b.loop);
    uv_timer_init(&b.loop, &b.settle);
    b.settle.data = &b;
    open_all(&b, arguments[1]);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    uv_loop_close(&b.loop);
    samples_done(&b.confirms);
    free(b.body);
    return 0;
}
