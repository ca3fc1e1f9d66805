/* Events for the audit as the engine publishes them: persistent, confirmed, to the exchange. Event
 * k is of session k % SESSIONS, so that neighbours are of different sessions; the first of each is
 * its session_created, then deltas of about 400 bytes follow, without a gap. usage: audit_publish
 * URL MOMENT SESSIONS FIRST EVENTS RATE MOMENT: Unix ms that the sessions' ids begin with; RATE: a
 * second, 0: as fast as the broker confirms. Prints a line of JSON once all are confirmed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/bus.h"
#include "proto/route.h"
#include "tests/bench/samples.h"
#include "tests/bench/sockets.h"

#define MAX_UNCONFIRMED 2000
#define TICK_MS 5
#define USER "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define DEVICE "phone"
#define CHECKSUM "41d69b57ef63eac3326259123bca48b066294564d128161d5deca7ee48247302"

struct publisher {
    uv_loop_t loop;
    uv_timer_t tick;
    struct bus *bus;
    int64_t moment;
    uint64_t n_sessions, next, end, rate;
    uint64_t n_sent, n_confirmed, n_events;
    uint64_t began_ns, sent_ns;
};

static void print_created(const char *id, const char *moment, char *ret, size_t cap) {
    snprintf(
        ret, cap,
        "{\"type\":\"session_created\",\"sessionId\":\"%s\",\"epoch\":1,\"version\":1,"
        "\"timestamp\":\"%s\",\"userId\":\"" USER "\",\"deviceId\":\"" DEVICE "\",\"session\":{"
        "\"id\":\"%s\",\"userId\":\"" USER "\",\"name\":\"Evening meditation\","
        "\"type\":\"meditation\",\"status\":\"active\",\"role\":\"owner\",\"version\":1,"
        "\"epoch\":1,\"createdAt\":\"%s\",\"updatedAt\":\"%s\",\"completedAt\":null,"
        "\"ttlSeconds\":3600,\"onIdle\":\"pause\",\"expiresAt\":null,\"activeDeviceId\":\"" DEVICE
        "\",\"lastModified\":\"%s\",\"modifiedBy\":\"" DEVICE
        "\",\"data\":{\"progress\":0},\"checksum\":\"" CHECKSUM "\"}}",
        id, moment, id, moment, moment, moment);
}

static void print_delta(const char *id, const char *moment, uint64_t version, char *ret,
                        size_t cap) {
    snprintf(ret, cap,
             "{\"type\":\"state_delta\",\"sessionId\":\"%s\",\"epoch\":1,\"version\":%" PRIu64
             ",\"timestamp\":\"%s\",\"userId\":\"" USER "\",\"deviceId\":\"" DEVICE
             "\",\"baseVersion\":%" PRIu64 ",\"operations\":[{\"op\":\"replace\",\"path\":"
             "\"/data/progress\",\"value\":%" PRIu64 "}],\"checksum\":\"" CHECKSUM "\"}",
             id, version, moment, version - 1, version);
}

static bool send_next(struct publisher *p) {
    char id[64], message_id[96], command_id[64], moment[TIMESTAMP_LEN + 1], body[2048];
    char key[ROUTE_KEY_CAP];
    uint64_t version = p->next / p->n_sessions + 1, session = p->next % p->n_sessions;
    bool is_first = version == 1;
    int64_t now = timestamp_wall_ms();
    snprintf(id, sizeof(id), "%08" PRIx64 "-%04" PRIx64 "-7000-8000-%012" PRIx64,
             (uint64_t)p->moment >> 16, (uint64_t)p->moment & 0xffff, session);
    snprintf(message_id, sizeof(message_id), "%s:1:%" PRIu64, id, version);
    snprintf(command_id, sizeof(command_id), "00000000-0000-4000-8000-%012" PRIx64, p->next);
    timestamp_print(now, moment);
    if (is_first)
        print_created(id, moment, body, sizeof(body));
    else
        print_delta(id, moment, version, body, sizeof(body));
    enum event_type type = is_first ? EVENT_SESSION_CREATED : EVENT_STATE_DELTA;
    route_event_key(id, type, key);
    const struct bus_publish m = {.exchange = ROUTE_UPDATES_EXCHANGE,
                                  .routing_key = key,
                                  .body = body,
                                  .body_len = strlen(body),
                                  .persistent = true,
                                  .message_id = message_id,
                                  .type = event_type_name(type),
                                  .timestamp_ms = now,
                                  .epoch = 1,
                                  .version = version,
                                  .device_id = DEVICE,
                                  .command_id = command_id};
    return bus_publish(p->bus, &m, NULL) == 0;
}

/* How many may have left by now. */
static uint64_t allowed(const struct publisher *p) {
    uint64_t window = p->n_confirmed + MAX_UNCONFIRMED;
    if (!p->rate)
        return window;
    uint64_t due = (uint64_t)((double)(now_ns() - p->began_ns) * 1e-9 * (double)p->rate);
    return due < window ? due : window;
}

static void send_some(struct publisher *p) {
    bus_cork(p->bus);
    uint64_t most = allowed(p);
    while (p->next < p->end && p->n_sent < most && send_next(p)) {
        p->next++;
        p->n_sent++;
    }
    bus_uncork(p->bus);
    if (p->next == p->end && !p->sent_ns)
        p->sent_ns = now_ns();
}

static void on_tick(uv_timer_t *timer) {
    send_some(timer->data);
}

static void on_up(void *arg) {
    struct publisher *p = arg;
    p->began_ns = now_ns();
    uv_timer_start(&p->tick, on_tick, 0, TICK_MS);
}

static void on_down(void *arg, const char *why) {
    (void)arg;
    die("RabbitMQ: %s", why);
}

static void on_confirmed(void *arg, uint64_t seq, bool multiple, bool ok) {
    struct publisher *p = arg;
    if (!ok)
        die("RabbitMQ refuses an event");
    p->n_confirmed = multiple ? seq : p->n_confirmed + 1;
}

static void on_turn(void *arg) {
    struct publisher *p = arg;
    if (!p->rate)
        send_some(p);
    if (p->n_confirmed < p->n_events)
        return;
    printf("{\"events\":%" PRIu64 ",\"sentSeconds\":%.3f,\"seconds\":%.3f}\n", p->n_events,
           (double)(p->sent_ns - p->began_ns) * 1e-9, (double)(now_ns() - p->began_ns) * 1e-9);
    fflush(stdout);
    uv_timer_stop(&p->tick);
    uv_close((uv_handle_t *)&p->tick, NULL);
    p->bus = bus_free(p->bus);
}

int main(int n_arguments, char **arguments) {
    struct publisher p = {0};
    if (n_arguments != 7)
        die("usage: audit_publish URL MOMENT SESSIONS FIRST EVENTS RATE");
    p.moment = (int64_t)strtoull(arguments[2], NULL, 10);
    p.n_sessions = strtoull(arguments[3], NULL, 10);
    p.next = strtoull(arguments[4], NULL, 10);
    p.n_events = strtoull(arguments[5], NULL, 10);
    p.end = p.next + p.n_events;
    p.rate = strtoull(arguments[6], NULL, 10);
    uv_loop_init(&p.loop);
    uv_timer_init(&p.loop, &p.tick);
    p.tick.data = &p;
    const struct bus_options options = {.url = arguments[1],
                                        .connection_name = "bench publishes",
                                        .confirms = true,
                                        .callbacks = {.up = on_up,
                                                      .down = on_down,
                                                      .connect_failed = on_down,
                                                      .confirmed = on_confirmed,
                                                      .turn = on_turn},
                                        .arg = &p};
    if (!p.n_sessions || !p.n_events || bus_new(&p.bus, &p.loop, &options) != 0)
        die("nothing to publish, or no address");
    uv_run(&p.loop, UV_RUN_DEFAULT);
    uv_loop_close(&p.loop);
    return 0;
}
